/* ses_payload.c - the body of SendEmail: see ses_api.h. */
#include "control/ses_api.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

static const char tail[] = "\"}}}";
#define TAIL_BYTES (sizeof tail - 1)

uint64_t ses_base64_bytes(uint64_t message_bytes)
{
    return (message_bytes + 2) / 3 * 4;
}

bool ses_tag_valid(const char *text, size_t max_bytes)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t len = strlen(text);
    return len > 0 && len <= max_bytes && strspn(text, letters) == len;
}

/* ---- the head ---------------------------------------------------------------------------- */

/* A null value (not UTF-8, no memory) spoils the whole. */
static bool set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

static bool set_recipients(json_t *call, const struct ses_email *email)
{
    json_t *to = json_array();
    bool good = true;
    for (uint32_t i = 0; i < email->n_recipients; i++) {
        good &= json_array_append_new(to, json_string(email->recipients[i])) == 0;
    }
    json_t *destination = json_object();
    good &= set(destination, "ToAddresses", to);
    return set(call, "Destination", destination) && good;
}

static bool set_tags(json_t *call, const struct ses_email *email)
{
    json_t *tags = json_array();
    bool good = true;
    for (uint32_t i = 0; i < email->n_tags; i++) {
        const struct ses_tag *tag = &email->tags[i];
        good &= json_array_append_new(
                    tags, json_pack("{s:s, s:s}", "Name", tag->name, "Value", tag->value)) == 0;
    }
    return set(call, "EmailTags", tags) && good;
}

/* {..., "Content":{"Raw":{"Data":" - what follows is base64. */
static char *make_head(const struct ses_email *email)
{
    static const char content[] = ",\"Content\":{\"Raw\":{\"Data\":\"";
    json_t *call = json_object();
    bool good = set_recipients(call, email) && set_tags(call, email);
    if (email->mail_from[0]) {
        good &= set(call, "FromEmailAddress", json_string(email->mail_from));
    }
    if (email->configuration_set[0]) {
        good &= set(call, "ConfigurationSetName", json_string(email->configuration_set));
    }
    char *text = good ? json_dumps(call, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    size_t len = text ? strlen(text) : 0;
    char *head = text ? malloc(len + sizeof content) : NULL;
    if (head) {
        memcpy(head, text, len - 1); /* without the last brace */
        memcpy(head + len - 1, content, sizeof content);
    }
    free(text);
    json_decref(call);
    return head;
}

bool ses_payload_init(struct ses_payload *p, const struct ses_email *email)
{
    *p = (struct ses_payload){
        .head = make_head(email),
        .prefix = email->prefix,
        .body = email->body,
        .prefix_bytes = email->prefix_bytes,
        .body_bytes = email->body_bytes,
    };
    if (!p->head) {
        return false;
    }
    p->head_bytes = strlen(p->head);
    p->total_bytes = p->head_bytes + ses_base64_bytes(p->prefix_bytes + p->body_bytes) + TAIL_BYTES;
    return true;
}

void ses_payload_free(struct ses_payload *p)
{
    free(p->head);
    p->head = NULL;
}

void ses_payload_rewind(struct ses_payload *p)
{
    p->given_bytes = p->taken = 0;
}

/* ---- from front to end ------------------------------------------------------------------- */

/* The next bytes of the message, at most three, where it goes from prefix to body or ends. */
static size_t next_bytes(struct ses_payload *p, uint8_t bytes[3])
{
    size_t n = 0;
    while (n < 3 && p->taken < p->prefix_bytes + p->body_bytes) {
        bytes[n++] =
            p->taken < p->prefix_bytes ? p->prefix[p->taken] : p->body[p->taken - p->prefix_bytes];
        p->taken++;
    }
    return n;
}

/* EVP_EncodeBlock() writes a NUL behind its output, so a byte of room is left for it. */
static size_t encode(struct ses_payload *p, char *buf, size_t room)
{
    uint64_t left = p->prefix_bytes + p->body_bytes - p->taken;
    size_t n_groups = room > 4 ? (room - 1) / 4 : 0, n;
    uint8_t bytes[3];
    char four[5];
    if (p->taken >= p->prefix_bytes && left >= 3 && n_groups > 0) {
        n_groups = left / 3 < n_groups ? (size_t)(left / 3) : n_groups;
        (void)EVP_EncodeBlock((unsigned char *)buf, p->body + (p->taken - p->prefix_bytes),
                              (int)(n_groups * 3));
        p->taken += n_groups * 3;
        return n_groups * 4;
    }
    n = next_bytes(p, bytes);
    if (n == 0) {
        return 0;
    }
    (void)EVP_EncodeBlock((unsigned char *)four, bytes, (int)n);
    memcpy(buf, four, 4);
    return 4;
}

static size_t copy(const char *from, uint64_t at, size_t bytes, char *buf, size_t room)
{
    size_t n = bytes - (size_t)at < room ? bytes - (size_t)at : room;
    memcpy(buf, from + at, n);
    return n;
}

static size_t read_some(struct ses_payload *p, char *buf, size_t room)
{
    uint64_t tail_at = p->total_bytes - TAIL_BYTES;
    if (p->given_bytes < p->head_bytes) {
        return copy(p->head, p->given_bytes, p->head_bytes, buf, room);
    }
    if (p->given_bytes < tail_at) {
        return room < 4 ? 0 : encode(p, buf, room);
    }
    return copy(tail, p->given_bytes - tail_at, TAIL_BYTES, buf, room);
}

size_t ses_payload_read(struct ses_payload *p, char *buf, size_t room)
{
    size_t len = 0, n;
    while (len < room && p->given_bytes < p->total_bytes &&
           (n = read_some(p, buf + len, room - len)) > 0) {
        len += n;
        p->given_bytes += n;
    }
    return len;
}

void ses_payload_hash(struct ses_payload *p, char ret_hex[65])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[SHA256_DIGEST_LENGTH];
    unsigned int hash_bytes = sizeof hash;
    char chunk[16384];
    size_t n;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    ses_payload_rewind(p);
    while (good && (n = ses_payload_read(p, chunk, sizeof chunk)) > 0) {
        good = EVP_DigestUpdate(context, chunk, n) == 1;
    }
    if (!good || EVP_DigestFinal_ex(context, hash, &hash_bytes) != 1) {
        memset(hash, 0, sizeof hash); /* no memory: SES refuses it, and it is tried again */
    }
    EVP_MD_CTX_free(context);
    for (size_t i = 0; i < sizeof hash; i++) {
        ret_hex[2 * i] = digits[hash[i] >> 4];
        ret_hex[2 * i + 1] = digits[hash[i] & 15];
    }
    ret_hex[64] = '\0';
    ses_payload_rewind(p);
}
