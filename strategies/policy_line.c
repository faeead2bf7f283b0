/* policy_line.c - one line: what it is, its fields, the engine's call. */
#include "strategies/policy.h"

#include <stdlib.h>
#include <string.h>

struct key_text {
    char sender[STRATEGY_NAME_BYTES], stream[STRATEGY_NAME_BYTES], provider[STRATEGY_NAME_BYTES],
        path[STRATEGY_NAME_BYTES];
};

static bool refuse(struct policy *policy, const char *error)
{
    if (policy->error == NULL)
        policy->error = error;
    return false;
}

static bool accept(struct policy *policy, enum strategy_error error)
{
    return error == STRATEGY_OK || refuse(policy, strategy_error_text(error));
}

bool policy_time(const struct pj_node *node, uint64_t *ret_ms)
{
    int64_t ms;

    if (!pj_decimal(node, 3, &ms) || ms < 0 || ms > INT64_MAX / 1024)
        return false;
    *ret_ms = (uint64_t)ms;
    return true;
}

bool policy_count(const struct pj_node *node, uint32_t fallback, uint32_t *ret_n)
{
    int64_t milli;

    if (node == NULL || node->type == PJ_NULL) {
        *ret_n = fallback;
        return true;
    }
    if (!pj_decimal(node, 3, &milli) || milli < 0 || milli % 1000 != 0 || milli / 1000 > UINT32_MAX)
        return false;
    *ret_n = (uint32_t)(milli / 1000);
    return true;
}

static const struct pj_node *get(const struct policy *policy, const struct pj_node *object,
                                 const char *name)
{
    return pj_get(&policy->doc, object, name);
}

static bool get_key(struct policy *policy, const struct pj_node *node, struct key_text *text,
                    struct strategy_key *ret)
{
    if (!pj_string(get(policy, node, "sender"), text->sender, STRATEGY_NAME_BYTES) ||
        !pj_string(get(policy, node, "stream"), text->stream, STRATEGY_NAME_BYTES) ||
        !pj_string(get(policy, node, "provider"), text->provider, STRATEGY_NAME_BYTES))
        return refuse(policy, "sender, stream and provider are strings of 1 to 63 bytes");
    *ret = (struct strategy_key){text->sender, text->stream, text->provider};
    return true;
}

/* ---- events ---- */

static bool get_event(struct policy *policy, const struct pj_node *node, struct key_text *text,
                      struct strategy_outcome *ret)
{
    const struct pj_node *sent = get(policy, node, "sent_t");

    *ret = (struct strategy_outcome){.path = text->path, .sent_ms = NEVER_MS};
    if (!get_key(policy, node, text, &ret->key))
        return false;
    if (!pj_string(get(policy, node, "path"), text->path, STRATEGY_NAME_BYTES))
        return refuse(policy, "path is a string of 1 to 63 bytes");
    if (!policy_count(get(policy, node, "n"), 1, &ret->n))
        return refuse(policy, "n is a whole number, 0 or more");
    if (sent != NULL && sent->type != PJ_NULL && !policy_time(sent, &ret->sent_ms))
        return refuse(policy, "sent_t is a time in seconds");
    return true;
}

static bool get_verdict(struct policy *policy, const struct pj_node *node,
                        struct reply_verdict *ret)
{
    const struct pj_node *class = get(policy, node, "class"), *reply = get(policy, node, "reply");
    char text[REPLY_BYTES_MAX * 2];
    enum reply_class c;

    if (class != NULL && class->type != PJ_NULL) {
        if (!pj_string(class, text, sizeof text) || !reply_class_parse(text, &c))
            return refuse(policy, "unknown class");
        *ret = reply_of_class(c);
        return true;
    }
    if (reply == NULL || reply->type != PJ_STRING)
        return refuse(policy, "an outcome needs a class or a reply");
    if (!reply->escaped)
        reply_classify(&policy->replies, reply->at, reply->n_bytes, ret);
    else if (pj_string(reply, text, sizeof text))
        reply_classify(&policy->replies, text, strlen(text), ret);
    else
        reply_classify(&policy->replies, reply->at, reply->n_bytes, ret);
    return true;
}

static void do_outcome(struct policy *policy, const struct pj_node *node, uint64_t now_ms)
{
    struct key_text text;
    struct strategy_outcome outcome;

    if (get_event(policy, node, &text, &outcome) && get_verdict(policy, node, &outcome.verdict))
        (void)accept(policy, strategy_outcome(policy->engine, now_ms, &outcome));
}

static void do_late(struct policy *policy, const struct pj_node *node, uint64_t now_ms,
                    enum strategy_late what)
{
    struct key_text text;
    struct strategy_outcome late;

    if (get_event(policy, node, &text, &late))
        (void)accept(policy, strategy_late(policy->engine, now_ms, what, &late));
}

/* "127.0.0.3" */
static bool get_answer(const struct pj_node *node, uint8_t ret_bytes[4])
{
    char text[16], *at = text;

    if (!pj_string(node, text, sizeof text))
        return false;
    for (unsigned i = 0; i < 4; i++) {
        char *end;
        unsigned long byte = strtoul(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || byte > 255 || *end != (i < 3 ? '.' : '\0'))
            return false;
        ret_bytes[i] = (uint8_t)byte;
        at = end + 1;
    }
    return true;
}

