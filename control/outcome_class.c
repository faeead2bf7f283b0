/*
 * outcome_class.c - outcomes as the strategies see them. A relay's own troubles (connection, TLS,
 * AUTH) are relay.c's business, which sees each connection once and not once for each message; what
 * was decided here, or has no reply to a final dot, says nothing about a path.
 */
#include "control/decisions.h"
#include "control/lanes.h"
#include "control/outcome_private.h"

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

void outcome_classify(const struct ending *e, struct verdict *v)
{
    v->has_class = is_said_by_receiver(e, v);
    if (!v->has_class) {
        return;
    }
    if (v->kind == OUTCOME_DELIVERED) {
        v->reply = reply_of_class(REPLY_OK);
    } else {
        decisions_classify(e->ctl->decisions, v->code, v->enhanced, v->text, &v->reply);
    }
}

static bool was_blocked_before(const char *last)
{
    json_t *object = last[0] ? json_loads(last, 0, NULL) : NULL;
    const char *class = json_string_value(json_object_get(object, "class"));
    bool blocked = class && strcmp(class, reply_class_name(REPLY_REP_IP_PERM)) == 0;
    json_decref(object);
    return blocked;
}

bool outcome_goes_elsewhere(const struct ending *e, const struct verdict *v, const char *last)
{
    return v->has_class && v->kind == OUTCOME_BOUNCED && v->reply.class == REPLY_REP_IP_PERM &&
           e->job->planned && !was_blocked_before(last);
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
