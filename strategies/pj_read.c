/* pj_read.c - members, strings and decimals out of a parsed document. */
#include "strategies/pj.h"

#include <string.h>

bool pj_equals(const struct pj_node *node, const char *text)
{
    char decoded[128];

    if (node == NULL || node->type != PJ_STRING)
        return false;
    if (!node->escaped)
        return strlen(text) == node->n_bytes && memcmp(node->at, text, node->n_bytes) == 0;
    return pj_string(node, decoded, sizeof decoded) && strcmp(decoded, text) == 0;
}

const struct pj_node *pj_get(const struct pj *doc, const struct pj_node *object, const char *key)
{
    if (object == NULL || object->type != PJ_OBJECT)
        return NULL;
    const struct pj_node *name = object + 1;
    for (uint32_t i = 0; i < object->n; i++) {
        const struct pj_node *value = &doc->nodes[name->next];
        if (pj_equals(name, key))
            return value;
        name = &doc->nodes[value->next];
    }
    return NULL;
}

const struct pj_node *pj_first(const struct pj_node *node)
{
    return node + 1;
}

const struct pj_node *pj_next(const struct pj *doc, const struct pj_node *node)
{
    return &doc->nodes[node->next];
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

static uint32_t hex4(const char *at)
{
    return hex_digit(at[0]) << 12 | hex_digit(at[1]) << 8 | hex_digit(at[2]) << 4 |
           hex_digit(at[3]);
}

/* The code point of an escape that starts behind "\u"; 0 when there is none or it is NUL. */
static uint32_t code_point(const char **at, const char *end)
{
    uint32_t c = hex4(*at), low;

    *at += 4;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return 0;
    low = hex4(*at + 2);
    *at += 6;
    return low < 0xdc00 || low > 0xdfff ? 0 : 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

static size_t utf8_put(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0u : n == 3 ? 0xe0u : 0xf0u) | c);
    return n;
}

/* Bytes of the escape behind a backslash; 0: not allowed. */
static size_t unescape(const char **at, const char *end, char out[4])
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    char c = *(*at)++;

    if (c == 'u') {
        uint32_t point = code_point(at, end);
        return point == 0 ? 0 : utf8_put(point, out);
    }
    const char *known = strchr(from, c);
    out[0] = known != NULL ? to[known - from] : c;
    return 1;
}

bool pj_string(const struct pj_node *node, char *ret_text, size_t n_bytes_max)
{
    if (node == NULL || node->type != PJ_STRING)
        return false;
    const char *at = node->at, *end = at + node->n_bytes;
    size_t used = 0;
    while (at < end) {
        char bytes[4] = {*at};
        size_t n = 1;
        if (*at++ == '\\')
            n = unescape(&at, end, bytes);
        if (n == 0 || used + n >= n_bytes_max)
            return false;
        memcpy(ret_text + used, bytes, n);
        used += n;
    }
    if (used >= n_bytes_max)
        return false;
    ret_text[used] = '\0';
    return true;
}

struct decimal {
    uint64_t digits;
    int exponent; /* of ten */
    bool negative;
};

static void decimal_digit(struct decimal *d, char c, bool fraction)
{
    unsigned digit = (unsigned)(c - '0');

    if (d->digits > (UINT64_C(1) << 60) / 10) {
        d->exponent += !fraction; /* further digits of a fraction are too fine to matter */
        return;
    }
    d->digits = d->digits * 10 + digit;
    d->exponent -= fraction;
}

/* The shape was checked by the parser. Exponents beyond +-1000 are cut there: they overflow or
 * vanish all the same. */
static void decimal_read(const char *at, const char *end, struct decimal *ret)
{
    bool fraction = false;

    if (*at == '-') {
        ret->negative = true;
        at++;
    }
    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.')
            fraction = true;
        else
            decimal_digit(ret, *at, fraction);
    }
    if (at == end)
        return;
    int sign = at[1] == '-' ? -1 : 1, exponent = 0;
    for (at += at[1] == '-' || at[1] == '+' ? 2 : 1; at < end; at++) {
        if (exponent < 1000)
            exponent = exponent * 10 + (*at - '0');
    }
    ret->exponent += sign * exponent;
}

bool pj_decimal(const struct pj_node *node, unsigned scale, int64_t *ret_value)
{
    struct decimal d = {0};

    if (node == NULL || node->type != PJ_NUMBER)
        return false;
    decimal_read(node->at, node->at + node->n_bytes, &d);
    int shift = d.exponent + (int)scale;
    for (; shift > 0 && d.digits != 0; shift--) {
        if (d.digits > (uint64_t)INT64_MAX / 10)
            return false;
        d.digits *= 10;
    }
    for (; shift < 0 && d.digits != 0; shift++)
        d.digits /= 10;
    if (d.digits > (uint64_t)INT64_MAX)
        return false;
    *ret_value = d.negative ? -(int64_t)d.digits : (int64_t)d.digits;
    return true;
}
