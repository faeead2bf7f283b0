/*
 * tls_private.h - what the files of the TLS engine share:
 *
 *     tls_context.c  what a thread's clients share: OpenSSL's settings, trust, counters
 *     tls_client.c   one connection: handshake, plaintext, its end
 *     tls_policy.c   what a policy wants of the peer, and how it fails in the words of TLS-RPT
 *     tls_ticket.c   tickets to resume sessions with
 *     tls_block.c    the pool of output blocks, and OpenSSL's view of the bytes: a BIO
 */
#ifndef WIREPOST_TLS_PRIVATE_H
#define WIREPOST_TLS_PRIVATE_H

#include "dataplane/tls_client.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define TLS_QUEUE_MAX 16u /* blocks of a client that wait for tls_client_output() */

struct tls_ticket {
    uint8_t key[TLS_KEY_BYTES];
    SSL_SESSION *session; /* null: the place is free */
    uint64_t due_ns;      /* not used after that */
};

struct tls_tickets {
    struct tls_ticket *places;
    uint32_t n_buckets; /* a power of two */
};

struct tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *bio;
    EVP_MD_CTX *digest; /* for keys of tickets */
    struct tls_tickets tickets;
    struct tls_block *blocks; /* all of them */
    struct tls_block *free_first;
    uint32_t n_blocks, n_free, n_reserve;
    struct tls_counters counters;
};

/* ---- tls_block.c ------------------------------------------------------------------------- */

bool tls_blocks_init(struct tls_context *context, uint32_t n);
BIO_METHOD *tls_bio_method(void);
/* The connection's bytes as OpenSSL sees them; null: out of memory. */
BIO *tls_bio_new(struct tls_client *c);

/* ---- tls_ticket.c ------------------------------------------------------------------------ */

bool tls_tickets_init(struct tls_tickets *t, uint32_t n);
void tls_tickets_free(struct tls_tickets *t);
/* Keeps the session, whose reference it takes over, in the place of an old one if need be. */
void tls_ticket_put(struct tls_context *context, const uint8_t *key, SSL_SESSION *session,
                    uint64_t due_ns);
/* A session for the key, with its reference, or null. */
SSL_SESSION *tls_ticket_take(struct tls_context *context, uint64_t now_ns, const uint8_t *key,
                             uint64_t *ret_due_ns);
/* The key of all tickets that a session for this request may be resumed with. */
bool tls_ticket_key(struct tls_context *context, const struct tls_request *request,
                    uint8_t ret_key[TLS_KEY_BYTES]);

/* ---- tls_policy.c ------------------------------------------------------------------------ */

/* OpenSSL's settings for the request; c->ssl is new. */
enum tls_error tls_policy_apply(struct tls_client *c, const struct tls_request *request);
/* Called by OpenSSL with the peer's chain. */
int tls_policy_verify(X509_STORE_CTX *store, void *arg);
/* Notes what the peer's certificate is worth, after the handshake. */
void tls_policy_judge(struct tls_client *c);
/* Notes why OpenSSL failed, by its queue of errors. */
void tls_policy_note_error(struct tls_client *c);
void tls_policy_note(struct tls_client *c, enum tls_failure failure, const char *reason);

/* ---- tls_client.c ------------------------------------------------------------------------ */

/* Called by OpenSSL with a new ticket. */
int tls_client_on_ticket(SSL *ssl, SSL_SESSION *session);

#endif
