/* test_dns_cache.c - what the cache keeps, and for how long. */
#include "tests/dataplane/tap.h"
#include "tests/dns/records.h"

START_TEST(an_answer_is_kept_until_its_time_and_replaced_in_its_place)
{
    struct dns_cache *cache = dns_cache_new(3, test_key);
    struct dns_answer answer = {.status = DNS_OK, .code = 1, .n_targets = 1};
    ck_assert_ptr_nonnull(cache);
    ck_assert_ptr_null(dns_cache_get(cache, "a", 0));
    dns_cache_put(cache, "a", &answer, 100);
    ck_assert_ptr_nonnull(dns_cache_get(cache, "a", 99));
    ck_assert_ptr_null(dns_cache_get(cache, "a", 100));
    ck_assert_ptr_null(dns_cache_get(cache, "A", 99));
    answer.code = 2;
    dns_cache_put(cache, "a", &answer, 200);
    ck_assert_uint_eq(dns_cache_get(cache, "a", 199)->code, 2);
    ck_assert_uint_eq(dns_cache_count(cache), 1);
    dns_cache_free(cache);
}
END_TEST

START_TEST(an_answer_comes_back_with_all_its_targets)
{
    struct dns_cache *cache = dns_cache_new(16, test_key);
    for (uint32_t n = 0; n <= CHAN_TARGET_MAX; n++) {
        char domain[8];
        struct dns_answer answer = {.status = DNS_OK, .site_hash = n + 1, .n_targets = n};
        for (uint32_t i = 0; i < n; i++) {
            answer.targets[i].rank = (uint8_t)i;
            (void)snprintf(answer.targets[i].host, sizeof answer.targets[i].host, "h%u", i);
        }
        (void)snprintf(domain, sizeof domain, "d%u", n);
        dns_cache_put(cache, domain, &answer, 10);
        const struct dns_answer *got = dns_cache_get(cache, domain, 9);
        ck_assert_uint_eq(got->n_targets, n);
        ck_assert_uint_eq(got->site_hash, n + 1);
        for (uint32_t i = 0; i < n; i++) {
            ck_assert_str_eq(got->targets[i].host, answer.targets[i].host);
            ck_assert_uint_eq(got->targets[i].rank, i);
        }
    }
    dns_cache_free(cache);
}
END_TEST

/* Against a model: of the names put, the last `max` different ones by first arrival are there. */
START_TEST(when_it_is_full_the_oldest_goes_and_no_other)
{
    enum { MAX = 50, NAMES = 120 };
    struct dns_cache *cache = dns_cache_new(MAX, test_key);
    uint32_t order[NAMES], n = 0; /* names that are there, the oldest first */
    uint16_t value[NAMES] = {0};
    uint64_t random = 5;
    for (uint16_t turn = 1; turn < 20000; turn++) {
        uint32_t name = (uint32_t)(dns_random(&random) % NAMES), at = 0;
        char domain[16];
        struct dns_answer answer = {.status = DNS_OK, .code = turn};
        (void)snprintf(domain, sizeof domain, "n%u", name);
        const struct dns_answer *got = dns_cache_get(cache, domain, 0);
        while (at < n && order[at] != name) {
            at++;
        }
        ck_assert_msg((got != NULL) == (at < n), "turn %u: %s", turn, domain);
        ck_assert(!got || got->code == value[name]);
        if (turn % 3 == 0) {
            continue;
        }
        dns_cache_put(cache, domain, &answer, 1);
        value[name] = turn;
        if (at < n) {
            continue;
        }
        if (n == MAX) {
            n--;
            memmove(order, order + 1, n * sizeof order[0]);
        }
        order[n++] = name;
        ck_assert_uint_eq(dns_cache_count(cache), n);
    }
    dns_cache_free(cache);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("cache");
    tcase_add_test(tc, an_answer_is_kept_until_its_time_and_replaced_in_its_place);
    tcase_add_test(tc, an_answer_comes_back_with_all_its_targets);
    tcase_add_test(tc, when_it_is_full_the_oldest_goes_and_no_other);
    return tap_run("dns", tc);
}
