/*
 * wpctl_inject.c - `inject`: files, folders and standard input to the daemon, several unanswered at
 * a time. A file over the daemon's limit is refused here, without being read.
 */
#include "tools/wpctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define WINDOW 16 /* requests without an answer; the daemon takes 64 */

struct pending {
    json_int_t id; /* 0: free */
    char *name;
};

struct inject {
    struct wpctl_client client;
    const char *sender, *from, *stream;
    struct wpctl_addresses to;
    bool from_header, quiet, progress;
    json_int_t limit;
    struct pending window[WINDOW];
    size_t n_pending, n_total, n_accepted, n_refused;
    int status; /* of the first refusal */
};

/* ---- what comes back --------------------------------------------------------------------- */

static void show_progress(const struct inject *in, bool last)
{
    size_t done = in->n_accepted + in->n_refused;
    if (!in->progress || (!last && done % 10 != 0)) {
        return;
    }
    char bar[31];
    size_t filled = in->n_total ? done * 30 / in->n_total : 0;
    memset(bar, ' ', 30);
    memset(bar, '#', filled < 30 ? filled : 30);
    bar[30] = '\0';
    (void)fprintf(stderr, "\r[%s] %zu of %zu accepted, %zu refused%s", bar, in->n_accepted,
                  in->n_total, in->n_refused, last ? "\n" : "");
}

static void refused(struct inject *in, const char *name, int status, const char *message)
{
    char shown[2048], file[1024];
    in->n_refused++;
    in->status = in->status ? in->status : status;
    (void)fprintf(stderr, "%swirepostctl: %s: %s\n", in->progress ? "\r\x1b[K" : "",
                  wpctl_visible(name, file, sizeof file),
                  wpctl_visible(message, shown, sizeof shown));
}

static void accepted(struct inject *in, const char *name, json_t *result)
{
    char file[1024];
    in->n_accepted++;
    if (wpctl_options.json) {
        (void)json_object_set_new(result, "file", json_string(name));
        wpctl_print_json(result);
    } else if (!in->quiet) {
        (void)printf("%s  %s\n", wpctl_text(result, "id"), wpctl_visible(name, file, sizeof file));
    }
}

static struct pending *pending_of(struct inject *in, const json_t *id)
{
    for (size_t i = 0; i < WINDOW; i++) {
        if (in->window[i].id != 0 && json_is_integer(id) &&
            in->window[i].id == json_integer_value(id)) {
            return &in->window[i];
        }
    }
    wpctl_die(EX_PROTOCOL, "%s: an answer to nothing that was asked", wpctl_options.socket);
}

static void take_answer(struct inject *in)
{
    json_t *answer = wpctl_receive(&in->client);
    json_t *error = json_object_get(answer, "error"), *result = json_object_get(answer, "result");
    struct pending *pending = pending_of(in, json_object_get(answer, "id"));
    if (error) {
        if (wpctl_options.json) {
            (void)json_object_set_new(error, "file", json_string(pending->name));
            wpctl_print_json(error);
        }
        refused(in, pending->name, wpctl_status(error), wpctl_text(error, "message"));
    } else {
        accepted(in, pending->name, result);
    }
    show_progress(in, false);
    free(pending->name);
    pending->id = 0;
    in->n_pending--;
    json_decref(answer);
}

/* ---- one message ------------------------------------------------------------------------- */

static json_t *recipients_of(const struct inject *in, const char *data, size_t len)
{
    json_t *list = json_array();
    struct wpctl_addresses found = {0};
    for (size_t i = 0; i < in->to.count; i++) {
        (void)json_array_append_new(list, json_string(in->to.list[i]));
    }
    if (in->from_header) {
        wpctl_header_addresses(data, len, "To", &found);
        wpctl_header_addresses(data, len, "Cc", &found);
        wpctl_header_addresses(data, len, "Bcc", &found);
    }
    for (size_t i = 0; i < found.count; i++) {
        (void)json_array_append_new(list, json_string(found.list[i]));
    }
    wpctl_addresses_free(&found);
    return list;
}

/* Null: there is none in the header either. */
static json_t *return_path(const struct inject *in, const char *data, size_t len)
{
    if (in->from) {
        return json_string(strcmp(in->from, "<>") == 0 ? "" : in->from);
    }
    struct wpctl_addresses found = {0};
    wpctl_header_addresses(data, len, "From", &found);
    json_t *path = found.count > 0 ? json_string(found.list[0]) : NULL;
    wpctl_addresses_free(&found);
    return path;
}

static void send_message(struct inject *in, const char *name, const char *data, size_t len)
{
    json_t *to = recipients_of(in, data, len), *from = return_path(in, data, len);
    if (json_array_size(to) == 0 || !from || len == 0) {
        refused(in, name, EX_DATAERR,
                len == 0 ? "it is empty"
                : from   ? "it has no recipient: name one with --to, or in To:, Cc: or Bcc: with -t"
                         : "it has no From: field: name the return path with --from");
        json_decref(to);
        json_decref(from);
        return;
    }
    json_t *params = json_pack("{s:o, s:o, s:s, s:I}", "mail_from", from, "rcpt_to", to, "stream",
                               in->stream, "size", (json_int_t)len);
    if (in->sender) {
        (void)json_object_set_new(params, "sender", json_string(in->sender));
    }
    while (in->n_pending == WINDOW) {
        take_answer(in);
    }
    struct pending *slot = in->window;
    while (slot->id != 0) {
        slot++;
    }
    slot->name = strdup(name);
    slot->id = wpctl_send(&in->client, "inject", params, data, len);
    in->n_pending++;
}

