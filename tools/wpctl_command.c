/* wpctl_command.c - the commands and what `help` says of each: see wpctl.h. */
#include "tools/wpctl.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static int help(int argc, char **argv);

static const struct wpctl_command commands[] = {
    {"inject", wpctl_inject, "give messages to the appliance",
     "inject [--sender NAME] [--from ADDRESS]\n"
     "       (--to ADDRESS ... | -t) [--stream NAME] [--quiet] [--progress]\n"
     "       FILE | DIRECTORY | - ...",
     "Each FILE is one message (RFC 5322); of a DIRECTORY each plain file in it, by\n"
     "name, dot-files left out; - is standard input. A message is accepted exactly\n"
     "when its id is printed: it is on stable storage then.\n\n"
     "  --sender NAME    an entry of \"senders\" in the configuration; default: the one\n"
     "                   that has the domain of the return path\n"
     "  --from ADDRESS   return path; <> is the null path; default: the first address\n"
     "                   in the From: of each message\n"
     "  --to ADDRESS     recipient; may be given again\n"
     "  -t               recipients from To:, Cc: and Bcc: of each message, besides\n"
     "                   those of --to (the daemon removes Bcc:)\n"
     "  --stream NAME    transactional, bulk or bulk:CAMPAIGN; default transactional\n"
     "  --quiet          no line for each accepted message\n"
     "  --progress       how far it is, on stderr; of itself when that is a terminal\n"
     "                   and there are several messages\n\n"
     "Goes on after a refused message. Ctrl-C sends no more and waits for the answers\n"
     "to what was sent. The exit status is that of the first message that was not\n"
     "accepted. With --json each message has a line: the result with \"file\", or\n"
     "{\"file\", \"status\", \"error\"}.",
     "wirepostctl inject --from news@acme.example --to you@example.net mail.eml\n"
     "wirepostctl inject -t --stream bulk:spring outbox/\n"
     "make-mail | wirepostctl inject --to you@example.net -"},
    {"queue", wpctl_queue, "what is queued; hold, retry, bounce it ...",
     "queue list [--sender NAME] [--domain NAME]\n"
     "       [--state STATE] [--limit N] [--after ID]\n"
     "       wirepostctl [OPTIONS] queue show ID\n"
     "       wirepostctl [OPTIONS] queue hold | release | retry | bounce | delete\n"
     "       [--sender NAME] [--domain NAME] [--all] [--dry-run] [ID]",
     "list shows queued messages, the oldest first; show tells of each recipient of\n"
     "one. hold keeps recipients from being tried until release; retry tries at once\n"
     "what waits; bounce gives up and tells the sender, delete gives up in silence.\n"
     "They touch recipients in the domain, of messages of the sender, or --all of\n"
     "them; those in flight are left alone. --dry-run only counts.\n\n"
     "  --sender NAME    only messages of this sender\n"
     "  --domain NAME    only messages with a recipient there\n"
     "  --state STATE    only messages with a recipient that is queued, held,\n"
     "                   in_flight, delivered or bounced\n"
     "  --limit N        at most so many; default 100\n"
     "  --after ID       only messages accepted after this one",
     "wirepostctl queue list --domain example.net --state queued\n"
     "wirepostctl queue show 01a2b3c4d5e6f708\n"
     "wirepostctl queue hold --domain example.net --dry-run"},
    {"routes", wpctl_routes, "relays: their state; pause, resume, test one",
     "routes list\n"
     "       wirepostctl [OPTIONS] routes pause | resume | test NAME",
     "pause starts nothing new on a route; what waits for it is planned again. test\n"
     "connects and says EHLO, nothing is sent; the exit status is 75 when the relay\n"
     "does not answer.",
     "wirepostctl routes list\n"
     "wirepostctl routes test shared-main"},
    {"strategy", wpctl_strategy, "who carries a sender's mail, and why",
     "strategy list | get SENDER | set SENDER STRATEGY\n"
     "       wirepostctl [OPTIONS] strategy explain [--stream STREAM] SENDER PROVIDER\n"
     "       wirepostctl [OPTIONS] strategy why-not [--stream STREAM] SENDER PROVIDER\n"
     "       PATH\n"
     "       wirepostctl [OPTIONS] strategy simulate [--stream STREAM] SENDER PROVIDER\n"
     "       N",
     "set changes the strategy of a sender to auto, dedicated, shared or custom from\n"
     "now on and over restarts, until it is set back to what the configuration says.\n"
     "explain tells the decision in force for its mail to a provider, why-not what\n"
     "keeps it off an address or a route, simulate where N mails would go now;\n"
     "nothing is sent. Providers are called as in the events of type decision.\n\n"
     "  --stream STREAM  default transactional",
     "wirepostctl strategy set acme auto\n"
     "wirepostctl strategy explain --stream bulk acme gmail\n"
     "wirepostctl strategy why-not --stream bulk acme gmail 192.0.2.10"},
    {"why", wpctl_why, "everything that is known of one message", "why ID",
     "Each decision and outcome with its reason, in order of time, of a message that\n"
     "is queued or was.",
     "wirepostctl why 01a2b3c4d5e6f708"},
    {"stats", wpctl_stats, "counts, and paths from source address to destination",
     "stats [--watch [SECONDS]]",
     "Counts since the daemon's start: accepted, finished and queued are messages, the\n"
     "others recipients.\n\n"
     "  --watch [SECONDS]  again every so many seconds (default 2) until Ctrl-C, with\n"
     "                     what happened in between",
     "wirepostctl stats --watch 1\n"
     "wirepostctl --json stats | jq .messages.queued"},
    {"events", wpctl_events, "what happens, as it happens",
     "events [--after N] [--type TYPE[,TYPE...]]\n"
     "       [--no-follow]",
     "Follows until Ctrl-C; each line begins with the sequence number of the event.\n\n"
     "  --after N    begin after that sequence number; 0: with the oldest that is\n"
     "               kept; default: with what happens from now on\n"
     "  --type TYPE  only these: accepted, delivered, deferred, bounced, doubtful,\n"
     "               held, released, finished, dsn, decision, feedback, dnsbl,\n"
     "               address, pool, dataplane, drain; may be given again\n"
     "  --no-follow  end after the last one that is kept",
     "wirepostctl events --type bounced,doubtful\n"
     "wirepostctl --json events --after 0 --no-follow > history.jsonl"},
    {"lanes", wpctl_lanes, "the data plane, lane by lane", "lanes",
     "State, load and counters of each lane; --json has all of them.",
     "wirepostctl lanes\n"
     "wirepostctl --json lanes | jq '.lanes[].tcp'"},
    {"addresses", wpctl_addresses, "source addresses: add, drain, move, remove",
     "addresses list [--pool NAME] [ADDRESS ...]\n"
     "       wirepostctl [OPTIONS] addresses add --pool NAME --queue N [--port NAME]\n"
     "       [--ehlo NAME] ADDRESS ...\n"
     "       wirepostctl [OPTIONS] addresses drain | undrain | remove [--pool NAME]\n"
     "       [ADDRESS ...]\n"
     "       wirepostctl [OPTIONS] addresses move --queue N [--pool NAME]\n"
     "       [ADDRESS ...]",
     "ADDRESS is one, a range a-b or a prefix x/27, of IPv4 or IPv6. A drained address\n"
     "gets nothing new; what runs is finished, then it is drained and may be removed.\n"
     "One that moves to another queue is drained there first, of itself. The changes\n"
     "hold over restarts; the configuration file is not written.\n\n"
     "  --pool NAME   the pool to add to; else all addresses of this pool\n"
     "  --queue N     the queue (lane) to use\n"
     "  --port NAME   its port, when there are several\n"
     "  --ehlo NAME   the EHLO name of a single address; default: the pool's",
     "wirepostctl addresses add --pool acme --queue 1 192.0.2.64/27\n"
     "wirepostctl addresses drain 192.0.2.70\n"
     "wirepostctl addresses list --pool acme"},
    {"pool", wpctl_pool, "pools of source addresses",
     "pool list | add [--warmup on|off] NAME EHLO\n"
     "       wirepostctl [OPTIONS] pool remove NAME\n"
     "       wirepostctl [OPTIONS] pool assign SENDER NAME",
     "add makes a pool without addresses; in EHLO {n} and {ip} stand for an address.\n"
     "assign lets a sender use the addresses of a pool from now on. The changes hold\n"
     "over restarts; the configuration file is not written.\n\n"
     "  --warmup on|off  whether new addresses start with few mails a day; default: as\n"
     "                   the strategies of the senders have it",
     "wirepostctl pool add spring 'm{n}.spring.example'\n"
     "wirepostctl pool assign acme spring"},
    {"config", wpctl_config, "the configuration in force, or a check of a file",
     "config get [POINTER]\n"
     "       wirepostctl [OPTIONS] config check FILE | -",
     "get prints the configuration in force with defaults filled in, or what is at a\n"
     "JSON pointer (RFC 6901). check lets the daemon check a file that is read here;\n"
     "nothing is changed.",
     "wirepostctl config get /delivery/retry_s\n"
     "wirepostctl config check wirepost.json"},
    {"drain", wpctl_drain, "start nothing new, or end that",
     "drain [--wait]\n"
     "       wirepostctl [OPTIONS] drain --off",
     "What runs finishes or goes back to the queue; mail is still accepted, and waits.\n\n"
     "  --wait  return when nothing is in flight any more, however long it takes\n"
     "          unless --timeout is given\n"
     "  --off   start again",
     "wirepostctl drain --wait && systemctl restart wirepostd"},
    {"version", wpctl_version, "of the daemon and of this program", "version",
     "wirepostctl --version asks no daemon.", "wirepostctl version"},
    {"help", help, "of a command", "help [COMMAND]", "The same as COMMAND --help.",
     "wirepostctl help inject"},
};

