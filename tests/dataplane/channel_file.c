/* channel_file.c - see channel_file.h. */
#include "tests/dataplane/channel_file.h"

#include <check.h>
#include <unistd.h>

static const char small_message[] = "Subject: test\r\n\r\nHello.\r\n";

void channel_file_make(struct channel_file *f, uint32_t n_slots, uint64_t arena_bytes)
{
    *f = (struct channel_file){.dir = "/tmp/wirepost-test-XXXXXX"};
    ck_assert(mkdtemp(f->dir) != NULL);
    f->geometry = (struct chan_geometry){.n_slots = n_slots, .arena_bytes = arena_bytes};
    channel_file_reopen_control(f);
}

void channel_file_reopen_control(struct channel_file *f)
{
    int result = chan_control_open(f->dir, &f->geometry, &f->control, &f->found);
    ck_assert_msg(result == CHAN_OK, "%s", chan_error_text(result));
}

void channel_file_attach(struct channel_file *f)
{
    int result = chan_lane_open(&f->lane, f->dir, &f->geometry);
    ck_assert_msg(result == CHAN_OK, "%s", chan_error_text(result));
}

void channel_file_kill_control(struct channel_file *f)
{
    chan_control_close(f->control);
    f->control = NULL;
}

void channel_file_kill_lane(struct channel_file *f)
{
    chan_lane_close(&f->lane);
}

void channel_file_remove(struct channel_file *f)
{
    char path[128];
    channel_file_kill_control(f);
    channel_file_kill_lane(f);
    ck_assert(chan_file_path(f->dir, f->geometry.lane, path, sizeof path));
    (void)unlink(path);
    ck_assert_int_eq(rmdir(f->dir), 0);
}

/* ---- jobs -------------------------------------------------------------------------------- */

static struct chan_range put(struct channel_file *f, const void *data, uint64_t len)
{
    struct chan_range range;
    ck_assert(chan_arena_alloc(chan_control_arena(f->control), len, &range));
    memcpy(chan_control_bytes(f->control, range), data, len);
    return range;
}

struct strings {
    char text[8192];
    uint32_t len;
};

static uint32_t add_string(struct strings *s, const char *text)
{
    uint32_t at = s->len, bytes = (uint32_t)strlen(text) + 1;
    ck_assert(at + bytes <= sizeof s->text);
    memcpy(s->text + at, text, bytes);
    s->len += bytes;
    return at;
}

static void fill_targets(struct chan_slot *slot, struct strings *s, const struct test_job *job)
{
    for (uint32_t i = 0; i < CHAN_TARGET_MAX && (i == 0 || job->targets[i]); i++) {
        const char *text = job->targets[i] ? job->targets[i] : "192.0.2.1";
        ck_assert(ip_addr_parse(text, &slot->targets[i].addr));
        slot->targets[i].port = job->port ? job->port : 25;
        slot->targets[i].host = add_string(s, "mx.alpha.example");
        slot->targets[i].tls = (uint8_t)job->tls[i];
        slot->targets[i].tls_key = job->tls_key;
        slot->targets[i].tlsa = job->tlsa ? add_string(s, job->tlsa) : CHAN_NO_STRING;
        slot->targets[i].tls_name = job->tls_name ? add_string(s, job->tls_name) : CHAN_NO_STRING;
        slot->n_targets++;
    }
}

static void fill_recipients(struct chan_slot *slot, struct strings *s, const struct test_job *job)
{
    for (uint32_t i = 0; i < CHAN_RCPT_MAX && (i == 0 || job->recipients[i]); i++) {
        slot->recipients[i] =
            add_string(s, job->recipients[i] ? job->recipients[i] : "to@alpha.example");
        slot->n_recipients++;
    }
}

/* Offsets of the dots that begin a line, as control finds them. */
static struct chan_range put_stuff(struct channel_file *f, const char *body, uint64_t len)
{
    uint32_t stuff[4096], n = 0;
    for (uint64_t i = 0; i < len; i++) {
        if (body[i] == '.' && (i == 0 || body[i - 1] == '\n')) {
            ck_assert(n < sizeof stuff / sizeof stuff[0]);
            stuff[n++] = (uint32_t)i;
        }
    }
    return put(f, stuff, n * sizeof stuff[0]);
}

bool channel_file_fill(struct channel_file *f, const struct test_job *job, uint32_t *ret_slot)
{
    struct strings s = {0};
    const char *body = job->body ? job->body : small_message;
    uint64_t body_len = job->body_len ? job->body_len : strlen(body);
    if (!chan_control_alloc(f->control, ret_slot)) {
        return false;
    }
    struct chan_slot *slot = chan_control_slot(f->control, *ret_slot);
    ck_assert(ip_addr_parse(job->source ? job->source : "192.0.2.10", &slot->source));
    slot->site_hash = job->site_hash ? job->site_hash : 1;
    slot->tls_hash = job->tls_hash;
    slot->needs = job->needs;
    slot->use = job->use;
    slot->connections_max = job->connections_max ? job->connections_max : 1;
    slot->messages_per_connection_max = job->messages_max ? job->messages_max : 100;
    slot->idle_ms = job->idle_ms ? job->idle_ms : 1000;
    slot->ehlo = add_string(&s, "out-1.acme.example");
    slot->mail_from = add_string(&s, job->mail_from ? job->mail_from : "from@acme.example");
    slot->site = add_string(&s, "alpha.example");
    fill_targets(slot, &s, job);
    fill_recipients(slot, &s, job);
    slot->strings = put(f, s.text, s.len);
    slot->body = put(f, body, body_len);
    slot->stuff = put_stuff(f, body, body_len);
    if (job->prefix) {
        slot->prefix = put(f, job->prefix, strlen(job->prefix));
    }
    return true;
}

uint32_t channel_file_submit(struct channel_file *f, const struct test_job *job)
{
    uint32_t slot;
    ck_assert(channel_file_fill(f, job, &slot));
    ck_assert_int_eq(chan_control_submit(f->control, slot), CHAN_OK);
    return slot;
}

void channel_file_free(struct channel_file *f, uint32_t index)
{
    struct chan_arena *arena = chan_control_arena(f->control);
    struct chan_slot *slot = chan_control_slot(f->control, index);
    chan_arena_free(arena, slot->strings);
    chan_arena_free(arena, slot->prefix);
    chan_arena_free(arena, slot->body);
    chan_arena_free(arena, slot->stuff);
    chan_control_free(f->control, index);
}
