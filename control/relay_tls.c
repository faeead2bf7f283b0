/*
 * relay_tls.c - TLS between the SMTP engine and the socket of a relay's connection: see
 * relay_session.c.
 *
 * Pieces of the engine become records; records go out block by block, one write at a time. What TLS
 * did not take of a piece is held until there is room.
 */
#include "control/relay_private.h"

/* Pieces become records, and records go out block by block. */
bool relay_tls_pump(struct relay_session *s)
{
    bool went_on = false;
    while (tls_client_room(&s->tls) > 0 &&
           (s->held.len > 0 || relay_session_next_piece(s, &s->held))) {
        uint32_t taken = tls_client_write(&s->tls, relay_now_ns(), s->held.data, s->held.len);
        s->held.data += taken;
        s->held.len -= taken;
        went_on |= taken > 0;
        if (taken == 0) {
            break;
        }
    }
    if ((s->block = tls_client_output(&s->tls)) != NULL) {
        relay_session_write(s, s->block->bytes, s->block->len);
        return true;
    }
    return went_on;
}

void relay_tls_begin(struct relay_session *s)
{
    const struct ctl_route *config = s->route->config;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const struct tls_request request = {
        .policy = config->policy,
        .server_name = config->host[0] == '[' ? NULL : config->host,
        .peer = s->addresses.targets[s->target].addr,
        .peer_port = config->port,
        .wall_s = now.tv_sec,
    };
    enum tls_error error =
        tls_client_init(&s->tls, s->route->relays->tls, relay_now_ns(), &request);
    if (error != TLS_E_OK) {
        smtp_client_tls_failed(&s->client, relay_now_ns(), tls_error_text(error));
        return;
    }
    s->tls_on = true;
}

void relay_tls_events(struct relay_session *s)
{
    uint32_t events = tls_client_next_event(&s->tls);
    const struct tls_result *result = tls_client_result(&s->tls);
    if (events & TLS_EV_ESTABLISHED) {
        smtp_client_tls_done(&s->client, relay_now_ns(), result->verified);
    }
    if (events & TLS_EV_FAILED) {
        char why[SMTP_TEXT_MAX];
        (void)snprintf(why, sizeof why, "TLS: %s: %s", tls_failure_text(result->failure),
                       result->reason);
        if (s->route->config->tls == SMTP_TLS_MAY) {
            relay_route_clear(s->route, why);
        }
        smtp_client_tls_failed(&s->client, relay_now_ns(), why);
    } else if (events & TLS_EV_CLOSED) {
        smtp_client_eof(&s->client, relay_now_ns(), "the server ended TLS");
    }
}

void relay_tls_input(struct relay_session *s, const uint8_t *data, uint32_t len)
{
    uint8_t plain[4096];
    uint32_t n;
    tls_client_input(&s->tls, relay_now_ns(), data, len);
    relay_tls_events(s); /* established comes before the first plaintext */
    while ((n = tls_client_read(&s->tls, relay_now_ns(), plain, sizeof plain)) > 0) {
        smtp_client_input(&s->client, relay_now_ns(), plain, n);
    }
    relay_tls_events(s);
}
