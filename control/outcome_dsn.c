/*
 * outcome_dsn.c - the bounce message of a job that has permanent failures (RFC 3464; RFC 5321 6.1):
 * one for all of the job's, to the return path, from the null path, in the same atomic step as the
 * outcomes. A message from the null path bounces without one.
 *
 * NOTIFY decides who is reported (RFC 3461 4.1): failures unless it names others only. Who asked
 * for success is told "relayed" when the receiver does not offer DSN (5.2.2); otherwise that is its
 * duty.
 */
#include "control/outcome_private.h"

#include "control/dispatch.h"
#include "control/dsn.h"
#include "control/events.h"
#include "control/needs.h"

struct texts {
    char status[16], diagnostic[CHAN_TEXT_MAX + 32];
};

static void describe(const struct ending *e, const struct verdict *v, struct texts *texts,
                     struct dsn_recipient *rcpt)
{
    char enhanced[16] = "";
    if (v->enhanced[0] != 0) {
        (void)snprintf(enhanced, sizeof enhanced, "%u.%u.%u", v->enhanced[0], v->enhanced[1],
                       v->enhanced[2]);
    }
    if (v->expired) {
        (void)snprintf(texts->status, sizeof texts->status, "5.4.7");
    } else if (v->state == STORE_RCPT_DELIVERED) {
        (void)snprintf(texts->status, sizeof texts->status, "%s",
                       v->enhanced[0] == 2 ? enhanced : "2.0.0");
    } else {
        (void)snprintf(texts->status, sizeof texts->status, "%s",
                       v->enhanced[0] == 5 ? enhanced : "5.0.0");
    }
    if (v->code != 0) {
        (void)snprintf(texts->diagnostic, sizeof texts->diagnostic, "%u %s%s%s", v->code, enhanced,
                       enhanced[0] ? " " : "", v->text);
    } else {
        (void)snprintf(texts->diagnostic, sizeof texts->diagnostic, "%s", v->text);
    }
    *rcpt = (struct dsn_recipient){
        .address = v->address,
        .status = texts->status,
        .remote_mta = e->host[0] ? e->host : e->peer,
        .diagnostic = texts->diagnostic,
        .orcpt = v->orcpt,
        .relayed = v->state == STORE_RCPT_DELIVERED,
    };
}

static bool is_reported(const struct ending *e, const struct verdict *v)
{
    if (v->state == STORE_RCPT_BOUNCED) {
        return v->notify == 0 || v->notify & SMTP_NOTIFY_FAILURE;
    }
    return v->state == STORE_RCPT_DELIVERED && v->notify & SMTP_NOTIFY_SUCCESS && e->has_slot &&
           !(e->extensions & SMTP_EXT_DSN);
}

/* The text of the report, in wire form. */
static bool compose(struct ending *e, uint64_t id, const struct dsn_recipient *recipients,
                    uint32_t n)
{
    struct store_body body = {0};
    uint8_t *text = NULL;
    size_t len = 0;
    char error[256];
    if (store_body_read(e->ctl->store, e->job->message_id, &body)) {
        body.data = ctl_must(malloc(body.len + 1));
        body.stuff = NULL;
        body.n_stuff = 0;
        if (!store_body_read(e->ctl->store, e->job->message_id, &body)) {
            body.len = 0;
        }
    }
    const struct dsn_request request = {
        .id = id,
        .hostname = e->ctl->config.hostname,
        .to = e->mail_from,
        .unix_s = e->now_ms / 1000,
        .arrival_unix_s = e->accepted_ms / 1000,
        .recipients = recipients,
        .n_recipients = n,
        .envid = e->envid,
        .original = body.data,
        .original_len = body.len,
        .utf8 = e->dsn_to.utf8,
    };
    const struct wire_defaults defaults = {e->ctl->config.hostname, id, e->now_ms / 1000};
    bool ok = dsn_make(&request, &text, &len) &&
              wire_message_make(text, len, &defaults, &e->dsn_wire, error, sizeof error);
    free(text);
    free(body.data);
    return ok;
}

static uint32_t gather(const struct ending *e, struct texts *texts, struct dsn_recipient *list)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        if (is_reported(e, &e->verdicts[i])) {
            describe(e, &e->verdicts[i], &texts[n], &list[n]);
            n++;
        }
    }
    return n;
}

static char *dsn_event(const struct ending *e, uint64_t id)
{
    char text[EVENT_ID_TEXT];
    json_t *event = event_new("dsn", e->now_ms);
    (void)json_object_set_new(event, "id", json_string(event_id_text(id, text)));
    (void)json_object_set_new(event, "for", json_string(e->dsn_for));
    return event_text(event);
}

bool outcome_dsn_make(struct ending *e)
{
    struct texts texts[CHAN_RCPT_MAX];
    struct dsn_recipient recipients[CHAN_RCPT_MAX];
    char error[256];
    uint32_t n = gather(e, texts, recipients);
    if (n == 0 || e->silent || e->mail_from[0] == '\0') {
        return false;
    }
    uint64_t id = store_next_id(e->ctl->store);
    if (!address_parse(e->mail_from, strlen(e->mail_from), &e->dsn_to, error, sizeof error) ||
        !compose(e, id, recipients, n)) {
        ctl_log(CTL_LOG_ERROR, "a bounce message could not be made", "id=%016llx",
                (unsigned long long)e->job->message_id);
        return false;
    }
    (void)event_id_text(e->job->message_id, e->dsn_for);
    e->has_dsn = true;
    e->dsn_event = dsn_event(e, id);
    e->dsn_rcpt =
        (struct store_rcpt){.address = e->dsn_to.text, .domain = e->dsn_to.domain, .last = ""};
    e->dsn = (struct store_accept){
        .message =
            {
                .id = id,
                .accepted_ms = e->now_ms,
                .expires_ms = e->now_ms + (int64_t)e->ctl->config.delivery.bounce_expire_s * 1000,
                .sender = e->sender,
                .stream = "bounce",
                .mail_from = "",
                .needs = message_needs(&e->dsn_wire, e->dsn_to.utf8),
                .n_recipients = 1,
                .body_bytes = e->dsn_wire.len,
                .dsn_for = e->dsn_for,
            },
        .recipients = &e->dsn_rcpt,
        .body = e->dsn_wire.data,
        .stuff = e->dsn_wire.stuff,
        .n_stuff = e->dsn_wire.n_stuff,
        .event_json = e->dsn_event,
    };
    return true;
}

void outcome_dsn_queue(struct ending *e)
{
    if (!e->has_dsn) {
        return;
    }
    uint32_t sender = ctl_config_sender(&e->ctl->config, e->sender);
    dispatch_add_message(e->ctl, e->dsn.message.id,
                         sender != UINT32_MAX ? sender : e->ctl->config.n_senders, &e->dsn_rcpt, 1,
                         e->now_ms);
}

void outcome_dsn_free(struct ending *e)
{
    if (e->has_dsn) {
        wire_message_free(&e->dsn_wire);
        free(e->dsn_event);
    }
}
