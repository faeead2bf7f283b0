/*
 * smtp_client.h - an SMTP client session (RFC 5321) without I/O: one TCP connection to one server,
 * any number of transactions after each other.
 *
 * Bytes, time and the job are parameters. The caller (a lane over utcp, or a kernel socket) does:
 *
 *     smtp_client_init()        the connection is established
 *     smtp_client_configure()   what else the session shall do: TLS, AUTH, BDAT; may be left out
 *     smtp_client_start()       a transaction (MAIL..DOT) to carry out; one at a time
 *     smtp_client_input()       bytes came from the server (smtp_client_eof() when it closed)
 *     smtp_client_output()      fetch the next piece to send, until it returns false
 *     smtp_client_deadline_ns() when smtp_client_on_deadline() wants to be called
 *     smtp_client_next_event()  what happened
 *
 * TLS is not in here. SMTP_EV_STARTTLS says that the caller must put a TLS engine between this one
 * and the connection; smtp_client_tls_done() or smtp_client_tls_failed() says how that went.
 *
 * Ownership: the strings, the results and the body of a transaction belong to the caller and stay
 * unchanged from smtp_client_start() until SMTP_EV_TRANSACTION_DONE or SMTP_EV_CLOSED. No memory is
 * allocated; the struct holds all, and a stopped session needs no clean-up.
 *
 * Safety: no bytes from the server make a recipient "delivered" but a 2xx reply to our own final
 * dot while no reply is out of step. Replies are sanitised before they reach a result.
 */
#ifndef WIREPOST_SMTP_CLIENT_H
#define WIREPOST_SMTP_CLIENT_H

#include "dataplane/outcome.h"
#include "tcp/base.h"

#define SMTP_TEXT_MAX        256u  /* sanitised reply text kept, with NUL */
#define SMTP_NAME_MAX        256u  /* host name with NUL */
#define SMTP_PATH_MAX        320u  /* RFC 5321 4.5.3.1.3: 256, and room for UTF-8 */
#define SMTP_LINE_MAX        2048u /* longest reply line kept; longer lines are a protocol error */
#define SMTP_REPLY_LINES_MAX 128u
#define SMTP_OUT_MAX         4096u /* unanswered command bytes at most (RFC 2920 3.1 deadlock rule) */
#define SMTP_COMMAND_MAX     1024u /* bytes of a piece of commands; the longest one fits */
#define SMTP_ROOM_MIN        512u
#define SMTP_CHUNK_MAX       1048576u /* bytes of a BDAT chunk */
#define SMTP_CREDENTIAL_MAX  160u     /* bytes of a user name or a password, with NUL */
#define SMTP_TOKEN_MAX       4096u    /* bytes of a bearer token, with NUL */
#define SMTP_ENVID_MAX       100u     /* of its xtext (RFC 3461 4.4) */
#define SMTP_ORCPT_MAX       500u     /* of its xtext (RFC 3461 4.2) */

/* RFC 5321 4.5.3.2. Zero takes the default in brackets (seconds there, milliseconds here). */
struct smtp_timeouts {
    uint32_t banner_ms; /* [300 s] */
    uint32_t ehlo_ms;   /* [300 s] */
    uint32_t mail_ms;   /* [300 s] */
    uint32_t rcpt_ms;   /* [300 s] */
    uint32_t data_ms;   /* [120 s] for 354 */
    uint32_t block_ms;  /* [180 s] without any progress of the body (smtp_client_progress()) */
    uint32_t dot_ms;    /* [600 s] */
    uint32_t rset_ms;   /* [20 s] */
    uint32_t quit_ms;   /* [5 s] */

    uint32_t starttls_ms; /* [60 s] for the reply to STARTTLS, and again for the handshake */
    uint32_t auth_ms;     /* [300 s] for each reply */
    /* [500] a message that goes more slowly than this, all in all, is timed out too: a server that
     * takes a byte now and then does not hold the session for ever */
    uint32_t bytes_per_s_min;
};

/* What a server may announce. */
#define SMTP_EXT_PIPELINING 1u    /* RFC 2920 */
#define SMTP_EXT_SIZE       2u    /* RFC 1870 */
#define SMTP_EXT_8BITMIME   4u    /* RFC 6152 */
#define SMTP_EXT_SMTPUTF8   8u    /* RFC 6531 */
#define SMTP_EXT_ENHANCED   16u   /* RFC 2034 */
#define SMTP_EXT_CHUNKING   32u   /* RFC 3030 */
#define SMTP_EXT_STARTTLS   64u   /* RFC 3207 */
#define SMTP_EXT_DSN        128u  /* RFC 3461 */
#define SMTP_EXT_REQUIRETLS 256u  /* RFC 8689 */
#define SMTP_EXT_AUTH_PLAIN 512u  /* RFC 4954, RFC 4616 */
#define SMTP_EXT_AUTH_LOGIN 1024u /* its old and widespread sister without a standard */
#define SMTP_EXT_AUTH_CRAM  2048u /* CRAM-MD5: RFC 2195 */
#define SMTP_EXT_AUTH_OAUTH 4096u /* XOAUTH2, as Google and Microsoft describe it */

