/*
 * dp_session_tls.c - TLS between the SMTP engine and TCP (RFC 3207), as the policy of the target
 * wants it. See dp_session_private.h.
 *
 * Records stand in blocks of the lane's pool. TCP sends a block by reference: its extent lies in
 * the block's owner words, and the block goes back to the pool when TCP lets go of it.
 */
#include "dataplane/dp_session_private.h"
#include "dataplane/tlsa_text.h"

#define ROOM_BYTES_MIN 1024u /* of TCP's queue, before more is encrypted */
#define PIECE_MAX      4000u /* plaintext of a record: one block with its header and tag */

static_assert(sizeof(struct utcp_extent) <= TLS_OWNER_WORDS * sizeof(uint64_t), "tls_block.owner");

static struct utcp_extent *extent_of(struct tls_block *block)
{
    return (struct utcp_extent *)(void *)block->owner;
}

static void block_free(struct utcp_extent *extent)
{
    tls_block_release(
        (struct tls_block *)(void *)((char *)extent - offsetof(struct tls_block, owner)));
}

/* ---- handshake --------------------------------------------------------------------------- */

static enum tls_policy policy_of(enum chan_tls policy)
{
    switch (policy) {
    case CHAN_TLS_DANE:
        return TLS_POLICY_DANE;
    case CHAN_TLS_VERIFY:
    case CHAN_TLS_TEST:
        return TLS_POLICY_VERIFY;
    case CHAN_TLS_ENCRYPT:
        return TLS_POLICY_ENCRYPT;
    case CHAN_TLS_MAY:
    case CHAN_TLS_NONE:
    case CHAN_N_TLS:
        break;
    }
    return TLS_POLICY_MAY;
}

static void fail(struct dp_session *s, uint64_t now_ns, enum tls_failure failure,
                 const char *reason)
{
    char why[SMTP_TEXT_MAX];
    (void)snprintf(why, sizeof why, "TLS: %s: %s", tls_failure_text(failure), reason);
    s->tls_failed = true;
    dp_evidence_tls(s, failure, reason);
    smtp_client_tls_failed(&s->client, now_ns, why);
}

/* With usage 2 the certificate may also be for the domain of the recipients (RFC 7672 3.2.2). */
void dp_session_tls_begin(struct dp_session *s, uint64_t now_ns)
{
    const struct dp_job *job = dp_session_job(s);
    const struct dp_job_target *target = job ? &job->targets[job->target] : NULL;
    struct tlsa_set set = {.n = 0};
    if (!target || !s->owner->config.tls) {
        fail(s, now_ns, TLS_FAILURE_VALIDATION, "there is no TLS here");
        return;
    }
    INVARIANT(s->tls_policy != CHAN_TLS_DANE || tlsa_text_read(target->tlsa, &set));
    const char *names[] = {target->host, job->site};
    const struct tls_request request = {
        .policy = policy_of(s->tls_policy),
        .testing = s->tls_policy == CHAN_TLS_TEST,
        .server_name = target->tls_name[0] != '[' ? target->tls_name : NULL,
        .names = names,
        .n_names = s->tls_policy == CHAN_TLS_DANE ? 2 : 0,
        .tlsa = set.records,
        .n_tlsa = set.n,
        .source = s->owner->groups[s->group].source,
        .peer = s->peer,
        .peer_port = s->peer_port,
        .wall_s = (int64_t)((now_ns + (uint64_t)s->owner->realtime_offset_ns) / NS_PER_S),
    };
    enum tls_error error = tls_client_init(&s->tls, s->owner->config.tls, now_ns, &request);
    if (error != TLS_E_OK) {
        fail(s, now_ns, TLS_FAILURE_VALIDATION, tls_error_text(error));
        return;
    }
    s->tls_on = true;
}

void dp_session_tls_end(struct dp_session *s)
{
    if (s->tls_block) {
        tls_block_release(s->tls_block);
        s->tls_block = NULL;
    }
    if (s->tls_on) {
        tls_client_free(&s->tls);
        s->tls_on = false;
    }
}

