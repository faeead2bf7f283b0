/* test_sns_message.c - messages of SNS: whose URLs are trusted, and signatures by a key made here.
 */
#include "control/sns_message.h"
#include "tests/control_lib/tap.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#define TOPIC "arn:aws:sns:eu-west-1:123456789012:mail"

static const char notification[] =
    "{\"Type\":\"Notification\",\"MessageId\":\"m1\",\"TopicArn\":\"" TOPIC
    "\",\"Subject\":\"s\",\"Message\":\"a\\nb\","
    "\"Timestamp\":\"2026-11-24T03:00:00.000Z\",\"SignatureVersion\":\"%s\",\"Signature\":\"%s\","
    "\"SigningCertURL\":\"u\"}";
static const char subscription[] =
    "{\"Type\":\"SubscriptionConfirmation\",\"MessageId\":\"m1\",\"TopicArn\":\"" TOPIC
    "\",\"Message\":\"m\",\"Token\":\"t\",\"SubscribeURL\":\"v\","
    "\"Timestamp\":\"2026-11-24T03:00:00.000Z\",\"SignatureVersion\":\"2\",\"Signature\":\"AAAA\","
    "\"SigningCertURL\":\"u\"}";

START_TEST(the_text_to_sign_is_in_the_documented_order)
{
    struct sns_message m;
    const char *error;
    char json[1024];
    (void)snprintf(json, sizeof json, notification, "1", "AAAA");
    ck_assert(sns_message_parse(json, strlen(json), &m, &error));
    char *text = sns_text_to_sign(&m);
    ck_assert_str_eq(text, "Message\na\nb\nMessageId\nm1\nSubject\ns\nTimestamp\n2026-11-24T03:00:"
                           "00.000Z\nTopicArn\n" TOPIC "\nType\nNotification\n");
    free(text);
    sns_message_free(&m);
    ck_assert(sns_message_parse(subscription, strlen(subscription), &m, &error));
    text = sns_text_to_sign(&m);
    ck_assert_str_eq(text,
                     "Message\nm\nMessageId\nm1\nSubscribeURL\nv\nTimestamp\n2026-11-24T03:00:00."
                     "000Z\nToken\nt\nTopicArn\n" TOPIC "\nType\nSubscriptionConfirmation\n");
    free(text);
    sns_message_free(&m);
}
END_TEST

