/* wpctl_operate.c - what an operator does: `queue hold` and its like, and `routes`: see wpctl.h. */
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

/* ---- queue hold, release, retry, bounce, delete ------------------------------------------ */

static void set_selector(json_t *params, const char *key, const char *text)
{
    if (!wpctl_set_text(params, key, text)) {
        wpctl_misuse("queue", "the %s is not UTF-8", key);
    }
}

static json_t *selector_params(int argc, char **argv)
{
    static const struct option options[] = {
        {"sender", required_argument, NULL, 's'},
        {"domain", required_argument, NULL, 's'},
        {"all", no_argument, NULL, 'a'},
        {"dry-run", no_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    json_t *params = wpctl_must(json_object());
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        switch (option) {
        case 's':
            set_selector(params, options[index].name, optarg);
            break;
        case 'a':
            (void)json_object_set_new(params, "all", json_true());
            break;
        case 'n':
            (void)json_object_set_new(params, "dry_run", json_true());
            break;
        default:
            exit(EX_USAGE); /* getopt_long() has said what */
        }
    }
    if (optind < argc) {
        set_selector(params, "id", argv[optind++]);
    }
    if (optind < argc) {
        wpctl_misuse("queue", "one ID at a time");
    }
    if (!json_object_get(params, "id") && !json_object_get(params, "sender") &&
        !json_object_get(params, "domain") && !json_object_get(params, "all")) {
        wpctl_misuse("queue", "say which: an ID, --sender, --domain or --all");
    }
    return params;
}

/* The daemon touches so many messages in one go; the rest follows, from where it stopped. */
static json_t *run_all(const char *method, json_t *params)
{
    static const char *const sums[] = {"messages", "recipients", "in_flight"};
    json_t *total = NULL;
    for (;;) {
        json_t *result = wpctl_call_once(method, json_incref(params));
        for (size_t i = 0; total && i < sizeof sums / sizeof sums[0]; i++) {
            json_int_t sum = wpctl_number(total, sums[i]) + wpctl_number(result, sums[i]);
            (void)json_object_set_new(result, sums[i], json_integer(sum));
        }
        json_decref(total);
        total = result;
        json_t *next = json_object_get(result, "next");
        if (!json_is_string(next)) {
            return total;
        }
        (void)json_object_set(params, "after", next);
    }
}

int wpctl_queue_operate(int argc, char **argv)
{
    char method[32];
    (void)snprintf(method, sizeof method, "queue.%.20s", argv[1]);
    argv[1] = argv[0];
    json_t *params = selector_params(argc - 1, argv + 1);
    json_t *total = run_all(method, params);
    if (wpctl_options.json) {
        wpctl_print_json(total);
    } else {
        char messages[WPCTL_UNIT_TEXT], recipients[WPCTL_UNIT_TEXT], flying[WPCTL_UNIT_TEXT];
        (void)printf(
            "%s messages, %s recipients%s; %s recipients are in flight and were left alone\n",
            wpctl_count(wpctl_number(total, "messages"), messages),
            wpctl_count(wpctl_number(total, "recipients"), recipients),
            wpctl_true(total, "dry_run") ? " would be touched" : "",
            wpctl_count(wpctl_number(total, "in_flight"), flying));
    }
    json_decref(total);
    json_decref(params);
    return EX_OK;
}

/* ---- routes ------------------------------------------------------------------------------ */

static int routes_list(void)
{
    json_t *result = wpctl_call_for_people("routes.list", NULL), *route;
    if (!result) {
        return EX_OK;
    }
    struct wpctl_table *table =
        wpctl_table_new("ROUTE|TYPE|URL|STATE|>CONNECTIONS|>WAITING|>SENT|>FAILURES|LAST FAILURE");
    size_t i;
    json_array_foreach(wpctl_need(result, "routes", JSON_ARRAY), i, route)
    {
        wpctl_cell(table, wpctl_text(route, "name"));
        wpctl_cell(table, wpctl_text(route, "type"));
        wpctl_cell(table, wpctl_text(route, "url"));
        wpctl_cell(table, wpctl_text(route, "state"));
        wpctl_cell_count(table, wpctl_number(route, "connections"));
        wpctl_cell_count(table, wpctl_number(route, "waiting"));
        wpctl_cell_count(table, wpctl_number(route, "sent"));
        wpctl_cell_count(table, wpctl_number(route, "failures"));
        wpctl_cell(table, wpctl_text(route, "last"));
    }
    wpctl_table_show(table, "no route is configured: all mail leaves by own addresses");
    json_decref(result);
    return EX_OK;
}

static json_t *name_params(const char *name)
{
    json_t *params = wpctl_must(json_object());
    if (!wpctl_set_text(params, "name", name)) {
        wpctl_misuse("routes", "the name is not UTF-8");
    }
    return params;
}

/* Status 75 when the relay does not answer: it may later. */
static int routes_test(const char *name)
{
    json_t *result = wpctl_call_once("routes.test", name_params(name));
    bool good = wpctl_true(result, "ok");
    if (wpctl_options.json) {
        wpctl_print_json(result);
    } else {
        wpctl_put(stdout, name);
        (void)fputs(good ? ": works: " : ": does not work: ", stdout);
        wpctl_put(stdout, wpctl_text(result, "text"));
        (void)fputc('\n', stdout);
    }
    json_decref(result);
    return good ? EX_OK : EX_TEMPFAIL;
}

static int routes_pause(const char *method, const char *name)
{
    json_t *result = wpctl_call_for_people(method, name_params(name));
    if (result) {
        wpctl_put(stdout, wpctl_text(result, "name"));
        (void)puts(wpctl_true(result, "paused") ? ": paused" : ": resumed");
        json_decref(result);
    }
    return EX_OK;
}

int wpctl_routes(int argc, char **argv)
{
    const char *verb = argc >= 2 ? argv[1] : "";
    if (argc == 2 && strcmp(verb, "list") == 0) {
        return routes_list();
    }
    if (argc == 3 && strcmp(verb, "test") == 0) {
        return routes_test(argv[2]);
    }
    if (argc == 3 && strcmp(verb, "pause") == 0) {
        return routes_pause("routes.pause", argv[2]);
    }
    if (argc == 3 && strcmp(verb, "resume") == 0) {
        return routes_pause("routes.resume", argv[2]);
    }
    wpctl_misuse("routes", "routes list, or routes pause, resume or test NAME");
}
