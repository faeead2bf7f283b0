/*
 * wpctl_inject.c - `inject`: the options, and the envelope of each message. What is read is
 * wpctl_source.h, what waits for an answer wpctl_window.h.
 *
 * One message is in memory at a time, and never more of a file than the daemon's limit.
 */
#include "tools/wpctl.h"

#include "tools/wpctl_header.h"
#include "tools/wpctl_json.h"
#include "tools/wpctl_source.h"
#include "tools/wpctl_text.h"
#include "tools/wpctl_window.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define STATUS_INTERRUPTED (128 + SIGINT)

struct inject {
    struct wpctl_window window;
    json_t *sender, *from, *stream; /* texts; null: not given */
    json_t *to;                     /* of --to */
    bool to_header;                 /* -t */
    bool quiet, progress;
    size_t limit_bytes;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* The first Ctrl-C ends the sending, the second the program. */
static void catch_interrupt(void)
{
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGINT, &action, NULL);
}

/* ---- envelope ---------------------------------------------------------------------------- */

/* Those of --to and, with -t, of the header. Null: one of them is no UTF-8. */
static json_t *recipients_of(const struct inject *in, const char *data, size_t bytes)
{
    static const char *const fields[] = {"To", "Cc", "Bcc"};
    json_t *list = wpctl_must(json_copy(in->to));
    bool good = true;
    for (size_t i = 0; good && in->to_header && i < sizeof fields / sizeof fields[0]; i++) {
        good = wpctl_header_addresses(data, bytes, fields[i], list);
    }
    if (!good) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* Null: there is none, or it is no UTF-8. */
static json_t *return_path_of(const struct inject *in, const char *data, size_t bytes)
{
    if (in->from) {
        return json_incref(in->from);
    }
    json_t *found = wpctl_must(json_array()), *path = NULL;
    if (wpctl_header_addresses(data, bytes, "From", found) && json_array_size(found) > 0) {
        path = json_incref(json_array_get(found, 0));
    }
    json_decref(found);
    return path;
}

/* Why there is no envelope; null: there is. */
static const char *fault(const json_t *from, const json_t *to, size_t bytes)
{
    if (bytes == 0) {
        return "it is empty";
    }
    if (!to) {
        return "an address in its To:, Cc: or Bcc: is not UTF-8: name the recipients with --to";
    }
    if (json_array_size(to) == 0) {
        return "it has no recipient: put one in To:, Cc: or Bcc:, or name one with --to";
    }
    return from ? NULL : "it has no address in From:, or not in UTF-8: name one with --from";
}

static json_t *params_of(const struct inject *in, json_t *from, json_t *to, size_t bytes)
{
    json_t *params = wpctl_must(json_object());
    if (in->sender) {
        (void)json_object_set(params, "sender", in->sender);
    }
    (void)json_object_set(params, "mail_from", from);
    (void)json_object_set(params, "rcpt_to", to);
    if (in->stream) {
        (void)json_object_set(params, "stream", in->stream);
    }
    (void)json_object_set_new(params, "size", json_integer((json_int_t)bytes));
    return params;
}

/* False: the connection is of no more use. */
static bool inject_message(struct inject *in, const char *name, const char *data, size_t bytes)
{
    json_t *to = recipients_of(in, data, bytes), *from = return_path_of(in, data, bytes);
    const char *why = fault(from, to, bytes);
    bool go_on = true;
    if (why) {
        wpctl_window_refuse(&in->window, name, EX_DATAERR, why);
    } else {
        go_on = wpctl_window_send(&in->window, name, params_of(in, from, to, bytes), data, bytes);
    }
    json_decref(to);
    json_decref(from);
    return go_on;
}

/* ---- sources ----------------------------------------------------------------------------- */

static void refuse_unreadable(struct inject *in, const char *name, int error)
{
    bool missing = error == ENOENT || error == ENOTDIR;
    int status = error == EACCES ? EX_NOPERM : missing ? EX_NOINPUT : EX_IOERR;
    wpctl_window_refuse(&in->window, name, status, strerror(error));
}

static void refuse_too_large(struct inject *in, const char *name)
{
    char limit[WPCTL_UNIT_TEXT], why[128];
    (void)snprintf(why, sizeof why, "it is over limits.message_bytes of the daemon, %s",
                   wpctl_bytes((int64_t)in->limit_bytes, limit));
    wpctl_window_refuse(&in->window, name, EX_DATAERR, why);
}

static bool take_source(void *user, const char *name, int fd, int error)
{
    struct inject *in = user;
    char *data;
    size_t bytes;
    if (interrupted || in->window.client.hung_up) {
        return false;
    }
    if (fd < 0) {
        refuse_unreadable(in, name, error);
        return true;
    }
    switch (wpctl_source_read(fd, in->limit_bytes, &data, &bytes)) {
    case WPCTL_READ_FAILED:
        refuse_unreadable(in, name, errno);
        return true;
    case WPCTL_READ_TOO_LARGE:
        refuse_too_large(in, name);
        return true;
    case WPCTL_READ_OK:
        break;
    }
    bool go_on = inject_message(in, name, data, bytes);
    free(data);
    return go_on;
}

/* ---- command ----------------------------------------------------------------------------- */

static json_t *text_option(const char *option, json_t *value)
{
    if (!value) {
        wpctl_misuse("inject", "%s is not UTF-8", option);
    }
    return value;
}

static void take_option(struct inject *in, int option)
{
    switch (option) {
    case 's':
        in->sender = text_option("--sender", json_string(optarg));
        break;
    case 'f':
        in->from = text_option("--from", wpctl_bare_address(optarg));
        break;
    case 'r':
        (void)json_array_append_new(in->to, text_option("--to", wpctl_bare_address(optarg)));
        break;
    case 'S':
        in->stream = text_option("--stream", json_string(optarg));
        break;
    case 't':
        in->to_header = true;
        break;
    case 'q':
        in->quiet = true;
        break;
    case 'p':
        in->progress = true;
        break;
    default:
        exit(EX_USAGE); /* getopt_long() has said what */
    }
}

static void read_options(struct inject *in, int argc, char **argv)
{
    static const struct option options[] = {
        {"sender", required_argument, NULL, 's'},
        {"from", required_argument, NULL, 'f'},
        {"to", required_argument, NULL, 'r'},
        {"stream", required_argument, NULL, 'S'},
        {"quiet", no_argument, NULL, 'q'},
        {"progress", no_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "t", options, NULL)) != -1) {
        take_option(in, option);
    }
    if (json_array_size(in->to) == 0 && !in->to_header) {
        wpctl_misuse("inject", "who gets it? --to ADDRESS, or -t for To:, Cc: and Bcc:");
    }
    if (optind == argc) {
        wpctl_misuse("inject", "name files or folders of messages, or - for standard input");
    }
}