enum smtp_tls {
    SMTP_TLS_NONE,     /* never asked for */
    SMTP_TLS_MAY,      /* STARTTLS where it is offered; in clear where it is not or refused */
    SMTP_TLS_MUST,     /* STARTTLS, or nothing is said (RFC 7672, 8461, 8689) */
    SMTP_TLS_IMPLICIT, /* before the greeting (RFC 8314 3.3) */
};

/* HMAC-MD5 (RFC 2104) of a message, for CRAM-MD5: the engine has no hash of its own. */
typedef void (*smtp_hmac_md5_fn)(const char *key, const uint8_t *message, size_t len,
                                 uint8_t ret_mac[16]);

/* Zero is a session in clear with DATA. */
struct smtp_options {
    enum smtp_tls tls;
    uint32_t avoid;       /* SMTP_EXT_* not to be used though offered: known to be broken there */
    bool chunking;        /* BDAT in place of DATA where it is offered */
    uint32_t probe_ms;    /* RSET first when the session was idle for longer; 0: never */
    const char *username; /* AUTH, only over verified TLS; null: none; by reference */
    const char *password;
    const char *token;         /* in place of the password: a bearer token for XOAUTH2 */
    smtp_hmac_md5_fn hmac_md5; /* null: no CRAM-MD5 */
};

/* The reply behind a result. code 0: no reply (timeout, connection lost, our own decision). */
struct smtp_reply {
    uint16_t code;            /* 200..599, or 0 */
    uint8_t enhanced[3];      /* class is 0 when the reply had none (RFC 3463; RFC 2034 4) */
    uint8_t stage;            /* enum outcome_stage */
    char text[SMTP_TEXT_MAX]; /* first line's text and more lines joined by " / ", printable */
};

/* RFC 3461 4.1. Nothing: the parameter is not sent. */
#define SMTP_NOTIFY_NEVER   1u /* stands alone */
#define SMTP_NOTIFY_SUCCESS 2u
#define SMTP_NOTIFY_FAILURE 4u
#define SMTP_NOTIFY_DELAY   8u

struct smtp_recipient {
    const char *address;     /* in: checked mailbox, without angle brackets */
    const char *orcpt;       /* in: "rfc822;address" or "utf-8;address", not encoded; null: none */
    uint32_t notify;         /* in: SMTP_NOTIFY_* */
    enum outcome_kind kind;  /* out */
    struct smtp_reply reply; /* out */
};

struct smtp_body {
    const uint8_t *prefix; /* header fields made for this route, CRLF lines; may be null */
    uint32_t prefix_len;
    const uint8_t *data; /* wire form: CRLF only, ends with CRLF, not dot-stuffed */
    uint64_t len;
    const uint32_t *stuff; /* ascending offsets in data of dots that begin a line */
    uint32_t n_stuff;
};

#define SMTP_NEED_8BITMIME   1u /* body has bytes above 127 (RFC 6152) */
#define SMTP_NEED_SMTPUTF8   2u /* an address or a header has (RFC 6531) */
#define SMTP_NEED_REQUIRETLS 4u /* verified TLS here, and on from there (RFC 8689) */

enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS }; /* RFC 3461 4.3 */

struct smtp_transaction {
    const char *mail_from; /* "" is the null return path */
    struct smtp_recipient *recipients;
    uint32_t n_recipients; /* >= 1 */
    struct smtp_body body;
    uint32_t needs;    /* SMTP_NEED_* */
    enum smtp_ret ret; /* DSN parameters go out where DSN is offered */
    const char *envid; /* printable ASCII, not encoded; null: none */
};

/* A piece of output: bytes of our commands (valid until the next call of any session on this
 * thread), or body bytes, which stand in transaction.body.data or .prefix for as long as the
 * transaction runs. */
enum smtp_piece_kind { SMTP_PIECE_COMMAND, SMTP_PIECE_BODY, SMTP_PIECE_PREFIX };
struct smtp_piece {
    enum smtp_piece_kind kind;
    const uint8_t *data;
    uint32_t len;
    uint64_t offset; /* BODY, PREFIX: offset of data in it */
    bool push;       /* last piece of a batch: nothing more to send until an answer comes */
    bool final_dot;  /* ends the message (dot, or last byte of BDAT): doubtful from here on */
};

