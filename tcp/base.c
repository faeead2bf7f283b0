/* base.c - IP addresses to and from text; a hint for large tables. */
#include "tcp/base.h"

#include <arpa/inet.h>
#include <sys/mman.h>

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

void memory_prefer_huge_pages(void *memory, size_t bytes)
{
    const uintptr_t page = UINT32_C(1) << 21;
    const uintptr_t first = ((uintptr_t)memory + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)memory + bytes) & ~(page - 1);

    if (memory != NULL && first < end)
        (void)madvise((char *)memory + (first - (uintptr_t)memory), end - first, MADV_HUGEPAGE);
}
