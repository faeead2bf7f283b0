/* dnsbl_name.c - the names that block lists are asked for: see dnsbl.h. Pure. */
#include "control/dnsbl.h"

static size_t name_of_v4(const struct ip_addr *addr, char *name)
{
    return (size_t)sprintf(name, "%u.%u.%u.%u.", addr->bytes[3], addr->bytes[2], addr->bytes[1],
                           addr->bytes[0]);
}

static size_t name_of_v6(const struct ip_addr *addr, char *name)
{
    size_t used = 0;
    for (unsigned i = 16; i-- > 0;) {
        used += (size_t)sprintf(name + used, "%x.%x.", addr->bytes[i] & 15u, addr->bytes[i] >> 4);
    }
    return used;
}

bool dnsbl_name(const struct ip_addr *addr, const char *zone, char *name, size_t name_bytes)
{
    char reversed[16 * 4 + 1];
    size_t n = addr->family == 4 ? name_of_v4(addr, reversed) : name_of_v6(addr, reversed);
    if (n + strlen(zone) >= name_bytes) {
        return false;
    }
    memcpy(name, reversed, n);
    memcpy(name + n, zone, strlen(zone) + 1);
    return true;
}
