/*
 * dp_session_evidence.c - what a connection of our own TCP knows goes into the slot of its job: the
 * path, how TLS went, how it ended, and whether the end of the message arrived. See
 * dp_session_private.h, outcome.h.
 */
#include "dataplane/dp_session_private.h"

/* ---- the path ---------------------------------------------------------------------------- */

void dp_evidence_begin(struct dp_session *s, uint64_t now_ns)
{
    struct utcp_info info;
    s->dot_end = 0;
    s->held.final_dot = false;
    if (s->messages > 0 && utcp_info(s->owner->config.tcp, now_ns, s->conn, &info)) {
        s->retransmissions = info.retransmissions;
        s->zero_window_ns = info.zero_window_ns;
    }
}

void dp_evidence_dot(struct dp_session *s, uint64_t now_ns)
{
    struct utcp_info info;
    if (utcp_info(s->owner->config.tcp, now_ns, s->conn, &info)) {
        s->dot_end = info.bytes_queued_total;
    }
}

void dp_evidence_end(struct dp_session *s, enum outcome_end end)
{
    if (s->end == OUTCOME_END_OPEN) {
        s->end = end;
    }
}

enum outcome_end dp_evidence_of_close(enum utcp_close_reason reason)
{
    switch (reason) {
    case UTCP_CLOSE_REFUSED:
    case UTCP_CLOSE_RESET:
        return OUTCOME_END_RST;
    case UTCP_CLOSE_TIMEOUT:
        return OUTCOME_END_SILENCE;
    case UTCP_CLOSE_UNREACHABLE:
        return OUTCOME_END_UNREACHABLE;
    case UTCP_CLOSE_NORMAL:
        return OUTCOME_END_FIN;
    case UTCP_CLOSE_NONE:
    case UTCP_CLOSE_LOCAL:
        break;
    }
    return OUTCOME_END_OPEN;
}

/* Of an end of the message that the engine has said and that was not answered. What TCP did not
 * take, or took and never put on the wire, nobody has seen. */
static enum outcome_arrival arrival_of(const struct dp_session *s, const struct utcp_info *info)
{
    if (s->dot_end == 0 || info->bytes_sent_total < s->dot_end) {
        return OUTCOME_ARRIVAL_NEVER;
    }
    return info->bytes_acked_total >= s->dot_end ? OUTCOME_ARRIVAL_UNANSWERED
                                                 : OUTCOME_ARRIVAL_UNKNOWN;
}

/* As the slot has it. */
static uint8_t tls_version(const struct dp_session *s)
{
    const char *version = s->tls_on ? tls_client_result(&s->tls)->version : NULL;
    return !version ? 0 : strcmp(version, "TLSv1.3") == 0 ? 3 : 2;
}

void dp_evidence_note(struct dp_session *s, uint64_t now_ns, struct dp_job *job)
{
    struct chan_slot *slot = dp_job_slot(s->owner, job);
    struct utcp_info info;
    bool talked = s->state != DP_SESSION_CONNECTING;
    bool known = utcp_info(s->owner->config.tcp, now_ns, s->conn, &info);
    slot->peer = s->peer;
    slot->peer_port = s->peer_port;
    slot->target_used = job->target;
    slot->tls_version = tls_version(s);
    slot->tls_verified = s->tls_on && tls_client_result(&s->tls)->verified;
    slot->extensions = talked ? smtp_client_extensions(&s->client) : 0;
    slot->end = (uint8_t)s->end;
    job->arrival = OUTCOME_ARRIVAL_NONE;
    if (known) {
        slot->syn_rtt_us = info.syn_rtt_us;
        slot->rtt_us = info.rtt_us_smoothed;
        slot->retransmissions = info.retransmissions - s->retransmissions;
        slot->zero_window_ms = (uint32_t)((info.zero_window_ns - s->zero_window_ns) / NS_PER_MS);
    }
    if (known && talked && smtp_client_dot_sent(&s->client)) {
        job->arrival = arrival_of(s, &info);
    }
}

/* ---- TLS --------------------------------------------------------------------------------- */

/* STARTTLS was not offered, or refused, where the policy has an opinion about that. */
static bool is_missing(const struct dp_session *s)
{
    return !smtp_client_is_secure(&s->client) && s->tls_policy != CHAN_TLS_NONE &&
           s->tls_policy != CHAN_TLS_MAY;
}

/* TEST, and DANE with unusable records: noted, not enforced. */
static enum tls_failure silent_failure(const struct dp_session *s, const char **reason)
{
    const struct tls_result *result = s->tls_on ? tls_client_result(&s->tls) : NULL;
    if (result && result->failure != TLS_FAILURE_NONE) {
        *reason = result->reason;
        return result->failure;
    }
    if (is_missing(s)) {
        *reason = "STARTTLS is not offered, or is refused";
        return TLS_FAILURE_NOT_SUPPORTED;
    }
    return TLS_FAILURE_NONE;
}

void dp_evidence_tls(struct dp_session *s, enum tls_failure failure, const char *reason)
{
    struct dp_job *job = dp_session_job(s);
    if (!job || s->tls_noted) {
        return;
    }
    struct chan_slot *slot = dp_job_slot(s->owner, job);
    if (failure == TLS_FAILURE_NONE) {
        failure = silent_failure(s, &reason);
    }
    s->tls_noted = true;
    struct chan_tls_result *result = &slot->tls_results[job->target];
    if (failure == TLS_FAILURE_NONE) {
        failure = result->failure; /* of the connection before, which this one is the way out of */
    }
    *result = (struct chan_tls_result){
        .tried = 1,
        .version = smtp_client_is_secure(&s->client) ? tls_version(s) : 0,
        .verified = s->tls_on && tls_client_result(&s->tls)->verified,
        .failure = (uint8_t)failure,
    };
    if (reason[0] != '\0') {
        (void)snprintf(slot->tls_reason, sizeof slot->tls_reason, "%s", reason);
    }
}