START_TEST(a_signature_holds_for_its_digest_its_text_and_its_key_only)
{
    EVP_PKEY *key = EVP_RSA_gen(2048), *other = EVP_RSA_gen(2048);
    for (int version = 1; version <= 2; version++) {
        char json[2048], base64[1024] = "AAAA";
        unsigned char signature[256];
        size_t n = sizeof signature;
        struct sns_message m;
        const char *error;
        (void)snprintf(json, sizeof json, notification, version == 1 ? "1" : "2", base64);
        ck_assert(sns_message_parse(json, strlen(json), &m, &error));
        ck_assert(!sns_signature_valid(&m, key));
        char *text = sns_text_to_sign(&m);
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        ck_assert_int_eq(
            EVP_DigestSignInit(context, NULL, version == 1 ? EVP_sha1() : EVP_sha256(), NULL, key),
            1);
        ck_assert_int_eq(
            EVP_DigestSign(context, signature, &n, (const unsigned char *)text, strlen(text)), 1);
        EVP_MD_CTX_free(context);
        free(text);
        (void)EVP_EncodeBlock((unsigned char *)base64, signature, (int)n);
        m.signature = base64;
        ck_assert(sns_signature_valid(&m, key));
        ck_assert(!sns_signature_valid(&m, other));
        m.sha256 = !m.sha256;
        ck_assert(!sns_signature_valid(&m, key));
        m.sha256 = !m.sha256;
        m.message = "a\nc";
        ck_assert(!sns_signature_valid(&m, key));
        m.message = "a\nb";
        for (size_t i = 0; base64[i]; i++) {
            char was = base64[i];
            base64[i] = was == 'A' ? 'B' : 'A';
            ck_assert_msg(i + 3 >= strlen(base64) || !sns_signature_valid(&m, key), "letter %zu",
                          i);
            base64[i] = was;
        }
        sns_message_free(&m);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}
END_TEST

START_TEST(only_the_host_of_sns_in_the_region_of_the_topic_is_trusted)
{
    static const struct {
        const char *url, *topic, *endpoint;
        bool certificate, good;
    } urls[] = {
        {"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem", TOPIC, NULL, true,
         true},
        {"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1", TOPIC, NULL,
         false, true},
        {"https://sns.cn-north-1.amazonaws.com.cn/a.pem", "arn:aws-cn:sns:cn-north-1:1:t", NULL,
         true, true},
        {"http://sns.eu-west-1.amazonaws.com/a.pem", TOPIC, NULL, true, false},
        {"https://sns.us-east-1.amazonaws.com/a.pem", TOPIC, NULL, true, false},
        {"https://sns.eu-west-1.amazonaws.com.cn/a.pem", TOPIC, NULL, true, false},
        {"https://sns.eu-west-1.amazonaws.com.evil.example/a.pem", TOPIC, NULL, true, false},
        {"https://sns.eu-west-1.amazonaws.com@evil.example/a.pem", TOPIC, NULL, true, false},
        {"https://sns.eu-west-1.amazonaws.com:8443/a.pem", TOPIC, NULL, true, false},
        {"https://evil.example/sns.eu-west-1.amazonaws.com/a.pem", TOPIC, NULL, true, false},
        {"https://bucket.s3.amazonaws.com/a.pem", TOPIC, NULL, true, false},
        {"https://sns.eu-west-1.amazonaws.com/a.pem?x=.pem", TOPIC, NULL, true, false},
        {"https://sns.eu-west-1.amazonaws.com/a.txt", TOPIC, NULL, true, false},
        {"https://sns.eu-west-1.amazonaws.com/a b.pem", TOPIC, NULL, true, false},
        {"https://sns.eu-west-1.amazonaws.com", TOPIC, NULL, false, false},
        {"https://sns.eu-west-1.amazonaws.com/a.pem", "eu-west-1", NULL, true, false},
        {"https://sns./a.pem", "arn:aws:sns::1:t", NULL, true, false},
        {"https://lab.example:8443/a.pem", TOPIC, "https://lab.example:8443", true, true},
        {"https://lab.example:84430/a.pem", TOPIC, "https://lab.example:8443", true, false},
        {"https://sns.eu-west-1.amazonaws.com/a.pem", TOPIC, "https://lab.example:8443", true,
         false},
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        ck_assert_msg(sns_url_trusted(urls[i].url, urls[i].topic, urls[i].endpoint,
                                      urls[i].certificate) == urls[i].good,
                      "%s", urls[i].url);
    }
}
END_TEST

static size_t make_certificate(EVP_PKEY *key, char *pem, size_t pem_bytes)
{
    X509 *certificate = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    (void)X509_set_version(certificate, 2);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    (void)X509_set_pubkey(certificate, key);
    ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
    ck_assert_int_eq(PEM_write_bio_X509(bio, certificate), 1);
    int n = BIO_read(bio, pem, (int)pem_bytes);
    BIO_free(bio);
    X509_free(certificate);
    return (size_t)n;
}

START_TEST(a_certificate_holds_in_its_time_and_with_an_rsa_key_that_is_long_enough)
{
    char pem[8192];
    int64_t now_s = time(NULL);
    EVP_PKEY *keys[] = {EVP_RSA_gen(2048), EVP_RSA_gen(1024), EVP_EC_gen("P-256")};
    for (size_t i = 0; i < 3; i++) {
        size_t n = make_certificate(keys[i], pem, sizeof pem);
        EVP_PKEY *found = sns_certificate_key(pem, n, now_s);
        ck_assert((found != NULL) == (i == 0));
        EVP_PKEY_free(found);
        ck_assert_ptr_null(sns_certificate_key(pem, n, now_s + 7200));
        ck_assert_ptr_null(sns_certificate_key(pem, n, now_s - 7200));
        ck_assert_ptr_null(sns_certificate_key(pem, n / 2, now_s));
        EVP_PKEY_free(keys[i]);
    }
    ck_assert_ptr_null(sns_certificate_key("", 0, now_s));
}
END_TEST

START_TEST(what_is_cut_anywhere_or_misses_a_member_is_refused)
{
    static const char *const members[] = {
        "\"Type\"",         "MessageId",     "TopicArn",       "\"Message\"", "Timestamp",
        "SignatureVersion", "\"Signature\"", "SigningCertURL", "Token",       "SubscribeURL"};
    struct sns_message m;
    const char *error;
    for (size_t n = 0; n < strlen(subscription); n++) {
        ck_assert(!sns_message_parse(subscription, n, &m, &error));
    }
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        char json[sizeof subscription];
        memcpy(json, subscription, sizeof json);
        strstr(json, members[i])[1] = '_';
        ck_assert_msg(!sns_message_parse(json, strlen(json), &m, &error) && error, "%s",
                      members[i]);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("sns message");
    tcase_add_test(tc, the_text_to_sign_is_in_the_documented_order);
    tcase_add_test(tc, a_signature_holds_for_its_digest_its_text_and_its_key_only);
    tcase_add_test(tc, only_the_host_of_sns_in_the_region_of_the_topic_is_trusted);
    tcase_add_test(tc, a_certificate_holds_in_its_time_and_with_an_rsa_key_that_is_long_enough);
    tcase_add_test(tc, what_is_cut_anywhere_or_misses_a_member_is_refused);
    return tap_run("sns message", tc);
}
