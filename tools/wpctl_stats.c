/* wpctl_stats.c - `stats`, once or again and again: see wpctl.h. */
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
#include <time.h>
#include <unistd.h>

#define WATCH_DEFAULT_S 2.0
#define WATCH_LEAST_S   0.1
#define WATCH_MOST_S    86400.0
#define WATCH_BUFFER    65536 /* a screen is written at once, so that it does not flicker */

/* ---- one look ---------------------------------------------------------------------------- */

static const char *const message_keys[] = {"accepted",  "finished", "queued",  "in_flight",
                                           "delivered", "deferred", "bounced", "doubtful"};
#define N_MESSAGE_KEYS (sizeof message_keys / sizeof message_keys[0])

static void print_service(const json_t *stats)
{
    char used[WPCTL_UNIT_TEXT], most[WPCTL_UNIT_TEXT], left[WPCTL_UNIT_TEXT], n[WPCTL_UNIT_TEXT];
    const json_t *spool = json_object_get(stats, "spool"), *dns = json_object_get(stats, "dns");
    (void)printf("up      %s\n", wpctl_span(wpctl_whole(stats, "uptime_s"), n));
    (void)printf("spool   %s messages, %s of %s, %s free on the disk%s\n",
                 wpctl_count(wpctl_number(spool, "messages"), n),
                 wpctl_bytes(wpctl_number(spool, "bytes"), used),
                 wpctl_bytes(wpctl_number(spool, "max_bytes"), most),
                 wpctl_bytes(wpctl_number(spool, "free_bytes"), left),
                 wpctl_true(spool, "writable") ? "" : "; NOT WRITABLE: new mail is refused");
    (void)printf("dns     %s lookups, %s from the cache, %s failed, %s under way\n\n",
                 wpctl_count(wpctl_number(dns, "lookups"), n),
                 wpctl_count(wpctl_number(dns, "cache_hits"), used),
                 wpctl_count(wpctl_number(dns, "failures"), most),
                 wpctl_count(wpctl_number(dns, "under_way"), left));
}

/* With a row of what happened since `before`, unless that is null. */
static void print_messages(const json_t *messages, const json_t *before, double seconds)
{
    struct wpctl_table *table = wpctl_table_new(
        "|>ACCEPTED|>FINISHED|>QUEUED|>IN FLIGHT|>DELIVERED|>DEFERRED|>BOUNCED|>DOUBTFUL");
    wpctl_cell(table, "since the start");
    for (size_t i = 0; i < N_MESSAGE_KEYS; i++) {
        wpctl_cell_count(table, wpctl_number(messages, message_keys[i]));
    }
    if (before) {
        wpctl_cell(table, "per second");
    }
    for (size_t i = 0; before && i < N_MESSAGE_KEYS; i++) {
        const char *key = message_keys[i];
        double more = (double)wpctl_number(messages, key) - (double)wpctl_number(before, key);
        wpctl_cell_format(table, "%.1f", more / seconds);
    }
    wpctl_table_show(table, "");
}

static void path_row(struct wpctl_table *table, const json_t *path)
{
    static const char *const keys[] = {"sent", "delivered", "deferred", "bounced", "doubtful"};
    double seconds = wpctl_real(path, "last_at") - wpctl_real(path, "first_at");
    wpctl_cell(table, wpctl_text(path, "source"));
    wpctl_cell(table, wpctl_text(path, "site"));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        wpctl_cell_count(table, wpctl_number(path, keys[i]));
    }
    wpctl_cell_bytes(table, wpctl_number(path, "bytes"));
    if (seconds > 0) { /* one attempt has no rate */
        wpctl_cell_format(table, "%.1f", (double)wpctl_number(path, "delivered") / seconds);
    } else {
        wpctl_cell(table, "");
    }
}

static void print_paths(const json_t *paths)
{
    struct wpctl_table *table =
        wpctl_table_new("SOURCE|DESTINATION|>SENT|>DELIVERED|>DEFERRED|>BOUNCED|>DOUBTFUL|>BYTES|"
                        ">DELIVERED/S");
    const json_t *path;
    size_t i;
    json_array_foreach(paths, i, path)
    {
        path_row(table, path);
    }
    wpctl_table_show(table, "nothing was sent since the daemon's start");
}

static void print_stats(const json_t *stats, const json_t *before, double seconds)
{
    const json_t *messages = wpctl_need(stats, "messages", JSON_OBJECT);
    const json_t *paths = wpctl_need(stats, "paths", JSON_ARRAY);
    print_service(stats);
    print_messages(messages, json_object_get(before, "messages"), seconds);
    (void)puts("");
    print_paths(paths);
}

/* ---- again and again --------------------------------------------------------------------- */

static void pause_for(double seconds)
{
    const struct timespec pause = {(time_t)seconds,
                                   (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&pause, NULL);
}

static void watch_begin(bool clear)
{
    static bool again;
    if (clear) {
        (void)fputs("\x1b[H\x1b[2J", stdout);
    } else if (again) {
        (void)puts("");
    }
    again = true;
}

/* Until Ctrl-C, or until something is wrong. */
static void watch(struct wpctl_client *client, double seconds)
{
    bool clear = isatty(STDOUT_FILENO);
    json_t *before = NULL;
    (void)setvbuf(stdout, NULL, _IOFBF, WATCH_BUFFER);
    for (;;) {
        json_t *stats = wpctl_call(client, "stats", NULL);
        if (wpctl_options.json) {
            wpctl_print_json(stats);
        } else {
            double passed = wpctl_real(stats, "uptime_s") - wpctl_real(before, "uptime_s");
            watch_begin(clear);
            print_stats(stats, passed > 0 ? before : NULL, passed);
            wpctl_flush();
        }
        json_decref(before);
        before = stats;
        pause_for(seconds);
    }
}

/* ---- command ----------------------------------------------------------------------------- */

static double watch_seconds(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= WATCH_LEAST_S && seconds <= WATCH_MOST_S)) {
        wpctl_misuse("stats", "--watch takes seconds from %.1f to %.0f, not \"%s\"", WATCH_LEAST_S,
                     WATCH_MOST_S, text);
    }
    return seconds;
}

/* Seconds of --watch; 0: without it. */
static double read_options(int argc, char **argv)
{
    static const struct option options[] = {{"watch", optional_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    double seconds = 0;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'w') {
            exit(EX_USAGE); /* getopt_long() has said what */
        }
        seconds = optarg ? watch_seconds(optarg) : WATCH_DEFAULT_S;
    }
    if (seconds > 0 && optind + 1 == argc) { /* "--watch 5" besides "--watch=5" */
        seconds = watch_seconds(argv[optind++]);
    }
    if (optind < argc) {
        wpctl_misuse("stats", "it takes only --watch, not \"%s\"", argv[optind]);
    }
    return seconds;
}

int wpctl_stats(int argc, char **argv)
{
    double seconds = read_options(argc, argv);
    if (seconds > 0) {
        struct wpctl_client client;
        wpctl_client_open(&client);
        watch(&client, seconds);
    }
    json_t *stats = wpctl_call_for_people("stats", NULL);
    if (stats) {
        print_stats(stats, NULL, 0);
        json_decref(stats);
    }
    return EX_OK;
}