#define SMTP_EV_READY            1u /* greeting and EHLO done: a transaction may start */
#define SMTP_EV_TRANSACTION_DONE 2u /* results are filled in */
#define SMTP_EV_CLOSED           4u /* the session is over: close the connection; see close_reply */
#define SMTP_EV_STARTTLS         8u /* begin the handshake now; nothing is said until it is done */

struct smtp_client; /* defined below, for embedding; no field is the caller's to write */

/* ehlo: our name (FQDN or address literal), kept by reference. */
void smtp_client_init(struct smtp_client *c, uint64_t now_ns, const char *ehlo,
                      const struct smtp_timeouts *timeouts);

/* Right after smtp_client_init(). The user name and password have less than SMTP_CREDENTIAL_MAX
 * bytes and no control characters. */
void smtp_client_configure(struct smtp_client *c, uint64_t now_ns,
                           const struct smtp_options *options);

/* Starts a transaction; allowed before SMTP_EV_READY (it waits) and after SMTP_EV_TRANSACTION_DONE.
 * False when the session cannot take one (busy, quitting, closed) or its envelope must not be said
 * (control characters, a path too long, DSN parameters out of their grammar): nothing was changed.
 */
bool smtp_client_start(struct smtp_client *c, uint64_t now_ns, struct smtp_transaction *t);

/* What smtp_client_start() wants of an envelope. */
bool smtp_transaction_valid(const struct smtp_transaction *t);

void smtp_client_input(struct smtp_client *c, uint64_t now_ns, const uint8_t *data, uint32_t len);
/* The connection ended (FIN, RST, time-out of TCP): `why` is kept as the text of the outcome. */
void smtp_client_eof(struct smtp_client *c, uint64_t now_ns, const char *why);

/* After SMTP_EV_STARTTLS. `verified`: the server's name is proven, by DANE or by a certificate that
 * a policy or the user named; credentials and REQUIRETLS want that. */
void smtp_client_tls_done(struct smtp_client *c, uint64_t now_ns, bool verified);
/* The handshake failed, or the first record after it did (a TLS 1.3 server refuses us only then):
 * the session ends with stage STARTTLS. Later on it is as smtp_client_eof(). */
void smtp_client_tls_failed(struct smtp_client *c, uint64_t now_ns, const char *why);

/* Next piece; of the message at most `room` bytes (room >= SMTP_ROOM_MIN), of commands at most
 * SMTP_COMMAND_MAX. False: nothing to send now. */
bool smtp_client_output(struct smtp_client *c, uint64_t now_ns, uint32_t room,
                        struct smtp_piece *ret_piece);
/* The peer's TCP acknowledged more of the body: the block timer starts again. */
void smtp_client_progress(struct smtp_client *c, uint64_t now_ns);

/* Ends the session politely: QUIT when idle; during a transaction after it. */
void smtp_client_quit(struct smtp_client *c, uint64_t now_ns);

uint64_t smtp_client_deadline_ns(const struct smtp_client *c);
void smtp_client_on_deadline(struct smtp_client *c, uint64_t now_ns);

/* Events gathered since the last call, as SMTP_EV_* bits; 0: none. */
uint32_t smtp_client_next_event(struct smtp_client *c);

bool smtp_client_idle(const struct smtp_client *c);     /* ready and no transaction */
bool smtp_client_dot_sent(const struct smtp_client *c); /* of the running transaction */
/* True when the session broke before any reply to MAIL of the running transaction: the server may
 * not be at fault on a reused connection; try again on a fresh one. */
bool smtp_client_untouched(const struct smtp_client *c);
/* The last transaction ended before MAIL because this server does not offer what it needs (SIZE,
 * 8BITMIME, SMTPUTF8, REQUIRETLS): another host of the site may (reply code 0, kind BOUNCED). */
bool smtp_client_lacked(const struct smtp_client *c);
/* SMTP_EXT_* in use: offered, and not avoided. */
uint32_t smtp_client_extensions(const struct smtp_client *c);
bool smtp_client_is_secure(const struct smtp_client *c); /* TLS is on */
/* The session ended because of a breach of protocol: do not use PIPELINING there for a while. */
bool smtp_client_protocol_error(const struct smtp_client *c);
const char *smtp_client_state_text(const struct smtp_client *c);
/* Why the session ended: stage, code and text; meaningful after SMTP_EV_CLOSED. */
const struct smtp_reply *smtp_client_close_reply(const struct smtp_client *c);
/* Replies in which a line ended with LF alone: tolerated, and a sign of a home-made server. */
uint32_t smtp_client_bare_lf_count(const struct smtp_client *c);

#include "dataplane/smtp_client_struct.h"

#endif
