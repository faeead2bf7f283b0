/* fuzz_wire.c - libFuzzer target: any bytes as a message, and its result as the original of a
 * bounce.
 */
#include "control/dsn.h"
#include "tests/control_lib/wire_check.h"

#include "tcp/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct wire_defaults defaults = {"mta1.example.net", 42, 1795460820};

static void check_itself(const struct wire_message *m)
{
    struct wire_message again;
    char error[256];
    INVARIANT(wire_message_make(m->data, m->len, &defaults, &again, error, sizeof error));
    INVARIANT(again.len == m->len && memcmp(again.data, m->data, m->len) == 0);
    INVARIANT(again.n_stuff == m->n_stuff && again.flags == m->flags);
    wire_message_free(&again);
}

static void check_bounce(const struct wire_message *m, bool utf8)
{
    const struct dsn_recipient recipient = {"a@example.net", "5.0.0", "mx",
                                            m->message_id,   "",      false};
    const struct dsn_request request = {
        .hostname = "mta1.example.net",
        .to = "b@example.net",
        .recipients = &recipient,
        .n_recipients = 1,
        .original = m->data,
        .original_len = m->len,
        .utf8 = utf8,
    };
    struct wire_message bounce;
    uint8_t *text;
    size_t len;
    char error[256];
    INVARIANT(dsn_make(&request, &text, &len));
    INVARIANT(wire_message_make(text, len, &defaults, &bounce, error, sizeof error));
    INVARIANT(bounce.len == len && memcmp(bounce.data, text, len) == 0);
    INVARIANT(utf8 || bounce.flags == 0);
    wire_check(&bounce);
    wire_message_free(&bounce);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_message m;
    char error[256];
    if (!wire_message_make(data, size, &defaults, &m, error, sizeof error)) {
        INVARIANT(strlen(error) > 10);
        return 0;
    }
    wire_check(&m);
    check_itself(&m);
    check_bounce(&m, false);
    check_bounce(&m, true);
    wire_message_free(&m);
    return 0;
}
