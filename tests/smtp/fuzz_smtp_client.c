/* fuzz_smtp_client.c - libFuzzer target: a server that says anything, and its judge (adversary.h).
 */
#include "tests/smtp/adversary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adversary_totals totals = {0};
    adversary_run(data, size, &totals);
    return 0;
}
