/*
 * reply.h - what a reply says about whom: text first, enhanced code second, basic code last. The
 * rules are data (rules/replies.json); each must match something in the committed corpus.
 *
 * Pure; any thread. Bytes of the reply come from the network: any bytes are taken.
 */
#ifndef WIREPOST_STRATEGIES_REPLY_H
#define WIREPOST_STRATEGIES_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name, who is at fault */
#define REPLY_CLASS_MAP(X)                                                                         \
    X(OK, "nobody")                                                                                \
    X(RATE_CONN, "pace")                                                                           \
    X(RATE_PERCONN, "pace")                                                                        \
    X(RATE_RCPT, "one mailbox")                                                                    \
    X(REP_IP_TEMP, "endpoint")                                                                     \
    X(REP_IP_PERM, "endpoint")                                                                     \
    X(REP_DOM, "sender domain")                                                                    \
    X(CONTENT, "message")                                                                          \
    X(AUTH, "sender's DNS or keys")                                                                \
    X(BAD_RCPT, "list")                                                                            \
    X(INACTIVE, "list")                                                                            \
    X(FULL, "list")                                                                                \
    X(GREYLIST, "nobody")                                                                          \
    X(PROV_DOWN, "provider")                                                                       \
    X(RELAY_FAIL, "upstream")                                                                      \
    X(PROTO, "us")                                                                                 \
    X(UNKNOWN, "unknown")

enum reply_class {
#define X(name, fault) REPLY_##name,
    REPLY_CLASS_MAP(X)
#undef X
        REPLY_CLASSES
};
const char *reply_class_name(enum reply_class c);
const char *reply_class_fault(enum reply_class c);
/* False for an unknown name. */
bool reply_class_parse(const char *name, enum reply_class *ret_class);

struct reply_verdict {
    enum reply_class class;
    bool list;      /* the address as a whole is banned, or a block list is named */
    bool dnsbl;     /* a public block list is named */
    bool quota;     /* the relay's daily quota is used up */
    bool rate;      /* the relay's rate is exceeded */
    uint8_t open_h; /* least hours to stay away; 0: none given */
    uint16_t rule;  /* index of the rule + 1; 0: none matched */
    char code[24];  /* "421-4.7.28", "550", "" without a code */
};

/* Rules by the first four bytes of their first pattern; constant once made. */
#define REPLY_RULES_MAX   512
#define REPLY_BUCKET_BITS 10
struct reply_index {
    uint16_t head[1u << REPLY_BUCKET_BITS], next[REPLY_RULES_MAX];
};
void reply_index_init(struct reply_index *index);

/* Bytes beyond REPLY_BYTES_MAX are not looked at. */
#define REPLY_BYTES_MAX 512
void reply_classify(const struct reply_index *index, const char *text, size_t n_bytes,
                    struct reply_verdict *ret_verdict);

/* The verdict of a class that somebody else has found. */
struct reply_verdict reply_of_class(enum reply_class c);

/* How many rules there are. */
unsigned reply_n_rules(void);

/* REP, RATE and AUTH say nothing about a recipient: only these classes may suppress its address
 * (invariant I14). */
bool reply_blames_recipient(enum reply_class c);

#endif
