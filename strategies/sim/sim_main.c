/*
 * sim_main.c - wirepost-sim: runs scenarios against a policy, baselines and an oracle; prints a
 * table, writes plots.
 *
 * Usage: wirepost-sim --policy COMMAND [--scenario NAME] [--seeds N] [--first-seed N]
 *                     [--plots DIRECTORY] [--baselines] [--limit] [--trace] [--days]
 *   --policy     what to run; it speaks the protocol of wirepost-policy on stdin and stdout
 *   --seeds      each seed draws other constants of the model (default 1)
 *   --baselines  rows for the baselines as well
 *   --limit      exit 1 when a limit of the specification is missed
 *   --trace      wrong reasons on stderr
 *   --days       where the regret arises: for each day its part of it and the routes, on stderr
 */
#include "strategies/sim/sim.h"

#include <stdlib.h>
#include <string.h>

struct options {
    const char *policy, *scenario, *plots;
    unsigned n_seeds;
    uint64_t first_seed;
    bool baselines, limit, trace, days;
};

struct row { /* means over seeds */
    double utility, inbox, blocked, expired, delay_h, recover_h, regret, harm, flaps, right,
        reasons, violations, worst_regret;
};

/* Hours from the fault until three hours running are within 0.05 of the oracle's. */
static double recovery(const struct scenario *s, const struct totals *t, const struct totals *best)
{
    unsigned from = (unsigned)(s->from_day * 24), good = 0;

    if (s->fault == FAULT_NONE)
        return 0;
    for (unsigned h = from; h < s->days * 24; h++) {
        double mine = t->hour_n[h] > 0 ? t->hour_utility[h] / t->hour_n[h] : 0;
        double ideal = best->hour_n[h] > 0 ? best->hour_utility[h] / best->hour_n[h] : 0;
        good = mine >= ideal - 0.05 ? good + 1 : 0;
        if (good == 3)
            return h >= from + 2 ? h - from - 2 : 0;
    }
    return s->days * 24 - from;
}

static void add(struct row *r, const struct scenario *s, const struct totals *t,
                const struct totals *best, unsigned n_seeds)
{
    double regret = best->utility / best->n - t->utility / t->n;

    r->utility += t->utility / t->n / n_seeds;
    r->inbox += t->inbox / t->n / n_seeds;
    r->blocked += t->blocked / t->n / n_seeds;
    r->expired += t->expired / t->n / n_seeds;
    r->delay_h += t->delay_h / t->n / n_seeds;
    r->recover_h += recovery(s, t, best) / n_seeds;
    r->regret += regret / n_seeds;
    r->worst_regret = regret > r->worst_regret ? regret : r->worst_regret;
    r->harm += t->harm / n_seeds;
    r->flaps = t->flaps_per_day > r->flaps ? t->flaps_per_day : r->flaps;
    r->right += t->reasons_right;
    r->reasons += t->reasons;
    r->violations += t->violations;
}

static void print_head(void)
{
    (void)printf("%-16s %-14s %8s %7s %8s %8s %7s %7s %8s %8s %7s %6s %7s\n", "scenario", "policy",
                 "utility", "inbox%", "blocked%", "expired%", "delay_h", "recov_h", "regret",
                 "worst", "harm", "flaps", "reason%");
}

static void print_row(const char *scenario, const char *policy, const struct row *r)
{
    (void)printf("%-16s %-14s %8.4f %7.2f %8.3f %8.3f %7.3f %7.1f %8.4f %8.4f %7.0f %6.2f ",
                 scenario, policy, r->utility, 100 * r->inbox, 100 * r->blocked, 100 * r->expired,
                 r->delay_h, r->recover_h, r->regret, r->worst_regret, r->harm, r->flaps);
    if (r->reasons > 0)
        (void)printf("%7.1f\n", 100 * r->right / r->reasons);
    else
        (void)printf("%7s\n", "-");
    (void)fflush(stdout);
}

static void print_days(const struct scenario *s, const struct totals *t, const struct totals *best)
{
    for (unsigned day = 0; day < s->days; day++) {
        double regret = 0, routes[ROUTES + 1] = {0}, n = 0;
        for (unsigned h = day * 24; h < day * 24 + 24; h++) {
            regret += best->hour_utility[h] / best->n - t->hour_utility[h] / t->n;
            for (unsigned r = 0; r <= ROUTES; r++) {
                routes[r] += t->route_hour[h][r];
                n += t->route_hour[h][r];
            }
        }
        (void)fprintf(stderr, "%s day %2u regret %8.5f", s->name, day, regret);
        for (unsigned r = 0; r <= ROUTES; r++)
            (void)fprintf(stderr, "  %s %5.1f %%", r == ROUTES ? "held" : route_names[r],
                          n > 0 ? 100 * routes[r] / n : 0);
        (void)fputc('\n', stderr);
    }
}

static bool run_policy(struct world *w, const struct options *o, const struct scenario *s,
                       uint64_t seed)
{
    struct policy p;

    if (!policy_start(&p, o->policy)) {
        (void)fprintf(stderr, "wirepost-sim: cannot start %s\n", o->policy);
        return false;
    }
    run(w, &p, s, seed);
    if (!policy_stop(&p)) {
        (void)fprintf(stderr, "wirepost-sim: the policy failed in %s, seed %llu\n", s->name,
                      (unsigned long long)seed);
        return false;
    }
    if (o->plots != NULL && seed == o->first_seed && !plot(o->plots, s, &w->totals)) {
        (void)fprintf(stderr, "wirepost-sim: cannot write to %s\n", o->plots);
        return false;
    }
    return true;
}

