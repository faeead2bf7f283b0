/* sim.c - see sim.h. */
#include "tests/dataplane/sim_private.h"

#include <check.h>

#define STEP_NS NS_PER_MS

static const struct sim_rules good = {
    .banner = "220 sim ESMTP\r\n",
    .ehlo = "250-sim\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n",
    .mail = "250 2.1.0 ok\r\n",
    .rcpt = "250 2.1.5 ok\r\n",
    .data = "354 go ahead\r\n",
    .dot = "250 2.0.0 taken\r\n",
};

/* ---- frames ------------------------------------------------------------------------------ */

/* True when a rule says that frames of this server are lost. */
static bool is_lost(const struct sim *s, const uint8_t *frame, uint32_t len)
{
    if (len < 34 || be16_get(frame + 12) != 0x0800) {
        return false;
    }
    for (uint32_t i = 0; i < SIM_SERVERS; i++) {
        const uint8_t addr[4] = {192, 0, 2, (uint8_t)(i + 1)};
        if (s->rules[i].lost &&
            (memcmp(frame + 26, addr, 4) == 0 || memcmp(frame + 30, addr, 4) == 0)) {
            return true;
        }
    }
    return false;
}

/* The frame with the final dot is lost, and all after it. */
static void lose_dot(struct sim *s, const uint8_t *frame, uint32_t len)
{
    bool dot = len > 59 && memcmp(frame + len - 5, "\r\n.\r\n", 5) == 0;
    for (uint32_t i = 0; dot && i < SIM_SERVERS; i++) {
        s->rules[i].lost |= s->rules[i].lost_from_dot;
    }
}

/* Carries one frame; false when there was none. */
static bool carry(struct sim *s, struct utcp *from, struct utcp *to)
{
    uint8_t bytes[16384];
    struct utcp_frame frame = {.head = bytes};
    if (!utcp_output(from, s->now_ns, &frame)) {
        return false;
    }
    uint32_t len = frame.head_len;
    for (uint32_t i = 0; i < frame.n_slices; i++) {
        memcpy(bytes + len, frame.slices[i].data, frame.slices[i].len);
        len += frame.slices[i].len;
    }
    lose_dot(s, bytes, len);
    bool dropped = s->drop_percent > 0 && (uint32_t)rand_r(&s->seed) % 100 < s->drop_percent;
    if (!dropped && !is_lost(s, bytes, len)) {
        utcp_input(to, s->now_ns, bytes, len, 0);
    }
    return true;
}

/* ---- the server -------------------------------------------------------------------------- */

/* A server that leaves out one reply says nothing any more: the next one would be taken for it. */
static void say(struct sim *s, struct sim_conn *c, const char *rule, const char *otherwise)
{
    const char *text = rule ? rule : otherwise;
    c->mute |= text[0] == '\0';
    if (!c->mute && c->ssl) {
        sim_tls_say(s, c, text);
    } else if (!c->mute) {
        sim_send(s, c, (const uint8_t *)text, (uint32_t)strlen(text));
    }
}

void sim_send(struct sim *s, struct sim_conn *c, const uint8_t *bytes, uint32_t len)
{
    for (uint32_t part; len > 0; bytes += part, len -= part) {
        part = len < UTCP_COPY_MAX ? len : UTCP_COPY_MAX;
        (void)utcp_send_copy(s->server, s->now_ns, c->conn, bytes, part);
    }
    utcp_push(s->server, s->now_ns, c->conn);
}

static void over(struct sim *s, struct sim_conn *c)
{
    c->expect = SIM_OVER;
    (void)utcp_shutdown(s->server, s->now_ns, c->conn);
}

static bool begins(const struct sim_conn *c, const char *command)
{
    return strncmp(c->line, command, strlen(command)) == 0;
}

static void on_quit(struct sim *s, struct sim_conn *c)
{
    ck_assert(c->expect != SIM_BODY);
    s->quits++;
    say(s, c, "221 bye\r\n", NULL);
    over(s, c);
}

static void on_mail(struct sim *s, struct sim_conn *c, const struct sim_rules *r)
{
    ck_assert_msg(c->expect == SIM_MAIL, "out of order: %s", c->line);
    if (++c->mails == r->hang_up_at_mail) {
        over(s, c);
        return;
    }
    c->expect = SIM_RCPT;
    c->accepted = false;
    c->mail_taken = !r->mail || r->mail[0] == '2';
    c->body_len = 0;
    say(s, c, r->mail, good.mail);
}

