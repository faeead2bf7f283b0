/*
 * wpctl_client.h - the connection to the daemon: a Unix stream socket, JSON-RPC 2.0, one object on
 * a line, raw bytes of a message after the line that announces them (control/API.md).
 *
 * Failures are kept in the client (`failure`) and given as 0 or null; nothing can be sent after
 * one. A daemon that hangs up while it is sent to is not a failure yet: what it said before is
 * still read (that it has too many clients, which messages it accepted), then the end is met.
 *
 * Blocking, one thread. --timeout bounds the wait for each answer, and each wait for a daemon that
 * does not take what is sent.
 */
#ifndef WIREPOST_WPCTL_CLIENT_H
#define WIREPOST_WPCTL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define WPCTL_LINE_MAX (64u << 20) /* API.md: "A line is at most 64 MiB" */

struct wpctl_failure {
    int status; /* of sysexits.h; 0: none */
    char text[1024];
};

struct wpctl_client {
    int fd;
    int timeout_s; /* 0: for ever */
    bool hung_up;  /* the daemon takes nothing more */
    json_int_t serial;
    char *in; /* what was received: [in_at, in_len) is not taken yet */
    size_t in_at, in_len, in_room;
    struct wpctl_failure failure;
};

/* Connects to the socket of the options; ends the program when that does not work. */
void wpctl_client_open(struct wpctl_client *client);
void wpctl_client_close(struct wpctl_client *client);

/* Sends a request; params (given up) may be null: {}. raw_bytes bytes follow the line. Its id, or
 * 0: failure. */
json_int_t wpctl_client_send(struct wpctl_client *client, const char *method, json_t *params,
                             const void *raw, size_t raw_bytes);
/* The next line, a new reference to an object; null: failure. */
json_t *wpctl_client_receive(struct wpctl_client *client);
/* Ends the program with the failure's words. */
void wpctl_client_die(const struct wpctl_client *client) __attribute__((noreturn));

struct wpctl_answer {
    const json_t *id;
    json_t *result; /* exactly one of the two is set; borrowed */
    json_t *error;
};
/* False: this object is no answer (a notification, or nonsense). */
bool wpctl_answer_read(const json_t *line, struct wpctl_answer *ret_answer);
/* Whether it answers the request `id`, or is an error of which the daemon does not know the request
 * ("id": null, JSON-RPC 2.0, 5). */
bool wpctl_answer_is_for(const struct wpctl_answer *answer, json_int_t id);

/* The exit status for an error object, as API.md's table has it. */
int wpctl_error_status(const json_t *error);
/* Ends the program with an error object's words; with --json it stands on stdout, too. */
void wpctl_error_die(const json_t *error) __attribute__((noreturn));

/* Sends and waits for the result, an object: a new reference. Everything else ends the program. */
json_t *wpctl_call(struct wpctl_client *client, const char *method, json_t *params);
/* The same over a connection of its own, with the timeout of the options. */
json_t *wpctl_call_once(const char *method, json_t *params);
/* The same; with --json it is printed, and null is given. */
json_t *wpctl_call_for_people(const char *method, json_t *params);

#endif