static size_t message_limit(struct wpctl_client *client)
{
    json_t *result = wpctl_call(client, "config.get",
                                wpctl_must(json_pack("{s:s}", "path", "/limits/message_bytes")));
    json_int_t limit = json_integer_value(wpctl_need(result, "config", JSON_INTEGER));
    json_decref(result);
    if (limit <= 0) {
        wpctl_die(EX_PROTOCOL, "%s: the daemon's limits.message_bytes is %lld",
                  wpctl_options.socket, (long long)limit);
    }
    return (size_t)limit;
}

/* How it went, when that is not plain from the lines before. */
static void tell_summary(const struct wpctl_window *w, size_t total)
{
    char n[WPCTL_UNIT_TEXT];
    size_t not_sent = total > w->n_begun ? total - w->n_begun : 0;
    if (wpctl_options.json || (total == 1 && not_sent == 0)) {
        return;
    }
    (void)fprintf(stderr, "%s accepted", wpctl_count((int64_t)w->n_accepted, n));
    (void)fprintf(stderr, ", %s refused", wpctl_count((int64_t)w->n_refused, n));
    if (w->n_unknown > 0) {
        (void)fprintf(stderr, ", %s without an answer", wpctl_count((int64_t)w->n_unknown, n));
    }
    if (not_sent > 0) {
        (void)fprintf(stderr, ", %s not sent", wpctl_count((int64_t)not_sent, n));
    }
    (void)fputc('\n', stderr);
}

static void inject_free(struct inject *in)
{
    wpctl_client_close(&in->window.client);
    json_decref(in->sender);
    json_decref(in->from);
    json_decref(in->stream);
    json_decref(in->to);
}

int wpctl_inject(int argc, char **argv)
{
    struct inject in = {.to = wpctl_must(json_array())};
    read_options(&in, argc, argv);
    wpctl_client_open(&in.window.client);
    in.limit_bytes = message_limit(&in.window.client);
    size_t total = wpctl_sources_count(argv + optind);
    wpctl_progress_init(&in.window.progress, total, in.progress);
    in.window.quiet = in.quiet;
    catch_interrupt();
    wpctl_sources_each(argv + optind, take_source, &in);
    wpctl_window_finish(&in.window);
    wpctl_progress_end(&in.window.progress);
    tell_summary(&in.window, total);
    int status = in.window.status;
    inject_free(&in);
    return status == 0 && interrupted ? STATUS_INTERRUPTED : status;
}
