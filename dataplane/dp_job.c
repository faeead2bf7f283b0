/* dp_job.c - see dp_job.h. */
#include "dataplane/dp_job.h"

#include "dataplane/tlsa_text.h"

/* The part of a slot that control writes, read once. */
struct job_view {
    struct chan_slot fixed; /* up to started_ns; the rest is not read */
    const struct dp_job_limits *limits;
    struct dp_job *job;
    uint32_t strings_len;
};

static bool range_inside(struct chan_range range, uint64_t size)
{
    return range.offset <= size && range.len <= size - range.offset;
}

static const char *check_fixed(const struct job_view *v)
{
    const struct chan_slot *s = &v->fixed;
    if (s->n_recipients < 1 || s->n_recipients > CHAN_RCPT_MAX) {
        return "job: number of recipients out of range";
    }
    if (s->n_targets < 1 || s->n_targets > CHAN_TARGET_MAX) {
        return "job: number of targets out of range";
    }
    if (s->connections_max < 1 || s->messages_per_connection_max < 1) {
        return "job: a connection limit of zero";
    }
    if ((s->needs & ~(CHAN_NEED_8BITMIME | CHAN_NEED_SMTPUTF8 | CHAN_NEED_REQUIRETLS)) != 0 ||
        (s->use & ~CHAN_USE_CHUNKING) != 0 || s->ret > SMTP_RET_HDRS) {
        return "job: unknown needs";
    }
    v->job->source_number = dp_sources_find(v->limits->sources, &s->source);
    if (v->job->source_number == ADDR_MAP_NONE) {
        return "job: source address does not belong to this lane";
    }
    return NULL;
}

/* The strings are copied; every string that begins in the copy ends in it, because its last byte is
 * a NUL. */
static const char *copy_strings(struct job_view *v)
{
    struct chan_range range = v->fixed.strings;
    if (!range_inside(range, v->limits->arena_bytes) || range.len < 1 ||
        range.len > DP_JOB_STRINGS_MAX) {
        return "job: strings out of range";
    }
    memcpy(v->job->strings, v->limits->arena + range.offset, range.len);
    v->strings_len = (uint32_t)range.len;
    if (v->job->strings[range.len - 1] != '\0') {
        return "job: strings are not terminated";
    }
    return NULL;
}

/* A string of at most max bytes without its NUL, and without control bytes: CR and LF in an address
 * would be commands to the server. Null when it is none. */
static const char *string_at(const struct job_view *v, uint32_t offset, size_t max)
{
    if (offset >= v->strings_len) {
        return NULL;
    }
    const char *text = v->job->strings + offset;
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f) {
            return NULL;
        }
    }
    return len <= max ? text : NULL;
}

/* An address also stands between < and >, where they would end it early. */
static const char *mailbox_at(const struct job_view *v, uint32_t offset)
{
    const char *text = string_at(v, offset, SMTP_PATH_MAX - 1);
    return text && !strpbrk(text, " <>") ? text : NULL;
}

static const char *take_names(struct job_view *v)
{
    struct dp_job *job = v->job;
    job->ehlo = string_at(v, v->fixed.ehlo, SMTP_NAME_MAX - 1);
    job->site = string_at(v, v->fixed.site, SMTP_NAME_MAX - 1);
    job->mail_from = mailbox_at(v, v->fixed.mail_from);
    if (!job->ehlo || job->ehlo[0] == '\0' || strchr(job->ehlo, ' ')) {
        return "job: bad EHLO name";
    }
    if (!job->site) {
        return "job: bad site name";
    }
    return job->mail_from ? NULL : "job: bad return path";
}

/* A string that may be missing. False: it is there, and bad. */
static bool optional_at(const struct job_view *v, uint32_t offset, size_t max,
                        const char **ret_text)
{
    *ret_text = offset == CHAN_NO_STRING ? NULL : string_at(v, offset, max);
    return *ret_text || offset == CHAN_NO_STRING;
}

/* Whether DSN parameters keep to their grammar the engine knows: see the end of dp_job_parse(). */
static const char *take_recipients(struct job_view *v)
{
    struct smtp_transaction *t = &v->job->transaction;
    if (!optional_at(v, v->fixed.envid, SMTP_ENVID_MAX, &t->envid)) {
        return "job: bad ENVID";
    }
    for (uint32_t i = 0; i < v->fixed.n_recipients; i++) {
        struct smtp_recipient *r = &v->job->recipients[i];
        const char *orcpt;
        *r = (struct smtp_recipient){.address = mailbox_at(v, v->fixed.recipients[i]),
                                     .notify = v->fixed.notify[i]};
        if (!r->address || r->address[0] == '\0') {
            return "job: bad recipient address";
        }
        if (!optional_at(v, v->fixed.orcpt[i], SMTP_ORCPT_MAX, &orcpt)) {
            return "job: bad ORCPT";
        }
        r->orcpt = orcpt;
    }
    return NULL;
}

static bool take_tls(const struct job_view *v, const struct chan_target *from,
                     struct dp_job_target *to)
{
    const char *name;
    struct tlsa_set set;
    if (from->tls >= CHAN_N_TLS || !optional_at(v, from->tls_name, SMTP_NAME_MAX - 1, &name) ||
        !optional_at(v, from->tlsa, TLSA_TEXT_MAX, &to->tlsa)) {
        return false;
    }
    to->tls = from->tls;
    to->tls_key = from->tls_key;
    to->tls_name = name ? name : to->host;
    return to->tls != CHAN_TLS_DANE || (to->tlsa && tlsa_text_read(to->tlsa, &set));
}

