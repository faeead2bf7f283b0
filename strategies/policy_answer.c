/* policy_answer.c - decisions and records as lines. */
#include "strategies/policy.h"

#include <string.h>

void policy_answer_plan(struct policy *policy, uint64_t now_ms, const struct pj_node *id,
                        const struct strategy_split *split, struct policy_text *out)
{
    char evidence[192];

    policy_put_text(out, "{\"t\":");
    policy_put_ms(out, now_ms);
    policy_put_text(out, ",\"id\":");
    if (id == NULL)
        policy_put_text(out, "null");
    else if (id->type == PJ_STRING) /* with its quotes, as it came */
        policy_put(out, id->at - 1, id->n_bytes + 2u);
    else
        policy_put(out, id->at, id->n_bytes);
    policy_put_text(out, ",\"split\":[");
    for (uint32_t i = 0; i < split->n_parts; i++) {
        policy_put_text(out, i == 0 ? "{\"path\":" : ",{\"path\":");
        policy_put_string(out, split->part[i].path);
        policy_put_text(out, ",\"n\":");
        policy_put_u64(out, split->part[i].n);
        policy_put_text(out, "}");
    }
    policy_put_text(out, "],\"held\":");
    policy_put_u64(out, split->n_held);
    policy_put_text(out, ",\"retry_at\":");
    if (split->n_held == 0)
        policy_put_text(out, "null");
    else
        policy_put_ms(out, split->retry_ms);
    policy_put_text(out, ",\"reason\":");
    policy_put_string(out, strategy_cause_name(split->cause));
    policy_put_text(out, ",\"evidence\":");
    (void)strategy_evidence_text(policy->engine, split->cause, &split->evidence, evidence,
                                 sizeof evidence);
    policy_put_string(out, evidence);
    if (split->low_volume_ded)
        policy_put_text(out, ",\"advice\":\"LOW_VOLUME_DED\"");
    policy_put_text(out, "}\n");
}

/* Shares of what is not held; they sum to 1, the rest of rounding goes to the largest. */
static void put_weights(struct policy *policy, const char *sender, const uint8_t *weight,
                        struct policy_text *out)
{
    uint32_t sum = 0, largest = 0, route, milli[STRATEGY_SLOTS_MAX] = {0}, left = 1000;
    bool first = true;

    for (uint32_t i = 0; i < STRATEGY_SLOTS_MAX; i++) {
        sum += weight[i];
        largest = weight[i] > weight[largest] ? i : largest;
    }
    for (uint32_t i = 0; i < STRATEGY_SLOTS_MAX && sum > 0; i++) {
        milli[i] = weight[i] * 1000u / sum;
        left -= milli[i];
    }
    milli[largest] += sum > 0 ? left : 0;
    policy_put_text(out, "{");
    for (uint32_t i = 0; i < STRATEGY_SLOTS_MAX; i++) {
        const char *path = strategy_slot_path(policy->engine, sender, i, &route);
        if (path == NULL || milli[i] == 0)
            continue;
        policy_put_text(out, first ? "" : ",");
        policy_put_string(out, path);
        policy_put_text(out, ":");
        policy_put_milli(out, milli[i]);
        first = false;
    }
    policy_put_text(out, "}");
}

static void put_key(const struct strategy_key *key, struct policy_text *out)
{
    policy_put_text(out, ",\"sender\":");
    policy_put_string(out, key->sender);
    policy_put_text(out, ",\"stream\":");
    policy_put_string(out, key->stream);
    policy_put_text(out, ",\"provider\":");
    policy_put_string(out, key->provider);
}

static void put_evidence(const struct strategy_record *record, struct policy_text *out)
{
    const struct strategy_evidence *v = &record->evidence;

    policy_put_text(out, ",\"reason\":");
    policy_put_string(out, strategy_cause_name(record->cause));
    policy_put_text(out, ",\"signal\":");
    policy_put_string(out, strategy_signal_text(v->signal));
    policy_put_text(out, ",\"n\":");
    policy_put_u64(out, v->n);
    policy_put_text(out, ",\"observed\":");
    policy_put_u64(out, v->observed);
    policy_put_text(out, ",\"threshold\":");
    policy_put_milli(out, v->threshold_milli);
    policy_put_text(out, ",\"statistic\":");
    policy_put_milli(out, v->statistic_milli);
    policy_put_text(out, ",\"expiry\":");
    if (v->expires_ms == NEVER_MS)
        policy_put_text(out, "null");
    else
        policy_put_ms(out, v->expires_ms);
}

void policy_answer_why(struct policy *policy, uint64_t now_ms, const struct strategy_key *key,
                       const struct strategy_record *record, struct policy_text *out)
{
    char line[512];

    policy_put_text(out, "{\"t\":");
    policy_put_ms(out, now_ms);
    put_key(key, out);
    policy_put_text(out, ",\"decision\":");
    policy_put_u64(out, record->id);
    policy_put_text(out, ",\"since\":");
    policy_put_ms(out, record->at_ms);
    policy_put_text(out, ",\"old\":");
    put_weights(policy, key->sender, record->old_weight, out);
    policy_put_text(out, ",\"new\":");
    put_weights(policy, key->sender, record->new_weight, out);
    policy_put_text(out, ",\"old_held\":");
    policy_put_milli(out, record->old_held * 10);
    policy_put_text(out, ",\"new_held\":");
    policy_put_milli(out, record->new_held * 10);
    put_evidence(record, out);
    policy_put_text(out, ",\"line\":");
    (void)strategy_why_line(policy->engine, key, record, line, sizeof line);
    policy_put_string(out, line);
    policy_put_text(out, "}\n");
}

void policy_answer_why_not(uint64_t now_ms, const struct strategy_key *key, const char *path,
                           const char *reason, struct policy_text *out)
{
    policy_put_text(out, "{\"t\":");
    policy_put_ms(out, now_ms);
    put_key(key, out);
    policy_put_text(out, ",\"path\":");
    policy_put_string(out, path);
    policy_put_text(out, ",\"why_not\":");
    if (reason[0] == '\0')
        policy_put_text(out, "null");
    else
        policy_put_string(out, reason);
    policy_put_text(out, "}\n");
}
