/* wpctl_window.c - see wpctl_window.h. */
#include "tools/wpctl_window.h"

#include "tools/wpctl.h"
#include "tools/wpctl_json.h"
#include "tools/wpctl_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- what is told ------------------------------------------------------------------------ */

static void show_progress(struct wpctl_window *w)
{
    size_t done = w->n_accepted + w->n_refused + w->n_unknown;
    wpctl_progress_show(&w->progress, done, w->n_refused);
}

/* A file's name may be no UTF-8: then JSON has its visible form. */
static void set_file(json_t *line, const char *name)
{
    if (!wpctl_set_text(line, "file", name)) {
        char *visible = wpctl_must(wpctl_visible_new(name));
        (void)wpctl_set_text(line, "file", visible);
        free(visible);
    }
}

static void note_status(struct wpctl_window *w, size_t ordinal, int status)
{
    if (w->status == 0 || ordinal < w->status_ordinal) {
        w->status = status;
        w->status_ordinal = ordinal;
    }
}

/* A message that was not accepted; error is borrowed. */
static void tell_failure(struct wpctl_window *w, const char *name, int status, json_t *error)
{
    const char *why = wpctl_text(error, "message");
    wpctl_progress_hide(&w->progress);
    if (wpctl_options.json) {
        json_t *line = wpctl_must(json_pack("{s:i, s:O}", "status", status, "error", error));
        set_file(line, name);
        wpctl_print_json(line);
        json_decref(line);
    }
    (void)fflush(stdout); /* in the order in which it happened when both go to one place */
    (void)fputs("wirepostctl: ", stderr);
    wpctl_put(stderr, name);
    (void)fputs(": ", stderr);
    wpctl_put(stderr, why[0] ? why : "refused without a word");
    (void)fputc('\n', stderr);
    show_progress(w);
}

static void tell_accepted(struct wpctl_window *w, const char *name, json_t *result)
{
    w->n_accepted++;
    if (isatty(STDOUT_FILENO) && !w->quiet) {
        wpctl_progress_hide(&w->progress);
    }
    if (wpctl_options.json) {
        set_file(result, name);
        wpctl_print_json(result);
    } else if (!w->quiet) {
        wpctl_put(stdout, wpctl_text(result, "id"));
        (void)fputs("  ", stdout);
        wpctl_put(stdout, name);
        (void)fputc('\n', stdout);
        wpctl_flush(); /* accepted is accepted, whatever comes next */
    }
    show_progress(w);
}

static void refuse(struct wpctl_window *w, const char *name, size_t ordinal, int status,
                   json_t *error)
{
    w->n_refused++;
    note_status(w, ordinal, status);
    tell_failure(w, name, status, error);
}

void wpctl_window_refuse(struct wpctl_window *w, const char *name, int status, const char *why)
{
    json_t *error = wpctl_must(json_pack("{s:s}", "message", why));
    refuse(w, name, w->n_begun++, status, error);
    json_decref(error);
}

/* ---- answers ----------------------------------------------------------------------------- */

static void pending_free(struct wpctl_window *w, struct wpctl_pending *pending)
{
    free(pending->name);
    *pending = (struct wpctl_pending){0};
    w->n_pending--;
}

static struct wpctl_pending *oldest_pending(struct wpctl_window *w)
{
    struct wpctl_pending *oldest = NULL;
    for (size_t i = 0; i < WPCTL_WINDOW; i++) {
        struct wpctl_pending *pending = &w->pending[i];
        if (pending->id != 0 && (!oldest || pending->ordinal < oldest->ordinal)) {
            oldest = pending;
        }
    }
    return oldest;
}