static void on_rcpt(struct sim *s, struct sim_conn *c, const struct sim_rules *r)
{
    const char *reply = r->rcpt ? r->rcpt : good.rcpt;
    ck_assert_msg(c->expect == SIM_RCPT, "out of order: %s", c->line);
    if (!c->mail_taken) {
        reply = "503 5.5.1 no sender\r\n";
    }
    c->accepted |= reply[0] == '2';
    say(s, c, reply, NULL);
}

static void on_data(struct sim *s, struct sim_conn *c, const struct sim_rules *r)
{
    const char *reply = r->data ? r->data : good.data;
    if (!c->accepted) {
        reply = "554 5.5.1 no valid recipients\r\n"; /* a client may pipeline DATA (RFC 2920 3.1) */
    } else {
        ck_assert_msg(c->expect == SIM_RCPT, "out of order: %s", c->line);
    }
    say(s, c, reply, NULL);
    c->expect = reply[0] == '3' ? SIM_BODY : SIM_MAIL;
}

static void keep_mail(struct sim *s, const struct sim_conn *c)
{
    ck_assert(s->n_mails < SIM_MAILS);
    struct sim_mail *mail = &s->mails[s->n_mails++];
    mail->server = c->server;
    mail->len = c->body_len;
    ck_assert(c->body_len > 0);
    mail->body = malloc(c->body_len);
    memcpy(mail->body, c->body, c->body_len);
}

static void on_dot(struct sim *s, struct sim_conn *c, const struct sim_rules *r)
{
    if (s->watch_dot) {
        ck_assert_int_eq(chan_control_state(s->file.control, 0), CHAN_DOT_SENT);
    }
    c->expect = SIM_MAIL;
    if (++c->dots == r->hang_up_at_dot) {
        over(s, c);
        return;
    }
    if (r->mute_at_dot) {
        c->mute = true;
    }
    if (r->reset_at_dot) {
        c->expect = SIM_OVER;
        s->reset = c;
        return;
    }
    const char *reply = r->dot ? r->dot : good.dot;
    if (reply[0] == '2') {
        keep_mail(s, c);
    }
    say(s, c, reply, NULL);
}

static void on_body_line(struct sim *s, struct sim_conn *c, const struct sim_rules *r)
{
    const char *from = c->line;
    uint32_t len = c->line_len;
    if (len == 3 && from[0] == '.') {
        on_dot(s, c, r);
        return;
    }
    if (from[0] == '.') {
        from++;
        len--;
    }
    if (c->body_len + len > c->body_cap) {
        c->body_cap = 2 * (c->body_len + len);
        c->body = realloc(c->body, c->body_cap);
    }
    memcpy(c->body + c->body_len, from, len);
    bool first = c->body_len == 0;
    c->body_len += len;
    if (first && r->early) {
        say(s, c, r->early, NULL);
    }
}

static void on_starttls(struct sim *s, struct sim_conn *c, const struct sim_rules *r)
{
    ck_assert(!c->ssl && c->expect == SIM_MAIL);
    say(s, c, r->starttls, "220 2.0.0 go ahead\r\n");
    c->mute |= r->tls_stalls;
    if (!r->starttls) {
        sim_tls_begin(s, c);
    }
}

static void note_line(struct sim *s, const struct sim_conn *c)
{
    size_t used = strlen(s->lines);
    if (used + c->line_len < sizeof s->lines) {
        memcpy(s->lines + used, c->line, c->line_len + 1);
    }
}

static void on_line(struct sim *s, struct sim_conn *c)
{
    const struct sim_rules *r = &s->rules[c->server];
    if (c->expect == SIM_BODY) {
        on_body_line(s, c, r);
        return;
    }
    note_line(s, c);
    if (begins(c, "STARTTLS\r\n")) {
        on_starttls(s, c, r);
    } else if (begins(c, "EHLO ") || begins(c, "HELO ")) {
        c->expect = SIM_MAIL;
        say(s, c, r->ehlo, good.ehlo);
    } else if (begins(c, "MAIL FROM:<")) {
        on_mail(s, c, r);
    } else if (begins(c, "RCPT TO:<")) {
        on_rcpt(s, c, r);
    } else if (begins(c, "DATA\r\n")) {
        on_data(s, c, r);
    } else if (begins(c, "RSET\r\n")) {
        c->expect = SIM_MAIL;
        say(s, c, "250 2.0.0 reset\r\n", NULL);
    } else if (begins(c, "QUIT\r\n")) {
        on_quit(s, c);
    } else {
        ck_abort_msg("the server does not know: %s", c->line);
    }
}

void sim_plain(struct sim *s, struct sim_conn *c, const uint8_t *bytes, uint32_t n)
{
    for (uint32_t i = 0; i < n && c->expect != SIM_OVER; i++) {
        if (c->line_len == SIM_LINE_MAX - 1) { /* ck_assert() would cost a system call per byte */
            ck_abort_msg("line too long");
        }
        c->line[c->line_len++] = (char)bytes[i];
        if (bytes[i] == '\n') {
            c->line[c->line_len] = '\0';
            on_line(s, c);
            c->line_len = 0;
        }
    }
}

