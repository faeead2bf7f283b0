/* tlsa_text.c - see tlsa_text.h. */
#include "dataplane/tlsa_text.h"

#include <ctype.h>

/* A number from 0 to 255 and the space behind it. */
static bool read_number(const char **at, uint8_t *ret_number)
{
    unsigned number = 0, digits = 0;
    for (; isdigit((unsigned char)**at) && digits < 3; (*at)++, digits++) {
        number = number * 10 + (unsigned)(**at - '0');
    }
    if (digits == 0 || number > 255 || *(*at)++ != ' ') {
        return false;
    }
    *ret_number = (uint8_t)number;
    return true;
}

static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                          : -1;
}

/* Hexadecimal digits in pairs; *used grows by what was written to bytes. */
static bool read_hex(const char **at, uint8_t bytes[TLSA_BYTES_MAX], uint32_t *used)
{
    while (hex_value(**at) >= 0) {
        int high = hex_value((*at)[0]), low = hex_value((*at)[1]);
        if (low < 0 || *used == TLSA_BYTES_MAX) {
            return false;
        }
        bytes[(*used)++] = (uint8_t)(high << 4 | low);
        *at += 2;
    }
    return true;
}

bool tlsa_text_read(const char *text, struct tlsa_set *ret_set)
{
    const char *at = text;
    uint32_t used = 0;
    ret_set->n = 0;
    do {
        uint32_t from = used;
        if (ret_set->n == TLSA_RECORDS_MAX) {
            return false;
        }
        struct tls_tlsa *r = &ret_set->records[ret_set->n++];
        if (!read_number(&at, &r->usage) || !read_number(&at, &r->selector) ||
            !read_number(&at, &r->matching_type) || !read_hex(&at, ret_set->bytes, &used) ||
            used == from) {
            return false;
        }
        r->data = ret_set->bytes + from;
        r->len = used - from;
    } while (*at == ';' && at++);
    return *at == '\0';
}

/* What is added can be read again, whatever stands there already. */
bool tlsa_text_add(char text[TLSA_TEXT_MAX], const uint8_t *rdata, size_t len)
{
    struct tlsa_set set;
    size_t used = strlen(text), at = used;
    if (len < 4 || len - 3 > TLSA_BYTES_MAX || used + 16 + 2 * (len - 3) > TLSA_TEXT_MAX) {
        return false;
    }
    at += (size_t)snprintf(text + at, TLSA_TEXT_MAX - at, "%s%u %u %u ", used > 0 ? ";" : "",
                           rdata[0], rdata[1], rdata[2]);
    for (size_t i = 3; i < len; i++) {
        at += (size_t)snprintf(text + at, TLSA_TEXT_MAX - at, "%02x", rdata[i]);
    }
    bool good = tlsa_text_read(text, &set);
    text[good ? at : used] = '\0';
    return good;
}
