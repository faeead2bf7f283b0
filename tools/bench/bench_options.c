/* bench_options.c - see bench_options.h. */
#include "tools/bench/bench_options.h"

#include <errno.h>
#include <getopt.h>
#include <sysexits.h>

static const char help[] =
    "NAME\n"
    "    wirepost-bench - how fast a lane is, in this process, without a network\n"
    "\n"
    "SYNOPSIS\n"
    "    wirepost-bench lane [--new] [--tls] [--size BYTES] [--sessions N] [--addresses N]\n"
    "                        [--seconds N] [--cpus SENDER,SINK] [--postfix DIR]\n"
    "                        [--kernel-messages N] [--json]\n"
    "\n"
    "DESCRIPTION\n"
    "    lane joins a lane of wirepost-dataplane on one CPU with a receiver on another one by a\n"
    "    pair of rings (DPDK's net_ring; MTU 1500, no TSO, checksums in software). The jobs go\n"
    "    through a real channel and their outcomes are read from it; the receiver has the same\n"
    "    TCP stack with a small SMTP server on top that checks the digest of each message. The\n"
    "    CPU of the receiver also fills and collects the jobs, as wirepostd would.\n"
    "\n"
    "    After it postfix's smtp-source -d sends messages of the same size to smtp-sink over\n"
    "    kernel sockets (always in clear), and its CPU time for each message is compared.\n"
    "\n"
    "OPTIONS\n"
    "    --new               a connection for each message; default: connections are used again\n"
    "    --tls               STARTTLS (TLS 1.3)\n"
    "    --size BYTES        of a message (10240)\n"
    "    --sessions N        at once (1000); raised to the number of addresses\n"
    "    --addresses N       source addresses (1); the sessions are spread over them\n"
    "    --seconds N         to measure, after three to warm up (5)\n"
    "    --cpus A,B          of sender and receiver (0,1)\n"
    "    --postfix DIR       where smtp-source and smtp-sink are: DIR/usr/sbin, or /usr/sbin\n"
    "    --kernel-messages N for smtp-source (20000); 0 leaves it out\n"
    "    --json              print one JSON object\n"
    "    --help, --version\n"
    "\n"
    "OUTPUT\n"
    "    cycles_per_message are those of the sender's thread, by its CPU time, in turns that had\n"
    "    something to do: what other processes take of the CPU is not in them. per_cpu_second is\n"
    "    how many messages that makes for a CPU that does nothing else. An\n"
    "    idle poll is a turn without: where the sender has none it is the bound, where the\n"
    "    receiver has none the receiver is, and the sender could do more.\n"
    "\n"
    "EXIT STATUS\n"
    "    0 when every message arrived whole; 1 when not; else as in sysexits.h\n";

static int usage_error(const char *what, const char *value)
{
    (void)fprintf(stderr, "wirepost-bench: %s%s (--help explains)\n", what, value);
    return EX_USAGE;
}

static int number(const char *text, uint32_t least, uint32_t most, uint32_t *ret)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
        return usage_error("not a number that is possible there: ", text);
    }
    *ret = (uint32_t)value;
    return -1;
}

static int cpus(const char *text, struct bench_options *options)
{
    char *end;
    unsigned long a = strtoul(text, &end, 10), b = 0;
    bool good = *end == ',' && end != text;
    if (good) {
        b = strtoul(end + 1, &end, 10);
    }
    if (!good || *end != '\0' || a == b || a > 1023 || b > 1023) {
        return usage_error("--cpus must be two CPUs, as in 0,1, not ", text);
    }
    options->sender_cpu = (uint16_t)a;
    options->sink_cpu = (uint16_t)b;
    return -1;
}

static int take_option(int option, struct bench_options *o)
{
    switch (option) {
    case 'n':
        o->new_connections = true;
        return -1;
    case 't':
        o->tls = true;
        return -1;
    case 'b':
        return number(optarg, 256, 1u << 20, &o->size);
    case 's':
        return number(optarg, 1, BENCH_SESSIONS_MAX, &o->sessions);
    case 'a':
        return number(optarg, 1, BENCH_ADDRESSES_MAX, &o->addresses);
    case 'S':
        return number(optarg, 1, 3600, &o->seconds);
    case 'k':
        return number(optarg, 0, 100000000, &o->kernel_messages);
    case 'c':
        return cpus(optarg, o);
    case 'p':
        o->postfix = optarg;
        return -1;
    case 'j':
        o->json = true;
        return -1;
    case 'h':
        (void)fputs(help, stdout);
        return EX_OK;
    case 'v':
        (void)puts("wirepost-bench " WIREPOST_VERSION);
        return EX_OK;
    default:
        return EX_USAGE; /* getopt_long() has said what */
    }
}

int bench_options_parse(int argc, char **argv, struct bench_options *ret_options)
{
    static const struct option known[] = {
        {"new", no_argument, NULL, 'n'},
        {"tls", no_argument, NULL, 't'},
        {"size", required_argument, NULL, 'b'},
        {"sessions", required_argument, NULL, 's'},
        {"addresses", required_argument, NULL, 'a'},
        {"seconds", required_argument, NULL, 'S'},
        {"kernel-messages", required_argument, NULL, 'k'},
        {"cpus", required_argument, NULL, 'c'},
        {"postfix", required_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    struct bench_options o = {
        .size = 10240,
        .sessions = 1000,
        .addresses = 1,
        .seconds = 5,
        .kernel_messages = 20000,
        .sink_cpu = 1,
    };
    int option, status;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        status = take_option(option, &o);
        if (status != -1) {
            return status;
        }
    }
    if (optind + 1 != argc || strcmp(argv[optind], "lane") != 0) {
        return usage_error("the one thing to measure is: lane", "");
    }
    if (o.sessions < o.addresses) {
        o.sessions = o.addresses;
    }
    *ret_options = o;
    return -1;
}
