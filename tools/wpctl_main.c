/* wpctl_main.c - options, commands and their help: see wpctl.h. */
#include "tools/wpctl.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

struct wpctl_options wpctl_options = {.socket = "/run/wirepost/control.sock", .timeout_s = 60};

void wpctl_die(int status, const char *format, ...)
{
    va_list arguments;
    (void)fflush(stdout);
    (void)fputs("wirepostctl: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    _exit(status); /* what is still allocated is the system's to take back */
}

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *brief;
    const char *help; /* after "wirepostctl [OPTIONS] " */
};

static int help_command(int argc, char **argv);

static const struct command commands[] = {
    {"inject", wpctl_inject, "give messages to the appliance",
     "inject [--sender NAME] [--from ADDRESS] (--to ADDRESS ... | -t) [--stream NAME]\n"
     "       [--quiet] FILE | DIRECTORY | - ...\n\n"
     "Each FILE is one message (RFC 5322); of a DIRECTORY each file in it, by name; - is standard "
     "input.\n"
     "A message is accepted when its id is printed: it is on stable storage then.\n\n"
     "  --sender NAME    an entry of \"senders\"; default: the one that has the domain of --from\n"
     "  --from ADDRESS   return path; <> is the null path; default: the first address of From:\n"
     "  --to ADDRESS     recipient; may be given again\n"
     "  -t               recipients from To:, Cc: and Bcc: of each message (Bcc: is removed)\n"
     "  --stream NAME    default transactional\n"
     "  --quiet          no line for each message, only what is refused\n\n"
     "Goes on after a refused message; the exit status is that of the first refusal.\n\n"
     "Examples:\n"
     "  wirepostctl inject --from news@acme.example --to you@example.net mail.eml\n"
     "  wirepostctl inject -t outbox/\n"},
    {"queue", wpctl_queue, "what is queued, or one message of it",
     "queue list [--sender NAME] [--domain NAME] [--state STATE] [--limit N] [--after ID]\n"
     "  queue show ID\n\n"
     "STATE is queued, in_flight, delivered or bounced (some recipient of the message is).\n"},
    {"stats", wpctl_stats, "counts, and paths from source address to destination",
     "stats [--watch [SECONDS]]\n\n"
     "Counts since the daemon's start, of recipients unless it says messages; --watch repeats it "
     "(default\n"
     "every 2 s) until Ctrl-C.\n"},
    {"events", wpctl_events, "what happens, as it happens",
     "events [--after N] [--type TYPE[,TYPE...]] [--no-follow]\n\n"
     "Follows until Ctrl-C. --after N begins after that sequence number (0: with the oldest kept); "
     "--no-follow\n"
     "ends after the last one. Types: accepted, delivered, deferred, bounced, doubtful, held, "
     "finished, dsn,\n"
     "dataplane, drain.\n"},
    {"lanes", wpctl_lanes, "the data plane, lane by lane", "lanes\n"},
    {"why", wpctl_why, "everything that is known of one message", "why ID\n"},
    {"config", wpctl_config, "the configuration in force, or a check of a file",
     "config get [POINTER]\n"
     "  config check FILE\n\n"
     "POINTER is a JSON pointer such as /delivery/retry_s.\n"},
    {"drain", wpctl_drain, "start nothing new",
     "drain [--off] [--wait]\n\n"
     "What runs finishes or goes back to the queue; mail is still accepted. --wait returns when "
     "nothing is in\n"
     "flight any more; --off ends it.\n"},
    {"version", wpctl_version, "of the daemon and of this program", "version\n"},
    {"help", help_command, "of a command", "help [COMMAND]\n"},
};

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static void print_overview(FILE *out)
{
    (void)fputs("usage: wirepostctl [OPTIONS] COMMAND ...\n\n"
                "Speaks to wirepostd over its control socket.\n\nCommands:\n",
                out);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        (void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].brief);
    }
    (void)fputs(
        "\nOptions:\n"
        "  --socket PATH  control socket (default $WIREPOST_SOCKET, or\n"
        "                 /run/wirepost/control.sock)\n"
        "  --json         one line of JSON for each result, for machines\n"
        "  --timeout S    how long to wait for an answer (default 60; 0: for ever)\n"
        "  --no-color     no emphasis in tables (also when NO_COLOR is set, or not on a terminal)\n"
        "  --help, --version\n\n"
        "\"wirepostctl help COMMAND\" tells more. Exit status as in sysexits.h: 0 done, 64 wrong "
        "use,\n"
        "65 bad message or address, 66 not found, 67 unknown sender, 69 no daemon, 74 spool "
        "error,\n"
        "75 try later, 76 nonsense from the daemon, 77 not permitted, 78 bad configuration.\n",
        out);
}

static void print_help(FILE *out, const struct command *command)
{
    (void)fprintf(out, "usage: wirepostctl [OPTIONS] %s", command->help);
}

int wpctl_usage(const char *name)
{
    print_help(stderr, find(name));
    return EX_USAGE;
}

static int help_command(int argc, char **argv)
{
    const struct command *command = argc > 1 ? find(argv[1]) : NULL;
    if (argc > 1 && !command) {
        wpctl_die(EX_USAGE, "there is no command \"%s\" (wirepostctl help)", argv[1]);
    }
    if (command) {
        print_help(stdout, command);
    } else {
        print_overview(stdout);
    }
    return EX_OK;
}

static int timeout_value(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end != '\0' || end == text || value < 0 || value > 86400) {
        wpctl_die(EX_USAGE, "--timeout must be a number of seconds from 0 to 86400, not %s", text);
    }
    return (int)value;
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
        break;
    case 'n':
        wpctl_options.colour = false;
        break;
    case 'h':
        print_overview(stdout);
        exit(EX_OK);
    case 'v':
        (void)puts("wirepostctl " WIREPOST_VERSION);
        exit(EX_OK);
    default:
        exit(EX_USAGE); /* getopt_long() has said what */
    }
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", 1, NULL, 's'},   {"json", 0, NULL, 'j'}, {"timeout", 1, NULL, 'T'},
        {"no-color", 0, NULL, 'n'}, {"help", 0, NULL, 'h'}, {"version", 0, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int option;
    const char *socket = getenv("WIREPOST_SOCKET");
    wpctl_options.socket = socket && socket[0] ? socket : wpctl_options.socket;
    wpctl_options.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        take_option(option);
    }
    if (optind == argc) {
        print_overview(stderr);
        return EX_USAGE;
    }
    const struct command *command = find(argv[optind]);
    if (!command) {
        wpctl_die(EX_USAGE, "there is no command \"%s\" (wirepostctl help)", argv[optind]);
    }
    argc -= optind;
    argv += optind;
    if (asks_for_help(argc, argv)) {
        print_help(stdout, command);
        return EX_OK;
    }
    optind = 0; /* each command reads its own options from the beginning */
    return command->run(argc, argv);
}
