/* adversary.c - see adversary.h. */
#include "tests/smtp/adversary.h"

#define RECIPIENTS_MAX 3u
#define HISTORY_MAX    262144u
#define NOT_SENT       SIZE_MAX
#define MUST(cond)     INVARIANT(cond) /* the judge's word: aborts, for the fuzzer to see */

struct adversary {
    struct smtp_client client;
    struct smtp_transaction transaction;
    struct smtp_recipient recipients[RECIPIENTS_MAX];
    uint64_t now_ns;
    bool running; /* a transaction */
    bool pipelining;
    bool tls_asked;     /* the client waits for the handshake */
    bool tls, verified; /* it is done */
    size_t dot_at;      /* of the transaction: bytes of the server before the final dot */
    uint8_t history[HISTORY_MAX];
    size_t history_len;
    const uint8_t *script, *script_end;
    struct adversary_totals *totals;
};

/* ---- the judge --------------------------------------------------------------------------- */

#define NO_REPLY   0
#define INCOMPLETE (-1)

/* Length of the line with its LF; 0: not complete. */
static size_t line_length(const uint8_t *p, size_t len)
{
    const uint8_t *end = memchr(p, '\n', len);
    return end ? (size_t)(end - p) + 1 : 0;
}

/* The code of a whole line, NO_REPLY if it is none; whether it is the last line of its reply. */
static int line_code(const uint8_t *p, size_t len, bool *ret_last)
{
    char after = len > 3 ? (char)p[3] : '\0';
    if (len > SMTP_LINE_MAX || len < 4 || p[0] < '2' || p[0] > '5' || p[1] < '0' || p[1] > '9' ||
        p[2] < '0' || p[2] > '9') {
        return NO_REPLY;
    }
    bool bare = after == '\n' || (after == '\r' && p[4] == '\n');
    if (!bare && after != ' ' && after != '-') {
        return NO_REPLY;
    }
    *ret_last = after != '-';
    return (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
}

/* The code of the reply that the bytes begin with, NO_REPLY or INCOMPLETE; *ret_len is its length.
 */
static int judge_reply(const uint8_t *p, size_t len, size_t *ret_len)
{
    size_t at = 0;
    int code = NO_REPLY;
    for (uint32_t lines = 0; lines < SMTP_REPLY_LINES_MAX && at < 65536; lines++) {
        bool last = false;
        size_t n = line_length(p + at, len - at);
        if (n == 0) {
            return INCOMPLETE;
        }
        int this_code = line_code(p + at, n, &last);
        if (this_code == NO_REPLY || (lines > 0 && this_code != code)) {
            return NO_REPLY;
        }
        code = this_code;
        at += n;
        if (last) {
            *ret_len = at;
            return at <= 65536 ? code : NO_REPLY;
        }
    }
    return NO_REPLY;
}

/* True when the server accepted the message: all replies before the dot are whole, and the one
 * after it is 2xx; not 220 and 221, which answer other things. */
static bool judge_accepted(const struct adversary *a)
{
    size_t at = 0, n = 0;
    if (a->dot_at == NOT_SENT) {
        return false;
    }
    while (at < a->dot_at) {
        if (judge_reply(a->history + at, a->history_len - at, &n) <= 0) {
            return false;
        }
        at += n;
    }
    int code = judge_reply(a->history + at, a->history_len - at, &n);
    return at == a->dot_at && code / 100 == 2 && code != 220 && code != 221;
}

static void judge_text(const struct smtp_reply *reply)
{
    MUST(memchr(reply->text, '\0', sizeof reply->text) != NULL);
    for (const char *p = reply->text; *p; p++) {
        MUST(*p >= ' ' && *p <= '~');
    }
    MUST(reply->code == 0 || (reply->code >= 200 && reply->code <= 599));
    MUST(reply->enhanced[0] == 0 || reply->code == 0 || reply->enhanced[0] == reply->code / 100);
}

/* The transaction is over. A recipient that was refused by name is not for the dot to decide. */
static void judge_results(struct adversary *a)
{
    bool accepted = judge_accepted(a);
    bool any = false;
    for (uint32_t i = 0; i < a->transaction.n_recipients; i++) {
        const struct smtp_recipient *r = &a->recipients[i];
        bool at_dot = r->reply.stage == OUTCOME_STAGE_DOT;
        judge_text(&r->reply);
        MUST(r->kind != OUTCOME_NONE);
        MUST(r->kind != OUTCOME_RETURNED || (i > 0 && r->reply.stage == OUTCOME_STAGE_RCPT));
        MUST((r->kind == OUTCOME_DELIVERED) == (accepted && at_dot));
        MUST(r->kind != OUTCOME_DOUBTFUL || (a->dot_at != NOT_SENT && r->reply.code == 0));
        bool may_defer =
            r->reply.code / 100 == 4 || (a->client.options.chunking && r->reply.code / 10 == 50);
        MUST(r->kind != OUTCOME_DEFERRED || !at_dot || may_defer);
        a->totals->delivered += r->kind == OUTCOME_DELIVERED;
        a->totals->doubtful += r->kind == OUTCOME_DOUBTFUL;
        a->totals->bounced += r->kind == OUTCOME_BOUNCED;
        a->totals->deferred += r->kind == OUTCOME_DEFERRED;
        any = any || at_dot;
    }
    MUST(!accepted || any);
    a->totals->dots += a->dot_at != NOT_SENT;
    a->running = false;
}

/* Nothing that TLS must hide goes out without it. */
static void judge_secrecy(const struct adversary *a, const char *command)
{
    static const char *const open[] = {"EHLO ", "HELO ", "STARTTLS\r\n", "QUIT\r\n"};
    bool is_open = false;
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        is_open = is_open || strncmp(command, open[i], strlen(open[i])) == 0;
    }
    MUST(a->tls || is_open || a->client.options.tls != SMTP_TLS_MUST);
    MUST(a->verified || is_open || !a->client.options.username);
    MUST(!a->tls_asked);
}

