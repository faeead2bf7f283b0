/* test_record.c - records of the spool as bytes: what is written is read, and damage is seen. */
#include "control/store_private.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

static const struct store_message message = {
    .id = UINT64_C(0x1122334455667788),
    .accepted_ms = -1,
    .expires_ms = INT64_MAX,
    .sender = "acme",
    .stream = "",
    .mail_from = "\xc3\xa9@acme.example",
    .needs = 3,
    .n_recipients = 70000,
    .body_bytes = UINT64_MAX,
    .dsn_for = "0123456789abcdef",
};
static const struct store_rcpt rcpt = {
    .address = "a@example.net",
    .domain = "example.net",
    .attempts = UINT32_MAX,
    .next_try_ms = INT64_MIN,
    .state = STORE_RCPT_BOUNCED,
    .last = "{\"kind\":\"bounced\"}",
};

static uint8_t *message_record(size_t *ret_len)
{
    *ret_len = store_message_bytes(&message);
    uint8_t *data = malloc(*ret_len);
    ck_assert_ptr_nonnull(data);
    store_message_encode(&message, data);
    return data;
}

static uint8_t *rcpt_record(size_t *ret_len)
{
    *ret_len = store_rcpt_bytes(&rcpt);
    uint8_t *data = malloc(*ret_len);
    ck_assert_ptr_nonnull(data);
    store_rcpt_encode(&rcpt, data);
    return data;
}

START_TEST(a_message_record_is_read_as_it_was_written)
{
    size_t len;
    uint8_t *data = message_record(&len);
    struct store_message m;
    ck_assert(store_message_decode(data, len, &m));
    ck_assert_uint_eq(m.id, message.id);
    ck_assert_int_eq(m.accepted_ms, message.accepted_ms);
    ck_assert_int_eq(m.expires_ms, message.expires_ms);
    ck_assert_str_eq(m.sender, message.sender);
    ck_assert_str_eq(m.stream, message.stream);
    ck_assert_str_eq(m.mail_from, message.mail_from);
    ck_assert_uint_eq(m.needs, message.needs);
    ck_assert_uint_eq(m.n_recipients, message.n_recipients);
    ck_assert_uint_eq(m.body_bytes, message.body_bytes);
    ck_assert_str_eq(m.dsn_for, message.dsn_for);
    free(data);
}
END_TEST

START_TEST(a_recipient_record_is_read_as_it_was_written)
{
    size_t len;
    uint8_t *data = rcpt_record(&len);
    struct store_rcpt r;
    ck_assert(store_rcpt_decode(data, len, &r));
    ck_assert_str_eq(r.address, rcpt.address);
    ck_assert_str_eq(r.domain, rcpt.domain);
    ck_assert_uint_eq(r.attempts, rcpt.attempts);
    ck_assert_int_eq(r.next_try_ms, rcpt.next_try_ms);
    ck_assert_uint_eq(r.state, rcpt.state);
    ck_assert_str_eq(r.last, rcpt.last);
    free(data);
}
END_TEST

START_TEST(dsn_parameters_are_kept)
{
    struct store_message m = message, m2;
    struct store_rcpt r = rcpt, r2;
    m.ret = _i & 1 ? 2 : 0;
    m.envid = _i & 2 ? "QQ314159" : NULL;
    r.notify = _i & 1 ? 6 : 0;
    r.orcpt = _i & 2 ? "rfc822;a@b.example" : "";
    uint8_t data[512];
    store_message_encode(&m, data);
    ck_assert_uint_eq(data[0], _i ? 2 : 1);
    ck_assert(store_message_decode(data, store_message_bytes(&m), &m2));
    ck_assert_uint_eq(m2.ret, m.ret);
    ck_assert_str_eq(m2.envid, m.envid ? m.envid : "");
    ck_assert(!store_message_decode(data, store_message_bytes(&m) - 1, &m2));
    data[0] ^= 3; /* the other version */
    ck_assert(!store_message_decode(data, store_message_bytes(&m), &m2));
    store_rcpt_encode(&r, data);
    ck_assert(store_rcpt_decode(data, store_rcpt_bytes(&r), &r2));
    ck_assert_uint_eq(r2.notify, r.notify);
    ck_assert_str_eq(r2.orcpt, r.orcpt);
}
END_TEST

