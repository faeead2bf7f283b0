/* wpctl_stats.c - `stats`, `lanes` and `events`: see wpctl.h. */
#include "tools/wpctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* ---- stats ------------------------------------------------------------------------------- */

static void print_counts(const json_t *stats)
{
    static const char *const keys[] = {"accepted",  "finished", "queued",  "in_flight",
                                       "delivered", "deferred", "bounced", "doubtful"};
    const json_t *messages = json_object_get(stats, "messages");
    struct wpctl_table *table = wpctl_table_new(
        ">ACCEPTED|>FINISHED|>QUEUED|>IN FLIGHT|>DELIVERED|>DEFERRED|>BOUNCED|>DOUBTFUL");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        wpctl_cell(table, "%lld", (long long)wpctl_number(messages, keys[i]));
    }
    wpctl_table_print(table, "");
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void path_row(struct wpctl_table *table, const json_t *path)
{
    static const char *const keys[] = {"sent", "delivered", "deferred", "bounced", "doubtful"};
    char bytes[16];
    double seconds = real(path, "last_at") - real(path, "first_at");
    wpctl_cell(table, "%s", wpctl_text(path, "source"));
    wpctl_cell(table, "%s", wpctl_text(path, "site"));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        wpctl_cell(table, "%lld", (long long)wpctl_number(path, keys[i]));
    }
    wpctl_cell(table, "%s", wpctl_bytes((uint64_t)wpctl_number(path, "bytes"), bytes));
    wpctl_cell(table, "%.1f",
               (double)wpctl_number(path, "delivered") / (seconds > 0.001 ? seconds : 0.001));
}

static void print_stats(const json_t *stats)
{
    char used[16], free_[16], up[16];
    const json_t *spool = json_object_get(stats, "spool"), *paths = json_object_get(stats, "paths");
    (void)printf(
        "up %s; spool: %lld messages, %s used, %s free%s\n\n",
        wpctl_span((int64_t)real(stats, "uptime_s"), up),
        (long long)wpctl_number(spool, "messages"),
        wpctl_bytes((uint64_t)wpctl_number(spool, "bytes"), used),
        wpctl_bytes((uint64_t)wpctl_number(spool, "free_bytes"), free_),
        json_is_true(json_object_get(spool, "writable")) ? "" : ", NOT WRITABLE: mail is refused");
    print_counts(stats);
    (void)puts("");
    struct wpctl_table *table = wpctl_table_new(
        "SOURCE|DESTINATION|>SENT|>DELIVERED|>DEFERRED|>BOUNCED|>DOUBTFUL|>BYTES|>MESSAGES/S");
    for (size_t i = 0; i < json_array_size(paths); i++) {
        path_row(table, json_array_get(paths, i));
    }
    wpctl_table_print(table, "nothing was sent since the daemon's start");
}

static void show_once(struct wpctl_client *client)
{
    json_t *stats = wpctl_call(client, "stats", NULL);
    if (wpctl_options.json) {
        wpctl_print_json(stats);
    } else {
        print_stats(stats);
    }
    json_decref(stats);
}

static bool read_watch(int argc, char **argv, double *ret_seconds)
{
    char *end = NULL;
    *ret_seconds = 0;
    if (argc == 1) {
        return true;
    }
    if (strcmp(argv[1], "--watch") != 0 || argc > 3) {
        return false;
    }
    *ret_seconds = argc == 3 ? strtod(argv[2], &end) : 2;
    return (argc == 2 || *end == '\0') && *ret_seconds >= 0.1 && *ret_seconds <= 86400;
}

int wpctl_stats(int argc, char **argv)
{
    struct wpctl_client client;
    double seconds;
    if (!read_watch(argc, argv, &seconds)) {
        return wpctl_usage("stats");
    }
    wpctl_connect(&client);
    while (seconds > 0) {
        const struct timespec pause = {(time_t)seconds,
                                       (long)((seconds - (double)(time_t)seconds) * 1e9)};
        if (isatty(STDOUT_FILENO) && !wpctl_options.json) {
            (void)fputs("\x1b[H\x1b[2J", stdout);
        }
        show_once(&client);
        (void)fflush(stdout);
        (void)nanosleep(&pause, NULL);
    }
    show_once(&client);
    wpctl_close(&client);
    return EX_OK;
}

/* ---- lanes ------------------------------------------------------------------------------- */

