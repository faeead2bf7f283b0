/*
 * tls_client.h - TLS 1.2 and 1.3 as a client, without I/O: OpenSSL between the bytes of a
 * connection and the bytes of a protocol above it (SMTP after STARTTLS, or from the beginning).
 *
 *     tls_context_new()       once per thread: trust, tickets, memory for output
 *     tls_client_init()       a handshake begins
 *     tls_client_input()      bytes came from the peer; then tls_client_next_event(), and
 *     tls_client_read()       until it returns 0: plaintext
 *     tls_client_write()      plaintext to send
 *     tls_client_output()     blocks of bytes to send, until it returns null; after each call above
 *     tls_client_close()      close_notify
 *     tls_client_free()
 *
 * Time comes in with the calls; randomness is OpenSSL's. There is no timer in here: how long a
 * handshake may take is for the protocol above to say. End of the connection: see
 * tls_client_eof().
 *
 * Memory. Output stands in blocks of a pool of the context, made at its start. A block belongs to
 * the caller from tls_client_output() until tls_block_release(), so TCP may send it by reference
 * again and again until it was acknowledged; `owner` in it is the caller's (an extent, say). When
 * blocks run short tls_client_write() takes nothing and tls_client_init() refuses; a reserve is
 * left for handshakes that run, and one that finds even that empty fails (counted).
 * OpenSSL allocates for itself; how much for an idle session tests/tls/test_tls_memory.c prints (15
 * kB with TLS 1.3, 13 kB with TLS 1.2 and OpenSSL 3.0.22). It keeps no records between calls.
 *
 * Policies and what they want of the peer:
 *     MAY      nothing (RFC 7435); whether to go on in clear is for the caller
 *     ENCRYPT  nothing
 *     DANE     its certificate matches a TLSA record (RFC 7672): usage 3, whatever its names and
 *              dates say, or usage 2 and a name of the list. Other usages (RFC 7672 3.1.3) and
 *              records that make no sense are unusable; when all are, it is as ENCRYPT (2.2), and
 *              the failure TLSA_INVALID is noted
 *     VERIFY   a chain to the trust store and a name of the list in its SAN (RFC 8461 4.1)
 * With `testing` what does not hold is noted, not enforced (RFC 8461 5, mode "testing").
 *
 * Tickets are kept per (source address, peer, policy with all its data), so a resumed session has
 * been verified in just the way that this one asks for; until two hours after the peer showed its
 * certificate. A TLS 1.3 ticket is used once (RFC 8446 C.4).
 */
#ifndef WIREPOST_TLS_CLIENT_H
#define WIREPOST_TLS_CLIENT_H

#include "dataplane/tls_failure.h"
#include "tcp/base.h"

#define TLS_BLOCK_BYTES 4032u /* of output in a block */
#define TLS_OWNER_WORDS 4u
#define TLS_NAME_MAX    256u /* with NUL */
#define TLS_REASON_MAX  96u

/* ---- context ----------------------------------------------------------------------------- */

struct tls_limits {
    uint32_t tickets_max; /* [4096] rounded up to a power of two */
    uint32_t blocks;      /* [1024] an eighth of them is the reserve */
};

struct tls_config {
    const char *ca_file; /* PEM, trusted for VERIFY; null: the system's bundle */
    struct tls_limits limits;
};

#define TLS_ERROR_MAP(X)                                                                           \
    X(OK, "no error")                                                                              \
    X(MEMORY, "out of memory")                                                                     \
    X(OPENSSL, "OpenSSL refused its settings")                                                     \
    X(TRUST, "the file of trusted certificates cannot be read")                                    \
    X(LIMIT, "no block is free")                                                                   \
    X(NAME, "not a host name that can be asked for")

enum tls_error {
#define X(name, text) TLS_E_##name,
    TLS_ERROR_MAP(X)
#undef X
};
const char *tls_error_text(enum tls_error error);

#define TLS_COUNTER_MAP(X)                                                                         \
    X(handshakes, "handshakes begun")                                                              \
    X(established, "handshakes that succeeded")                                                    \
    X(resumed, "of them, with a ticket")                                                           \
    X(verified, "of them, with the peer verified")                                                 \
    X(failed, "connections that failed, in the handshake or later")                                \
    X(tickets_stored, "tickets taken from peers")                                                  \
    X(tickets_dropped, "tickets dropped for newer ones")                                           \
    X(blocks_short, "times that no block was free")

struct tls_counters {
#define X(name, text) uint64_t name;
    TLS_COUNTER_MAP(X)
#undef X
};

struct tls_context;

/* One thread uses a context and its clients. TLS_E_OK, or *ret_context is untouched. */
enum tls_error tls_context_new(const struct tls_config *config, struct tls_context **ret_context);
/* All clients are freed and all blocks released by then. */
void tls_context_free(struct tls_context *context);
const struct tls_counters *tls_context_counters(const struct tls_context *context);
/* Blocks that are with no one now. */
uint32_t tls_context_blocks_free(const struct tls_context *context);

/* ---- client ------------------------------------------------------------------------------ */

enum tls_policy { TLS_POLICY_MAY, TLS_POLICY_ENCRYPT, TLS_POLICY_DANE, TLS_POLICY_VERIFY };

