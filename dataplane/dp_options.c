/* dp_options.c - see dp_options.h. */
#include "dataplane/dp_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#define ORPHAN_S     60u
#define ORPHAN_S_MAX 86400u

static const char help[] =
    "NAME\n"
    "    wirepost-dataplane - sends mail from many addresses through DPDK\n"
    "\n"
    "SYNOPSIS\n"
    "    wirepost-dataplane --config FILE --control SOCKET --run-dir DIR [--orphan-s N]\n"
    "    wirepost-dataplane --help | --version\n"
    "\n"
    "DESCRIPTION\n"
    "    Drives the ports that FILE names, with one lane (a thread on its own CPU) for each "
    "queue.\n"
    "    A lane has its source addresses, its own TCP stack and its own SMTP sessions. It takes "
    "jobs\n"
    "    from shared memory, delivers them, and writes down for each recipient how it ended.\n"
    "    wirepostd starts this program and gives it work; it is of no use without it.\n"
    "\n"
    "OPTIONS\n"
    "    --config FILE\n"
    "        JSON with \"dataplane\" and \"pools\", as in the appliance's configuration; other "
    "keys\n"
    "        are ignored. wirepostd passes a copy of the part that concerns this program.\n"
    "    --control SOCKET\n"
    "        The Unix socket (SOCK_SEQPACKET) that wirepostd listens on.\n"
    "    --run-dir DIR\n"
    "        Where the channel files lane-N.chan are, which wirepostd makes, and dataplane.lock.\n"
    "        One data plane runs per directory.\n"
    "    --orphan-s N\n"
    "        How many seconds to wait for wirepostd to come back after it was lost; default 60.\n"
    "        Meanwhile nothing new is started, what runs is finished, and the outcomes stay in "
    "the\n"
    "        channel files. Then the lanes are drained. wirepostd may send another number.\n"
    "    --help, --version\n"
    "        Print this text, or the version, and exit.\n"
    "\n"
    "SIGNALS\n"
    "    SIGTERM, SIGINT\n"
    "        Drain and exit: jobs that were not started are handed back, running transactions get\n"
    "        30 seconds to finish, idle sessions are ended with QUIT.\n"
    "\n"
    "EXIT STATUS (as in sysexits.h)\n"
    "    0   drained: by a signal, by wirepostd, or after --orphan-s\n"
    "    64  wrong usage\n"
    "    66  FILE cannot be read\n"
    "    69  wirepostd does not answer on SOCKET, or speaks another version\n"
    "    71  the system or DPDK refused something; the line on stderr says what\n"
    "    75  another data plane runs in DIR\n"
    "    77  the same, and it does not run as root, which is the likely reason\n"
    "    78  something is wrong in FILE; each line on stderr names a place and a remedy\n"
    "\n"
    "FILES\n"
    "    DIR/lane-N.chan   jobs and outcomes of lane N; they outlive both processes\n"
    "    DIR/dataplane.lock\n"
    "\n"
    "SEE ALSO\n"
    "    wirepostd --help, wirepostctl --help, dataplane/README.md\n";

static int usage_error(const char *what, const char *value)
{
    (void)fprintf(stderr, "wirepost-dataplane: %s%s (--help explains)\n", what, value);
    return EX_USAGE;
}

static int parse_seconds(const char *text, uint32_t *ret_s)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < 1 || value > ORPHAN_S_MAX) {
        return usage_error("--orphan-s must be a number from 1 to 86400, not ", text);
    }
    *ret_s = (uint32_t)value;
    return -1;
}

static int take_option(int option, struct dp_options *options)
{
    switch (option) {
    case 'c':
        options->config = optarg;
        return -1;
    case 's':
        options->control = optarg;
        return -1;
    case 'r':
        options->run_dir = optarg;
        return -1;
    case 'o':
        return parse_seconds(optarg, &options->orphan_s);
    case 'h':
        (void)fputs(help, stdout);
        return EX_OK;
    case 'v':
        (void)puts("wirepost-dataplane " WIREPOST_VERSION);
        return EX_OK;
    default:
        return EX_USAGE; /* getopt_long() has said what */
    }
}

int dp_options_parse(int argc, char **argv, struct dp_options *ret_options)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"control", required_argument, NULL, 's'},
        {"run-dir", required_argument, NULL, 'r'},
        {"orphan-s", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *ret_options = (struct dp_options){.orphan_s = ORPHAN_S};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        int status = take_option(option, ret_options);
        if (status != -1) {
            return status;
        }
    }
    if (optind < argc) {
        return usage_error("unexpected argument: ", argv[optind]);
    }
    if (!ret_options->config || !ret_options->control || !ret_options->run_dir) {
        return usage_error("--config, --control and --run-dir are needed", "");
    }
    return -1;
}
