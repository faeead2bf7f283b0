/* sns_message.c - see sns_message.h. */
#include "control/sns_message.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURE_MAX  1024u /* RSA-8192 */
#define KEY_BITS_MIN   2048
#define REGION_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789-"

static const char *const type_names[] = {[SNS_NOTIFICATION] = "Notification",
                                         [SNS_SUBSCRIBE] = "SubscriptionConfirmation",
                                         [SNS_UNSUBSCRIBE] = "UnsubscribeConfirmation"};

/* ---- parts ------------------------------------------------------------------------------- */

static const char *member(const json_t *root, const char *name)
{
    return json_string_value(json_object_get(root, name));
}

static bool parse_type(const char *text, enum sns_type *ret)
{
    for (size_t i = 0; text && i < sizeof type_names / sizeof type_names[0]; i++) {
        if (strcmp(type_names[i], text) == 0) {
            *ret = (enum sns_type)i;
            return true;
        }
    }
    return false;
}

bool sns_message_parse(const char *json, size_t len, struct sns_message *ret,
                       const char **ret_error)
{
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
    const char *version = member(root, "SignatureVersion");
    struct sns_message m = {
        .root = root,
        .id = member(root, "MessageId"),
        .topic = member(root, "TopicArn"),
        .message = member(root, "Message"),
        .timestamp = member(root, "Timestamp"),
        .subject = member(root, "Subject"),
        .token = member(root, "Token"),
        .subscribe_url = member(root, "SubscribeURL"),
        .signature = member(root, "Signature"),
        .certificate_url = member(root, "SigningCertURL"),
        .sha256 = version && strcmp(version, "2") == 0,
    };
    *ret_error = NULL;
    if (!parse_type(member(root, "Type"), &m.type)) {
        *ret_error = "Type is not one of SNS";
    } else if (!m.id || !m.topic || !m.message || !m.timestamp || !m.signature ||
               !m.certificate_url || !version) {
        *ret_error = "a member that every message of SNS has is missing";
    } else if (!m.sha256 && strcmp(version, "1") != 0) {
        *ret_error = "SignatureVersion is neither 1 nor 2";
    } else if (m.type != SNS_NOTIFICATION && (!m.token || !m.subscribe_url)) {
        *ret_error = "Token or SubscribeURL is missing";
    }
    if (*ret_error) {
        json_decref(root);
        return false;
    }
    *ret = m;
    return true;
}

void sns_message_free(struct sns_message *m)
{
    json_decref(m->root);
    m->root = NULL;
}

/* ---- who may sign ------------------------------------------------------------------------ */

/* "eu-west-1" of "arn:aws:sns:eu-west-1:123456789012:topic". */
static bool region_of(const char *topic, char *region, size_t region_bytes)
{
    const char *at = strncmp(topic, "arn:aws", 7) == 0 ? strstr(topic, ":sns:") : NULL;
    size_t len = at ? strspn(at + 5, REGION_LETTERS) : 0;
    if (len == 0 || len >= region_bytes || at[5 + len] != ':') {
        return false;
    }
    (void)snprintf(region, region_bytes, "%.*s", (int)len, at + 5);
    return true;
}

static const char *after_host(const char *url, const char *topic, const char *endpoint)
{
    char region[32], head[128];
    size_t len = endpoint ? strlen(endpoint) : 0;
    if (endpoint) {
        return strncmp(url, endpoint, len) == 0 ? url + len : NULL;
    }
    if (!region_of(topic, region, sizeof region)) {
        return NULL;
    }
    len = (size_t)snprintf(head, sizeof head, "https://sns.%s.amazonaws.com", region);
    if (strncmp(url, head, len) != 0) {
        return NULL;
    }
    bool china = strncmp(region, "cn-", 3) == 0 && strncmp(url + len, ".cn", 3) == 0;
    return url + len + (china ? 3 : 0);
}

bool sns_url_trusted(const char *url, const char *topic, const char *endpoint, bool certificate)
{
    const char *rest = after_host(url, topic, endpoint);
    size_t len = rest ? strlen(rest) : 0;
    if (!rest || rest[0] != '/' || strpbrk(rest, " \t\r\n#@\\")) {
        return false;
    }
    return !certificate || (len > 4 && strcmp(rest + len - 4, ".pem") == 0 && !strchr(rest, '?'));
}

EVP_PKEY *sns_certificate_key(const char *pem, size_t len, int64_t unix_s)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    time_t now = (time_t)unix_s;
    EVP_PKEY *key = NULL;
    if (certificate && X509_cmp_time(X509_get0_notBefore(certificate), &now) < 0 &&
        X509_cmp_time(X509_get0_notAfter(certificate), &now) > 0) {
        key = X509_get_pubkey(certificate);
    }
    if (key &&
        (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < KEY_BITS_MIN)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    X509_free(certificate);
    BIO_free(bio);
    return key;
}

/* ---- the signature ----------------------------------------------------------------------- */

char *sns_text_to_sign(const struct sns_message *m)
{
    bool confirm = m->type != SNS_NOTIFICATION;
    const struct {
        const char *name, *value;
    } parts[] = {
        {"Message", m->message},
        {"MessageId", m->id},
        {"Subject", confirm ? NULL : m->subject},
        {"SubscribeURL", confirm ? m->subscribe_url : NULL},
        {"Timestamp", m->timestamp},
        {"Token", confirm ? m->token : NULL},
        {"TopicArn", m->topic},
        {"Type", type_names[m->type]},
    };
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    for (size_t i = 0; out && i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].value) {
            (void)fprintf(out, "%s\n%s\n", parts[i].name, parts[i].value);
        }
    }
    if (!out || fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Length of the signature; 0: it is not base64. */
static size_t decode(const char *base64, uint8_t *out)
{
    size_t len = strlen(base64);
    size_t pad = len > 1 ? (size_t)(base64[len - 1] == '=') + (size_t)(base64[len - 2] == '=') : 0;
    if (len % 4 != 0 || len / 4 * 3 > SIGNATURE_MAX) {
        return 0;
    }
    int n = EVP_DecodeBlock(out, (const unsigned char *)base64, (int)len);
    return n > (int)pad ? (size_t)n - pad : 0;
}

bool sns_signature_valid(const struct sns_message *m, EVP_PKEY *key)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t n = decode(m->signature, signature);
    char *text = sns_text_to_sign(m);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        n > 0 && text && context &&
        EVP_DigestVerifyInit(context, NULL, m->sha256 ? EVP_sha256() : EVP_sha1(), NULL, key) ==
            1 &&
        EVP_DigestVerify(context, signature, n, (const unsigned char *)text, strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    free(text);
    return good;
}