static void on_bytes(struct sim *s, struct sim_conn *c, const uint8_t *bytes, uint32_t n)
{
    if (c->ssl) {
        sim_tls_input(s, c, bytes, n);
    } else {
        sim_plain(s, c, bytes, n);
    }
}

static void on_accept(struct sim *s, uint32_t conn)
{
    struct utcp_info info;
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        struct sim_conn *c = &s->conns[i];
        if (c->conn == 0) {
            ck_assert(utcp_info(s->server, s->now_ns, conn, &info));
            *c = (struct sim_conn){.conn = conn, .server = info.local.bytes[3] - 1u};
            utcp_set_user(s->server, conn, c);
            s->accepted++;
            s->open_now++;
            s->open_most = s->open_now > s->open_most ? s->open_now : s->open_most;
            const char *banner = s->rules[c->server].banner;
            say(s, c, banner, good.banner);
            if (banner && banner[0] == '5') {
                over(s, c);
            }
            return;
        }
    }
    ck_abort_msg("too many connections");
}

static void conn_free(struct sim *s, struct sim_conn *c)
{
    if (s->reset == c) {
        utcp_abort(s->server, s->now_ns, c->conn);
        s->reset = NULL;
    } else {
        utcp_release(s->server, s->now_ns, c->conn);
    }
    sim_tls_end(c);
    free(c->body);
    *c = (struct sim_conn){0};
    s->open_now--;
}

/* At most max bytes of what has come. */
static void read_some(struct sim *s, struct sim_conn *c, uint32_t max)
{
    uint8_t bytes[4096];
    uint32_t n = 1;
    while (max > 0 && n > 0) {
        n = utcp_recv(s->server, s->now_ns, c->conn, bytes, max < 4096 ? max : 4096);
        on_bytes(s, c, bytes, n);
        max -= n;
    }
}

static void slow_servers_read(struct sim *s)
{
    s->read_ns = TIME_NEVER_NS;
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        struct sim_conn *c = &s->conns[i];
        uint32_t bytes_per_s = s->rules[c->server].bytes_per_s;
        if (c->conn != 0 && bytes_per_s > 0) {
            read_some(s, c, bytes_per_s);
            s->read_ns = s->now_ns + NS_PER_S;
        }
    }
}

static void server_events(struct sim *s)
{
    struct utcp_event event;
    while (utcp_next_event(s->server, &event)) {
        if (event.events & UTCP_EV_ACCEPTED) {
            on_accept(s, event.conn);
        }
        struct sim_conn *c = NULL;
        for (uint32_t i = 0; i < SIM_CONNS; i++) {
            c = s->conns[i].conn == event.conn ? &s->conns[i] : c;
        }
        ck_assert_ptr_nonnull(c);
        if (s->rules[c->server].bytes_per_s == 0) {
            read_some(s, c, UINT32_MAX);
        } else if (s->read_ns == TIME_NEVER_NS) {
            s->read_ns = s->now_ns + NS_PER_S;
        }
        if (event.events & (UTCP_EV_EOF | UTCP_EV_CLOSED) || s->reset == c) {
            conn_free(s, c);
        }
    }
}

/* ---- time -------------------------------------------------------------------------------- */

static void settle(struct sim *s)
{
    bool more = true;
    while (more) {
        more = carry(s, s->client, s->server);
        more |= carry(s, s->server, s->client);
        server_events(s);
        more |= dp_sessions_take_jobs(s->sessions, s->now_ns, 64) > 0;
        more |= dp_sessions_tcp_events(s->sessions, s->now_ns) > 0;
    }
}