static bool one_answer(struct policy *policy, const struct pj_node *answer, const char *ip,
                       const char *zone, uint64_t now_ms)
{
    enum strategy_listing listing = STRATEGY_CLEAN;
    uint8_t bytes[4];

    if (answer->type != PJ_NULL) {
        if (!get_answer(answer, bytes))
            return refuse(policy, "answer is null, an IPv4 address, or a list of them");
        listing = strategy_listing(zone, bytes);
    }
    return accept(policy, strategy_dnsbl(policy->engine, now_ms, ip, zone, listing));
}

static void do_dnsbl(struct policy *policy, const struct pj_node *node, uint64_t now_ms)
{
    char ip[STRATEGY_NAME_BYTES], zone[256];
    const struct pj_node *answer = get(policy, node, "answer");
    uint8_t bytes[4];

    if (!pj_string(get(policy, node, "ip"), ip, sizeof ip) ||
        !pj_string(get(policy, node, "zone"), zone, sizeof zone) || answer == NULL) {
        (void)refuse(policy, "dnsbl needs ip, zone and answer");
        return;
    }
    if (answer->type != PJ_ARRAY) {
        (void)one_answer(policy, answer, ip, zone, now_ms);
        return;
    }
    const struct pj_node *at = pj_first(answer);
    for (uint32_t i = 0; i < answer->n; i++, at = pj_next(&policy->doc, at)) {
        if (!get_answer(at, bytes)) {
            (void)refuse(policy, "answer is null, an IPv4 address, or a list of them");
            return;
        }
    }
    at = pj_first(answer);
    for (uint32_t i = 0; i < answer->n; i++, at = pj_next(&policy->doc, at)) {
        if (!one_answer(policy, at, ip, zone, now_ms))
            return;
    }
}

static void do_operator(struct policy *policy, const struct pj_node *node, uint64_t now_ms)
{
    char ip[STRATEGY_NAME_BYTES];
    const struct pj_node *retired = get(policy, node, "retired");

    if (!pj_string(get(policy, node, "ip"), ip, sizeof ip) || retired == NULL ||
        (retired->type != PJ_TRUE && retired->type != PJ_FALSE))
        (void)refuse(policy, "operator needs ip and retired");
    else
        (void)accept(policy, strategy_retire(policy->engine, now_ms, ip, retired->type == PJ_TRUE));
}

/* ---- questions ---- */

static bool get_plan(struct policy *policy, const struct pj_node *node, struct strategy_plan *ret)
{
    const struct pj_node *never_mailed = get(policy, node, "never_mailed");
    const struct pj_node *id = get(policy, node, "id");
    int64_t ppm = 0;

    if (id != NULL && (id->type == PJ_ARRAY || id->type == PJ_OBJECT))
        return refuse(policy, "id is a number or a string");
    if (get(policy, node, "n") == NULL || !policy_count(get(policy, node, "n"), 0, &ret->n))
        return refuse(policy, "n is a whole number, 0 or more");
    if (never_mailed != NULL && never_mailed->type != PJ_NULL &&
        (!pj_decimal(never_mailed, 6, &ppm) || ppm < 0 || ppm > PPM))
        return refuse(policy, "never_mailed is a share from 0 to 1");
    ret->never_mailed_ppm = (uint32_t)ppm;
    if (!policy_count(get(policy, node, "retries"), 0, &ret->n_retries))
        return refuse(policy, "retries is a whole number, 0 or more");
    ret->n_retries = fx_min32(ret->n_retries, ret->n);
    return true;
}

static void do_plan(struct policy *policy, const struct pj_node *node, uint64_t now_ms,
                    struct policy_text *out)
{
    struct key_text text;
    struct strategy_plan plan = {0};
    struct strategy_split split;

    if (!get_key(policy, node, &text, &plan.key) || !get_plan(policy, node, &plan))
        return;
    if (accept(policy, strategy_plan(policy->engine, now_ms, &plan, &split)))
        policy_answer_plan(policy, now_ms, get(policy, node, "id"), &split, out);
}

static void do_why(struct policy *policy, const struct pj_node *node, uint64_t now_ms,
                   struct policy_text *out)
{
    struct key_text text;
    struct strategy_key key;
    struct strategy_record record;

    if (get_key(policy, node, &text, &key) &&
        accept(policy, strategy_why(policy->engine, &key, &record)) &&
        accept(policy, strategy_tick(policy->engine, now_ms)))
        policy_answer_why(policy, now_ms, &key, &record, out);
}

static void do_why_not(struct policy *policy, const struct pj_node *node, uint64_t now_ms,
                       struct policy_text *out)
{
    struct key_text text;
    struct strategy_key key;
    char reason[256] = "";

    if (!get_key(policy, node, &text, &key))
        return;
    if (!pj_string(get(policy, node, "path"), text.path, sizeof text.path))
        (void)refuse(policy, "path is a string of 1 to 63 bytes");
    else if (accept(policy, strategy_why_not(policy->engine, now_ms, &key, text.path, reason,
                                             sizeof reason)))
        policy_answer_why_not(now_ms, &key, text.path, reason, out);
}

