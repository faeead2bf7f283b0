/* test_smtp_random.c - whatever a server says: the client's word about a message is true. */
#include "tests/dataplane/tap.h"
#include "tests/smtp/adversary.h"

#define RUNS       100000
#define SCRIPT_MAX 128u

/* xorshift64 (Marsaglia 2003). */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

START_TEST(delivered_means_that_the_dot_was_answered_with_2xx)
{
    struct adversary_totals totals = {0};
    uint64_t random = UINT64_C(0x5321205532052920);
    uint8_t script[SCRIPT_MAX];
    for (int run = 0; run < RUNS; run++) {
        size_t len = 8 + next_random(&random) % (SCRIPT_MAX - 8);
        for (size_t i = 0; i < len; i++) {
            script[i] = (uint8_t)(next_random(&random) >> 32);
        }
        adversary_run(script, len, &totals);
    }
    /* all of it was reached, often */
    ck_assert_uint_gt(totals.dots, RUNS / 10);
    ck_assert_uint_gt(totals.delivered, RUNS / 10);
    ck_assert_uint_gt(totals.doubtful, RUNS / 500);
    ck_assert_uint_gt(totals.bounced, RUNS / 100);
    ck_assert_uint_gt(totals.deferred, RUNS / 10);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("random");
    tcase_add_test(tc, delivered_means_that_the_dot_was_answered_with_2xx);
    return tap_run("smtp random", tc);
}
