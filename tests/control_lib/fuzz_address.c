/* fuzz_address.c - libFuzzer target: any bytes as an envelope address, and what is taken as the
 * recipient of a bounce. */
#include "control/address.h"
#include "control/dsn.h"
#include "control/utf8.h"
#include "control/wire.h"

#include "tcp/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nothing in it ends an argument, a command or a line. */
static void check_text(const struct address *a)
{
    size_t len = strlen(a->text), domain_len = strlen(a->domain);
    INVARIANT(len > 2 && len <= 254 && utf8_valid(a->text, len));
    INVARIANT(a->utf8 || utf8_is_ascii(a->text, len));
    for (size_t i = 0; i < len; i++) {
        INVARIANT((unsigned char)a->text[i] >= 0x20 && a->text[i] != 0x7f);
        INVARIANT(a->text[0] == '"' || !strchr(" <>\"", a->text[i]));
    }
    INVARIANT(domain_len > 0 && domain_len < 254);
    INVARIANT(a->domain[0] == '[' ||
              strspn(a->domain, "abcdefghijklmnopqrstuvwxyz0123456789-.") == domain_len);
}

static void check_itself(const struct address *a)
{
    struct address again;
    char error[256];
    INVARIANT(address_parse(a->text, strlen(a->text), &again, error, sizeof error));
    INVARIANT(strcmp(again.text, a->text) == 0 && strcmp(again.domain, a->domain) == 0);
    INVARIANT(again.utf8 == a->utf8);
}

static void check_bounce(const struct address *a)
{
    static const struct wire_defaults defaults = {"mta1.example.net", 42, 0};
    const struct dsn_recipient recipient = {a->text, "5.0.0", a->domain, a->text, "", false};
    const struct dsn_request request = {
        .hostname = "mta1.example.net",
        .to = a->text,
        .recipients = &recipient,
        .n_recipients = 1,
        .utf8 = a->utf8,
    };
    struct wire_message bounce;
    uint8_t *text;
    size_t len;
    char error[256];
    INVARIANT(dsn_make(&request, &text, &len));
    INVARIANT(wire_message_make(text, len, &defaults, &bounce, error, sizeof error));
    INVARIANT(bounce.len == len);
    wire_message_free(&bounce);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address a;
    char error[256];
    if (!address_parse((const char *)data, size, &a, error, sizeof error)) {
        INVARIANT(strlen(error) > 10 && utf8_is_ascii(error, strlen(error)));
        return 0;
    }
    check_text(&a);
    check_itself(&a);
    check_bounce(&a);
    return 0;
}
