/*
 * outcome_class.c - outcomes as the strategies see them. A relay's own troubles (connection, TLS,
 * AUTH) are relay.c's business, which sees each connection once and not once for each message; what
 * was decided here, or has no reply to a final dot, says nothing about a path.
 */
#include "control/decisions.h"
#include "control/lanes.h"
#include "control/outcome_private.h"
#include "control/ses_api.h"

static bool is_said_by_receiver(const struct ending *e, const struct verdict *v)
{
    if (!e->has_slot || v->stage == OUTCOME_STAGE_LOCAL || v->stage == OUTCOME_STAGE_RESOLVE) {
        return false;
    }
    bool before_mail = v->stage < OUTCOME_STAGE_MAIL;
    return v->kind == OUTCOME_DELIVERED ||
           ((v->kind == OUTCOME_DEFERRED || v->kind == OUTCOME_BOUNCED) &&
            !(e->job->lane == LANE_RELAY && before_mail));
}

static bool is_by_ses(const struct ending *e)
{
    const struct ctl_config *config = &e->ctl->config;
    uint32_t route = e->job->lane == LANE_RELAY ? ctl_config_route(config, e->route) : UINT32_MAX;
    return route != UINT32_MAX && config->routes[route].type == CTL_ROUTE_SES;
}

void outcome_classify(const struct ending *e, struct verdict *v)
{
    v->has_class = is_said_by_receiver(e, v);
    if (!v->has_class) {
        return;
    }
    if (v->kind == OUTCOME_DELIVERED) {
        v->reply = reply_of_class(REPLY_OK);
    } else if (!is_by_ses(e) || !ses_classify(v->text, &v->reply)) {
        decisions_classify(e->ctl->decisions, v->code, v->enhanced, v->text, &v->reply);
    }
}

/* The connection to a relay, or our access to it, failed. */
static bool is_access(const char *stage)
{
    static const enum outcome_stage stages[] = {OUTCOME_STAGE_RESOLVE,  OUTCOME_STAGE_CONNECT,
                                                OUTCOME_STAGE_BANNER,   OUTCOME_STAGE_EHLO,
                                                OUTCOME_STAGE_STARTTLS, OUTCOME_STAGE_AUTH};
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        if (strcmp(outcome_stage_text(stages[i]), stage) == 0) {
            return true;
        }
    }
    return false;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* The attempt before was not the recipient's fault either: this time it waits. */
static bool was_moved_before(const char *last)
{
    json_t *object = last[0] ? json_loads(last, 0, NULL) : NULL;
    const char *class = text_of(object, "class"), *route = text_of(object, "route");
    bool moved =
        strcmp(class, reply_class_name(REPLY_REP_IP_PERM)) == 0 ||
        strcmp(class, reply_class_name(REPLY_RELAY_FAIL)) == 0 ||
        (route[0] && strcmp(route, "dedicated") != 0 && is_access(text_of(object, "stage")));
    json_decref(object);
    return moved;
}

static bool is_fault_of_relay(const struct ending *e, const struct verdict *v)
{
    return e->job->lane == LANE_RELAY && v->kind == OUTCOME_DEFERRED &&
           (is_access(outcome_stage_text(v->stage)) ||
            (v->has_class && v->reply.class == REPLY_RELAY_FAIL));
}

bool outcome_goes_elsewhere(const struct ending *e, const struct verdict *v, const char *last)
{
    bool of_address =
        v->has_class && v->kind == OUTCOME_BOUNCED && v->reply.class == REPLY_REP_IP_PERM;
    return e->job->planned && (of_address || is_fault_of_relay(e, v)) && !was_moved_before(last);
}

const char *outcome_path(const struct ending *e)
{
    return !e->has_slot || !e->job->planned ? ""
           : e->job->lane == LANE_RELAY     ? e->route
                                            : e->job->endpoint;
}

void outcome_feed(const struct ending *e)
{
    const struct strategy_key key = {e->sender, e->job->stream, e->job->provider};
    const char *path = outcome_path(e);
    for (uint32_t i = 0; i < e->n && e->job->planned; i++) {
        if (e->verdicts[i].has_class) {
            decisions_outcome(e->ctl->decisions, &key, path, &e->verdicts[i].reply, e->started_ms);
        }
    }
}
