/* wpctl_strategy.c - `strategy`: who decides what for a sender, and why: see wpctl.h. */
#include "tools/wpctl.h"

#include "tools/wpctl_client.h"
#include "tools/wpctl_json.h"
#include "tools/wpctl_table.h"
#include "tools/wpctl_text.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static json_t *set(json_t *params, const char *key, const char *text)
{
    if (!wpctl_set_text(params, key, text)) {
        wpctl_misuse("strategy", "the %s is not UTF-8", key);
    }
    return params;
}

static json_t *sender_params(const char *sender)
{
    return set(wpctl_must(json_object()), "sender", sender);
}

/* ---- list, get, set ---------------------------------------------------------------------- */

static void add_row(struct wpctl_table *table, const json_t *sender)
{
    json_t *endpoint, *endpoints = wpctl_need(sender, "endpoints", JSON_ARRAY);
    static const char *const kinds[] = {"dedicated", "shared", "ses", "custom"};
    size_t i, n[4] = {0};
    json_array_foreach(endpoints, i, endpoint)
    {
        for (size_t k = 0; k < 4; k++) {
            n[k] += strcmp(wpctl_text(endpoint, "kind"), kinds[k]) == 0;
        }
    }
    bool overridden = strcmp(wpctl_text(sender, "strategy"), wpctl_text(sender, "configured")) != 0;
    wpctl_cell(table, wpctl_text(sender, "sender"));
    wpctl_cell(table, wpctl_text(sender, "strategy"));
    wpctl_cell(table, overridden ? wpctl_text(sender, "configured") : "");
    for (size_t k = 0; k < 4; k++) {
        wpctl_cell_count(table, (int64_t)n[k]);
    }
}

static struct wpctl_table *senders_table(void)
{
    return wpctl_table_new("SENDER|STRATEGY|CONFIGURED|>OWN|>SHARED|>SES|>CUSTOM");
}

static int list(void)
{
    json_t *result = wpctl_call_for_people("strategy.get", NULL), *sender;
    size_t i;
    if (result) {
        struct wpctl_table *table = senders_table();
        json_array_foreach(wpctl_need(result, "senders", JSON_ARRAY), i, sender)
        {
            add_row(table, sender);
        }
        wpctl_table_show(table, "no sender is configured");
        json_decref(result);
    }
    return EX_OK;
}

static int show_sender(const char *method, json_t *params)
{
    json_t *result = wpctl_call_for_people(method, params), *endpoint;
    size_t i;
    if (!result) {
        return EX_OK;
    }
    struct wpctl_table *table = senders_table();
    add_row(table, result);
    wpctl_table_show(table, NULL);
    table = wpctl_table_new("PATH|KIND");
    json_array_foreach(wpctl_need(result, "endpoints", JSON_ARRAY), i, endpoint)
    {
        wpctl_cell(table, wpctl_text(endpoint, "path"));
        wpctl_cell(table, wpctl_text(endpoint, "kind"));
    }
    (void)fputc('\n', stdout);
    wpctl_table_show(table, "it has nothing that its strategy may use");
    json_decref(result);
    return EX_OK;
}

/* ---- explain, why-not, simulate ---------------------------------------------------------- */

static void put_weights(const char *head, const json_t *weights, json_int_t held)
{
    const char *path;
    json_t *percent;
    (void)printf("%s", head);
    json_object_foreach((json_t *)(uintptr_t)weights, path, percent)
    {
        (void)fputc(' ', stdout);
        wpctl_put(stdout, path);
        (void)printf(" %d %%", (int)json_integer_value(percent));
    }
    if (held > 0) {
        (void)printf(" held %d %%", (int)held);
    }
    (void)fputc('\n', stdout);
}

