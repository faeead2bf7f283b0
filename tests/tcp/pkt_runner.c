/*
 * pkt_runner.c - runs the scripts of packetdrill/ against the stack, with virtual time.
 *
 * The scripts are in packetdrill's language; this runner knows the part of it that they use:
 *
 *     +.020 < S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,nop,wscale 7,TS val 1 ecr 0>
 *     +0    > [ect0] P. 1:1001(1000) ack 1 <sack 1461:2921>
 *     +0    < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]
 *     +0    connect(3, ..., ...) = 0        also listen, write, read, shutdown, close, abort
 *     +0    connected | accepted | eof | closed REASON | quiet
 *     `true OPTION...`                      newreno, ecn, pacing, mtu=N, keepalive=MS, window=BYTES
 *
 * A packet that is expected may come up to 2 ms after its time; one that comes before it, or where
 * none is expected, fails the script. Options that an expected packet does not name are not
 * compared.
 */
#include "tests/tcp/wire.h"

#include <dirent.h>
#include <strings.h>

#define SCRIPTS_MAX 256u
#define LATE_MS     2u

static struct wire wire;
static struct wire *const w = &wire;

static char scripts[SCRIPTS_MAX][512];
static unsigned n_scripts;

struct script {
    const char *name;
    unsigned line;
    double now_s; /* since the start */
    bool opened, listening;
    struct utcp_config config;
};

#define SCRIPT_ASSERT(s, cond, what)                                                               \
    ck_assert_msg((cond), "%s:%u: %s", (s)->name, (s)->line, (what))

/* ---- words ---------------------------------------------------------------------------------- */

static char *skip(char *p)
{
    while (*p == ' ' || *p == '\t' || *p == ',')
        p++;
    return p;
}

static bool word(char **p, const char *name)
{
    const size_t len = strlen(name);

    *p = skip(*p);
    if (strncasecmp(*p, name, len) != 0)
        return false;
    *p += len;
    return true;
}

static unsigned long number(char **p)
{
    *p = skip(*p);
    return strtoul(*p, p, 10);
}

/* ---- options -------------------------------------------------------------------------------- */

static void option_line(struct script *s, char *p)
{
    while (*(p = skip(p)) != '\0' && *p != '`') {
        if (word(&p, "true"))
            continue;
        if (word(&p, "newreno"))
            s->config.congestion = UTCP_CONGESTION_NEWRENO;
        else if (word(&p, "ecn"))
            s->config.no_ecn = false;
        else if (word(&p, "pacing"))
            s->config.no_pacing = false;
        else if (word(&p, "mtu="))
            s->config.mtu = (uint16_t)number(&p);
        else if (word(&p, "keepalive="))
            s->config.keepalive_ms = (uint32_t)number(&p);
        else if (word(&p, "window="))
            s->config.rx_window_bytes = (uint32_t)number(&p);
        else
            SCRIPT_ASSERT(s, false, p);
    }
}

/* packetdrill's options as wire.h writes them. */
static void translate_options(struct script *s, char *p, char *to, size_t cap)
{
    size_t at = (size_t)snprintf(to, cap, " <");

    while (*(p = skip(p)) != '>' && *p != '\0') {
        if (word(&p, "nop") || word(&p, "eol"))
            continue;
        if (word(&p, "mss"))
            at += (size_t)snprintf(to + at, cap - at, "mss %lu, ", number(&p));
        else if (word(&p, "wscale"))
            at += (size_t)snprintf(to + at, cap - at, "ws %lu, ", number(&p));
        else if (word(&p, "sackOK"))
            at += (size_t)snprintf(to + at, cap - at, "sackok, ");
        else if (word(&p, "TS val")) {
            const unsigned long value = number(&p);

            SCRIPT_ASSERT(s, word(&p, "ecr"), "ecr wanted");
            at += (size_t)snprintf(to + at, cap - at, "ts %lu %lu, ", value, number(&p));
        } else if (word(&p, "sack")) {
            at += (size_t)snprintf(to + at, cap - at, "sack");
            do {
                const unsigned long start = number(&p);

                SCRIPT_ASSERT(s, *p++ == ':', "a block is start:end");
                at += (size_t)snprintf(to + at, cap - at, " %lu %lu", start, number(&p));
                p = skip(p);
            } while (*p >= '0' && *p <= '9');
            at += (size_t)snprintf(to + at, cap - at, ", ");
        } else {
            SCRIPT_ASSERT(s, false, p);
        }
    }
    (void)snprintf(to + at, cap - at, ">");
}