static const char *take_targets(struct job_view *v)
{
    for (uint32_t i = 0; i < v->fixed.n_targets; i++) {
        const struct chan_target *from = &v->fixed.targets[i];
        struct dp_job_target *to = &v->job->targets[i];
        to->addr = from->addr;
        to->port = from->port;
        to->host = string_at(v, from->host, SMTP_NAME_MAX - 1);
        if (to->addr.family != v->fixed.source.family || to->port == 0 || !to->host) {
            return "job: bad target, or of another IP version than the source";
        }
        if (!take_tls(v, from, to)) {
            return "job: bad TLS policy";
        }
    }
    return NULL;
}

/* The dots to be doubled: ascending, and each a dot at the start of a line. Those that are missing
 * cannot be seen without a pass over the body. */
static const char *check_stuff(const uint8_t *body, uint64_t len, const uint32_t *stuff, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint32_t at = stuff[i];
        if (at >= len || (i > 0 && at <= stuff[i - 1]) || body[at] != '.' ||
            (at > 0 && body[at - 1] != '\n')) {
            return "job: bad list of dots to stuff";
        }
    }
    return NULL;
}

static bool ends_with_crlf(const uint8_t *data, uint64_t len)
{
    return len >= 2 && data[len - 2] == '\r' && data[len - 1] == '\n';
}

static const char *take_content(struct job_view *v)
{
    const struct chan_slot *s = &v->fixed;
    const struct dp_job_limits *limits = v->limits;
    struct dp_job *job = v->job;
    if (!range_inside(s->body, limits->arena_bytes) || s->body.len > DP_JOB_BODY_MAX ||
        !ends_with_crlf(limits->arena + s->body.offset, s->body.len)) {
        return "job: body out of range, or without CRLF at its end";
    }
    if (!range_inside(s->prefix, limits->arena_bytes) || s->prefix.len > DP_JOB_BODY_MAX ||
        (s->prefix.len > 0 && !ends_with_crlf(limits->arena + s->prefix.offset, s->prefix.len))) {
        return "job: prefix out of range, or without CRLF at its end";
    }
    if (!range_inside(s->stuff, limits->arena_bytes) || s->stuff.len % sizeof(uint32_t) != 0 ||
        s->stuff.offset % sizeof(uint32_t) != 0 || s->stuff.len / sizeof(uint32_t) > s->body.len) {
        return "job: stuff list out of range";
    }
    job->body = (struct utcp_extent){.data = limits->arena + s->body.offset, .len = s->body.len};
    job->prefix =
        (struct utcp_extent){.data = limits->arena + s->prefix.offset, .len = s->prefix.len};
    const void *stuff = limits->arena + s->stuff.offset;
    job->transaction.body = (struct smtp_body){
        .prefix = s->prefix.len > 0 ? job->prefix.data : NULL,
        .prefix_len = (uint32_t)s->prefix.len,
        .data = job->body.data,
        .len = job->body.len,
        .stuff = stuff,
        .n_stuff = (uint32_t)(s->stuff.len / sizeof(uint32_t)),
    };
    return check_stuff(job->body.data, job->body.len, stuff, s->stuff.len / sizeof(uint32_t));
}

static void fill_fixed(struct job_view *v, uint32_t slot)
{
    const struct chan_slot *s = &v->fixed;
    struct dp_job *job = v->job;
    job->slot = slot;
    job->site_hash = s->site_hash;
    job->connections_max = s->connections_max;
    job->messages_per_connection_max = s->messages_per_connection_max;
    job->idle_ms = s->idle_ms;
    job->source = s->source;
    job->n_targets = s->n_targets;
    job->tls_hash = s->tls_hash;
    job->use = s->use;
    job->transaction.mail_from = job->mail_from;
    job->transaction.recipients = job->recipients;
    job->transaction.n_recipients = s->n_recipients;
    job->transaction.ret = s->ret;
    job->transaction.needs = (s->needs & CHAN_NEED_8BITMIME ? SMTP_NEED_8BITMIME : 0) |
                             (s->needs & CHAN_NEED_SMTPUTF8 ? SMTP_NEED_SMTPUTF8 : 0) |
                             (s->needs & CHAN_NEED_REQUIRETLS ? SMTP_NEED_REQUIRETLS : 0);
}

const char *dp_job_parse(const struct chan_slot *chan_slot, uint32_t slot,
                         const struct dp_job_limits *limits, struct dp_job *ret_job)
{
    static const char *(*const steps[])(struct job_view *) = {
        copy_strings, take_names, take_recipients, take_targets, take_content,
    };
    struct job_view v = {.limits = limits, .job = ret_job};
    memcpy(&v.fixed, chan_slot, offsetof(struct chan_slot, started_ns));
    memset(ret_job, 0, offsetof(struct dp_job, recipients));
    const char *why = check_fixed(&v);
    for (size_t i = 0; !why && i < sizeof steps / sizeof steps[0]; i++) {
        why = steps[i](&v);
    }
    if (why) {
        return why;
    }
    fill_fixed(&v, slot);
    return smtp_transaction_valid(&ret_job->transaction) ? NULL : "job: bad DSN parameters";
}
