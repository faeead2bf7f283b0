/*
 * wpctl.h - wirepostctl: a thin client of the control socket (control/API.md). What its files
 * share.
 *
 * Everything that goes wrong ends the program through wpctl_die() with one line on stderr and a
 * status of sysexits.h; a command that has several messages to inject goes on and ends with the
 * status of the first failure.
 */
#ifndef WIREPOST_WPCTL_H
#define WIREPOST_WPCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- options of all commands (wpctl_main.c) ---- */

struct wpctl_options {
    const char *socket;
    bool json;
    bool colour;
    int timeout_s; /* for an answer; 0: for ever */
};
extern struct wpctl_options wpctl_options;

void wpctl_die(int status, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* ---- the connection (wpctl_client.c) ---- */

struct wpctl_client {
    int fd;
    json_int_t serial;
    char *in;
    size_t in_len, in_room, in_at;
};

void wpctl_connect(struct wpctl_client *client);
void wpctl_close(struct wpctl_client *client);
/* Sends a request; params (given up) may be null. raw bytes follow the line. Its id. */
json_int_t wpctl_send(struct wpctl_client *client, const char *method, json_t *params,
                      const void *raw, size_t raw_len);
/* The next line; a new reference. */
json_t *wpctl_receive(struct wpctl_client *client);
/* Sends and waits; an error ends the program. A new reference to the result. */
json_t *wpctl_call(struct wpctl_client *client, const char *method, json_t *params);
/* The exit status for an error object, as API.md's table has it. */
int wpctl_status(const json_t *error);
/* Ends the program with an error object's words. */
void wpctl_die_of(const json_t *error) __attribute__((noreturn));

/* ---- printing (wpctl_print.c) ---- */

/* Control characters, and what is no UTF-8, as visible escapes: "\x1b". At most buf_bytes - 1
 * bytes; returns buf. */
const char *wpctl_visible(const char *text, char *buf, size_t buf_bytes);
/* Characters of a UTF-8 text. */
size_t wpctl_width(const char *text);
/* "1.5 MB", "12 B". */
const char *wpctl_bytes(uint64_t bytes, char buf[16]);
/* "3d04h", "2h05m", "4m10s", "7s". */
const char *wpctl_span(int64_t seconds, char buf[16]);
/* Seconds since the epoch of an RFC 3339 text; 0 when it is none. */
int64_t wpctl_time(const char *rfc3339);

struct wpctl_table;
/* Heads separated by '|'; one that begins with '>' is aligned to the right. */
struct wpctl_table *wpctl_table_new(const char *heads);
/* The next cell, row by row; made visible. */
void wpctl_cell(struct wpctl_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Prints and frees. `empty` is printed when there is no row. */
void wpctl_table_print(struct wpctl_table *table, const char *empty);

const char *wpctl_text(const json_t *object, const char *key);
json_int_t wpctl_number(const json_t *object, const char *key);
/* One line of JSON on stdout. */
void wpctl_print_json(const json_t *value);

/* ---- commands: argv[0] is the name of the command; the exit status ---- */

int wpctl_inject(int argc, char **argv);
int wpctl_queue(int argc, char **argv);
int wpctl_stats(int argc, char **argv);
int wpctl_events(int argc, char **argv);
int wpctl_lanes(int argc, char **argv);
int wpctl_why(int argc, char **argv);
int wpctl_config(int argc, char **argv);
int wpctl_drain(int argc, char **argv);
int wpctl_version(int argc, char **argv);

/* The text of `help COMMAND`, on stdout or, after a wrong use, on stderr. */
int wpctl_usage(const char *command);

/* ---- envelope from a header (wpctl_header.c) ---- */

struct wpctl_addresses {
    char **list;
    size_t count;
};
/* Addresses of all fields of this name in the header of a message, appended. */
void wpctl_header_addresses(const char *message, size_t len, const char *field,
                            struct wpctl_addresses *addresses);
void wpctl_addresses_free(struct wpctl_addresses *addresses);

#endif
