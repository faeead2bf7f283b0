/*
 * wpctl.h - wirepostctl: a thin client of the control socket (control/API.md). What all its files
 * share: the options of every command, and how the program ends when something is wrong.
 *
 * Errors: what is wrong ends the program through wpctl_die() with one line on stderr that says what
 * to do, and a status of sysexits.h (a command-line tool has nothing to undo). `inject` alone goes
 * on after a failure, so the connection (wpctl_client.h) hands failures to its caller.
 *
 * Invariants:
 *   1. No byte that came over the socket, from a file or from a file's name reaches a terminal but
 *      through wpctl_put(), a table, or wpctl_print_json().
 *   2. A text that is no UTF-8 cannot be asked for over JSON: it is refused, never left out.
 *   3. Status 0 means that the daemon did what was asked and that all of its answer was written.
 */
#ifndef WIREPOST_WPCTL_H
#define WIREPOST_WPCTL_H

#include <stdbool.h>
#include <stdint.h>

/* ---- options of every command ---- */

struct wpctl_options {
    const char *socket;
    bool json;
    bool colour;        /* emphasis by escape sequences */
    bool timeout_given; /* --timeout */
    int timeout_s;      /* for an answer; 0: for ever */
};
extern struct wpctl_options wpctl_options;

/* ---- the end ---- */

void wpctl_die(int status, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
/* A wrong use of a command, EX_USAGE, with a pointer to its help. */
void wpctl_misuse(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* Ends the program when the pointer is null, which means that there is no memory. */
void *wpctl_must(void *pointer);
/* Writes out standard output; ends the program when that does not work (a full disk). */
void wpctl_flush(void);

/* A whole number from low to high in decimal, nothing else around it. */
bool wpctl_number_parse(const char *text, int64_t low, int64_t high, int64_t *ret_number);
/* Milliseconds of a clock that only goes forward. */
int64_t wpctl_now_ms(void);

/* ---- commands (wpctl_command.c) ----
 * argv[0] is "wirepostctl NAME", for getopt_long(); the rest are the command's own arguments. The
 * exit status. */

struct wpctl_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *brief;
    const char *usage;    /* lines after "wirepostctl [OPTIONS] " */
    const char *text;     /* paragraphs and options */
    const char *examples; /* one a line */
};

/* Null: there is none of this name. */
const struct wpctl_command *wpctl_command_find(const char *name);
void wpctl_command_help(const struct wpctl_command *command);
/* All commands, options and statuses. On stderr after a wrong use. */
void wpctl_overview(bool to_stderr);

int wpctl_inject(int argc, char **argv);
int wpctl_queue(int argc, char **argv);
/* queue hold, release, retry, bounce, delete: argv[1] is the verb. */
int wpctl_queue_operate(int argc, char **argv);
int wpctl_routes(int argc, char **argv);
int wpctl_strategy(int argc, char **argv);
int wpctl_why(int argc, char **argv);
int wpctl_stats(int argc, char **argv);
int wpctl_events(int argc, char **argv);
int wpctl_addresses(int argc, char **argv);
int wpctl_pool(int argc, char **argv);
int wpctl_lanes(int argc, char **argv);
int wpctl_config(int argc, char **argv);
int wpctl_drain(int argc, char **argv);
int wpctl_version(int argc, char **argv);

#endif
