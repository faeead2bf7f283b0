/*
 * smtp_client_struct.h - struct smtp_client, for embedding. Included by smtp_client.h only; no
 * field is for anyone but smtp_*.c.
 */
#ifndef WIREPOST_SMTP_CLIENT_STRUCT_H
#define WIREPOST_SMTP_CLIENT_STRUCT_H

#define SMTP_MS_NEVER 0u

/* A state is named for what is expected from the server next.
 * (name, text, stage of a failure in it, timeout in milliseconds where t is the timeouts) */
#define SMTP_STATE_MAP(X)                                                                          \
    X(BANNER, "waiting for the greeting", BANNER, t->banner_ms)                                    \
    X(EHLO, "waiting for the reply to EHLO", EHLO, t->ehlo_ms)                                     \
    X(HELO, "waiting for the reply to HELO", EHLO, t->ehlo_ms)                                     \
    X(STARTTLS, "waiting for the reply to STARTTLS", STARTTLS, t->starttls_ms)                     \
    X(TLS, "waiting for the TLS handshake", STARTTLS, t->starttls_ms)                              \
    X(AUTH, "waiting for the reply to AUTH", AUTH, t->auth_ms)                                     \
    X(AUTH_USER, "waiting for the reply to the user name", AUTH, t->auth_ms)                       \
    X(AUTH_ANSWER, "waiting for the reply to the answer of AUTH", AUTH, t->auth_ms)                \
    X(AUTH_PASSWORD, "waiting for the reply to the password", AUTH, t->auth_ms)                    \
    X(READY, "idle", NONE, SMTP_MS_NEVER)                                                          \
    X(RSET, "waiting for the reply to RSET", RSET, t->rset_ms)                                     \
    X(MAIL, "waiting for the reply to MAIL", MAIL, t->mail_ms)                                     \
    X(RCPT, "waiting for the reply to RCPT", RCPT, t->rcpt_ms)                                     \
    X(DATA, "waiting for the reply to DATA", DATA, t->data_ms)                                     \
    X(BODY, "sending the message", BODY, t->block_ms)                                              \
    X(CHUNK, "waiting for the reply to BDAT", BODY, t->block_ms)                                   \
    X(DOT, "waiting for the reply to the final dot", DOT, t->dot_ms)                               \
    X(LONE_DOT, "waiting for the reply to an empty message", DOT, t->dot_ms)                       \
    X(QUIT, "waiting for the reply to QUIT", QUIT, t->quit_ms)                                     \
    X(CLOSED, "closed", NONE, SMTP_MS_NEVER)

enum smtp_state {
#define X(name, text, stage, timeout_ms) SMTP_STATE_##name,
    SMTP_STATE_MAP(X)
#undef X
};

/* Where the next byte of a reply line belongs (RFC 5321 4.2.1). */
enum smtp_read_phase { SMTP_PHASE_CODE, SMTP_PHASE_SEPARATOR, SMTP_PHASE_BARE_CR, SMTP_PHASE_TEXT };

/* A reply on its way in. Nothing of it is buffered but its sanitised text. */
struct smtp_reader {
    struct smtp_reply reply; /* of the lines so far */
    uint32_t reply_bytes;
    uint16_t line_bytes; /* of the line, so far */
    uint16_t line_code;
    uint16_t text_len;
    uint16_t line_from; /* where the line begins in the text, with the separator ... */
    uint16_t line_at;   /* ... and without it */
    uint8_t n_lines;    /* complete ones */
    uint8_t phase;      /* enum smtp_read_phase */
    bool last;          /* this line ends the reply */
    bool cr;            /* the byte before was CR */
    bool bare_lf;       /* a line ended with LF alone */
};

/* What the server announced. */
struct smtp_extensions {
    uint32_t flags;      /* SMTP_EXT_* */
    uint64_t size_bytes; /* limit of a message; 0: none announced */
};

struct smtp_client {
    enum smtp_state state; /* written by smtp_enter() only */
    uint32_t events;
    uint64_t deadline_ns;
    const char *ehlo;
    struct smtp_timeouts timeouts;
    struct smtp_extensions extensions;

    uint64_t idle_since_ns;
    struct smtp_options options;

    struct smtp_transaction *transaction; /* running or waiting for READY; null: none */
    uint32_t needs;                       /* SMTP_NEED_*, with what its addresses need */
    uint32_t next_command;                /* to send: 0 MAIL, 1..n RCPT, n + 1 DATA */
    uint32_t next_rcpt;                   /* to be answered: recipient index */
    uint32_t n_accepted;                  /* recipients with 2xx */
    uint32_t n_unanswered;                /* commands sent without a reply yet */
    uint32_t unanswered_bytes;            /* of MAIL, RCPT, DATA */
    uint32_t prefix_sent, next_stuff;
    uint64_t body_sent;
    uint64_t body_due_ns; /* the message must have gone out by then */
    uint64_t chunk_end;   /* BDAT: bytes of the message, prefix included, before its end */

    uint16_t auth_given;  /* XOAUTH2: bytes of its message that are said */
    uint8_t auth_mac[16]; /* CRAM-MD5: the answer */

    bool said;          /* the one command of this state is out */
    bool early;         /* the reply coming in began while no command was unanswered */
    bool mail_answered; /* of the running or the last transaction, as the next four */
    bool mail_refused;
    bool dot_sent;
    bool chunked;    /* BDAT, not DATA */
    bool lacked;     /* the server does not offer what it needs */
    bool rset_first; /* the last transaction did not end with a reply to its dot */
    bool quit_next;  /* no other transaction: QUIT */
    bool refused;    /* close_reply is what the server refused the session with */
    bool secure;     /* TLS is on ... */
    bool verified;   /* ... and the server is the one that it should be */
    bool protocol_error;
    uint32_t n_bare_lf;

    struct smtp_reader reader;
    struct smtp_reply close_reply;
};

#endif