/* A TLSA record (RFC 6698 2.1), from a DNSSEC-secure answer. */
struct tls_tlsa {
    uint8_t usage, selector, matching_type;
    const uint8_t *data;
    uint32_t len;
};

/* Read by tls_client_init() only. Names are A-labels without a trailing dot. */
struct tls_request {
    enum tls_policy policy;
    bool testing;
    const char *server_name;  /* SNI: the MX host, or the TLSA base domain; null: none */
    const char *const *names; /* DANE usage 2, VERIFY: the certificate must have one of these ... */
    uint32_t n_names;         /* ... or server_name */
    const struct tls_tlsa *tlsa;
    uint32_t n_tlsa;
    struct ip_addr source, peer; /* for tickets */
    uint16_t peer_port;
    int64_t wall_s; /* CLOCK_REALTIME, to judge the dates of certificates */
};

struct tls_result {
    bool verified; /* the peer is who the policy wants; always false for MAY and ENCRYPT */
    bool resumed;
    enum tls_failure failure;    /* also without an end: `testing`, and unusable TLSA records */
    char reason[TLS_REASON_MAX]; /* for failure-reason-code; printable */
    const char *version,
        *cipher; /* "TLSv1.3", "TLS_AES_256_GCM_SHA384"; null before the handshake */
};

#define TLS_EV_ESTABLISHED 1u /* the handshake is done, see the result */
#define TLS_EV_CLOSED      2u /* the peer said close_notify: no more will come */
#define TLS_EV_FAILED      4u /* over; send the output (an alert), then end the connection */

struct tls_block {
    struct tls_block *next; /* the pool's, and the queue's */
    struct tls_context *context;
    uint64_t owner[TLS_OWNER_WORDS]; /* the caller's, while it has the block */
    uint32_t len;
    uint8_t bytes[TLS_BLOCK_BYTES];
};

struct tls_client; /* defined below, for embedding; no field is the caller's to write */

/* TLS_E_OK: the ClientHello waits in tls_client_output(). Otherwise nothing is to be freed. */
enum tls_error tls_client_init(struct tls_client *c, struct tls_context *context, uint64_t now_ns,
                               const struct tls_request *request);
/* Gives back what tls_client_output() has not handed out. Blocks that the caller has stay his. */
void tls_client_free(struct tls_client *c);

/* `data` must stay until tls_client_read() has returned 0; call that before the next input. */
void tls_client_input(struct tls_client *c, uint64_t now_ns, const uint8_t *data, uint32_t len);
/* Plaintext into buf; returns how much, 0 when there is none now (or the events say why). */
uint32_t tls_client_read(struct tls_client *c, uint64_t now_ns, uint8_t *buf, uint32_t size);
/* Bytes that tls_client_write() takes now: 0 before the handshake is done, after the end, and when
 * blocks are short (ask again when some were released). */
uint32_t tls_client_room(const struct tls_client *c);
/* One record of the bytes, or of as many as there is room for; returns how many. */
uint32_t tls_client_write(struct tls_client *c, uint64_t now_ns, const uint8_t *data, uint32_t len);
/* The next block to send, in order, now the caller's; null: none. */
struct tls_block *tls_client_output(struct tls_client *c);
void tls_block_release(struct tls_block *block);

/* The connection ended without close_notify. In the handshake that is a failure of it; later on the
 * protocol above knows whether something is missing. */
void tls_client_eof(struct tls_client *c);
/* Says close_notify. Not in one segment with QUIT: some servers end the connection when they see
 * it, before they have answered. */
void tls_client_close(struct tls_client *c);

/* Events gathered since the last call, as TLS_EV_* bits; 0: none. */
uint32_t tls_client_next_event(struct tls_client *c);
const struct tls_result *tls_client_result(const struct tls_client *c);

/* ------------------------------------------------------------------------------------------ */

#define TLS_KEY_BYTES 16u

#define TLS_STATE_MAP(X)                                                                           \
    X(HANDSHAKE, "in the handshake")                                                               \
    X(OPEN, "open")                                                                                \
    X(CLOSED, "closed by the peer")                                                                \
    X(FAILED, "failed")

enum tls_state {
#define X(name, text) TLS_STATE_##name,
    TLS_STATE_MAP(X)
#undef X
};

struct tls_client {
    enum tls_state state; /* written by enter() only */
    uint32_t events;
    struct tls_context *context;
    struct ssl_st *ssl;
    uint64_t now_ns; /* of the call that runs */
    const uint8_t *in;
    uint32_t in_len;
    uint32_t n_queued; /* blocks */
    struct tls_block *out_first, *out_last;
    bool short_of_blocks;       /* OpenSSL had something to say, and there was no block for it */
    bool wants_verified;        /* the policy looks at the certificate ... */
    bool enforces;              /* ... and a bad one ends the handshake */
    uint8_t key[TLS_KEY_BYTES]; /* of its tickets */
    uint64_t due_ns;            /* they are good until then after a full handshake ... */
    uint64_t offered_due_ns;    /* ... and until then when the one that was offered was taken */
    struct tls_result result;
};

#endif