/* ---- files ------------------------------------------------------------------------------- */

/* All of it, but not more than the limit and one byte; malloc'ed, null with errno. */
static char *read_all(int fd, size_t limit, size_t *ret_len)
{
    size_t len = 0, room = 65536;
    char *data = malloc(room);
    while (data && len <= limit) {
        if (len == room) {
            room *= 2;
            char *more = realloc(data, room);
            if (!more) {
                free(data);
                return NULL;
            }
            data = more;
        }
        ssize_t n = read(fd, data + len, room - len);
        if (n < 0) {
            free(data);
            return NULL;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    *ret_len = len;
    return data;
}

static void inject_fd(struct inject *in, const char *name, int fd)
{
    size_t len = 0;
    char *data = read_all(fd, (size_t)in->limit, &len);
    if (!data) {
        refused(in, name, EX_NOINPUT, strerror(errno));
    } else if (len > (size_t)in->limit) {
        refused(in, name, EX_DATAERR, "it is over the daemon's limits.message_bytes");
    } else {
        send_message(in, name, data, len);
    }
    free(data);
}

static void inject_file(struct inject *in, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        refused(in, path, errno == EACCES ? EX_NOPERM : EX_NOINPUT, strerror(errno));
        return;
    }
    inject_fd(in, path, fd);
    (void)close(fd);
}

static int only_files(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Every plain file of the folder, by name; with `go` false they are only counted. */
static void each_in_folder(struct inject *in, const char *path, bool go)
{
    struct dirent **entries;
    int n = scandir(path, &entries, only_files, alphasort);
    if (n < 0) {
        if (go) {
            refused(in, path, EX_NOINPUT, strerror(errno));
        }
        return;
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        struct stat st;
        (void)snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            in->n_total += !go;
            if (go) {
                inject_file(in, file);
            }
        }
        free(entries[i]);
    }
    free(entries);
}

static void each_source(struct inject *in, char **sources, bool go)
{
    for (; *sources; sources++) {
        struct stat st;
        bool folder = stat(*sources, &st) == 0 && S_ISDIR(st.st_mode);
        if (folder) {
            each_in_folder(in, *sources, go);
        } else if (!go) {
            in->n_total++;
        } else if (strcmp(*sources, "-") == 0) {
            inject_fd(in, "-", STDIN_FILENO);
        } else {
            inject_file(in, *sources);
        }
    }
}

/* ---- command ----------------------------------------------------------------------------- */

static void add_recipient(struct inject *in, char *address)
{
    char **list = realloc(in->to.list, (in->to.count + 1) * sizeof list[0]);
    if (!list) {
        wpctl_die(EX_OSERR, "out of memory");
    }
    list[in->to.count++] = address;
    in->to.list = list;
}

static bool read_options(struct inject *in, int argc, char **argv)
{
    static const struct option options[] = {
        {"sender", 1, NULL, 's'}, {"from", 1, NULL, 'f'},  {"to", 1, NULL, 'r'},
        {"stream", 1, NULL, 'S'}, {"quiet", 0, NULL, 'q'}, {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "t", options, NULL)) != -1) {
        switch (option) {
        case 's':
            in->sender = optarg;
            break;
        case 'f':
            in->from = optarg;
            break;
        case 'r':
            add_recipient(in, optarg);
            break;
        case 'S':
            in->stream = optarg;
            break;
        case 't':
            in->from_header = true;
            break;
        case 'q':
            in->quiet = true;
            break;
        default:
            return false;
        }
    }
    return optind < argc && (in->to.count > 0 || in->from_header);
}

static json_int_t message_limit(struct inject *in)
{
    json_t *result =
        wpctl_call(&in->client, "config.get", json_pack("{s:s}", "path", "/limits/message_bytes"));
    json_int_t limit = wpctl_number(result, "config");
    json_decref(result);
    return limit;
}

int wpctl_inject(int argc, char **argv)
{
    struct inject in = {.stream = "transactional"};
    if (!read_options(&in, argc, argv)) {
        free(in.to.list);
        return wpctl_usage("inject");
    }
    wpctl_connect(&in.client);
    in.limit = message_limit(&in);
    each_source(&in, argv + optind, false);
    in.progress = in.n_total > 20 && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
    each_source(&in, argv + optind, true);
    while (in.n_pending > 0) {
        take_answer(&in);
    }
    show_progress(&in, true);
    if (in.n_total != 1 && !in.progress && !wpctl_options.json) {
        (void)fprintf(stderr, "%zu accepted, %zu refused\n", in.n_accepted, in.n_refused);
    }
    wpctl_close(&in.client);
    free(in.to.list);
    return in.status;
}
