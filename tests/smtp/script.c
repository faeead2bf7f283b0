/* script.c - see script.h. */
#include "tests/smtp/script.h"

#include <check.h>
#include <stdarg.h>

#define TRANSCRIPT_MAX 65536u
#define NOT_CUT        UINT32_MAX

static const char message[] = "Subject: t\r\n\r\nhi\r\n";

/* One replay. */
struct run {
    struct smtp_client client;
    struct smtp_transaction transaction;
    struct smtp_recipient recipients[SCRIPT_RECIPIENTS_MAX];
    char addresses[SCRIPT_RECIPIENTS_MAX][32];
    bool running; /* a transaction */
    uint64_t now_ns;
    uint32_t cut_at;       /* byte of all that the server says, or NOT_CUT */
    bool pump_each_byte;   /* ... and let the client answer after each byte */
    uint32_t server_bytes; /* said so far */
    char server[TRANSCRIPT_MAX];
    uint32_t server_len; /* of the piece that is being gathered */
    char out[TRANSCRIPT_MAX];
    uint32_t out_len;
};

/* ---- writing down ------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void note(struct run *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(r->out + r->out_len, sizeof r->out - r->out_len, format, args);
    va_end(args);
    ck_assert(len >= 0 && (size_t)len < sizeof r->out - r->out_len);
    r->out_len += (uint32_t)len;
}

static void note_reply(struct run *r, const struct smtp_reply *reply)
{
    const uint8_t *e = reply->enhanced;
    note(r, "%s %u ", outcome_stage_text((enum outcome_stage)reply->stage), reply->code);
    if (e[0] > 0) {
        note(r, "%u.%u.%u ", e[0], e[1], e[2]);
    }
    note(r, "%s\n", reply->text);
}

static void note_results(struct run *r)
{
    for (uint32_t i = 0; r->running && i < r->transaction.n_recipients; i++) {
        note(r, "= %s ", outcome_kind_text(r->recipients[i].kind));
        note_reply(r, &r->recipients[i].reply);
    }
    r->running = false;
}

static void note_events(struct run *r, uint32_t events)
{
    note(r, "!%s%s%s%s\n", events & SMTP_EV_READY ? " ready" : "",
         events & SMTP_EV_TRANSACTION_DONE ? " done" : "", events & SMTP_EV_CLOSED ? " closed" : "",
         events & SMTP_EV_STARTTLS ? " starttls" : "");
    if (events & (SMTP_EV_TRANSACTION_DONE | SMTP_EV_CLOSED)) {
        note_results(r);
    }
    if (events & SMTP_EV_CLOSED) {
        note(r, "# ");
        note_reply(r, smtp_client_close_reply(&r->client));
    }
}

/* Client bytes, as "C: " lines; every line must be complete at the end of a batch. */
static void note_client(struct run *r, const char *bytes, size_t len)
{
    for (size_t from = 0; from < len;) {
        const char *end = memchr(bytes + from, '\n', len - from);
        ck_assert_ptr_nonnull(end);
        size_t to = (size_t)(end - bytes);
        ck_assert(to > from && bytes[to - 1] == '\r');
        note(r, "C: %.*s\n", (int)(to - 1 - from), bytes + from);
        from = to + 1;
    }
}

/* ---- the client's turn ------------------------------------------------------------------- */

static void check_piece(const struct run *r, const struct smtp_piece *p)
{
    const struct smtp_body *body = &r->transaction.body;
    ck_assert_uint_gt(p->len, 0);
    if (p->kind == SMTP_PIECE_BODY) {
        ck_assert_ptr_eq(p->data, body->data + p->offset);
        ck_assert_uint_le(p->offset + p->len, body->len);
    }
    if (p->final_dot) {
        ck_assert(smtp_client_dot_sent(&r->client));
        ck_assert(p->kind != SMTP_PIECE_COMMAND || strcmp((const char *)p->data, ".\r\n") == 0);
    }
}

/* All that there is to send now; only the last piece says "push". */
static bool drain(struct run *r)
{
    char bytes[8192];
    size_t len = 0;
    struct smtp_piece piece = {.push = true};
    bool any = false;
    for (;;) {
        bool pushed = piece.push;
        if (!smtp_client_output(&r->client, r->now_ns, SMTP_COMMAND_MAX, &piece)) {
            ck_assert_msg(pushed, "the last piece was not pushed");
            break;
        }
        ck_assert_msg(!any || !pushed, "a piece was pushed that was not the last");
        any = true;
        check_piece(r, &piece);
        ck_assert_uint_le(len + piece.len, sizeof bytes);
        memcpy(bytes + len, piece.data, piece.len);
        len += piece.len;
    }
    note_client(r, bytes, len);
    return any;
}

static void pump(struct run *r)
{
    for (;;) {
        uint32_t events = smtp_client_next_event(&r->client);
        if (events != 0) {
            note_events(r, events);
        }
        if (!drain(r) && events == 0) {
            return;
        }
    }
}

/* ---- the script's turn ------------------------------------------------------------------- */

static void give(struct run *r, const char *bytes, uint32_t len)
{
    smtp_client_input(&r->client, r->now_ns, (const uint8_t *)bytes, len);
}

