/* wpctl_events.c - `events`: a line for each, history and what happens from now on: see wpctl.h. */
#include "tools/wpctl.h"

#include "tools/wpctl_client.h"
#include "tools/wpctl_json.h"
#include "tools/wpctl_text.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct events {
    struct wpctl_client client;
    json_t *params;
    bool follow;
    json_int_t id;
    json_int_t last_seq; /* 0: none was seen */
};

/* ---- one event --------------------------------------------------------------------------- */

/* Bare when it is one word, else in quotes. */
static void put_value(const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text) {
        char *line = wpctl_json_line(value);
        (void)fputs(line, stdout);
        free(line);
        return;
    }
    const char *quote = strpbrk(text, " =\"") ? "\"" : "";
    (void)fputs(quote, stdout);
    wpctl_put(stdout, text);
    (void)fputs(quote, stdout);
}

/* What stands in front of the line, or says nothing. */
static bool is_left_out(const char *key, const json_t *value)
{
    bool in_front = strcmp(key, "seq") == 0 || strcmp(key, "at") == 0 || strcmp(key, "type") == 0;
    bool empty = json_is_string(value) && json_string_length(value) == 0;
    return in_front || empty || json_is_null(value);
}

/* "17 2026-11-23T19:07:00.123Z delivered id=... recipient=...", in the daemon's order. */
static void print_event(json_t *event)
{
    const char *key;
    json_t *value;
    (void)printf("%lld ", (long long)wpctl_number(event, "seq"));
    wpctl_put(stdout, wpctl_text(event, "at"));
    (void)fputc(' ', stdout);
    wpctl_put(stdout, wpctl_text(event, "type"));
    json_object_foreach(event, key, value)
    {
        if (!is_left_out(key, value)) {
            (void)fputc(' ', stdout);
            wpctl_put(stdout, key);
            (void)fputc('=', stdout);
            put_value(value);
        }
    }
    (void)fputc('\n', stdout);
    wpctl_flush();
}

/* ---- the stream -------------------------------------------------------------------------- */

static void connection_failed(const struct events *ev)
{
    const struct wpctl_failure *failure = &ev->client.failure;
    if (ev->last_seq == 0) {
        wpctl_client_die(&ev->client);
    }
    wpctl_die(failure->status, "%s; go on with events --after %lld", failure->text,
              (long long)ev->last_seq);
}

static void take_event(struct events *ev, json_t *line)
{
    json_t *event = json_object_get(line, "params");
    if (strcmp(wpctl_text(line, "method"), "event") != 0 || !json_is_object(event)) {
        wpctl_die(EX_PROTOCOL, "%s: a line that is no event and no answer: this is not wirepostd",
                  wpctl_options.socket);
    }
    ev->last_seq = wpctl_number(event, "seq");
    if (wpctl_options.json) {
        wpctl_print_json(event);
    } else {
        print_event(event);
    }
}

/* False: that was the last line. The answer comes first when it follows, and last when it does
 * not. */
static bool take_line(struct events *ev, json_t *line)
{
    struct wpctl_answer answer;
    if (!wpctl_answer_read(line, &answer) || !wpctl_answer_is_for(&answer, ev->id)) {
        take_event(ev, line);
        return true;
    }
    if (answer.error) {
        wpctl_error_die(answer.error);
    }
    ev->client.timeout_s = 0; /* from now on nothing may happen for long */
    return ev->follow;
}

/* ---- command ----------------------------------------------------------------------------- */

static void set_after(json_t *params, const char *text)
{
    int64_t after;
    if (!wpctl_number_parse(text, 0, INT64_MAX, &after)) {
        wpctl_misuse("events", "--after is a sequence number from 0, not \"%s\"", text);
    }
    (void)json_object_set_new(params, "after", json_integer((json_int_t)after));
}

static bool is_type(const char *text)
{
    static const char *const types[] = {
        "accepted", "delivered", "deferred", "bounced", "doubtful", "held", "finished",  "dsn",
        "released", "decision",  "feedback", "dnsbl",   "address",  "pool", "dataplane", "drain"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* A type that does not exist would be waited for, for ever. */
static void add_types(json_t *params, char *text)
{
    json_t *types = json_object_get(params, "types");
    const char *type;
    if (!types) {
        types = wpctl_must(json_array());
        (void)json_object_set_new(params, "types", types);
    }
    while ((type = strsep(&text, ",")) != NULL) {
        if (!is_type(type)) {
            wpctl_misuse("events", "there is no type \"%s\"", type);
        }
        (void)json_array_append_new(types, json_string(type));
    }
}

static void read_options(struct events *ev, int argc, char **argv)
{
    static const struct option options[] = {{"after", required_argument, NULL, 'a'},
                                            {"type", required_argument, NULL, 't'},
                                            {"no-follow", no_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'a') {
            set_after(ev->params, optarg);
        } else if (option == 't') {
            add_types(ev->params, optarg);
        } else if (option == 'n') {
            ev->follow = false;
        } else {
            exit(EX_USAGE); /* getopt_long() has said what */
        }
    }
    if (optind < argc) {
        wpctl_misuse("events", "it takes options only, not \"%s\"", argv[optind]);
    }
    (void)json_object_set_new(ev->params, "follow", json_boolean(ev->follow));
}

int wpctl_events(int argc, char **argv)
{
    struct events ev = {.params = wpctl_must(json_object()), .follow = true};
    read_options(&ev, argc, argv);
    wpctl_client_open(&ev.client);
    ev.id = wpctl_client_send(&ev.client, "events", ev.params, NULL, 0);
    for (bool go_on = true; go_on;) {
        json_t *line = ev.id != 0 ? wpctl_client_receive(&ev.client) : NULL;
        if (!line) {
            connection_failed(&ev);
        }
        go_on = take_line(&ev, line);
        json_decref(line);
    }
    wpctl_client_close(&ev.client);
    return EX_OK;
}