/* The bytes are those of version 1 for ever: spools outlive programs. */
START_TEST(the_bytes_of_version_1_do_not_change)
{
    static const struct store_rcpt small = {
        .address = "a@b", .domain = "b", .attempts = 2, .next_try_ms = 3, .state = 1, .last = ""};
    static const uint8_t wanted[] = {1, 1,   2,   0,   0, 0, 3, 0, 0, 0,   0, 0, 0, 0, 3, 0, 0,
                                     0, 'a', '@', 'b', 0, 1, 0, 0, 0, 'b', 0, 0, 0, 0, 0, 0};
    uint8_t data[sizeof wanted];
    ck_assert_uint_eq(store_rcpt_bytes(&small), sizeof wanted);
    store_rcpt_encode(&small, data);
    ck_assert_int_eq(memcmp(data, wanted, sizeof wanted), 0);
    static const struct store_message one = {.id = 5,
                                             .accepted_ms = 6,
                                             .expires_ms = 7,
                                             .sender = "s",
                                             .stream = "",
                                             .mail_from = "",
                                             .needs = 1,
                                             .n_recipients = 2,
                                             .body_bytes = 9,
                                             .dsn_for = ""};
    static const uint8_t head[] = {1, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0,   0, 0,
                                   0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2,   0, 0,
                                   0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 's', 0};
    uint8_t record[128];
    ck_assert_uint_le(store_message_bytes(&one), sizeof record);
    store_message_encode(&one, record);
    ck_assert_int_eq(memcmp(record, head, sizeof head), 0);
}
END_TEST

/* Every shorter record, and one that is longer. */
START_TEST(a_record_of_another_length_is_damaged)
{
    size_t message_len, rcpt_len;
    uint8_t *m = message_record(&message_len), *r = rcpt_record(&rcpt_len);
    struct store_message message_out;
    struct store_rcpt rcpt_out;
    for (size_t len = 0; len <= message_len + 1; len++) {
        uint8_t *part = calloc(1, len + 1);
        memcpy(part, m, len < message_len ? len : message_len);
        ck_assert_int_eq(store_message_decode(part, len, &message_out), len == message_len);
        free(part);
    }
    for (size_t len = 0; len <= rcpt_len + 1; len++) {
        uint8_t *part = calloc(1, len + 1);
        memcpy(part, r, len < rcpt_len ? len : rcpt_len);
        ck_assert_int_eq(store_rcpt_decode(part, len, &rcpt_out), len == rcpt_len);
        free(part);
    }
    free(m);
    free(r);
}
END_TEST

/* ASan stands behind the record: a length that lies must not be believed. */
START_TEST(no_single_damaged_byte_makes_it_read_beyond_the_record)
{
    size_t len;
    uint8_t *data = message_record(&len);
    struct store_message m;
    for (size_t i = 0; i < len; i++) {
        uint8_t good = data[i];
        for (unsigned value = 0; value < 256; value++) {
            data[i] = (uint8_t)value;
            if (store_message_decode(data, len, &m)) {
                ck_assert_uint_lt(strlen(m.sender) + strlen(m.stream) + strlen(m.mail_from) +
                                      strlen(m.dsn_for),
                                  len);
            }
        }
        data[i] = good;
    }
    free(data);
}
END_TEST

START_TEST(another_version_an_unknown_state_and_a_nul_in_a_text_are_damage)
{
    size_t len;
    uint8_t *data = rcpt_record(&len);
    struct store_rcpt r;
    data[0] = 2;
    ck_assert(!store_rcpt_decode(data, len, &r));
    data[0] = 1;
    data[1] = STORE_RCPT_BOUNCED + 1;
    ck_assert(!store_rcpt_decode(data, len, &r));
    data[1] = STORE_RCPT_BOUNCED;
    ck_assert(store_rcpt_decode(data, len, &r));
    data[20] = '\0';
    ck_assert(!store_rcpt_decode(data, len, &r));
    free(data);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("record");
    tcase_add_test(tc, a_message_record_is_read_as_it_was_written);
    tcase_add_test(tc, a_recipient_record_is_read_as_it_was_written);
    tcase_add_loop_test(tc, dsn_parameters_are_kept, 0, 4);
    tcase_add_test(tc, the_bytes_of_version_1_do_not_change);
    tcase_add_test(tc, a_record_of_another_length_is_damaged);
    tcase_add_test(tc, no_single_damaged_byte_makes_it_read_beyond_the_record);
    tcase_add_test(tc, another_version_an_unknown_state_and_a_nul_in_a_text_are_damage);
    return tap_run("record", tc);
}
