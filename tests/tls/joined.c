/* joined.c - see joined.h. */
#include "tests/tls/joined.h"

static void take_tls_events(struct joined *j, uint64_t now_ns)
{
    uint32_t events = j->tls_on ? tls_client_next_event(&j->tls) : 0;
    const struct tls_result *result = tls_client_result(&j->tls);
    if (events & TLS_EV_ESTABLISHED) {
        smtp_client_tls_done(&j->smtp, now_ns, result->verified);
    }
    if (events & TLS_EV_FAILED) {
        smtp_client_tls_failed(&j->smtp, now_ns, result->reason);
    }
    if (events & TLS_EV_CLOSED) {
        smtp_client_eof(&j->smtp, now_ns, "the server closed the TLS session");
    }
}

static void begin_tls(struct joined *j, uint64_t now_ns)
{
    enum tls_error error = tls_client_init(&j->tls, j->context, now_ns, j->request);
    if (error != TLS_E_OK) {
        smtp_client_tls_failed(&j->smtp, now_ns, tls_error_text(error));
        return;
    }
    j->tls_on = true;
}

static void take_smtp_events(struct joined *j, uint64_t now_ns)
{
    uint32_t events = smtp_client_next_event(&j->smtp);
    j->events |= events;
    if (events & SMTP_EV_CLOSED) {
        j->closed = true;
        if (j->tls_on) {
            tls_client_close(&j->tls);
        }
    } else if (events & SMTP_EV_STARTTLS) {
        begin_tls(j, now_ns);
    }
}

void joined_begin(struct joined *j, uint64_t now_ns, struct tls_context *context,
                  const struct smtp_options *options, const struct tls_request *request)
{
    static const struct smtp_timeouts timeouts;
    memset(j, 0, sizeof *j);
    j->context = context;
    j->request = request;
    smtp_client_init(&j->smtp, now_ns, "me.example", &timeouts);
    smtp_client_configure(&j->smtp, now_ns, options);
    take_smtp_events(j, now_ns);
}

void joined_input(struct joined *j, uint64_t now_ns, const uint8_t *bytes, uint32_t len)
{
    uint8_t plain[1024];
    uint32_t n;
    if (!j->tls_on) {
        smtp_client_input(&j->smtp, now_ns, bytes, len);
        take_smtp_events(j, now_ns);
        return;
    }
    tls_client_input(&j->tls, now_ns, bytes, len);
    take_tls_events(j, now_ns);
    while ((n = tls_client_read(&j->tls, now_ns, plain, sizeof plain)) > 0) {
        smtp_client_input(&j->smtp, now_ns, plain, n);
    }
    take_tls_events(j, now_ns);
    take_smtp_events(j, now_ns);
}

static uint32_t give_block(struct joined *j, uint8_t *bytes)
{
    struct tls_block *block = tls_client_output(&j->tls);
    uint32_t len = 0;
    if (block) {
        len = block->len;
        memcpy(bytes, block->bytes, len);
        tls_block_release(block);
    }
    return len;
}

uint32_t joined_output(struct joined *j, uint64_t now_ns, uint8_t *bytes, uint32_t size)
{
    struct smtp_piece piece;
    INVARIANT(size >= TLS_BLOCK_BYTES);
    uint32_t len = j->tls_on ? give_block(j, bytes) : 0;
    uint32_t room = j->tls_on ? tls_client_room(&j->tls) : size;
    if (len > 0 || room < SMTP_COMMAND_MAX || !smtp_client_output(&j->smtp, now_ns, room, &piece)) {
        return len;
    }
    if (!j->tls_on) {
        memcpy(bytes, piece.data, piece.len);
        return piece.len;
    }
    INVARIANT(tls_client_write(&j->tls, now_ns, piece.data, piece.len) == piece.len);
    return give_block(j, bytes);
}

void joined_eof(struct joined *j, uint64_t now_ns, const char *why)
{
    if (j->tls_on) {
        tls_client_eof(&j->tls);
        take_tls_events(j, now_ns);
    }
    smtp_client_eof(&j->smtp, now_ns, why);
    take_smtp_events(j, now_ns);
}

void joined_free(struct joined *j)
{
    if (j->tls_on) {
        tls_client_free(&j->tls);
        j->tls_on = false;
    }
}
