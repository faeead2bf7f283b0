/* policy_text.c - text of the answers. */
#include "strategies/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct policy_text *text, size_t n_bytes)
{
    if (text->n_bytes + n_bytes <= text->n_bytes_max)
        return;
    size_t want = text->n_bytes_max * 2 + n_bytes + 4096;
    char *grown = realloc(text->at, want);
    if (grown == NULL) {
        (void)fprintf(stderr, "wirepost-policy: out of memory\n");
        exit(1);
    }
    text->at = grown;
    text->n_bytes_max = want;
}

void policy_put(struct policy_text *text, const char *bytes, size_t n_bytes)
{
    reserve(text, n_bytes);
    memcpy(text->at + text->n_bytes, bytes, n_bytes);
    text->n_bytes += n_bytes;
}

void policy_put_text(struct policy_text *text, const char *string)
{
    policy_put(text, string, strlen(string));
}

void policy_put_u64(struct policy_text *text, uint64_t value)
{
    char digits[20];
    size_t n = sizeof digits;

    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    policy_put(text, digits + n, sizeof digits - n);
}

/* value / 1000 with as many decimals as it has. */
static void put_thousandths(struct policy_text *text, uint64_t value)
{
    char fraction[4] = {'.', (char)('0' + value / 100 % 10), (char)('0' + value / 10 % 10),
                        (char)('0' + value % 10)};
    size_t n = sizeof fraction;

    policy_put_u64(text, value / 1000);
    while (n > 1 && fraction[n - 1] == '0')
        n--;
    if (n > 1)
        policy_put(text, fraction, n);
}

void policy_put_ms(struct policy_text *text, uint64_t ms)
{
    put_thousandths(text, ms);
}

void policy_put_milli(struct policy_text *text, int64_t milli)
{
    if (milli < 0)
        policy_put(text, "-", 1);
    put_thousandths(text, milli < 0 ? (uint64_t)-milli : (uint64_t)milli);
}

void policy_put_string(struct policy_text *text, const char *string)
{
    policy_put(text, "\"", 1);
    for (const char *at = string; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        char escape[8];
        if (c == '"' || c == '\\') {
            policy_put(text, "\\", 1);
            policy_put(text, at, 1);
        } else if (c < 0x20) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", c);
            policy_put_text(text, escape);
        } else {
            policy_put(text, at, 1);
        }
    }
    policy_put(text, "\"", 1);
}