/* FLAGS seq:end(len) [ack N] [win N] [<options>] */
static void translate(struct script *s, char *p, char *to, size_t cap)
{
    char flags[12] = "", options[160] = "";
    unsigned long seq, end, len;
    size_t at, n = 0;

    p = skip(p);
    while (*p != ' ' && *p != '\0' && n + 1 < sizeof flags)
        flags[n++] = *p++;
    seq = number(&p);
    SCRIPT_ASSERT(s, *p++ == ':', "seq:end(len) wanted");
    end = number(&p);
    SCRIPT_ASSERT(s, *p++ == '(', "seq:end(len) wanted");
    len = number(&p);
    SCRIPT_ASSERT(s, *p++ == ')' && end - seq == len, "end is not seq + len");
    at = (size_t)snprintf(to, cap, "%s %lu", flags, seq);
    if (len > 0)
        at += (size_t)snprintf(to + at, cap - at, "+%lu", len);
    if (word(&p, "ack"))
        at += (size_t)snprintf(to + at, cap - at, " ack %lu", number(&p));
    if (word(&p, "win"))
        at += (size_t)snprintf(to + at, cap - at, " win %lu", number(&p));
    if (word(&p, "<") && !word(&p, "...>"))
        translate_options(s, p, options, sizeof options);
    (void)snprintf(to + at, cap - at, "%s", options);
}

/* ---- packets -------------------------------------------------------------------------------- */

static uint8_t codepoint(char **p)
{
    if (word(p, "[ect0]"))
        return 2;
    if (word(p, "[ce]"))
        return 3;
    (void)word(p, "[noecn]");
    return 0;
}

static void no_packet(struct script *s)
{
    static char what[64];

    while (wire_frame_out(w)) {
        if (wire_asks(w)) {
            wire_answer(w);
            continue;
        }
        (void)snprintf(what, sizeof what, "a packet that was not expected: seq %u",
                       be32_get(wire_tcp(w) + 4) - w->own_iss);
        SCRIPT_ASSERT(s, false, what);
    }
}

static void packet_in(struct script *s, char *p)
{
    char text[256];

    no_packet(s);
    if (word(&p, "icmp unreachable")) {
        const bool too_big = word(&p, "frag_needed mtu");
        const uint16_t mtu = too_big ? (uint16_t)number(&p) : 0;

        if (!too_big)
            (void)word(&p, "host_unreachable");
        SCRIPT_ASSERT(s, word(&p, "["), "a quote wanted");
        wire_icmp_in(w, ICMP_UNREACHABLE, too_big ? ICMP_CODE_FRAG_NEEDED : 1, mtu,
                     (uint32_t)number(&p));
        return;
    }
    w->codepoint = codepoint(&p);
    translate(s, p, text, sizeof text);
    wire_in_line(w, text, (int)s->line);
    if (s->listening && wire_usage(w).connections > 0) { /* what it says needs the peer's MAC */
        s->listening = false;
        SCRIPT_ASSERT(s, wire_frame_out(w) && wire_asks(w), "no question for the MAC");
        wire_answer(w);
    }
}

static void packet_out(struct script *s, char *p)
{
    const bool named = strchr(p, '[') != NULL;
    const uint8_t wanted = codepoint(&p);
    const uint64_t at_ms = (w->now_ns - w->start_ns) / NS_PER_MS;
    char text[256];

    translate(s, p, text, sizeof text);
    if (utcp_deadline_ns(w->u) <= w->now_ns + LATE_MS * NS_PER_MS)
        wire_at(w, at_ms + LATE_MS);
    wire_out_line(w, text, (int)s->line);
    if (named)
        SCRIPT_ASSERT(s, wire_codepoint(w) == wanted, "another ECN codepoint");
}

/* ---- calls and events ----------------------------------------------------------------------- */

static const char *const reasons[] = {"none",    "normal",      "refused", "reset",
                                      "timeout", "unreachable", "local"};

