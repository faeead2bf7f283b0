/*
 * sink.h - wirepost-sink, a receiver that misbehaves as a script says. See README.md for the
 * language of scripts.
 *
 *     sink_script.c   script files
 *     sink_session.c  a connection: bytes to lines, actions one after the other, time between them
 *     sink_smtp.c     what a good server says where the script says nothing
 *     sink_tls.c      STARTTLS
 *     sink_main.c     listeners, the log, the end
 *
 * A session plays one list of actions at a time. What the client sends meanwhile waits unread in
 * `input`, so a reply never overtakes another. A session without input and without TLS costs what
 * its handles cost: the tarpit mode holds very many.
 */
#ifndef WIREPOST_TESTS_SINK_H
#define WIREPOST_TESTS_SINK_H

#include "tcp/base.h"

#include <openssl/ssl.h>
#include <uv.h>

#define SINK_EVENT_MAP(X)                                                                          \
    X(CONNECT, "connect")                                                                          \
    X(EHLO, "ehlo")                                                                                \
    X(HELO, "helo")                                                                                \
    X(STARTTLS, "starttls")                                                                        \
    X(SECURED, "secured") /* the handshake is done */                                              \
    X(MAIL, "mail")                                                                                \
    X(RCPT, "rcpt")                                                                                \
    X(DATA, "data")                                                                                \
    X(BODY, "body") /* the first line of a message */                                              \
    X(DOT, "dot")                                                                                  \
    X(BDAT, "bdat") /* a chunk is in */                                                            \
    X(RSET, "rset")                                                                                \
    X(QUIT, "quit")                                                                                \
    X(OTHER, "other")

enum sink_event {
#define X(name, text) SINK_##name,
    SINK_EVENT_MAP(X)
#undef X
        SINK_EVENTS
};

#define SINK_ACTION_MAP(X)                                                                         \
    X(SAY, "say")       /* a line */                                                               \
    X(RAW, "raw")       /* bytes, with \r \n \0 \\ */                                              \
    X(MANY, "many")     /* N times these bytes */                                                  \
    X(DRIP, "drip")     /* a line, a byte each MS */                                               \
    X(WAIT, "wait")     /* MS */                                                                   \
    X(CLOSE, "close")   /* FIN */                                                                  \
    X(RESET, "reset")   /* RST */                                                                  \
    X(SILENT, "silent") /* nothing more, whatever comes */                                         \
    X(STOP, "stop")     /* reads nothing more: the window shuts */                                 \
    X(TLS, "tls")       /* the handshake begins */

enum sink_action_kind {
#define X(name, text) SINK_DO_##name,
    SINK_ACTION_MAP(X)
#undef X
        SINK_ACTIONS
};

struct sink_action {
    struct sink_action *next;
    enum sink_action_kind kind;
    uint32_t number; /* MS or N */
    char *bytes;
    size_t len;
};

struct sink_rule {
    struct sink_rule *next;
    enum sink_event event;
    uint32_t nth;        /* of that event in the connection; 0: each */
    uint32_t connection; /* of the script; 0: each */
    struct sink_action *actions;
};

struct sink_script {
    struct sink_script *next;
    char name[64];
    struct sink_rule *rules;
    char offer[512]; /* keywords of EHLO, with blanks between; "": those of a good server */
    bool offers;     /* offer was said */
    char cert[32];   /* of --cert; "": no STARTTLS */
    int tls_max;     /* 0: all versions */
    uint32_t rcvbuf; /* of the socket; 0: the system's */
    bool tarpit;     /* says its banner and nothing more, as slowly as can be */
    uint32_t n_connections;
    SSL_CTX *tls;
};

/* Null with the reason in ret_error. */
struct sink_script *sink_script_read(const char *path, char *ret_error, size_t error_bytes);
void sink_script_free(struct sink_script *script);
/* The actions of the first rule that fits, or null: as a good server. */
const struct sink_action *sink_script_find(const struct sink_script *script, enum sink_event event,
                                           uint32_t nth, uint32_t connection);

struct sink {
    uv_loop_t *loop;
    struct sink_script *scripts;
    uint64_t sessions, sessions_most, accepted;
    bool quiet;
};

enum sink_expect { SINK_COMMAND, SINK_IN_BODY, SINK_IN_CHUNK };

struct sink_session {
    uv_tcp_t tcp;
    uv_timer_t timer;
    struct sink *sink;
    struct sink_script *script;
    uint32_t number; /* connection of the script */
    uint32_t handles;
    uint64_t began_ms;
    const struct sink_action *action; /* that is played */
    struct sink_action own;           /* of a good server: its reply */
    size_t dripped;
    bool waiting, silent, stopped, closing, eof, playing;
    enum sink_expect expect;
    enum sink_event event; /* that is answered */
    uint16_t counts[SINK_EVENTS];
    uint8_t *input;
    size_t input_len, input_cap;
    uint64_t chunk_left, bytes;
    bool chunk_last, accepted, body_begun;
    SSL *ssl;
};

/* ---- sink_session.c ---- */
void sink_session_begin(struct sink *sink, struct sink_script *script, uv_stream_t *listener);
void sink_send(struct sink_session *s, const void *bytes, size_t len);
/* Bytes of SMTP, decrypted. */
void sink_plain(struct sink_session *s, const uint8_t *bytes, size_t len);
/* An event of the dialogue: the script's actions, or those of a good server. */
void sink_happens(struct sink_session *s, enum sink_event event, const char *line);
void sink_log(const struct sink_session *s, const char *what, const char *line);

/* ---- sink_smtp.c ---- */
/* A command line, without its end. */
void sink_command(struct sink_session *s, const char *line);
/* What a good server says. */
const char *sink_reply(struct sink_session *s, enum sink_event event, char *buf, size_t buf_bytes);
/* A line of a message, with its end. */
void sink_body_line(struct sink_session *s, const uint8_t *line, size_t len);
/* The script or we have said this to the event. */
void sink_said(struct sink_session *s, const char *reply);

/* ---- sink_tls.c ---- */
/* Null with a word on stderr. */
SSL_CTX *sink_tls_context(const char *cert, const char *key, int version_max);
void sink_tls_begin(struct sink_session *s);
void sink_tls_input(struct sink_session *s, const uint8_t *bytes, size_t len);
void sink_tls_send(struct sink_session *s, const void *bytes, size_t len);

#endif
