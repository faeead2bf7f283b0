/* wpctl_daemon.c - `config`, `drain` and `version`, the commands about the daemon itself: see
 * wpctl.h. */
#include "tools/wpctl.h"

#include "tools/wpctl_client.h"
#include "tools/wpctl_json.h"
#include "tools/wpctl_text.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define PROTOCOL 1 /* of control/API.md */

/* ---- config get -------------------------------------------------------------------------- */

static int config_get(const char *pointer)
{
    json_t *params = wpctl_must(json_object());
    if (pointer && !wpctl_set_text(params, "path", pointer)) {
        wpctl_misuse("config", "the JSON pointer is not UTF-8");
    }
    json_t *result = wpctl_call_for_people("config.get", params);
    if (!result) {
        return EX_OK;
    }
    const json_t *config = json_object_get(result, "config");
    if (!config) {
        (void)wpctl_need(result, "config", JSON_OBJECT);
    }
    wpctl_print_pretty(config);
    json_decref(result);
    return EX_OK;
}

/* ---- config check ------------------------------------------------------------------------ */

static FILE *open_config(const char *name)
{
    if (strcmp(name, "-") == 0) {
        return stdin;
    }
    FILE *file = fopen(name, "re");
    if (!file) {
        wpctl_die(errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", name, strerror(errno));
    }
    return file;
}

/* The same form as the daemon's answer when the file is no JSON. */
static json_t *syntax_error(const json_error_t *error)
{
    char message[JSON_ERROR_TEXT_LENGTH + 64];
    (void)snprintf(message, sizeof message, "line %d, column %d: %s", error->line, error->column,
                   error->text);
    char *visible = wpctl_must(wpctl_visible_new(message));
    json_t *result = wpctl_must(
        json_pack("{s:b, s:[{s:s, s:s}]}", "ok", 0, "errors", "path", "", "message", visible));
    free(visible);
    return result;
}

/* Read here, so that a file of which only we have the right to read it can be checked. */
static json_t *check_file(const char *name)
{
    json_error_t error;
    FILE *file = open_config(name);
    json_t *config = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    (void)fclose(file);
    if (!config) {
        return syntax_error(&error);
    }
    return wpctl_call_once("config.check", wpctl_must(json_pack("{s:o}", "config", config)));
}

static void print_check(const char *name, const json_t *errors, bool ok)
{
    const json_t *error;
    size_t i;
    json_array_foreach(errors, i, error)
    {
        const char *path = wpctl_text(error, "path");
        wpctl_put(stdout, name);
        (void)fputs(path[0] ? ": " : "", stdout);
        wpctl_put(stdout, path);
        (void)fputs(": ", stdout);
        wpctl_put(stdout, wpctl_text(error, "message"));
        (void)fputc('\n', stdout);
    }
    wpctl_put(stdout, name);
    (void)printf(ok ? ": no error\n" : ": put right what is named above\n");
}

static int config_check(const char *name)
{
    json_t *result = check_file(name);
    const json_t *errors = wpctl_need(result, "errors", JSON_ARRAY);
    bool ok = wpctl_true(result, "ok");
    if (wpctl_options.json) {
        wpctl_print_json(result);
    } else {
        print_check(name, errors, ok);
    }
    json_decref(result);
    return ok ? EX_OK : EX_CONFIG;
}

int wpctl_config(int argc, char **argv)
{
    if ((argc == 2 || argc == 3) && strcmp(argv[1], "get") == 0) {
        return config_get(argc == 3 ? argv[2] : NULL);
    }
    if (argc == 3 && strcmp(argv[1], "check") == 0) {
        return config_check(argv[2]);
    }
    wpctl_misuse("config", "config get [POINTER], or config check FILE");
}

/* ---- drain ------------------------------------------------------------------------------- */

static void read_drain_options(int argc, char **argv, bool *off, bool *wait)
{
    static const struct option options[] = {
        {"off", no_argument, NULL, 'o'}, {"wait", no_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'o') {
            *off = true;
        } else if (option == 'w') {
            *wait = true;
        } else {
            exit(EX_USAGE); /* getopt_long() has said what */
        }
    }
    if (optind < argc) {
        wpctl_misuse("drain", "it takes options only, not \"%s\"", argv[optind]);
    }
    if (*off && *wait) {
        wpctl_misuse("drain", "--off ends it: there is nothing to --wait for");
    }
}

int wpctl_drain(int argc, char **argv)
{
    char n[WPCTL_UNIT_TEXT];
    bool off = false, wait = false;
    read_drain_options(argc, argv, &off, &wait);
    if (wait && !wpctl_options.timeout_given) {
        wpctl_options.timeout_s = 0; /* it takes as long as the slowest receiver */
    }
    json_t *params = wpctl_must(json_pack("{s:b, s:b}", "on", !off, "wait", wait));
    json_t *result = wpctl_call_for_people("drain", params);
    if (result) {
        json_int_t in_flight = json_integer_value(wpctl_need(result, "in_flight", JSON_INTEGER));
        (void)printf("%s; recipients in flight: %s\n",
                     wpctl_true(result, "draining") ? "draining" : "not draining",
                     wpctl_count(in_flight, n));
        json_decref(result);
    }
    return EX_OK;
}

/* ---- version ----------------------------------------------------------------------------- */

static void print_version(const json_t *result)
{
    char up[WPCTL_UNIT_TEXT];
    json_int_t protocol = json_integer_value(wpctl_need(result, "protocol", JSON_INTEGER));
    (void)fputs("wirepostd ", stdout);
    wpctl_put(stdout, wpctl_text(result, "version"));
    (void)printf(" (protocol %lld) on ", (long long)protocol);
    wpctl_put(stdout, wpctl_text(result, "hostname"));
    (void)printf(", pid %lld, up %s\n", (long long)wpctl_number(result, "pid"),
                 wpctl_span(wpctl_whole(result, "uptime_s"), up));
    if (protocol != PROTOCOL) {
        (void)fflush(stdout);
        (void)fprintf(stderr,
                      "wirepostctl: this program speaks protocol %d, the daemon %lld: use the "
                      "wirepostctl that came with it\n",
                      PROTOCOL, (long long)protocol);
    }
}

int wpctl_version(int argc, char **argv)
{
    (void)argv;
    if (argc != 1) {
        wpctl_misuse("version", "it takes no arguments");
    }
    if (!wpctl_options.json) {
        (void)puts("wirepostctl " WIREPOST_VERSION); /* also when there is no daemon */
    }
    json_t *result = wpctl_call_for_people("version", NULL);
    if (result) {
        print_version(result);
        json_decref(result);
    }
    return EX_OK;
}
