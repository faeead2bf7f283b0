/* fuzz_record.c - libFuzzer target: any bytes as a record of the spool. There is one way to write a
 * record, so what is understood is written again as the same bytes. */
#include "control/store_private.h"

#include "tcp/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const uint8_t *data, size_t size)
{
    struct store_message message;
    if (!store_message_decode(data, size, &message)) {
        return;
    }
    uint8_t *again = malloc(size);
    INVARIANT(again && store_message_bytes(&message) == size);
    store_message_encode(&message, again);
    INVARIANT(memcmp(again, data, size) == 0);
    free(again);
}

static void check_rcpt(const uint8_t *data, size_t size)
{
    struct store_rcpt rcpt;
    if (!store_rcpt_decode(data, size, &rcpt)) {
        return;
    }
    uint8_t *again = malloc(size);
    INVARIANT(again && store_rcpt_bytes(&rcpt) == size);
    store_rcpt_encode(&rcpt, again);
    INVARIANT(memcmp(again, data, size) == 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_message(data, size);
    check_rcpt(data, size);
    return 0;
}
