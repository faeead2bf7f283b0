/* test_tcp_base.c - the parts below the protocol: numbers, checksum, hash, containers, timers,
 * parsers. */
#include "tcp/utcp_pool.h"
#include "tcp/utcp_seq.h"
#include "tcp/utcp_siphash.h"
#include "tcp/utcp_wheel.h"
#include "tests/tcp/wire.h"

/* ---- sequence numbers ----------------------------------------------------------------------- */

START_TEST(sequence_numbers_compare_across_the_wrap)
{
    static const struct {
        uint32_t a, b;
        bool lt;
    } cases[] = {
        {0, 1, true},
        {1, 0, false},
        {5, 5, false},
        {0xffffffff, 0, true},
        {0, 0xffffffff, false},
        {0xfffffff0, 0x10, true},
        {0x10, 0xfffffff0, false},
        {0, 0x7fffffff, true},
        {0x7fffffff, 0, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint32_t a = cases[i].a, b = cases[i].b;

        ck_assert_int_eq(seq_lt(a, b), cases[i].lt);
        ck_assert_int_eq(seq_gt(b, a), cases[i].lt);
        ck_assert_int_eq(seq_leq(a, b), cases[i].lt || a == b);
        ck_assert_int_eq(seq_geq(b, a), cases[i].lt || a == b);
    }
}
END_TEST

/* ---- checksum ------------------------------------------------------------------------------- */

static uint16_t naive_sum(const uint8_t *data, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

START_TEST(checksum_of_the_example_in_rfc_1071)
{
    const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    ck_assert_uint_eq(utcp_checksum(data, sizeof data), (uint16_t)~0xddf2);
}
END_TEST

START_TEST(checksum_is_the_same_however_the_bytes_are_cut)
{
    uint8_t data[67];

    for (uint32_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(wire_byte(i) | 0x80);
    for (size_t a = 0; a <= sizeof data; a++) {
        for (size_t b = a; b <= sizeof data; b++) {
            bool odd = false;
            uint32_t sum = utcp_sum_add(0, data, a, &odd);

            sum = utcp_sum_add(sum, data + a, b - a, &odd);
            sum = utcp_sum_add(sum, data + b, sizeof data - b, &odd);
            ck_assert_uint_eq(utcp_sum_fold(sum), naive_sum(data, sizeof data));
        }
    }
}
END_TEST

/* ---- SipHash -------------------------------------------------------------------------------- */

START_TEST(siphash_gives_the_values_of_its_reference)
{
    /* First, second, eighth, ninth and last of the 64 vectors published with SipHash-2-4. */
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {{0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
                   {7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
                   {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)}};
    uint8_t key[16], data[64];

    for (uint8_t i = 0; i < 64; i++)
        data[i] = i;
    memcpy(key, data, sizeof key);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        ck_assert_uint_eq(utcp_siphash(key, data, vectors[i].len), vectors[i].hash);
}
END_TEST

/* ---- containers ----------------------------------------------------------------------------- */

START_TEST(pool_gives_each_object_once_and_says_when_it_is_empty)
{
    struct utcp_pool pool = {0};
    bool seen[11] = {false};

    ck_assert(utcp_pool_init(&pool, 10, 24));
    for (unsigned i = 0; i < 10; i++) {
        const uint32_t id = utcp_pool_get(&pool);

        ck_assert(id >= 1 && id <= 10 && !seen[id]);
        seen[id] = true;
    }
    ck_assert_uint_eq(utcp_pool_get(&pool), 0);
    utcp_pool_put(&pool, 4);
    ck_assert_uint_eq(utcp_pool_get(&pool), 4);
    utcp_pool_destroy(&pool);
}
END_TEST

START_TEST(list_keeps_its_order_when_any_member_is_taken_out)
{
    for (uint32_t out = 1; out <= 4; out++) {
        struct utcp_link links[5] = {{0, 0}};
        struct utcp_list list = {0, 0};

        for (uint32_t id = 1; id <= 4; id++)
            utcp_list_push(&list, links, id);
        utcp_list_remove(&list, links, out);
        for (uint32_t id = 1; id <= 4; id++)
            if (id != out)
                ck_assert_uint_eq(utcp_list_pop(&list, links), id);
        ck_assert_uint_eq(utcp_list_pop(&list, links), 0);
        ck_assert_uint_eq(list.tail, 0);
    }
}
END_TEST

START_TEST(map_finds_all_of_a_bucket)
{
    struct utcp_map map = {0};
    unsigned found = 0;

    ck_assert(utcp_map_init(&map, 20));
    for (uint32_t id = 1; id <= 20; id++)
        utcp_map_put(&map, 7, id);
    utcp_map_remove(&map, 7, 20);
    utcp_map_remove(&map, 7, 1);
    utcp_map_remove(&map, 7, 10);
    for (uint32_t id = utcp_map_first(&map, 7); id != 0; id = map.next[id]) {
        ck_assert(id != 1 && id != 10 && id != 20);
        found++;
    }
    ck_assert_uint_eq(found, 17);
    utcp_map_destroy(&map);
}
END_TEST

/* ---- wheel ---------------------------------------------------------------------------------- */

#define TIMERS 300u

/* Against a plain array: what fires, and when, is what the array says. */
static void compare_wheel(uint64_t start, uint64_t reach, uint32_t seed)
{
    struct utcp_wheel wheel;
    uint64_t expiry[TIMERS + 1];
    uint64_t now = start;
    uint32_t random = seed;

    memset(&wheel, 0, sizeof wheel);
    ck_assert(utcp_wheel_init(&wheel, TIMERS));
    for (uint32_t id = 0; id <= TIMERS; id++)
        expiry[id] = UTCP_TICK_NEVER;
    for (unsigned round = 0; round < 2000; round++) {
        uint64_t first = UTCP_TICK_NEVER;
        bool early = false, late = false; /* ck_assert is slow: once for a round */
        uint32_t id;

        random = random * 1664525u + 1013904223u;
        id = 1 + (random >> 8) % TIMERS;
        if (random >> 30 == 0) {
            utcp_wheel_stop(&wheel, id);
            expiry[id] = UTCP_TICK_NEVER;
        } else {
            expiry[id] = now + 1 + (random >> 4) % reach;
            utcp_wheel_arm(&wheel, now, id, expiry[id]);
        }
        for (uint32_t i = 1; i <= TIMERS; i++)
            first = expiry[i] < first ? expiry[i] : first;
        ck_assert(utcp_wheel_next(&wheel) <= first);
        now += (random >> 10) % (reach / 50 + 2);
        while ((id = utcp_wheel_expire(&wheel, now)) != 0) {
            early = early || expiry[id] > now;
            expiry[id] = UTCP_TICK_NEVER;
        }
        for (uint32_t i = 1; i <= TIMERS; i++)
            late = late || expiry[i] <= now;
        ck_assert_msg(!early && !late, "a timer fired early or not at all");
    }
    utcp_wheel_destroy(&wheel);
}

START_TEST(wheel_fires_what_a_plain_list_would_fire)
{
    static const uint64_t starts[] = {0, 1, 255, 256, 65535, 65536, (1u << 24) - 3, 1700000000000};
    static const uint64_t reaches[] = {2, 100, 256, 300, 60000, 70000, 20000000};

    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++)
        for (size_t r = 0; r < sizeof reaches / sizeof reaches[0]; r++)
            compare_wheel(starts[s], reaches[r], (uint32_t)(s * 16 + r));
}
END_TEST

START_TEST(wheel_that_is_obeyed_fires_at_the_exact_tick)
{
    struct utcp_wheel wheel;
    static const uint64_t ticks[] = {1001, 1255, 1256, 1257, 66536, 66537, 20000000, 90000000};

    memset(&wheel, 0, sizeof wheel);
    ck_assert(utcp_wheel_init(&wheel, 8));
    for (uint32_t i = 0; i < 8; i++)
        utcp_wheel_arm(&wheel, 1000, i + 1, ticks[i]);
    for (uint32_t i = 0; i < 8;) {
        const uint64_t next = utcp_wheel_next(&wheel);
        const uint32_t id = utcp_wheel_expire(&wheel, next);

        ck_assert_uint_le(next, ticks[i]);
        if (id == 0)
            continue;
        ck_assert_uint_eq(id, i + 1);
        ck_assert_uint_eq(next, ticks[i]);
        i++;
    }
    ck_assert_uint_eq(utcp_wheel_next(&wheel), UTCP_TICK_NEVER);
    utcp_wheel_destroy(&wheel);
}
END_TEST

/* ---- parsers -------------------------------------------------------------------------------- */

/* Exact copies on the heap let AddressSanitizer see a byte too far. */
static bool parse_cut(const uint8_t *p, size_t len, struct utcp_segment *seg)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    bool ok;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, p, len);
    ok = utcp_tcp_parse(copy, (uint32_t)len, seg);
    free(copy);
    return ok;
}

static uint32_t put_full_header(uint8_t *p)
{
    const struct utcp_options options = {.mss = 1460,
                                         .has_wscale = true,
                                         .wscale = 7,
                                         .has_timestamps = true,
                                         .ts_value = 0x01020304,
                                         .ts_echo = 0x05060708,
                                         .sack_permitted = true};
    struct utcp_tcp_header header = {
        .src_port = 1, .dst_port = 2, .seq = 3, .ack = 4, .window = 5, .flags = TCP_SYN | TCP_ACK};

    header.options_len = (uint8_t)utcp_options_put_syn(p + TCP_LEN, &options);
    utcp_tcp_put(p, &header);
    return TCP_LEN + header.options_len;
}

START_TEST(tcp_header_reads_back_as_written)
{
    uint8_t p[TCP_LEN_MAX];
    const uint32_t len = put_full_header(p);
    struct utcp_segment seg;

    ck_assert_uint_eq(len, TCP_LEN + 4 + 4 + 12 + 4);
    ck_assert(utcp_tcp_parse(p, len, &seg));
    ck_assert_uint_eq(seg.src_port, 1);
    ck_assert_uint_eq(seg.dst_port, 2);
    ck_assert_uint_eq(seg.seq, 3);
    ck_assert_uint_eq(seg.ack, 4);
    ck_assert_uint_eq(seg.window, 5);
    ck_assert_uint_eq(seg.flags, TCP_SYN | TCP_ACK);
    ck_assert_uint_eq(seg.len, 0);
    ck_assert_uint_eq(seg.options.mss, 1460);
    ck_assert(seg.options.has_wscale && seg.options.wscale == 7);
    ck_assert(seg.options.has_timestamps && seg.options.sack_permitted);
    ck_assert_uint_eq(seg.options.ts_value, 0x01020304);
    ck_assert_uint_eq(seg.options.ts_echo, 0x05060708);
}
END_TEST

START_TEST(tcp_header_cut_at_each_byte_is_refused)
{
    uint8_t p[TCP_LEN_MAX];
    const uint32_t len = put_full_header(p);
    struct utcp_segment seg;

    for (uint32_t cut = 0; cut < len; cut++)
        ck_assert_msg(!parse_cut(p, cut, &seg), "cut at %u", cut);
    p[12] = 0x40; /* a header of 16 bytes */
    ck_assert(!parse_cut(p, len, &seg));
}
END_TEST

START_TEST(options_cut_at_each_byte_keep_what_is_whole)
{
    uint8_t p[TCP_LEN_MAX];
    const uint32_t len = put_full_header(p) - TCP_LEN;

    for (uint32_t cut = 0; cut <= len; cut++) {
        uint8_t *copy = malloc(cut == 0 ? 1 : cut);
        struct utcp_options options;

        ck_assert_ptr_nonnull(copy);
        memcpy(copy, p + TCP_LEN, cut);
        utcp_options_parse(copy, cut, &options);
        ck_assert_int_eq(options.mss == 1460, cut >= 4);
        ck_assert_int_eq(options.sack_permitted, cut >= 8);
        ck_assert_int_eq(options.has_timestamps, cut >= 20);
        ck_assert_int_eq(options.has_wscale, cut >= 24);
        free(copy);
    }
}
END_TEST

START_TEST(odd_options_do_no_harm)
{
    static const struct {
        const char *what;
        uint8_t bytes[8];
        uint32_t len;
        uint16_t mss;
    } cases[] = {
        {"length 0", {253, 0, 2, 4, 5, 0xb4}, 6, 0},
        {"length 1", {253, 1, 2, 4, 5, 0xb4}, 6, 0},
        {"length beyond the end", {253, 9, 2, 4, 5, 0xb4}, 6, 0},
        {"kind without a length", {1, 1, 253}, 3, 0},
        {"unknown is skipped", {253, 3, 0, 2, 4, 5, 0xb4}, 7, 1460},
        {"nothing after the end", {0, 2, 4, 5, 0xb4}, 5, 0},
        {"mss of a wrong length", {2, 3, 5}, 3, 0},
        {"mss behind a bad scale", {3, 4, 7, 7, 2, 4, 5, 0xb4}, 8, 1460},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct utcp_options options;

        utcp_options_parse(cases[i].bytes, cases[i].len, &options);
        ck_assert_msg(options.mss == cases[i].mss, "%s", cases[i].what);
        ck_assert_msg(!options.has_wscale, "%s", cases[i].what);
    }
}
END_TEST

START_TEST(a_window_scale_above_14_counts_as_14)
{
    const uint8_t bytes[] = {3, 3, 200};
    struct utcp_options options;

    utcp_options_parse(bytes, sizeof bytes, &options);
    ck_assert(options.has_wscale);
    ck_assert_uint_eq(options.wscale, 14);
}
END_TEST

START_TEST(ipv4_header_cut_or_broken_is_refused)
{
    const uint8_t src[4] = {192, 0, 2, 1}, dst[4] = {192, 0, 2, 10};
    uint8_t p[IPV4_LEN + 30] = {0};
    struct utcp_ip ip;

    wire_ip_put(p, 4, src, dst, IP_PROTO_TCP, 20);
    ck_assert_int_eq(utcp_ipv4_parse(p, sizeof p, false, &ip), UTCP_IP_OK);
    ck_assert_uint_eq(ip.len, 20); /* link padding is cut off */
    for (uint32_t cut = 0; cut < IPV4_LEN + 20; cut++)
        ck_assert_int_eq(utcp_ipv4_parse(p, cut, false, &ip), UTCP_IP_MALFORMED);
    for (uint32_t byte = 0; byte < IPV4_LEN; byte++) {
        p[byte] ^= 0x10;
        ck_assert_msg(utcp_ipv4_parse(p, sizeof p, false, &ip) != UTCP_IP_OK, "byte %u", byte);
        p[byte] ^= 0x10;
    }
    be16_put(p + 6, 0x2000);
    ck_assert_int_eq(utcp_ipv4_parse(p, sizeof p, true, &ip), UTCP_IP_OK);
    ck_assert(ip.is_fragment && ip.more_fragments && ip.fragment_offset == 0);
    be16_put(p + 6, 0x0001);
    ck_assert_int_eq(utcp_ipv4_parse(p, sizeof p, true, &ip), UTCP_IP_OK);
    ck_assert(ip.is_fragment && !ip.more_fragments && ip.fragment_offset == 8);
}
END_TEST

START_TEST(every_error_state_and_reason_has_a_text)
{
    for (int e = UTCP_E_EXISTS; e <= UTCP_OK; e++)
        ck_assert_str_ne(utcp_error_text(e), "unknown error");
    ck_assert_str_eq(utcp_error_text(-1000), "unknown error");
    ck_assert_str_eq(utcp_state_text(UTCP_TIME_WAIT), "TIME_WAIT");
    for (int r = UTCP_CLOSE_NONE; r <= UTCP_CLOSE_LOCAL; r++)
        ck_assert_str_ne(utcp_close_text((enum utcp_close_reason)r), "?");
    ck_assert_str_eq(utcp_counter_name(UTCP_N_frames_in), "frames_in");
    ck_assert_str_eq(utcp_counter_name(UTCP_N_COUNTERS), "?");
}
END_TEST

START_TEST(addresses_to_text_and_back)
{
    static const char *const good[] = {"192.0.2.1", "255.255.255.255", "2001:db8::1", "::"};
    static const char *const bad[] = {"", "192.0.2", "192.0.2.256", "192.0.2.1 ", "x", "1::2::3"};
    char text[IP_ADDR_TEXT_MAX];
    struct ip_addr addr;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ck_assert(ip_addr_parse(good[i], &addr));
        ck_assert_str_eq(ip_addr_format(&addr, text), good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!ip_addr_parse(bad[i], &addr), "'%s'", bad[i]);
    addr.family = 0;
    ck_assert_str_eq(ip_addr_format(&addr, text), "none");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp base");
    TCase *tcase = tcase_create("base");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, sequence_numbers_compare_across_the_wrap);
    tcase_add_test(tcase, checksum_of_the_example_in_rfc_1071);
    tcase_add_test(tcase, checksum_is_the_same_however_the_bytes_are_cut);
    tcase_add_test(tcase, siphash_gives_the_values_of_its_reference);
    tcase_add_test(tcase, pool_gives_each_object_once_and_says_when_it_is_empty);
    tcase_add_test(tcase, list_keeps_its_order_when_any_member_is_taken_out);
    tcase_add_test(tcase, map_finds_all_of_a_bucket);
    tcase_add_test(tcase, wheel_fires_what_a_plain_list_would_fire);
    tcase_add_test(tcase, wheel_that_is_obeyed_fires_at_the_exact_tick);
    tcase_add_test(tcase, tcp_header_reads_back_as_written);
    tcase_add_test(tcase, tcp_header_cut_at_each_byte_is_refused);
    tcase_add_test(tcase, options_cut_at_each_byte_keep_what_is_whole);
    tcase_add_test(tcase, odd_options_do_no_harm);
    tcase_add_test(tcase, a_window_scale_above_14_counts_as_14);
    tcase_add_test(tcase, ipv4_header_cut_or_broken_is_refused);
    tcase_add_test(tcase, every_error_state_and_reason_has_a_text);
    tcase_add_test(tcase, addresses_to_text_and_back);
    suite_add_tcase(suite, tcase);
    return wire_run(suite);
}