static bool event_line(struct script *s, char *p)
{
    struct utcp_event event = {0};
    uint32_t wanted = 0;

    if (word(&p, "quiet")) {
        no_packet(s);
        return true;
    }
    if (word(&p, "connected"))
        wanted = UTCP_EV_CONNECTED;
    else if (word(&p, "accepted"))
        wanted = UTCP_EV_ACCEPTED;
    else if (word(&p, "eof"))
        wanted = UTCP_EV_EOF;
    else if (word(&p, "closed"))
        wanted = UTCP_EV_CLOSED;
    else
        return false;
    SCRIPT_ASSERT(s, utcp_next_event(w->u, &event) && (event.events & wanted) != 0,
                  "the event did not come");
    w->conn = event.conn;
    if (wanted == UTCP_EV_CLOSED)
        SCRIPT_ASSERT(s, word(&p, reasons[event.reason]), reasons[event.reason]);
    return true;
}

/* The number behind "= ". */
static long result(char *p)
{
    char *at = strrchr(p, '=');

    return at == NULL ? 0 : strtol(at + 1, NULL, 10);
}

static void call(struct script *s, char *p)
{
    const long n = result(p);
    int error = UTCP_OK;

    if (word(&p, "connect(")) {
        wire_connect(w);
    } else if (word(&p, "listen(")) {
        error = utcp_listen(w->u, &w->own, WIRE_PORT, NULL);
        w->own_port = WIRE_PORT;
        w->peer_port = 40000;
        s->listening = true;
    } else if (word(&p, "write(")) {
        wire_send(w, (uint32_t)n);
    } else if (word(&p, "read(")) {
        wire_read(w, (uint32_t)n);
    } else if (word(&p, "shutdown(")) {
        error = utcp_shutdown(w->u, w->now_ns, w->conn);
    } else if (word(&p, "close(")) {
        utcp_release(w->u, w->now_ns, w->conn);
    } else if (word(&p, "abort(")) {
        utcp_abort(w->u, w->now_ns, w->conn);
    } else {
        SCRIPT_ASSERT(s, false, p);
    }
    SCRIPT_ASSERT(s, error == UTCP_OK, utcp_error_text(error));
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void timed_line(struct script *s, char *p)
{
    const bool relative = *p == '+';

    if (!s->opened) {
        wire_open(w, &s->config);
        s->opened = true;
    }
    s->now_s = strtod(relative ? p + 1 : p, &p) + (relative ? s->now_s : 0);
    if ((uint64_t)(s->now_s * 1000 + 0.5) > (w->now_ns - w->start_ns) / NS_PER_MS) {
        no_packet(s);
        wire_at(w, (uint64_t)(s->now_s * 1000 + 0.5));
    }
    p = skip(p);
    if (*p == '<')
        packet_in(s, p + 1);
    else if (*p == '>')
        packet_out(s, p + 1);
    else if (!event_line(s, p))
        call(s, p);
}

static void run_script(const char *path)
{
    struct script s = {.name = strrchr(path, '/') + 1, .config = wire_config()};
    FILE *file = fopen(path, "r");
    char line[512];

    (void)fprintf(stderr, "# %s\n", s.name);
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *p = skip(line);

        s.line++;
        line[strcspn(line, "\n")] = '\0';
        if (*p == '`')
            option_line(&s, p + 1);
        else if (*p == '+' || (*p >= '0' && *p <= '9'))
            timed_line(&s, p);
        else
            SCRIPT_ASSERT(&s, *p == '\0' || strncmp(p, "//", 2) == 0, "a line that is nothing");
    }
    (void)fclose(file);
    SCRIPT_ASSERT(&s, s.opened, "a script that does nothing");
    no_packet(&s);
    wire_close(w);
}

START_TEST(a_script_runs)
{
    run_script(scripts[_i]);
}
END_TEST

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool find_scripts(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strstr(entry->d_name, ".pkt") != NULL && n_scripts < SCRIPTS_MAX)
            (void)snprintf(scripts[n_scripts++], sizeof scripts[0], "%s/%s", folder, entry->d_name);
    if (dir != NULL)
        (void)closedir(dir);
    qsort(scripts, n_scripts, sizeof scripts[0], by_name);
    return n_scripts > 0;
}

int main(int argc, char **argv)
{
    Suite *suite = suite_create("packetdrill scripts");
    TCase *tcase = tcase_create("scripts");

    if (argc != 2 || !find_scripts(argv[1])) {
        (void)fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_script_runs, 0, (int)n_scripts);
    suite_add_tcase(suite, tcase);
    return wire_run(suite);
}
