/* sim_policy.c - a policy behind a pipe that speaks the protocol of wirepost-policy. */
#include "strategies/sim/sim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static double now_s(const struct world *w)
{
    return (double)w->tick * TICK_S;
}

static void put_key(struct policy *p, const struct world *w, const struct flow *f)
{
    (void)fprintf(p->to, "\"sender\":\"s%u\",\"stream\":\"%s\",\"provider\":\"%s\"", f->sender,
                  stream_name(w, f), provider_names[f->provider]);
}

static double never_mailed(const struct world *w, const struct flow *f)
{
    return w->scenario->fault == FAULT_BAD_LIST && is_faulty_stream(w, f) ? 0.9 : 0.02;
}

static void read_split(const char *line, const struct world *w, struct split *ret)
{
    const char *at = strstr(line, "\"split\":["), *held = strstr(line, "\"held\":"),
               *reason = strstr(line, "\"reason\":\"");
    char pattern[48];

    memset(ret, 0, sizeof *ret);
    if (at == NULL || held == NULL) {
        (void)fprintf(stderr, "wirepost-sim: the policy said: %s", line);
        exit(1);
    }
    for (unsigned i = 0; i < w->n_paths; i++) {
        (void)snprintf(pattern, sizeof pattern, "{\"path\":\"%s\",\"n\":", w->path_name[i]);
        const char *part = strstr(at, pattern);
        ret->n[i] = part == NULL ? 0 : (uint32_t)strtoul(part + strlen(pattern), NULL, 10);
    }
    ret->held = (uint32_t)strtoul(held + 7, NULL, 10);
    if (reason != NULL)
        (void)sscanf(reason + 10, "%31[A-Z_]", ret->reason);
}

static void external_plan(struct policy *p, struct world *w, struct flow *f, uint32_t n,
                          uint32_t retries, struct split *ret)
{
    static char *line;
    static size_t n_bytes;

    (void)fprintf(p->to, "{\"t\":%.0f,\"plan\":{\"id\":%u,", now_s(w), w->tick);
    put_key(p, w, f);
    (void)fprintf(p->to, ",\"n\":%u,\"retries\":%u,\"never_mailed\":%.2f}}\n", n, retries,
                  never_mailed(w, f));
    (void)fflush(p->to);
    if (getline(&line, &n_bytes, p->from) < 0) {
        (void)fprintf(stderr, "wirepost-sim: the policy has ended\n");
        exit(1);
    }
    read_split(line, w, ret);
}

bool policy_start(struct policy *p, const char *command)
{
    int to[2], from[2];

    if (pipe(to) != 0 || pipe(from) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(to[0], STDIN_FILENO);
        (void)dup2(from[1], STDOUT_FILENO);
        (void)close(to[1]);
        (void)close(from[0]);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    *p = (struct policy){.name = "policy", .plan = external_plan, .pid = (int)pid};
    p->to = fdopen(to[1], "w");
    p->from = fdopen(from[0], "r");
    return pid > 0 && p->to != NULL && p->from != NULL;
}

bool policy_stop(struct policy *p)
{
    int status = 1;

    (void)fclose(p->to);
    (void)fclose(p->from);
    return waitpid(p->pid, &status, 0) == p->pid && status == 0;
}

static void put_addresses(struct policy *p, const struct world *w)
{
    const struct scenario *s = w->scenario;

    for (unsigned i = 0; i < s->n_addresses; i++) {
        (void)fprintf(p->to, "%s{\"ip\":\"%s\",\"age_days\":%d,\"daily\":{", i == 0 ? "" : ",",
                      w->path_name[i], s->is_warm ? 200 : 0);
        for (unsigned provider = 0; provider < PROVIDERS; provider++)
            (void)fprintf(p->to, "%s\"%s\":%.0f", provider == 0 ? "" : ",",
                          provider_names[provider],
                          s->is_warm ? s->per_day / s->n_addresses * w->k.share[provider] : 0);
        (void)fprintf(p->to, "}}");
    }
}

void policy_configure(struct policy *p, const struct world *w)
{
    const struct scenario *s = w->scenario;

    if (p->to == NULL)
        return;
    (void)fprintf(p->to, "{\"t\":0,\"config\":{\"pools\":{\"pool\":{\"addresses\":[");
    put_addresses(p, w);
    (void)fprintf(p->to,
                  "]}},\"routes\":{\"shared-main\":{\"type\":\"smtp\"},\"ses\":{\"type\":\"ses\"");
    if (s->ses_max_24h != 0)
        (void)fprintf(p->to, ",\"max_24h\":%u", s->ses_max_24h);
    (void)fprintf(p->to, "},\"their-smtp\":{\"type\":\"smtp\"}},\"senders\":{");
    for (unsigned i = 0; i < s->n_senders; i++)
        (void)fprintf(p->to,
                      "%s\"s%u\":{\"strategy\":\"%s\",\"pool\":\"pool\",\"v30\":%.0f,"
                      "\"shared\":[\"shared-main\",\"ses\"],\"custom\":\"their-smtp\"}",
                      i == 0 ? "" : ",", i, s->strategy, s->per_day * 30);
    (void)fprintf(p->to, "}}}\n");
}

void policy_outcomes(struct policy *p, const struct world *w, const struct flow *f, unsigned path,
                     const struct delivery *d)
{
    for (unsigned i = 0; p->to != NULL && i < d->n; i++) {
        (void)fprintf(p->to, "{\"t\":%.0f,\"outcomes\":{", now_s(w));
        put_key(p, w, f);
        (void)fprintf(p->to, ",\"path\":\"%s\",\"n\":%u,\"reply\":\"%s\"}}\n", w->path_name[path],
                      d->outcomes[i].n, d->outcomes[i].reply);
    }
}

void policy_late(struct policy *p, const struct world *w, const struct flow *f, unsigned path,
                 const char *what, uint32_t sent_tick, uint32_t n)
{
    if (p->to == NULL || n == 0)
        return;
    (void)fprintf(p->to, "{\"t\":%.0f,\"%s\":{", now_s(w), what);
    put_key(p, w, f);
    (void)fprintf(p->to, ",\"path\":\"%s\",\"sent_t\":%.0f,\"n\":%u}}\n", w->path_name[path],
                  (double)sent_tick * TICK_S, n);
}

void policy_dnsbl(struct policy *p, const struct world *w, unsigned path, bool listed)
{
    if (p->to != NULL)
        (void)fprintf(p->to,
                      "{\"t\":%.0f,\"dnsbl\":{\"ip\":\"%s\",\"zone\":\"zen.spamhaus.org\","
                      "\"answer\":%s}}\n",
                      now_s(w), w->path_name[path], listed ? "\"127.0.0.3\"" : "null");
}
