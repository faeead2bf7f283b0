/* wpctl_main.c - the options before the command, and the way to it: see wpctl.h. */
#include "tools/wpctl.h"

#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define TIMEOUT_MAX_S 86400

static int timeout_value(const char *text)
{
    int64_t seconds;
    if (!wpctl_number_parse(text, 0, TIMEOUT_MAX_S, &seconds)) {
        wpctl_die(EX_USAGE, "--timeout is a number of seconds from 0 to %d, not \"%s\"",
                  TIMEOUT_MAX_S, text);
    }
    return (int)seconds;
}

static void take_option(int option)
{
    switch (option) {
    case 's':
        wpctl_options.socket = optarg;
        break;
    case 'j':
        wpctl_options.json = true;
        break;
    case 'T':
        wpctl_options.timeout_s = timeout_value(optarg);
        wpctl_options.timeout_given = true;
        break;
    case 'n':
        wpctl_options.colour = false;
        break;
    case 'h':
        wpctl_overview(false);
        wpctl_flush();
        exit(EX_OK);
    case 'v':
        (void)puts("wirepostctl " WIREPOST_VERSION);
        wpctl_flush();
        exit(EX_OK);
    default:
        exit(EX_USAGE); /* getopt_long() has said what */
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"timeout", required_argument, NULL, 'T'},
        {"no-color", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        take_option(option);
    }
}

static void read_environment(void)
{
    const char *socket = getenv("WIREPOST_SOCKET"), *no_color = getenv("NO_COLOR");
    if (socket && socket[0]) {
        wpctl_options.socket = socket;
    }
    /* no-color.org: "when present and not an empty string" */
    wpctl_options.colour = isatty(STDOUT_FILENO) && !(no_color && no_color[0]);
}

/* "--help" before a "--" that ends the options. */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            return true;
        }
    }
    return false;
}

static int run(const struct wpctl_command *command, int argc, char **argv)
{
    char name[32]; /* what getopt_long() begins its words with */
    (void)snprintf(name, sizeof name, "wirepostctl %s", command->name);
    argv[0] = name;
    optind = 0; /* each command reads its own options from the beginning */
    int status = EX_OK;
    if (asks_for_help(argc, argv)) {
        wpctl_command_help(command);
    } else {
        status = command->run(argc, argv);
    }
    wpctl_flush();
    return status;
}

int main(int argc, char **argv)
{
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* widths of characters, whatever the user's language */
    read_environment();
    read_options(argc, argv);
    if (optind == argc) {
        wpctl_overview(true);
        return EX_USAGE;
    }
    const struct wpctl_command *command = wpctl_command_find(argv[optind]);
    if (!command) {
        wpctl_die(EX_USAGE, "there is no command \"%s\" (wirepostctl help)", argv[optind]);
    }
    return run(command, argc - optind, argv + optind);
}
