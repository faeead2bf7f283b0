/*
 * sim.h - a lane without a wire: the session manager over one utcp, a scripted SMTP server over
 * another, frames carried between them, time moved by hand, and a real channel file.
 *
 * Each address of the server follows rules of its own. The server is strict about what it receives:
 * a command out of order fails the test.
 */
#ifndef WIREPOST_TESTS_DATAPLANE_SIM_H
#define WIREPOST_TESTS_DATAPLANE_SIM_H

#include "dataplane/dp_session.h"
#include "tests/dataplane/channel_file.h"
#include "tests/tls/pki.h"

#define SIM_SERVERS  4u  /* 192.0.2.1 .. 192.0.2.4 */
#define SIM_SOURCES  4u  /* 192.0.2.10 .. 192.0.2.13 */
#define SIM_CONNS    64u /* of all servers */
#define SIM_MAILS    512u
#define SIM_LINE_MAX 1024u

/* How a server behaves; null or 0: as a good one. A reply of "" is none at all. */
struct sim_rules {
    bool refuse;                                          /* nobody listens: RST */
    bool lost;                                            /* no frame to or from it arrives */
    const char *banner, *ehlo, *mail, *rcpt, *data, *dot; /* replies with CRLF */
    uint32_t hang_up_at_mail; /* n: closes at the n-th MAIL of a connection, without a reply */
    uint32_t bytes_per_s;     /* reads so slowly */
    const char *early;        /* a reply in the middle of the body, after the first line */
    uint32_t hang_up_at_dot;  /* n: closes at the n-th final dot, without a reply */
    bool mute_at_dot;         /* says nothing to the first final dot, and stays */
    bool reset_at_dot;        /* RST in its place */
    bool lost_from_dot;       /* the frame with the final dot is lost, and all after it */
    const struct pki_cert
        *cert;            /* TLS after STARTTLS, with this certificate; it must be in .ehlo too */
    const char *starttls; /* another reply to STARTTLS, or bytes behind the reply */
    bool tls_stalls;      /* says 220 and then nothing */
    bool tls_old;         /* TLS 1.1 at most */
};

enum sim_expect { SIM_EHLO, SIM_MAIL, SIM_RCPT, SIM_BODY, SIM_OVER };

struct sim_conn {
    uint32_t conn; /* of utcp; 0: unused */
    uint32_t server;
    enum sim_expect expect;
    uint32_t mails, dots;
    bool mute; /* says nothing any more */
    bool mail_taken;
    bool accepted; /* a recipient of this transaction */
    char line[SIM_LINE_MAX];
    uint32_t line_len;
    uint8_t *body;
    size_t body_len, body_cap;
    SSL *ssl; /* null: in clear */
};

/* A message that came in whole, dots unstuffed. */
struct sim_mail {
    uint32_t server;
    uint8_t *body;
    size_t len;
};

struct sim {
    struct channel_file file;
    struct utcp *client, *server;
    struct chan_counters counters;
    struct dp_sessions *sessions;
    struct dp_sources sources;
    struct sim_rules rules[SIM_SERVERS];
    uint64_t now_ns;
    struct sim_conn conns[SIM_CONNS];
    struct sim_conn *reset; /* to be reset */
    struct sim_mail mails[SIM_MAILS];
    uint32_t n_mails, accepted, quits;
    uint32_t tls_resumed, tls_full; /* handshakes that servers finished */
    char sni[256];                  /* of the last one */
    SSL_CTX *tls_server[SIM_SERVERS];
    struct tls_context *tls; /* the lane's; null: it has none */
    char lines[4096];        /* commands that servers got, joined */
    uint32_t open_now, open_most;
    uint64_t read_ns; /* when slow servers read next */
    uint32_t drop_percent;
    unsigned seed;
    bool watch_dot; /* at each final dot, slot 0 must be DOT_SENT */
};

struct sim_options {
    uint32_t n_slots;      /* [16] */
    uint32_t sessions_max; /* [8] */
    uint32_t connections;  /* [96] of the lane's TCP */
    uint32_t copy_blocks;  /* [TCP's default] */
    const char *ca_file;   /* trusted by the lane; with it the lane has TLS */
};

void sim_make(struct sim *s, const struct sim_options *options);
/* Ends everything; the test fails when a pool of TCP is not full again. */
void sim_end(struct sim *s);

/* Lets ms milliseconds pass, with all that happens in them. */
void sim_run(struct sim *s, uint32_t ms);

/* Runs until the slot is DONE, at most ms; the test fails when it does not become so. The result is
 * copied out, the body in the arena is overwritten and the slot freed, as control may do then. */
struct sim_result {
    struct chan_slot slot;
} sim_wait(struct sim *s, uint32_t slot, uint32_t ms);

#endif
