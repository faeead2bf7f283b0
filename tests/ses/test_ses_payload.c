/* test_ses_payload.c - the body of SendEmail, read in pieces of every size, against a decoder of
 * its own. */
#include "control/ses_api.h"
#include "tests/control_lib/tap.h"

#include <jansson.h>
#include <string.h>

static const char *const recipients[] = {"a@x.example", "b\"\\@x.example"};
static const struct ses_tag tags[] = {{SES_ID_TAG, "00112233"}};

static int value_of(char c)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(letters, c);
    return c != '\0' && at ? (int)(at - letters) : -1;
}

/* RFC 4648 4, strictly: SIZE_MAX for anything that is not that. */
static size_t decode(const char *text, uint8_t *out)
{
    size_t len = strlen(text), n = 0;
    for (size_t i = 0; i < len; i += 4) {
        int v[4], pad = 0;
        for (size_t k = 0; k < 4; k++) {
            v[k] = text[i + k] == '=' && i + 4 == len && k >= 2 ? 0 : value_of(text[i + k]);
            pad += text[i + k] == '=';
            if (v[k] < 0) {
                return SIZE_MAX;
            }
        }
        uint32_t all =
            (uint32_t)v[0] << 18 | (uint32_t)v[1] << 12 | (uint32_t)v[2] << 6 | (uint32_t)v[3];
        for (int k = 0; k < 3 - pad; k++) {
            out[n++] = (uint8_t)(all >> (16 - 8 * k));
        }
    }
    return n;
}

static struct ses_email email_of(const uint8_t *prefix, size_t prefix_bytes, const uint8_t *body,
                                 size_t bytes)
{
    return (struct ses_email){.mail_from = "from@s.example",
                              .recipients = recipients,
                              .n_recipients = 2,
                              .configuration_set = "set",
                              .tags = tags,
                              .n_tags = 1,
                              .prefix = prefix,
                              .prefix_bytes = prefix_bytes,
                              .body = body,
                              .body_bytes = bytes};
}

static char *read_all(struct ses_payload *p, size_t room)
{
    char *text = malloc(p->total_bytes + 1);
    size_t len = 0, n;
    char *piece = malloc(room);
    while ((n = ses_payload_read(p, piece, room)) > 0) {
        ck_assert_uint_le(n, room);
        ck_assert_uint_le(len + n, p->total_bytes);
        memcpy(text + len, piece, n);
        len += n;
    }
    ck_assert_uint_eq(len, p->total_bytes);
    text[len] = '\0';
    free(piece);
    return text;
}

START_TEST(the_message_comes_out_as_it_went_in_for_every_split_and_piece)
{
    uint8_t message[97], out[128];
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t bytes = 0; bytes <= sizeof message; bytes += bytes < 12 ? 1 : 17) {
        for (size_t split = 0; split <= bytes; split++) {
            struct ses_payload p;
            const struct ses_email email = email_of(message, split, message + split, bytes - split);
            ck_assert(ses_payload_init(&p, &email));
            for (size_t room = 4; room < 40; room += 3) {
                ses_payload_rewind(&p);
                char *text = read_all(&p, room);
                json_t *call = json_loads(text, 0, NULL);
                const char *data = json_string_value(json_object_get(
                    json_object_get(json_object_get(call, "Content"), "Raw"), "Data"));
                ck_assert_ptr_nonnull(data);
                ck_assert_uint_eq(decode(data, out), bytes);
                ck_assert_int_eq(memcmp(out, message, bytes), 0);
                json_decref(call);
                free(text);
            }
            ses_payload_free(&p);
        }
    }
}
END_TEST

START_TEST(addresses_tags_and_set_stand_in_the_call)
{
    struct ses_payload p;
    struct ses_email email = email_of(NULL, 0, (const uint8_t *)"x", 1);
    ck_assert(ses_payload_init(&p, &email));
    char *text = read_all(&p, 4096);
    json_t *call = json_loads(text, 0, NULL),
           *to = json_object_get(json_object_get(call, "Destination"), "ToAddresses");
    ck_assert_str_eq(json_string_value(json_object_get(call, "FromEmailAddress")),
                     "from@s.example");
    ck_assert_str_eq(json_string_value(json_object_get(call, "ConfigurationSetName")), "set");
    ck_assert_str_eq(json_string_value(json_array_get(to, 1)), recipients[1]);
    ck_assert_str_eq(json_string_value(json_object_get(
                         json_array_get(json_object_get(call, "EmailTags"), 0), "Value")),
                     "00112233");
    json_decref(call);
    free(text);
    ses_payload_free(&p);
    email.mail_from = email.configuration_set = "";
    ck_assert(ses_payload_init(&p, &email));
    ck_assert_ptr_null(strstr(p.head, "FromEmailAddress"));
    ck_assert_ptr_null(strstr(p.head, "ConfigurationSetName"));
    ses_payload_free(&p);
    email.mail_from = "\xff@x.example";
    ck_assert(!ses_payload_init(&p, &email));
}
END_TEST

START_TEST(the_hash_is_that_of_the_bytes_that_are_read)
{
    struct ses_payload p;
    const struct ses_email email = {.mail_from = "",
                                    .configuration_set = "",
                                    .recipients = recipients,
                                    .n_recipients = 1,
                                    .body = (const uint8_t *)"abc",
                                    .body_bytes = 3};
    char hex[65];
    ck_assert(ses_payload_init(&p, &email));
    char *text = read_all(&p, 100);
    ck_assert_str_eq(text, "{\"Destination\":{\"ToAddresses\":[\"a@x.example\"]},\"EmailTags\":[],"
                           "\"Content\":{\"Raw\":{\"Data\":\"YWJj\"}}}");
    ses_payload_hash(&p, hex);
    /* printf '%s' '...' | sha256sum */
    ck_assert_str_eq(hex, "c893cf9645eadc50e4db3b9b7e5481db933f08bc6aa9563aad6983e273465e9c");
    ck_assert_uint_eq(p.given_bytes, 0);
    free(text);
    ses_payload_free(&p);
}
END_TEST

START_TEST(tags_are_letters_digits_hyphens_and_underscores)
{
    ck_assert(ses_tag_valid("a-Z_09", 6));
    ck_assert(!ses_tag_valid("a-Z_09x", 6));
    ck_assert(!ses_tag_valid("", 6));
    ck_assert(!ses_tag_valid("a b", 6));
    ck_assert(!ses_tag_valid("\xc3\xa4", 6));
    ck_assert_uint_eq(ses_base64_bytes(0), 0);
    ck_assert_uint_eq(ses_base64_bytes(1), 4);
    ck_assert_uint_eq(ses_base64_bytes(31457280), SES_BASE64_MAX);
    ck_assert_uint_gt(ses_base64_bytes(31457281), SES_BASE64_MAX);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ses payload");
    tcase_add_test(tc, the_message_comes_out_as_it_went_in_for_every_split_and_piece);
    tcase_add_test(tc, addresses_tags_and_set_stand_in_the_call);
    tcase_add_test(tc, the_hash_is_that_of_the_bytes_that_are_read);
    tcase_add_test(tc, tags_are_letters_digits_hyphens_and_underscores);
    return tap_run("ses payload", tc);
}