static void lane_row(struct wpctl_table *table, const json_t *lane)
{
    static const char *const counters[] = {"delivered", "deferred", "bounced", "sessions",
                                           "waiting"};
    char used[16];
    const json_t *c = json_object_get(lane, "counters");
    wpctl_cell(table, "%lld", (long long)wpctl_number(lane, "lane"));
    wpctl_cell(table, "%s/%lld", wpctl_text(lane, "port"), (long long)wpctl_number(lane, "queue"));
    wpctl_cell(table, "%lld", (long long)wpctl_number(lane, "cpu"));
    wpctl_cell(table, "%s", wpctl_text(lane, "state"));
    wpctl_cell(table, "%lld", (long long)wpctl_number(lane, "addresses"));
    wpctl_cell(table, "%lld/%lld", (long long)wpctl_number(lane, "jobs_outstanding"),
               (long long)wpctl_number(lane, "jobs_limit"));
    wpctl_cell(table, "%s", wpctl_bytes((uint64_t)wpctl_number(lane, "arena_used"), used));
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        wpctl_cell(table, "%lld", (long long)wpctl_number(c, counters[i]));
    }
    wpctl_cell(table, "%lld", (long long)wpctl_number(c, "rx_frames"));
    wpctl_cell(table, "%lld", (long long)wpctl_number(c, "tx_frames"));
    wpctl_cell(table, "%lld ms", (long long)wpctl_number(lane, "heartbeat_ms"));
}

int wpctl_lanes(int argc, char **argv)
{
    struct wpctl_client client;
    (void)argv;
    if (argc != 1) {
        return wpctl_usage("lanes");
    }
    wpctl_connect(&client);
    json_t *result = wpctl_call(&client, "lanes", NULL), *lane;
    wpctl_close(&client);
    if (wpctl_options.json) {
        wpctl_print_json(result);
        json_decref(result);
        return EX_OK;
    }
    const json_t *dataplane = json_object_get(result, "dataplane");
    (void)printf("data plane: %s, pid %lld, %lld restarts\n\n", wpctl_text(dataplane, "state"),
                 (long long)wpctl_number(dataplane, "pid"),
                 (long long)wpctl_number(dataplane, "restarts"));
    struct wpctl_table *table = wpctl_table_new(
        ">LANE|PORT/QUEUE|>CPU|STATE|>ADDRESSES|>JOBS|>ARENA|>DELIVERED|>DEFERRED|>BOUNCED|"
        ">SESSIONS|>WAITING|>RX|>TX|>HEARTBEAT");
    size_t i;
    json_array_foreach(json_object_get(result, "lanes"), i, lane)
    {
        lane_row(table, lane);
    }
    wpctl_table_print(table, "no lane is configured");
    json_decref(result);
    return EX_OK;
}

/* ---- events ------------------------------------------------------------------------------ */

/* Time, type, then what the event has, in its own order. */
static void print_event(const json_t *event)
{
    const char *key;
    json_t *value;
    char shown[2048];
    (void)printf("%lld %s %s", (long long)wpctl_number(event, "seq"), wpctl_text(event, "at"),
                 wpctl_visible(wpctl_text(event, "type"), shown, sizeof shown));
    json_object_foreach((json_t *)(uintptr_t)event, key, value)
    {
        if (strcmp(key, "seq") == 0 || strcmp(key, "at") == 0 || strcmp(key, "type") == 0 ||
            json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0)) {
            continue;
        }
        (void)printf(" %s=", key);
        if (json_is_string(value)) {
            bool quote = strpbrk(json_string_value(value), " =\"") != NULL;
            (void)printf(quote ? "\"%s\"" : "%s",
                         wpctl_visible(json_string_value(value), shown, sizeof shown));
        } else {
            (void)json_dumpf(value, stdout,
                             JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        }
    }
    (void)puts("");
    (void)fflush(stdout);
}

static json_t *split_types(char *text)
{
    json_t *types = json_array();
    char *type;
    while ((type = strsep(&text, ",")) != NULL) {
        (void)json_array_append_new(types, json_string(type));
    }
    return types;
}

static json_t *event_params(int argc, char **argv, bool *ret_follow)
{
    static const struct option options[] = {{"after", 1, NULL, 'a'},
                                            {"type", 1, NULL, 't'},
                                            {"no-follow", 0, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    json_t *params = json_object();
    int option;
    *ret_follow = true;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'a') {
            (void)json_object_set_new(params, "after", json_integer(strtoll(optarg, NULL, 10)));
        } else if (option == 't') {
            (void)json_object_set_new(params, "types", split_types(optarg));
        } else if (option == 'n') {
            *ret_follow = false;
        } else {
            json_decref(params);
            return NULL;
        }
    }
    (void)json_object_set_new(params, "follow", json_boolean(*ret_follow));
    return params;
}

int wpctl_events(int argc, char **argv)
{
    struct wpctl_client client;
    bool follow;
    json_t *params = event_params(argc, argv, &follow);
    if (!params || optind < argc) {
        json_decref(params);
        return wpctl_usage("events");
    }
    if (follow) {
        wpctl_options.timeout_s = 0; /* nothing may happen for long */
    }
    wpctl_connect(&client);
    (void)wpctl_send(&client, "events", params, NULL, 0);
    for (bool going = true; going;) {
        json_t *line = wpctl_receive(&client), *error = json_object_get(line, "error");
        if (error) {
            wpctl_die_of(error);
        }
        json_t *event = json_object_get(line, "params");
        if (event && wpctl_options.json) {
            wpctl_print_json(event);
        } else if (event) {
            print_event(event);
        }
        going = follow || event;
        json_decref(line);
    }
    wpctl_close(&client);
    return EX_OK;
}