/* ---- the line ---- */

enum event {
    CONFIG,
    PLAN,
    OUTCOMES,
    OPENS,
    COMPLAINTS,
    HARD_BOUNCES,
    DNSBL,
    OPERATOR,
    WHY,
    WHY_NOT
};
static const char *const events[] = {"config",       "plan",  "outcomes", "opens", "complaints",
                                     "hard_bounces", "dnsbl", "operator", "why",   "why_not"};

static void do_event(struct policy *policy, enum event event, const struct pj_node *node,
                     uint64_t now_ms, struct policy_text *out)
{
    switch (event) {
    case CONFIG:
        (void)policy_config(policy, node, now_ms);
        return;
    case PLAN:
        do_plan(policy, node, now_ms, out);
        return;
    case OUTCOMES:
        do_outcome(policy, node, now_ms);
        return;
    case OPENS:
        do_late(policy, node, now_ms, STRATEGY_OPENS);
        return;
    case COMPLAINTS:
        do_late(policy, node, now_ms, STRATEGY_COMPLAINTS);
        return;
    case HARD_BOUNCES:
        do_late(policy, node, now_ms, STRATEGY_HARD_BOUNCES);
        return;
    case DNSBL:
        do_dnsbl(policy, node, now_ms);
        return;
    case OPERATOR:
        do_operator(policy, node, now_ms);
        return;
    case WHY:
        do_why(policy, node, now_ms, out);
        return;
    case WHY_NOT:
        do_why_not(policy, node, now_ms, out);
        return;
    }
}

/* The event of a line; two in one line have no order and are refused. Unknown fields are not ours.
 */
static const struct pj_node *find_event(struct policy *policy, const struct pj_node *line,
                                        enum event *ret)
{
    const struct pj_node *found = NULL, *key = pj_first(line);

    for (uint32_t i = 0; i < line->n; i++) {
        const struct pj_node *value = pj_next(&policy->doc, key);
        for (unsigned e = 0; e < sizeof events / sizeof events[0]; e++) {
            if (!pj_equals(key, events[e]))
                continue;
            if (found != NULL)
                (void)refuse(policy, "more than one event in a line");
            found = value;
            *ret = (enum event)e;
        }
        key = pj_next(&policy->doc, value);
    }
    return found;
}

static bool parse(struct policy *policy, const char *line, size_t n_bytes)
{
    while (!pj_parse(&policy->doc, line, n_bytes)) {
        if (policy->doc.error != PJ_TOO_MANY)
            return refuse(policy, policy->doc.error);
        uint32_t n = policy->doc.n_nodes_max * 2;
        struct pj_node *nodes = realloc(policy->doc.nodes, n * sizeof nodes[0]);
        if (nodes == NULL)
            return refuse(policy, "out of memory");
        policy->doc.nodes = nodes;
        policy->doc.n_nodes_max = n;
    }
    return policy->doc.nodes[0].type == PJ_OBJECT || refuse(policy, "a line is a JSON object");
}

static void do_line(struct policy *policy, const char *line, size_t n_bytes,
                    struct policy_text *out)
{
    enum event event = CONFIG;
    uint64_t now_ms;

    if (!parse(policy, line, n_bytes))
        return;
    if (!policy_time(get(policy, policy->doc.nodes, "t"), &now_ms)) {
        (void)refuse(policy, "t is missing or no time in seconds");
        return;
    }
    const struct pj_node *node = find_event(policy, policy->doc.nodes, &event);
    if (policy->error != NULL)
        return;
    if (node == NULL)
        (void)accept(policy, strategy_tick(policy->engine, now_ms));
    else
        do_event(policy, event, node, now_ms, out);
}

void policy_line(struct policy *policy, const char *line, size_t n_bytes, struct policy_text *out)
{
    policy->n_lines++;
    policy->error = NULL;
    do_line(policy, line, n_bytes, out);
    if (policy->error == NULL)
        return;
    policy_put_text(out, "{\"error\":");
    policy_put_string(out, policy->error);
    policy_put_text(out, ",\"line\":");
    policy_put_u64(out, policy->n_lines);
    policy_put_text(out, "}\n");
}

bool policy_open(struct policy *policy, const struct strategy_limits *limits)
{
    *policy = (struct policy){.limits = *limits,
                              .n_memory_bytes = strategy_engine_bytes(limits),
                              .doc = {.n_nodes_max = 256}};
    policy->memory = calloc(1, policy->n_memory_bytes); /* pages come when they are used */
    policy->doc.nodes = calloc(policy->doc.n_nodes_max, sizeof policy->doc.nodes[0]);
    if (policy->memory == NULL || policy->doc.nodes == NULL) {
        policy_close(policy);
        return false;
    }
    policy->engine = strategy_engine_init(policy->memory, limits);
    reply_index_init(&policy->replies);
    return true;
}

void policy_close(struct policy *policy)
{
    free(policy->memory);
    free(policy->doc.nodes);
    policy->memory = NULL;
    policy->doc.nodes = NULL;
}