static int explain(json_t *params)
{
    json_t *result = wpctl_call_for_people("strategy.explain", params);
    if (!result) {
        return EX_OK;
    }
    wpctl_put(stdout, wpctl_text(result, "line"));
    (void)fputc('\n', stdout);
    put_weights("before:", wpctl_need(result, "old", JSON_OBJECT),
                wpctl_number(result, "old_held"));
    put_weights("now:   ", wpctl_need(result, "new", JSON_OBJECT),
                wpctl_number(result, "new_held"));
    wpctl_put(stdout, wpctl_text(result, "reason"));
    (void)fputs(": ", stdout);
    wpctl_put(stdout, wpctl_text(result, "meaning"));
    (void)fputc('\n', stdout);
    json_decref(result);
    return EX_OK;
}

static int why_not(json_t *params, const char *path)
{
    json_t *result = wpctl_call_for_people("strategy.why_not", set(params, "path", path));
    if (result) {
        wpctl_put(stdout, path);
        (void)fputs(": ", stdout);
        wpctl_put(stdout,
                  wpctl_true(result, "usable") ? "may be used" : wpctl_text(result, "why_not"));
        (void)fputc('\n', stdout);
        json_decref(result);
    }
    return EX_OK;
}

static int simulate(json_t *params, const char *count)
{
    int64_t n;
    if (!wpctl_number_parse(count, 1, 1000000000, &n)) {
        wpctl_misuse("strategy", "N is a number of mails from 1 to 1000000000, not \"%s\"", count);
    }
    (void)json_object_set_new(params, "n", json_integer(n));
    json_t *result = wpctl_call_for_people("strategy.simulate", params), *part;
    size_t i;
    if (!result) {
        return EX_OK;
    }
    struct wpctl_table *table = wpctl_table_new("PATH|>MAILS");
    json_array_foreach(wpctl_need(result, "split", JSON_ARRAY), i, part)
    {
        wpctl_cell(table, wpctl_text(part, "path"));
        wpctl_cell_count(table, wpctl_number(part, "n"));
    }
    wpctl_cell(table, "(held)");
    wpctl_cell_count(table, wpctl_number(result, "held"));
    wpctl_table_show(table, NULL);
    wpctl_put(stdout, wpctl_text(result, "reason"));
    (void)fputs(": ", stdout);
    wpctl_put(stdout, wpctl_text(wpctl_need(result, "evidence", JSON_OBJECT), "text"));
    (void)fputc('\n', stdout);
    json_decref(result);
    return EX_OK;
}

/* ---- the command ------------------------------------------------------------------------- */

static const char *read_stream(int argc, char **argv)
{
    static const struct option options[] = {
        {"stream", required_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    const char *stream = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 's') {
            exit(EX_USAGE); /* getopt_long() has said what */
        }
        stream = optarg;
    }
    return stream;
}

static json_t *flow_params(const char *sender, const char *provider, const char *stream)
{
    json_t *params = set(sender_params(sender), "provider", provider);
    return stream ? set(params, "stream", stream) : params;
}

int wpctl_strategy(int argc, char **argv)
{
    const char *stream = read_stream(argc, argv);
    int n = argc - optind;
    char **word = argv + optind;
    const char *verb = n > 0 ? word[0] : "";
    if (n == 1 && strcmp(verb, "list") == 0) {
        return list();
    }
    if (n == 2 && strcmp(verb, "get") == 0) {
        return show_sender("strategy.get", sender_params(word[1]));
    }
    if (n == 3 && strcmp(verb, "set") == 0) {
        return show_sender("strategy.set", set(sender_params(word[1]), "strategy", word[2]));
    }
    if (n == 3 && strcmp(verb, "explain") == 0) {
        return explain(flow_params(word[1], word[2], stream));
    }
    if (n == 4 && strcmp(verb, "why-not") == 0) {
        return why_not(flow_params(word[1], word[2], stream), word[3]);
    }
    if (n == 4 && strcmp(verb, "simulate") == 0) {
        return simulate(flow_params(word[1], word[2], stream), word[3]);
    }
    wpctl_misuse("strategy", "list; get SENDER; set SENDER STRATEGY; explain SENDER PROVIDER; "
                             "why-not SENDER PROVIDER PATH; or simulate SENDER PROVIDER N");
}