static void judge_command(const struct adversary *a, const struct smtp_piece *p)
{
    static const char *const verbs[] = {
        "EHLO ",          "HELO ",        "MAIL FROM:<",  "RCPT TO:<",    "DATA\r\n",
        "RSET\r\n",       ".\r\n",        "BDAT ",        "STARTTLS\r\n", "AUTH PLAIN ",
        "AUTH LOGIN\r\n", "dXNlcg==\r\n", "cGFzcw==\r\n", "QUIT\r\n"};
    uint32_t at = 0;
    while (at < p->len) {
        bool known = false;
        for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
            size_t len = strlen(verbs[i]);
            known = known || (p->len - at >= len && memcmp(p->data + at, verbs[i], len) == 0);
        }
        size_t n = line_length(p->data + at, p->len - at);
        MUST(known && n >= 2 && p->data[at + n - 2] == '\r');
        judge_secrecy(a, (const char *)p->data + at);
        at += (uint32_t)n;
    }
}

/* ---- what the client does ---------------------------------------------------------------- */

static void take_events(struct adversary *a)
{
    uint32_t events = smtp_client_next_event(&a->client);
    if (a->running && events & (SMTP_EV_TRANSACTION_DONE | SMTP_EV_CLOSED)) {
        judge_results(a);
    }
    a->tls_asked = a->tls_asked || events & SMTP_EV_STARTTLS;
    if (events & SMTP_EV_CLOSED) {
        judge_text(smtp_client_close_reply(&a->client));
        MUST(smtp_client_deadline_ns(&a->client) == TIME_NEVER_NS);
    }
}

static bool take_piece(struct adversary *a)
{
    struct smtp_piece piece;
    if (!smtp_client_output(&a->client, a->now_ns, SMTP_COMMAND_MAX, &piece)) {
        return false;
    }
    MUST(piece.len > 0 && piece.len <= SMTP_COMMAND_MAX);
    if (piece.kind == SMTP_PIECE_COMMAND) {
        judge_command(a, &piece);
    }
    MUST(!piece.final_dot || smtp_client_dot_sent(&a->client));
    if (piece.final_dot) {
        a->dot_at = a->history_len;
    }
    return true;
}