static bool within_limits(const struct row *mine, double best_baseline)
{
    return mine->violations == 0 && mine->flaps <= 4 && mine->regret <= 0.010 &&
           mine->utility >= best_baseline - 0.002;
}

static bool run_scenario(struct world *w, const struct options *o, const struct scenario *s,
                         struct row *ret_mine, bool *ret_ok)
{
    struct row rows[8] = {{0}};
    double best_baseline = -1;

    for (uint64_t seed = o->first_seed; seed < o->first_seed + o->n_seeds; seed++) {
        run(w, &oracle, s, seed);
        struct totals best = w->totals;
        add(&rows[n_baselines + 1], s, &best, &best, o->n_seeds);
        if (!run_policy(w, o, s, seed))
            return false;
        add(&rows[0], s, &w->totals, &best, o->n_seeds);
        if (o->days) {
            print_days(s, &best, &best);
            print_days(s, &w->totals, &best);
        }
        for (unsigned b = 0; o->baselines && b < n_baselines; b++) {
            run(w, &baselines[b], s, seed);
            add(&rows[b + 1], s, &w->totals, &best, o->n_seeds);
        }
    }
    print_row(s->name, "policy", &rows[0]);
    for (unsigned b = 0; o->baselines && b < n_baselines; b++) {
        print_row(s->name, baselines[b].name, &rows[b + 1]);
        best_baseline = rows[b + 1].utility > best_baseline ? rows[b + 1].utility : best_baseline;
    }
    if (o->baselines)
        print_row(s->name, "oracle", &rows[n_baselines + 1]);
    *ret_ok = within_limits(&rows[0], best_baseline);
    *ret_mine = rows[0];
    return true;
}

static void add_mean(struct row *sum, const struct row *r)
{
    sum->utility += r->utility;
    sum->inbox += r->inbox;
    sum->blocked += r->blocked;
    sum->expired += r->expired;
    sum->delay_h += r->delay_h;
    sum->recover_h = r->recover_h > sum->recover_h ? r->recover_h : sum->recover_h;
    sum->regret += r->regret;
    sum->worst_regret = r->regret > sum->worst_regret ? r->regret : sum->worst_regret;
    sum->harm += r->harm;
    sum->flaps = r->flaps > sum->flaps ? r->flaps : sum->flaps;
    sum->right += r->right;
    sum->reasons += r->reasons;
}

static int run_all(struct world *w, const struct options *o)
{
    struct row sum = {0}, mine;
    unsigned n = 0;
    bool all_ok = true, ok;

    print_head();
    for (unsigned i = 0; i < n_scenarios; i++) {
        if (o->scenario != NULL && strcmp(o->scenario, scenarios[i].name) != 0)
            continue;
        if (!run_scenario(w, o, &scenarios[i], &mine, &ok))
            return 1;
        add_mean(&sum, &mine);
        all_ok = all_ok && ok;
        n++;
    }
    if (n == 0) {
        (void)fprintf(stderr, "wirepost-sim: no such scenario\n");
        return 2;
    }
    struct row mean = {sum.utility / n, sum.inbox / n, sum.blocked / n, sum.expired / n,
                       sum.delay_h / n, sum.recover_h, sum.regret / n,  sum.harm / n,
                       sum.flaps,       sum.right,     sum.reasons,     0,
                       sum.worst_regret};
    print_row("all", "policy", &mean);
    return o->limit && (!all_ok || mean.regret > 0.003) ? 1 : 0;
}

static bool take_value(struct options *o, const char *name, const char *value)
{
    if (strcmp(name, "--policy") == 0)
        o->policy = value;
    else if (strcmp(name, "--scenario") == 0)
        o->scenario = value;
    else if (strcmp(name, "--plots") == 0)
        o->plots = value;
    else if (strcmp(name, "--seeds") == 0)
        o->n_seeds = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(name, "--first-seed") == 0)
        o->first_seed = strtoull(value, NULL, 10);
    else
        return false;
    return true;
}

static bool parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--baselines") == 0)
            o->baselines = true;
        else if (strcmp(argv[i], "--limit") == 0)
            o->limit = true;
        else if (strcmp(argv[i], "--trace") == 0)
            o->trace = true;
        else if (strcmp(argv[i], "--days") == 0)
            o->days = true;
        else if (i + 1 < argc && take_value(o, argv[i], argv[i + 1]))
            i++;
        else
            return false;
    }
    return o->policy != NULL && o->n_seeds > 0;
}

int main(int argc, char **argv)
{
    struct options o = {.n_seeds = 1, .first_seed = 1};
    struct world *w;

    if (!parse(&o, argc, argv)) {
        (void)fprintf(
            stderr,
            "usage: wirepost-sim --policy COMMAND [--scenario NAME] [--seeds N] "
            "[--first-seed N] [--plots DIRECTORY] [--baselines] [--limit] [--trace] [--days]\n");
        return 2;
    }
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return 1;
    w->trace = o.trace;
    int code = run_all(w, &o);
    free(w);
    return code;
}