/* The connection ended. What has no answer may have been accepted: nobody here can know. */
static void give_up(struct wpctl_window *w)
{
    const struct wpctl_failure *failure = &w->client.failure;
    char *end = wpctl_must(wpctl_visible_new(failure->text));
    json_t *error = wpctl_must(
        json_pack("{s:s++, s:{s:s}}", "message", "no answer: it may have been accepted (",
                  "wirepostctl queue list, wirepostctl events --after 0 --no-follow); ", end,
                  "data", "reason", "unanswered"));
    for (struct wpctl_pending *pending; (pending = oldest_pending(w)) != NULL;) {
        w->n_unknown++;
        note_status(w, pending->ordinal, failure->status);
        tell_failure(w, pending->name, failure->status, error);
        pending_free(w, pending);
    }
    json_decref(error);
    free(end);
}

static bool protocol_failure(struct wpctl_window *w, const char *what)
{
    struct wpctl_failure *failure = &w->client.failure;
    failure->status = EX_PROTOCOL;
    (void)snprintf(failure->text, sizeof failure->text, "%.200s: %s: this is not wirepostd",
                   wpctl_options.socket, what);
    return false;
}

static struct wpctl_pending *pending_of(struct wpctl_window *w, const struct wpctl_answer *answer)
{
    for (size_t i = 0; i < WPCTL_WINDOW; i++) {
        json_int_t id = w->pending[i].id;
        if (id != 0 && json_is_integer(answer->id) && json_integer_value(answer->id) == id) {
            return &w->pending[i];
        }
    }
    return NULL;
}

/* An error with "id": null is about the connection: the daemon turns us away. */
static bool turned_away(struct wpctl_window *w, const json_t *error)
{
    struct wpctl_failure *failure = &w->client.failure;
    failure->status = wpctl_error_status(error);
    (void)snprintf(failure->text, sizeof failure->text, "%s", wpctl_text(error, "message"));
    return false;
}

/* The answer to one of the pending messages. False: the connection is of no more use. */
static bool take_line(struct wpctl_window *w, json_t *line)
{
    struct wpctl_answer answer;
    if (!wpctl_answer_read(line, &answer)) {
        return protocol_failure(w, "an answer without result and error");
    }
    if (answer.error && json_is_null(answer.id)) {
        return turned_away(w, answer.error);
    }
    struct wpctl_pending *pending = pending_of(w, &answer);
    if (!pending) {
        return protocol_failure(w, "an answer to nothing that was asked");
    }
    if (answer.error) {
        refuse(w, pending->name, pending->ordinal, wpctl_error_status(answer.error), answer.error);
    } else if (!wpctl_text(answer.result, "id")[0]) {
        return protocol_failure(w, "a message was accepted without an id");
    } else {
        tell_accepted(w, pending->name, answer.result);
    }
    pending_free(w, pending);
    return true;
}

static void take_answer(struct wpctl_window *w)
{
    json_t *line = wpctl_client_receive(&w->client);
    if (!line || !take_line(w, line)) {
        w->client.hung_up = true;
        give_up(w);
    }
    json_decref(line);
}

void wpctl_window_finish(struct wpctl_window *w)
{
    while (w->n_pending > 0) {
        take_answer(w);
    }
}

/* ---- requests ---------------------------------------------------------------------------- */

static struct wpctl_pending *free_slot(struct wpctl_window *w)
{
    struct wpctl_pending *slot = w->pending;
    while (slot->id != 0) {
        slot++;
    }
    return slot;
}

bool wpctl_window_send(struct wpctl_window *w, const char *name, json_t *params, const void *data,
                       size_t bytes)
{
    while (w->n_pending == WPCTL_WINDOW && !w->client.hung_up) {
        take_answer(w);
    }
    if (w->client.hung_up) {
        json_decref(params);
        return false;
    }
    struct wpctl_pending *slot = free_slot(w);
    slot->name = wpctl_must(strdup(name));
    slot->ordinal = w->n_begun++;
    slot->id = wpctl_client_send(&w->client, "inject", params, data, bytes);
    w->n_pending++;
    if (slot->id == 0) { /* a part of it was sent; answers to others may still come */
        slot->id = w->client.serial;
        w->client.hung_up = true;
    }
    return true;
}