/* What the server said since the client's last turn. */
static void say_gathered(struct run *r)
{
    if (r->server_len == 0) {
        return;
    }
    uint32_t begin = r->server_bytes;
    r->server_bytes += r->server_len;
    if (r->pump_each_byte) {
        for (uint32_t i = 0; i < r->server_len; i++) {
            give(r, r->server + i, 1);
            pump(r);
        }
    } else if (r->cut_at > begin && r->cut_at < r->server_bytes) {
        give(r, r->server, r->cut_at - begin);
        give(r, r->server + (r->cut_at - begin), r->server_bytes - r->cut_at);
    } else {
        give(r, r->server, r->server_len);
    }
    r->server_len = 0;
    pump(r);
}

static void gather(struct run *r, const char *line)
{
    int len = snprintf(r->server + r->server_len, sizeof r->server - r->server_len, "%s\r\n", line);
    r->server_len += (uint32_t)len;
    note(r, "S: %s\n", line);
}

static void start(struct run *r)
{
    if (smtp_client_start(&r->client, r->now_ns, &r->transaction)) {
        r->running = true;
        note(r, "N\n");
    } else {
        note(r, "N refused\n");
    }
}

static void pass(struct run *r, unsigned seconds)
{
    note(r, "T %u\n", seconds);
    r->now_ns += seconds * NS_PER_S;
    if (smtp_client_deadline_ns(&r->client) <= r->now_ns) {
        smtp_client_on_deadline(&r->client, r->now_ns);
    }
}

static void play_line(struct run *r, const char *line)
{
    if (line[0] == 'S') {
        gather(r, line + 3);
        return;
    }
    say_gathered(r);
    switch (line[0]) {
    case 'N':
        start(r);
        break;
    case 'Q':
        note(r, "Q\n");
        smtp_client_quit(&r->client, r->now_ns);
        break;
    case 'T':
        pass(r, (unsigned)strtoul(line + 2, NULL, 10));
        break;
    case 'P':
        note(r, "P\n");
        smtp_client_progress(&r->client, r->now_ns);
        break;
    case 'K':
    case 'V':
        note(r, "%c\n", line[0]);
        smtp_client_tls_done(&r->client, r->now_ns, line[0] == 'V');
        break;
    case 'X':
        note(r, "%s\n", line);
        smtp_client_tls_failed(&r->client, r->now_ns, line + 2);
        break;
    case 'E':
        note(r, "%s\n", line);
        smtp_client_eof(&r->client, r->now_ns, line + 2);
        break;
    default: /* what the client does */
        return;
    }
    pump(r);
}

static void play(struct run *r, const char *text)
{
    char line[4096];
    pump(r);
    while (*text) {
        size_t len = strcspn(text, "\n");
        ck_assert_uint_lt(len, sizeof line);
        memcpy(line, text, len);
        line[len] = '\0';
        play_line(r, line);
        text += len + (text[len] == '\n');
    }
    say_gathered(r);
}

/* ---- runs -------------------------------------------------------------------------------- */

static void prepare(struct run *r, const struct script *script)
{
    const struct smtp_timeouts timeouts = {0};
    r->now_ns = NS_PER_S;
    r->server_bytes = r->server_len = r->out_len = 0;
    r->running = false;
    for (uint32_t i = 0; i < SCRIPT_RECIPIENTS_MAX; i++) {
        (void)snprintf(r->addresses[i], sizeof r->addresses[i], "r%u@to.example", i + 1);
        r->recipients[i] = (struct smtp_recipient){
            .address = r->addresses[i],
            .notify = script->notify,
            .orcpt = script->orcpt,
        };
    }
    if (script->recipient) {
        r->recipients[0].address = script->recipient;
    }
    r->transaction = (struct smtp_transaction){
        .mail_from = script->mail_from ? script->mail_from : "from@me.example",
        .recipients = r->recipients,
        .n_recipients = script->n_recipients > 0 ? script->n_recipients : 1,
        .body = {.data = (const uint8_t *)message, .len = sizeof message - 1},
        .needs = script->needs,
        .ret = script->ret,
        .envid = script->envid,
    };
    smtp_client_init(&r->client, r->now_ns, "me.example", &timeouts);
    smtp_client_configure(&r->client, r->now_ns, &script->options);
}

static void replay(struct run *r, const struct script *script, uint32_t cut_at, bool each_byte)
{
    prepare(r, script);
    r->cut_at = cut_at;
    r->pump_each_byte = each_byte;
    play(r, script->text);
    ck_assert_msg(strcmp(r->out, script->text) == 0,
                  "%s (cut at %d%s)\n--- expected\n%s--- happened\n%s", script->name, (int)cut_at,
                  each_byte ? ", byte by byte" : "", script->text, r->out);
}

void script_check(const struct script *script)
{
    static struct run r;
    replay(&r, script, NOT_CUT, false);
    uint32_t bytes = r.server_bytes;
    for (uint32_t cut = 1; cut < bytes; cut++) {
        replay(&r, script, cut, false);
    }
    if (!script->pieces_matter) {
        replay(&r, script, NOT_CUT, true);
    }
}

static const struct script *all_scripts;

START_TEST(script)
{
    script_check(&all_scripts[_i]);
}
END_TEST

int script_main(const char *suite_name, const struct script *scripts, int n_scripts)
{
    Suite *suite = suite_create(suite_name);
    all_scripts = scripts;
    for (int i = 0; i < n_scripts; i++) {
        TCase *tc = tcase_create(scripts[i].name);
        tcase_add_loop_test(tc, script, i, i + 1);
        tcase_set_timeout(tc, 60);
        suite_add_tcase(suite, tc);
    }
    SRunner *runner = srunner_create(suite);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