static void take_events(struct dp_session *s, uint64_t now_ns)
{
    uint32_t events = tls_client_next_event(&s->tls);
    const struct tls_result *result = tls_client_result(&s->tls);
    if (events & TLS_EV_ESTABLISHED) {
        s->owner->config.counters->tls++;
        smtp_client_tls_done(&s->client, now_ns, result->verified);
    }
    if (events & TLS_EV_FAILED) {
        fail(s, now_ns, result->failure, result->reason);
    } else if (events & TLS_EV_CLOSED) {
        smtp_client_eof(&s->client, now_ns, "the server ended TLS");
    }
}

/* ---- input ------------------------------------------------------------------------------- */

void dp_session_tls_input(struct dp_session *s, uint64_t now_ns, const uint8_t *data, uint32_t len)
{
    uint8_t plain[4096];
    uint32_t n;
    tls_client_input(&s->tls, now_ns, data, len);
    take_events(s, now_ns); /* established comes before the first plaintext */
    while ((n = tls_client_read(&s->tls, now_ns, plain, sizeof plain)) > 0) {
        smtp_client_input(&s->client, now_ns, plain, n);
    }
    take_events(s, now_ns);
}

void dp_session_tls_eof(struct dp_session *s, uint64_t now_ns)
{
    if (s->tls_on) {
        tls_client_eof(&s->tls);
        take_events(s, now_ns);
    }
}

/* ---- output ------------------------------------------------------------------------------ */

/* Blocks to TCP; false when it has no room: UTCP_EV_SENDABLE comes. */
static bool flush(struct dp_session *s, uint64_t now_ns, bool *any)
{
    struct utcp *tcp = s->owner->config.tcp;
    while (s->tls_block || (s->tls_block = tls_client_output(&s->tls)) != NULL) {
        struct utcp_extent *extent = extent_of(s->tls_block);
        *extent = (struct utcp_extent){
            .data = s->tls_block->bytes, .len = s->tls_block->len, .free = block_free};
        if (utcp_send(tcp, now_ns, s->conn, extent, 0, s->tls_block->len) != UTCP_OK) {
            return false;
        }
        s->tls_block = NULL; /* TCP's now */
        *any = true;
    }
    if (s->dot_end == 0 && s->held.len == 0 && s->held.final_dot) {
        dp_evidence_dot(s, now_ns);
    }
    return true;
}

/* The next piece of the engine into s->held. */
static bool next_piece(struct dp_session *s, uint64_t now_ns)
{
    struct smtp_piece piece;
    struct dp_job *job;
    if (!smtp_client_output(&s->client, now_ns, PIECE_MAX, &piece)) {
        return false;
    }
    dp_session_note_dot(s, &piece);
    dp_session_hold(s, &piece, 0);
    job = dp_session_job(s);
    if (job) {
        job->bytes_sent += piece.len;
    }
    return true;
}

/* Encrypts what the engine has to say, as far as blocks and TCP's queue go. */
bool dp_session_tls_pump(struct dp_session *s, uint64_t now_ns)
{
    struct utcp *tcp = s->owner->config.tcp;
    bool any = false;
    s->tls_starved = false;
    for (;;) {
        if (!flush(s, now_ns, &any)) {
            return any;
        }
        if (utcp_send_room(tcp, s->conn) < ROOM_BYTES_MIN) {
            dp_session_want_room(s, now_ns);
            return any;
        }
        if (tls_client_room(&s->tls) == 0) { /* in the handshake, over, or short of blocks */
            s->tls_starved = smtp_client_is_secure(&s->client);
            break;
        }
        if (s->held.len == 0 && !next_piece(s, now_ns)) {
            break;
        }
        uint32_t taken = tls_client_write(&s->tls, now_ns, s->held.data, s->held.len);
        s->held.data += taken;
        s->held.offset += taken;
        s->held.len -= taken;
        if (taken == 0) {
            s->tls_starved = true;
            break;
        }
        any = true;
    }
    if (any) {
        utcp_push(tcp, now_ns, s->conn);
    }
    return any;
}