static void drain(struct adversary *a)
{
    while (take_piece(a)) {
    }
}

static void start(struct adversary *a)
{
    if (smtp_client_start(&a->client, a->now_ns, &a->transaction)) {
        MUST(!a->running);
        a->running = true;
        a->dot_at = NOT_SENT;
    }
}

/* ---- what the server does ---------------------------------------------------------------- */

static void say(struct adversary *a, const uint8_t *bytes, size_t len)
{
    if (len > HISTORY_MAX - a->history_len) {
        return;
    }
    memcpy(a->history + a->history_len, bytes, len);
    a->history_len += len;
    smtp_client_input(&a->client, a->now_ns, bytes, (uint32_t)len);
}

static void say_text(struct adversary *a, const char *text)
{
    say(a, (const uint8_t *)text, strlen(text));
}

static const char *ehlo_reply(const struct adversary *a)
{
    if (a->tls) {
        return "250-a\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n";
    }
    return a->pipelining ? "250-a\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS\r\n"
                         : "250-a\r\n250-CHUNKING\r\n250 AUTH LOGIN\r\n";
}

/* What a good server would say now. */
static const char *good_reply(const struct adversary *a)
{
    switch (a->client.state) {
    case SMTP_STATE_BANNER:
        return "220-a\r\n220 b\r\n";
    case SMTP_STATE_EHLO:
        return ehlo_reply(a);
    case SMTP_STATE_STARTTLS:
        return "220 go\r\n";
    case SMTP_STATE_AUTH:
        return "235 yes\r\n";
    case SMTP_STATE_AUTH_USER:
    case SMTP_STATE_AUTH_ANSWER:
    case SMTP_STATE_AUTH_PASSWORD:
        return "334 \r\n";
    case SMTP_STATE_HELO:
    case SMTP_STATE_RSET:
    case SMTP_STATE_MAIL:
    case SMTP_STATE_RCPT:
    case SMTP_STATE_CHUNK:
        return "250 2.1.0 ok\r\n";
    case SMTP_STATE_DATA:
        return "354 go\r\n";
    case SMTP_STATE_DOT:
    case SMTP_STATE_LONE_DOT:
        return "250-2.0.0 taken\r\n250 2.0.0 as 1234\r\n";
    case SMTP_STATE_QUIT:
        return "221 bye\r\n";
    case SMTP_STATE_TLS:
    case SMTP_STATE_READY:
    case SMTP_STATE_BODY:
    case SMTP_STATE_CLOSED:
        break;
    }
    return "";
}

static uint8_t next_byte(struct adversary *a)
{
    return a->script < a->script_end ? *a->script++ : 0;
}

static void say_raw(struct adversary *a)
{
    size_t left = (size_t)(a->script_end - a->script);
    size_t len = next_byte(a);
    len = len < left ? len : (left > 0 ? left - 1 : 0);
    say(a, a->script, len);
    a->script += len;
}

static void say_odd(struct adversary *a)
{
    static const char *const odd[] = {
        "250 ok\r\n",
        "250\r\n",
        "2",
        "50 ok\r\n",
        "421 bye\r\n",
        "354 go\r\n",
        "450 4.2.0 no\n",
        "550 no\r\n",
        "552 5.2.2 x\r",
        "\n",
        "221 bye\r\n",
        "220 hello\r\n",
        "250-ok\r\n",
        "oops\r\n",
        "503 5.5.1 x\r\n",
        "452 4.5.3 x\r\n",
        "250-a\r\n251 b\r\n",
    };
    say_text(a, odd[next_byte(a) % (sizeof odd / sizeof odd[0])]);
}

