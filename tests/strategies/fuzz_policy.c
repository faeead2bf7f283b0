/* fuzz_policy.c - any bytes as lines of wirepost-policy, after a configuration: nothing is read
 * that is not there, no invariant breaks, every answer is one line. */
#include "strategies/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char CONFIG_LINE[] =
    "{\"t\":0,\"config\":{\"pools\":{\"p\":{\"addresses\":[{\"ip\":\"192.0.2.1\"},"
    "{\"ip\":\"192.0.2.2\",\"age_days\":9,\"daily\":{\"g\":900}}]}},\"routes\":{\"r\":{},"
    "\"ses\":{\"type\":\"ses\",\"max_24h\":100}},\"senders\":{\"a\":{\"strategy\":\"auto\","
    "\"pool\":\"p\",\"shared\":[\"r\",\"ses\"]},\"c\":{\"strategy\":\"custom\",\"pool\":\"p\","
    "\"custom\":\"r\"}}}}";

static void feed(struct policy *policy, const char *line, size_t n_bytes)
{
    struct policy_text out = {0};

    policy_line(policy, line, n_bytes, &out);
    if (out.n_bytes > 0 && memchr(out.at, '\n', out.n_bytes) != out.at + out.n_bytes - 1)
        abort();
    free(out.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strategy_limits limits = strategy_limits_default();
    struct policy policy;

    limits.n_pools_max = limits.n_senders_max = limits.n_providers_max = 8;
    limits.n_endpoints_max = limits.n_streams_max = limits.n_cells_max = 16;
    limits.n_flows_max = limits.n_paths_max = limits.n_arms_max = 32;
    if (!policy_open(&policy, &limits))
        return 0;
    feed(&policy, CONFIG_LINE, sizeof CONFIG_LINE - 1);
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end == NULL ? size : (size_t)(end - data);
        feed(&policy, (const char *)data, n);
        data += n + (end != NULL);
        size -= n + (end != NULL);
    }
    policy_close(&policy);
    return 0;
}
