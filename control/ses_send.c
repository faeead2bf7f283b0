/*
 * ses_send.c - a job by SES: one call of SendEmail after the other until each recipient has its
 * outcome. See ses.h.
 *
 *     next_call ──hash on a thread──> on_hashed ──ask──> on_answer ──settle──> next_call · finish
 *
 * Invariant: the slot says DOT_SENT before the last byte of a call is given to libcurl. What a call
 * before it decided stays in the slot's results.
 */
#include "control/ses_private.h"

#define BYTES_PER_S_MIN 65536u /* of an upload, beyond the time for an answer */

struct ses_send {
    struct ses_send *next;
    struct ses_route *ses;
    uint32_t slot;
    uint32_t first, n; /* recipients of the call; those before first are settled */
    bool alone;        /* from now on one recipient a call */
    struct ses_payload payload;
    uv_work_t work;
    bool hashing;
    char hash[65];
    uint64_t sent_bytes;
};

static void next_call(struct ses_send *s);

static struct chan_slot *slot_of(const struct ses_send *s)
{
    return relay_slot(s->ses->route, s->slot);
}

static void send_free(struct ses_send *s)
{
    struct ses_route *ses = s->ses;
    for (struct ses_send **at = &ses->sends; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    ses->route->n_sessions--;
    ses_payload_free(&s->payload);
    free(s);
}

void ses_sends_free(struct ses_route *ses)
{
    while (ses->sends) {
        send_free(ses->sends);
    }
}

/* ---- outcomes ---------------------------------------------------------------------------- */

static void put_results(struct ses_send *s, uint32_t first, uint32_t n,
                        const struct ses_verdict *verdict)
{
    struct chan_slot *slot = slot_of(s);
    for (uint32_t i = first; i < first + n; i++) {
        struct chan_result *result = &slot->results[i];
        *result = (struct chan_result){.kind = (uint8_t)verdict->kind,
                                       .stage = (uint8_t)verdict->stage,
                                       .code = verdict->code};
        memcpy(result->enhanced, verdict->enhanced, sizeof result->enhanced);
        (void)snprintf(result->text, sizeof result->text, "%s", verdict->text);
    }
}

static void note_connection(struct ses_send *s, const struct https_answer *answer)
{
    struct chan_slot *slot = slot_of(s);
    struct ip_addr peer;
    if (ip_addr_parse(answer->peer, &peer)) {
        slot->peer = peer;
        slot->peer_port = s->ses->route->config->port;
    }
    slot->tls_version = answer->tls;
    slot->tls_verified = answer->tls != 0;
}

/* All recipients are settled. */
static void finish(struct ses_send *s)
{
    struct relay_route *route = s->ses->route;
    uint32_t slot = s->slot;
    slot_of(s)->bytes_sent = s->sent_bytes;
    send_free(s);
    route->sent++;
    relay_finish(route, slot);
}

/* The same for all that are not settled yet. */
static void finish_rest(struct ses_send *s, const struct ses_verdict *verdict)
{
    put_results(s, s->first, slot_of(s)->n_recipients - s->first, verdict);
    finish(s);
}

static void settled(struct ses_send *s, const struct ses_verdict *verdict)
{
    put_results(s, s->first, s->n, verdict);
    s->first += s->n;
    if (s->first < slot_of(s)->n_recipients) {
        next_call(s);
    } else {
        finish(s);
    }
}

/* ---- what an answer means ---------------------------------------------------------------- */

/* Nothing was taken; the job is first in line again. */
static void too_fast(struct ses_send *s, const struct ses_verdict *verdict)
{
    struct relay_route *route = s->ses->route;
    struct ctl *ctl = route->relays->ctl;
    uint32_t slot = s->slot;
    s->ses->throttled++;
    relay_rate_cut(&route->rate, uv_now(ctl->loop), ctl_random(ctl));
    if (s->first > 0) {
        finish_rest(s, verdict);
        return;
    }
    chan_lane_set_state(&route->relays->lane, slot, CHAN_STARTED); /* the body was not taken */
    send_free(s);
    relay_unread(route, slot);
}

/* No answer, after the whole was handed over. What was not tried yet is not doubtful. */
static void uncertain(struct ses_send *s, const struct ses_verdict *verdict)
{
    struct relay_route *route = s->ses->route;
    char why[SMTP_TEXT_MAX];
    struct ses_verdict rest = *verdict;
    rest.kind = OUTCOME_DEFERRED;
    (void)snprintf(why, sizeof why, "%.250s", verdict->text);
    put_results(s, s->first, s->n, verdict);
    s->first += s->n;
    finish_rest(s, &rest);
    relay_route_bad(route, why);
}

static void settle(struct ses_send *s, const struct ses_verdict *verdict)
{
    struct relay_route *route = s->ses->route;
    bool failed = verdict->act == SES_FAILED || verdict->act == SES_UNCERTAIN;
    if (!failed && verdict->act != SES_STOP) {
        relay_route_good(route);
    }
    switch (verdict->act) {
    case SES_ACCEPTED:
        settled(s, verdict);
        break;
    case SES_REJECTED:
    case SES_LATER:
        if (s->n > 1 && verdict->each) {
            s->alone = true;
            next_call(s);
        } else {
            settled(s, verdict);
        }
        break;
    case SES_TOO_FAST:
        too_fast(s, verdict);
        break;
    case SES_STOP:
        finish_rest(s, verdict);
        relay_route_stop(route, verdict->text, verdict->stop_s * INT64_C(1000));
        break;
    case SES_FAILED:
        if (verdict->stage == OUTCOME_STAGE_AUTH) {
            aws_source_refresh(s->ses->source);
        }
        finish_rest(s, verdict);
        relay_route_bad(route, verdict->text);
        break;
    case SES_UNCERTAIN:
        uncertain(s, verdict);
        break;
    }
}

/* No answer: whether it may have been taken depends on the last byte. */
static void no_answer(const struct ses_send *s, const struct https_answer *answer,
                      struct ses_verdict *ret)
{
    bool whole = s->payload.given_bytes == s->payload.total_bytes;
    *ret = (struct ses_verdict){
        .act = whole ? SES_UNCERTAIN : SES_FAILED,
        .kind = whole ? OUTCOME_DOUBTFUL : OUTCOME_DEFERRED,
        .stage = whole                         ? OUTCOME_STAGE_DOT
                 : answer->result == HTTPS_TLS ? OUTCOME_STAGE_STARTTLS
                 : s->payload.given_bytes > 0  ? OUTCOME_STAGE_BODY
                                               : OUTCOME_STAGE_CONNECT,
    };
    (void)snprintf(ret->text, sizeof ret->text, "%s: %.180s",
                   whole ? "no answer after the whole message" : "not sent", answer->text);
}

static void on_answer(void *user, const struct https_answer *answer)
{
    struct ses_send *s = user;
    struct relay_route *route = s->ses->route;
    struct ses_verdict verdict;
    s->sent_bytes += s->payload.given_bytes;
    note_connection(s, answer);
    if (answer->result == HTTPS_OK) {
        char type[96];
        https_answer_header(answer, "x-amzn-ErrorType", type, sizeof type);
        ses_answer_read(answer->status, type, answer->body, answer->bytes, &verdict);
    } else {
        no_answer(s, answer, &verdict);
    }
    settle(s, &verdict);
    relay_run(route);
}

/* ---- a call ------------------------------------------------------------------------------ */

static const char *string_of(const struct ses_send *s, uint32_t offset)
{
    const uint8_t *arena = s->ses->route->relays->lane.map.arena;
    return (const char *)arena + slot_of(s)->strings.offset + offset;
}

static bool fill_payload(struct ses_send *s)
{
    const struct ctl_ses *config = s->ses->config;
    const struct chan_slot *slot = slot_of(s);
    const uint8_t *arena = s->ses->route->relays->lane.map.arena;
    const char *recipients[CHAN_RCPT_MAX];
    struct ses_tag tags[CTL_SES_TAGS_MAX + 1];
    char id[17];
    (void)snprintf(id, sizeof id, "%016llx", (unsigned long long)slot->message_id);
    tags[0] = (struct ses_tag){SES_ID_TAG, id};
    for (uint32_t i = 0; i < config->n_tags; i++) {
        tags[i + 1] = (struct ses_tag){config->tags[i].name, config->tags[i].value};
    }
    for (uint32_t i = 0; i < s->n; i++) {
        recipients[i] = string_of(s, slot->recipients[s->first + i]);
    }
    const struct ses_email email = {
        .mail_from = string_of(s, slot->mail_from),
        .recipients = recipients,
        .n_recipients = s->n,
        .configuration_set = config->configuration_set,
        .tags = tags,
        .n_tags = config->n_tags + 1,
        .prefix = arena + slot->prefix.offset,
        .prefix_bytes = slot->prefix.len,
        .body = arena + slot->body.offset,
        .body_bytes = slot->body.len,
    };
    ses_payload_free(&s->payload);
    return ses_payload_init(&s->payload, &email);
}

/* The last byte is on its way when this returns it. */
static size_t on_make(void *user, char *buf, size_t room)
{
    struct ses_send *s = user;
    size_t n = ses_payload_read(&s->payload, buf, room);
    if (s->payload.given_bytes == s->payload.total_bytes) {
        chan_lane_set_state(&s->ses->route->relays->lane, s->slot, CHAN_DOT_SENT);
    }
    return n;
}

static void ask(struct ses_send *s)
{
    struct relay_route *route = s->ses->route;
    struct ses_request request;
    const char *why;
    if (!ses_request_fill(s->ses, SES_SEND_PATH, s->hash, &request, &why)) {
        struct ses_verdict verdict = {
            .act = SES_FAILED, .kind = OUTCOME_DEFERRED, .stage = OUTCOME_STAGE_AUTH};
        (void)snprintf(verdict.text, sizeof verdict.text, "no credentials: %.200s", why);
        settle(s, &verdict);
        relay_run(route);
        return;
    }
    request.https.body = on_make;
    request.https.post_bytes = s->payload.total_bytes;
    request.https.content_type = "application/json";
    request.https.timeout_s += (uint32_t)(s->payload.total_bytes / BYTES_PER_S_MIN);
    https_ask(s->ses->route->relays->ctl->https, &request.https, on_answer, s);
}

static void on_hash(uv_work_t *work)
{
    struct ses_send *s = work->data;
    ses_payload_hash(&s->payload, s->hash);
}

static void on_hashed(uv_work_t *work, int status)
{
    struct ses_send *s = work->data;
    (void)status; /* it is never cancelled */
    s->hashing = false;
    if (!s->ses->closing) {
        ask(s);
    }
}

/* As many recipients as may go in one second. */
static uint32_t call_size(const struct ses_send *s)
{
    uint64_t most = s->ses->route->rate.rate_milli / 1000;
    uint32_t left = slot_of(s)->n_recipients - s->first;
    most = s->alone || most == 0 ? 1 : most < SES_RCPT_MAX ? most : SES_RCPT_MAX;
    return left < most ? left : (uint32_t)most;
}

static void next_call(struct ses_send *s)
{
    s->n = call_size(s);
    if (!fill_payload(s)) {
        const struct ses_verdict verdict = {.kind = OUTCOME_BOUNCED,
                                            .stage = OUTCOME_STAGE_LOCAL,
                                            .code = 553,
                                            .enhanced = {5, 6, 7},
                                            .text = "an address is not UTF-8"};
        finish_rest(s, &verdict);
        return;
    }
    s->hashing = true;
    s->work.data = s;
    (void)uv_queue_work(s->ses->route->relays->ctl->loop, &s->work, on_hash, on_hashed);
}

void ses_send_begin(struct ses_route *ses, uint32_t slot)
{
    struct ses_send *s = ctl_must(calloc(1, sizeof *s));
    struct timespec now;
    s->ses = ses;
    s->slot = slot;
    s->next = ses->sends;
    ses->sends = s;
    ses->route->n_sessions++;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    slot_of(s)->started_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
    chan_lane_set_state(&ses->route->relays->lane, slot, CHAN_STARTED);
    next_call(s);
}
