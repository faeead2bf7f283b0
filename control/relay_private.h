/* relay_private.h - between relay.c (routes and their lines), relay_health.c, relay_session.c
 * (connections), relay_auth.c, relay_tls.c, and ses*.c. */
#ifndef WIREPOST_RELAY_PRIVATE_H
#define WIREPOST_RELAY_PRIVATE_H

#include "control/lanes.h"
#include "control/relay.h"
#include "control/relay_rate.h"
#include "dataplane/chan_lane.h"
#include "dataplane/smtp_client.h"

#define RELAY_NO_SLOT UINT32_MAX

/*
 *     CONNECTING ──connected──> BUSY ──transaction done──> IDLE ──next job──> BUSY
 *         │                       │                          │ idle_ms, messages_per_connection
 *         └─ no address left      │ closed                   v
 *            v                    v                       QUITTING
 *         CLOSING <───────────────┴──────────────────────────┘
 */
enum relay_session_state {
    RELAY_CONNECTING,
    RELAY_BUSY,
    RELAY_IDLE,
    RELAY_QUITTING,
    RELAY_CLOSING
};

struct relay_session {
    struct relay_session *next; /* of its route */
    struct relay_route *route;
    enum relay_session_state state;
    uint32_t slot;      /* of the job it carries; RELAY_NO_SLOT */
    relay_test_fn test; /* it only looks whether the relay answers */
    void *test_user;
    uint32_t messages;
    uint32_t target; /* address that is tried, or was taken */
    struct dns_answer addresses;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    uint32_t handles;   /* of uv that are not closed yet */
    bool writing, torn; /* torn: bytes of a transaction that has ended are still to be written */
    struct smtp_client client;
    char *token; /* for XOAUTH2, while client may say it; null: none */
    bool tls_on; /* tls stands between client and tcp */
    struct tls_client tls;
    struct tls_block *block; /* being written */
    struct smtp_piece held;  /* what is left of a piece that TLS took a part of; len 0: nothing */
    struct smtp_transaction transaction;
    struct smtp_recipient recipients[CHAN_RCPT_MAX];
    uint8_t command[SMTP_COMMAND_MAX];
    uint64_t started_ns, bytes_sent;
    char chunk[8192];
};

struct relay_route {
    struct relays *relays;
    const struct ctl_route *config;
    struct relay_session *sessions;
    uint32_t n_sessions, n_idle;
    uint32_t *line; /* ring of waiting slots; as long as there are slots */
    uint32_t line_head, n_line;
    bool paused, resolving;
    uint32_t failures;     /* in a row */
    uint32_t downs;        /* in a row */
    int64_t down_until_ms; /* loop time; 0: it is not down */
    bool probing;
    bool stopped;          /* down because it said that it takes nothing for a while */
    struct ses_route *ses; /* of type "ses": it carries the jobs instead of sessions */
    struct relay_rate rate;
    uv_timer_t pace;        /* until the next job may go */
    int64_t clear_until_ms; /* loop time: TLS broke under "may", so it is left out until then */
    uint64_t sent, failed, tls_broken;
    char last[SMTP_TEXT_MAX]; /* failure */
};

struct relays {
    struct ctl *ctl;
    struct chan_lane lane; /* our own lane side of LANE_RELAY */
    bool ready;            /* what an earlier process left is safe */
    struct relay_route *routes;
    uint32_t n;
    struct tls_context *tls; /* null: no route has TLS */
    uv_timer_t tick;         /* until ready; and for routes that come back */
};

/* ---- relay.c, relay_health.c ---- */

/* Takes the next waiting job off the line, at the route's pace: false: none, or not yet, and then
 * relay_run() is called when it is time. */
bool relay_next(struct relay_route *route, uint32_t *ret_slot);
/* The same at any pace, when it is not to be sent. */
bool relay_pop(struct relay_route *route, uint32_t *ret_slot);
/* Where it is. Null: not known yet (relay_run() is called), or failed. */
const struct dns_answer *relay_resolved(struct relay_route *route);
/* The job could not be carried by this connection: first in line again. */
void relay_unread(struct relay_route *route, uint32_t slot);
/* Starts connections for what waits. */
void relay_run(struct relay_route *route);
/* It answered a transaction · it failed before any, which ends the job in `slot` as deferred. */
void relay_route_good(struct relay_route *route);
void relay_route_bad(struct relay_route *route, const char *why);
/* It takes nothing for a while and said so. · It seems to work again: it is probed at once. */
void relay_route_stop(struct relay_route *route, const char *why, int64_t for_ms);
void relay_route_look_again(struct relay_route *route);
/* The job's outcome is in the slot. */
void relay_finish(struct relay_route *route, uint32_t slot);
/* A handshake failed where clear text is good enough: the next connections go without. */
void relay_route_clear(struct relay_route *route, const char *why);
enum smtp_tls relay_route_tls(const struct relay_route *route);
/* All recipients of the job get the same outcome. */
void relay_fail(struct relay_route *route, uint32_t slot, enum outcome_kind kind,
                enum outcome_stage stage, const char *text);

struct chan_slot *relay_slot(struct relay_route *route, uint32_t slot);

/* ---- relay_session.c ---- */

/* A new connection for the job; addresses: where the relay is. */
void relay_session_open(struct relay_route *route, const struct dns_answer *addresses,
                        uint32_t slot);
void relay_session_test(struct relay_route *route, const struct dns_answer *addresses,
                        relay_test_fn done, void *user);
/* An idle one takes the job. */
void relay_session_reuse(struct relay_session *session, uint32_t slot);
void relay_session_close(struct relay_session *session);
/* The engine's next piece; a command is copied to memory of the session. False: none now. */
bool relay_session_next_piece(struct relay_session *session, struct smtp_piece *ret_piece);
/* Only one write is under way at a time; the bytes stay where they are until then. */
void relay_session_write(struct relay_session *session, const uint8_t *data, uint32_t len);
uint64_t relay_now_ns(void);

/* ---- relay_auth.c ---- */

void relay_hmac_md5(const char *key, const uint8_t *message, size_t len, uint8_t ret_mac[16]);
/* The route's token as its file has it now; null when it has no file. False with a sentence. */
bool relay_token_read(const struct ctl_route *config, char **ret_token, char *ret_why,
                      size_t why_bytes);
void relay_token_free(char *token);

/* ---- relay_tls.c ---- */

/* The handshake begins: the engine wants TLS now. */
void relay_tls_begin(struct relay_session *session);
/* Tells the engine what became of the handshake, and of TLS. */
void relay_tls_events(struct relay_session *session);
void relay_tls_input(struct relay_session *session, const uint8_t *data, uint32_t len);
/* True when something was taken or sent. */
bool relay_tls_pump(struct relay_session *session);

#endif
