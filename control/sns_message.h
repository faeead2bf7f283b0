/*
 * sns_message.h - messages of Amazon SNS as they come by HTTP: their parts, who may sign them, and
 * their signature. Pure, but for OpenSSL.
 *
 * The signature is RSA (PKCS#1 v1.5) with SHA-1 (version 1) or SHA-256 (version 2) over names and
 * values, one a line, in a fixed order (SNS developer guide, "Verifying the signatures").
 */
#ifndef WIREPOST_SNS_MESSAGE_H
#define WIREPOST_SNS_MESSAGE_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sns_type { SNS_NOTIFICATION, SNS_SUBSCRIBE, SNS_UNSUBSCRIBE };

struct sns_message {
    json_t *root; /* owned; the texts point into it */
    enum sns_type type;
    const char *id, *topic, *message, *timestamp;
    const char *subject;               /* null: none */
    const char *token, *subscribe_url; /* of SUBSCRIBE and UNSUBSCRIBE */
    const char *signature, *certificate_url;
    bool sha256;
};

/* False with a sentence. Free with sns_message_free(). */
bool sns_message_parse(const char *json, size_t len, struct sns_message *ret,
                       const char **ret_error);
void sns_message_free(struct sns_message *message);

/* The URL is https, its host sns.REGION.amazonaws.com (or .com.cn) with the region of the topic, no
 * port, no user, and for a certificate the path ends in .pem. endpoint: "https://host:port" that
 * stands in for that host; null: none. */
bool sns_url_trusted(const char *url, const char *topic, const char *endpoint, bool certificate);

/* The public key of a certificate in PEM that holds now (RSA, 2048 bits at least); null: it does
 * not. */
EVP_PKEY *sns_certificate_key(const char *pem, size_t len, int64_t unix_s);

/* malloc'ed. */
char *sns_text_to_sign(const struct sns_message *message);
bool sns_signature_valid(const struct sns_message *message, EVP_PKEY *key);

#endif
