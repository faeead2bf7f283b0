/* utf8.c - see utf8.h. */
#include "control/utf8.h"

size_t utf8_char(const void *text, size_t room, uint32_t *ret_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* that needs so many bytes */
    const uint8_t *at = text;
    size_t n = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (n == 0 || at[0] > 0xf4 || n > room) {
        return 0;
    }
    uint32_t point = n == 1 ? at[0] : at[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (at[i] & 0x3fu);
    }
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
        return 0;
    }
    if (ret_point) {
        *ret_point = point;
    }
    return n;
}

bool utf8_valid(const void *text, size_t len)
{
    const uint8_t *at = text;
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_char(at + i, len - i, NULL);
        if (n == 0) {
            return false;
        }
    }
    return true;
}

bool utf8_is_ascii(const void *text, size_t len)
{
    const uint8_t *at = text;
    for (size_t i = 0; i < len; i++) {
        if (at[i] >= 0x80) {
            return false;
        }
    }
    return true;
}