static void listen_as_told(struct sim *s)
{
    for (uint32_t i = 0; i < SIM_SERVERS; i++) {
        struct ip_addr addr = {.family = 4, .bytes = {192, 0, 2, (uint8_t)(i + 1)}};
        if (!s->rules[i].refuse) {
            (void)utcp_listen(s->server, &addr, 25, NULL);
        }
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* On to the next deadline, at least a millisecond away and not past end_ns, and all that is due. */
static void step(struct sim *s, uint64_t end_ns)
{
    uint64_t due_ns = earlier(utcp_deadline_ns(s->client), utcp_deadline_ns(s->server));
    due_ns = earlier(due_ns, dp_sessions_deadline_ns(s->sessions));
    due_ns = earlier(due_ns, s->read_ns);
    due_ns = due_ns > s->now_ns + STEP_NS ? due_ns : s->now_ns + STEP_NS;
    s->now_ns = earlier(due_ns, end_ns);
    if (s->now_ns >= utcp_deadline_ns(s->client)) {
        utcp_on_deadline(s->client, s->now_ns);
    }
    if (s->now_ns >= utcp_deadline_ns(s->server)) {
        utcp_on_deadline(s->server, s->now_ns);
    }
    if (s->now_ns >= dp_sessions_deadline_ns(s->sessions)) {
        dp_sessions_on_deadline(s->sessions, s->now_ns);
    }
    if (s->now_ns >= s->read_ns) {
        slow_servers_read(s);
    }
    settle(s);
}

void sim_run(struct sim *s, uint32_t ms)
{
    uint64_t end_ns = s->now_ns + ms * NS_PER_MS;
    listen_as_told(s);
    settle(s);
    while (s->now_ns < end_ns) {
        step(s, end_ns);
    }
}

struct sim_result sim_wait(struct sim *s, uint32_t slot, uint32_t ms)
{
    struct sim_result result;
    uint32_t done;
    uint64_t end_ns = s->now_ns + ms * NS_PER_MS;
    sim_run(s, 0);
    while (s->now_ns < end_ns && chan_control_state(s->file.control, slot) != CHAN_DONE) {
        step(s, end_ns);
    }
    ck_assert_int_eq(chan_control_state(s->file.control, slot), CHAN_DONE);
    ck_assert(chan_control_results_valid(s->file.control, slot));
    while (chan_control_next_done(s->file.control, &done)) {
        continue; /* each test knows its slots */
    }
    result.slot = *chan_control_slot(s->file.control, slot);
    memset(chan_control_bytes(s->file.control, result.slot.body), 0xee, result.slot.body.len);
    channel_file_free(&s->file, slot);
    return result;
}

/* ---- making ------------------------------------------------------------------------------ */

static struct utcp *stack_make(struct sim *s, uint8_t station, uint8_t first, uint32_t n,
                               const struct utcp_limits *limits)
{
    struct utcp_config config = {
        .mac = {2, 0, 0, 0, 0, station},
        .mtu = 1500,
        .prefix4 = {.family = 4, .bytes = {192, 0, 2, 0}},
        .prefix4_len = 24,
        .secret = {station, 1, 2, 3},
        .limits = *limits,
    };
    int error;
    struct utcp *stack = utcp_create(&config, &error);
    ck_assert_msg(stack != NULL, "%s", utcp_error_text(error));
    for (uint32_t i = 0; i < n; i++) {
        struct ip_addr addr = {.family = 4, .bytes = {192, 0, 2, (uint8_t)(first + i)}};
        ck_assert_int_eq(utcp_address_add(stack, s->now_ns, &addr), UTCP_OK);
        if (first == 10) {
            ck_assert(dp_sources_add(&s->sources, i, &addr));
        }
    }
    return stack;
}

void sim_make(struct sim *s, const struct sim_options *options)
{
    memset(s, 0, sizeof *s);
    s->now_ns = NS_PER_S;
    s->read_ns = TIME_NEVER_NS;
    s->seed = 1;
    channel_file_make(&s->file, options->n_slots ? options->n_slots : 16, 8 << 20);
    channel_file_attach(&s->file);
    const struct utcp_limits client = {
        .connections = options->connections ? options->connections : 96,
        .copy_blocks = options->copy_blocks,
    };
    const struct utcp_limits server = {.connections = 96};
    ck_assert(dp_sources_init(&s->sources, SIM_SOURCES));
    s->client = stack_make(s, 1, 10, SIM_SOURCES, &client);
    s->server = stack_make(s, 2, 1, SIM_SERVERS, &server);
    const struct dp_sessions_config config = {
        .tcp = s->client,
        .channel = &s->file.lane,
        .counters = &s->counters,
        .sources = &s->sources,
        .sessions_max = options->sessions_max ? options->sessions_max : 8,
        .tls = sim_tls_context(s, options->ca_file),
    };
    s->sessions = dp_sessions_create(&config);
    ck_assert_ptr_nonnull(s->sessions);
}

void sim_end(struct sim *s)
{
    dp_sessions_stop(s->sessions, s->now_ns);
    utcp_destroy(s->client); /* checks its pools */
    dp_sessions_destroy(s->sessions);
    dp_sources_fini(&s->sources);
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        if (s->conns[i].conn != 0) {
            conn_free(s, &s->conns[i]);
        }
    }
    utcp_destroy(s->server);
    sim_tls_free(s);
    for (uint32_t i = 0; i < s->n_mails; i++) {
        free(s->mails[i].body);
    }
    channel_file_remove(&s->file);
}