static void say_good_but_one_byte(struct adversary *a)
{
    uint8_t reply[64];
    size_t len = strlen(good_reply(a));
    memcpy(reply, good_reply(a), len);
    if (len > 0) {
        reply[next_byte(a) % len] = next_byte(a);
    }
    say(a, reply, len);
}

static void pass(struct adversary *a)
{
    a->now_ns += next_byte(a) * 4 * NS_PER_S;
    if (smtp_client_deadline_ns(&a->client) <= a->now_ns) {
        smtp_client_on_deadline(&a->client, a->now_ns);
    }
}

/* A handshake that works, mostly. */
static void shake_hands(struct adversary *a)
{
    uint8_t how = next_byte(a);
    a->tls_asked = false;
    if (how < 16) {
        smtp_client_tls_failed(&a->client, a->now_ns, "no common cipher");
        return;
    }
    smtp_client_tls_done(&a->client, a->now_ns, how % 4 != 0);
    a->tls = true;
    a->verified = how % 4 != 0;
}

static void cooperate(struct adversary *a)
{
    if (a->tls_asked) {
        shake_hands(a);
    }
    drain(a);
    if (smtp_client_idle(&a->client)) {
        start(a);
    } else {
        say_text(a, good_reply(a));
    }
}

/* One byte chooses what happens; most are a good server's. */
static void step(struct adversary *a)
{
    switch (next_byte(a) % 32) {
    case 0:
        say_raw(a);
        break;
    case 1:
    case 2:
        say_odd(a);
        break;
    case 3:
        drain(a);
        say_odd(a);
        break;
    case 4:
        say_good_but_one_byte(a);
        break;
    case 5:
        (void)take_piece(a);
        break;
    case 6:
        pass(a);
        break;
    case 7:
        smtp_client_progress(&a->client, a->now_ns);
        break;
    case 8:
        smtp_client_eof(&a->client, a->now_ns, "lost");
        break;
    case 9:
        smtp_client_quit(&a->client, a->now_ns);
        break;
    case 10:
        start(a);
        break;
    default:
        cooperate(a);
        break;
    }
}

static void begin_session(struct adversary *a, uint8_t setting)
{
    static const struct smtp_timeouts timeouts;
    const struct smtp_options options = {
        .tls = setting & 32   ? SMTP_TLS_MUST
               : setting & 64 ? SMTP_TLS_MAY
                              : SMTP_TLS_NONE,
        .chunking = setting & 16,
        .username = setting & 128 ? "user" : NULL,
        .password = "pass",
    };
    smtp_client_init(&a->client, a->now_ns, "me.example", &timeouts);
    smtp_client_configure(&a->client, a->now_ns, &options);
}

void adversary_run(const uint8_t *script, size_t len, struct adversary_totals *totals)
{
    static struct adversary a;
    static const uint8_t body[] = ".a\r\n..\r\nb\r\n";
    static const uint32_t stuff[] = {0, 4};
    a.script = script;
    a.script_end = script + len;
    a.totals = totals;
    a.history_len = 0;
    a.running = a.tls_asked = a.tls = a.verified = false;
    a.dot_at = NOT_SENT;
    a.now_ns = NS_PER_S;
    uint8_t setting = next_byte(&a);
    a.pipelining = setting & 1;
    for (uint32_t i = 0; i < RECIPIENTS_MAX; i++) {
        a.recipients[i] =
            (struct smtp_recipient){.address = i == 1 ? "b@y.example" : "a@x.example"};
    }
    a.transaction = (struct smtp_transaction){
        .mail_from = setting & 2 ? "" : "me@z.example",
        .recipients = a.recipients,
        .n_recipients = 1 + (setting >> 2 & 3) % RECIPIENTS_MAX,
        .body = {.data = body, .len = sizeof body - 1, .stuff = stuff, .n_stuff = 2},
    };
    begin_session(&a, setting);
    start(&a);
    while (a.script < a.script_end) {
        step(&a);
        take_events(&a);
    }
    smtp_client_eof(&a.client, a.now_ns, "lost");
    take_events(&a);
    MUST(!a.running);
}
