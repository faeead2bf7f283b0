/* base.c - IP addresses to and from text. */
#include "tcp/base.h"

#include <arpa/inet.h>

bool ip_addr_parse(const char *text, struct ip_addr *ret_addr)
{
    struct ip_addr addr = {.family = 4};

    if (inet_pton(AF_INET, text, addr.bytes) != 1) {
        memset(&addr, 0, sizeof addr);
        addr.family = 6;
        if (inet_pton(AF_INET6, text, addr.bytes) != 1)
            return false;
    }
    *ret_addr = addr;
    return true;
}

const char *ip_addr_format(const struct ip_addr *addr, char *buf)
{
    if (addr->family == 0 || inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->bytes, buf,
                                       IP_ADDR_TEXT_MAX) == NULL)
        memcpy(buf, "none", 5);
    return buf;
}