const struct wpctl_command *wpctl_command_find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

void wpctl_command_help(const struct wpctl_command *command)
{
    (void)printf("usage: wirepostctl [OPTIONS] %s\n\n%s\n\nExamples:\n", command->usage,
                 command->text);
    for (const char *line = command->examples; *line;) {
        int bytes = (int)strcspn(line, "\n");
        (void)printf("  %.*s\n", bytes, line);
        line += bytes + (line[bytes] == '\n');
    }
}

void wpctl_overview(bool to_stderr)
{
    FILE *out = to_stderr ? stderr : stdout;
    (void)fputs("usage: wirepostctl [OPTIONS] COMMAND ...\n\n"
                "Speaks to wirepostd over its control socket.\n\nCommands:\n",
                out);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        (void)fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].brief);
    }
    (void)fputs("\nOptions, before the command:\n"
                "  --socket PATH  the control socket; default: WIREPOST_SOCKET of the\n"
                "                 environment, or /run/wirepost/control.sock\n"
                "  --json         one line of JSON for each result, for machines\n"
                "  --timeout S    wait for an answer at most so many seconds; default 60; 0: for\n"
                "                 ever\n"
                "  --no-color     no emphasis in tables; of itself when NO_COLOR is set or the\n"
                "                 output is no terminal\n"
                "  --help, --version\n\n"
                "\"wirepostctl help COMMAND\" tells more; wirepostctl(1) has all of it.\n\n"
                "Exit status, as in sysexits.h: 0 done, 64 wrong use, 65 bad message or address,\n"
                "66 no such message or file, 67 unknown sender, 69 no daemon, 71 no memory,\n"
                "74 input, output or spool error, 75 try later, 76 nonsense from the daemon,\n"
                "77 not permitted, 78 the checked configuration has errors, 130 interrupted.\n",
                out);
}

static int help(int argc, char **argv)
{
    if (argc > 2) {
        wpctl_misuse("help", "one command at a time");
    }
    const struct wpctl_command *command = argc == 2 ? wpctl_command_find(argv[1]) : NULL;
    if (argc == 2 && !command) {
        wpctl_die(EX_USAGE, "there is no command \"%s\" (wirepostctl help)", argv[1]);
    }
    if (command) {
        wpctl_command_help(command);
    } else {
        wpctl_overview(false);
    }
    return EX_OK;
}
