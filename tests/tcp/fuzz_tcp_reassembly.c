/*
 * fuzz_tcp_reassembly.c - fragments against a naive model that keeps every byte.
 *
 * Each step is 4 bytes: which of four datagrams, offset, length, the last or not, other bytes than
 * before or not. The model knows for each datagram which bytes came and whether anything
 * overlapped; the stack must put together exactly what the model has whole, with the same bytes.
 */
#include "tcp/utcp_internal.h"

#define DATAGRAMS  4u
#define BYTES_MAX  1024u
#define FRAMES_MAX 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
    uint8_t bytes[BYTES_MAX + 64];
    bool there[BYTES_MAX + 64];
    uint32_t len, count; /* len 0: the last fragment did not come */
    bool spoiled;
};

static const uint8_t src[4] = {192, 0, 2, 1}, dst[4] = {192, 0, 2, 2};

static struct utcp *new_stack(void)
{
    struct utcp_config config = {.mtu = 1500,
                                 .prefix4_len = 24,
                                 .limits = {.connections = 1,
                                            .time_wait = 1,
                                            .addresses = 1,
                                            .neighbours = 1,
                                            .listeners = 1,
                                            .reassemblies = DATAGRAMS,
                                            .paths = 1}};
    struct utcp *u;
    int error;

    (void)ip_addr_parse("192.0.2.0", &config.prefix4);
    u = utcp_create(&config, &error);
    INVARIANT(u != NULL);
    return u;
}

/* True when the fragment is fine by itself and with what the model has. */
static bool model_accepts(const struct model *m, const struct utcp_ip *ip, bool *ret_double)
{
    const uint32_t end = ip->fragment_offset + ip->len;
    uint32_t there = 0, same = 0, top = 0;

    *ret_double = false;
    if (ip->len == 0 || (ip->more_fragments && ip->len % 8 != 0))
        return false;
    for (uint32_t i = 0; i < BYTES_MAX + 64; i++)
        if (m->there[i])
            top = i + 1;
    if (m->len != 0 && (ip->more_fragments ? end >= m->len : end != m->len))
        return false;
    if (m->len == 0 && !ip->more_fragments && top > end)
        return false;
    for (uint32_t i = 0; i < ip->len; i++) {
        there += m->there[ip->fragment_offset + i] ? 1 : 0;
        same +=
            m->there[ip->fragment_offset + i] && m->bytes[ip->fragment_offset + i] == ip->data[i]
                ? 1
                : 0;
    }
    *ret_double = same == ip->len;
    return *ret_double || there == 0;
}

static bool model_add(struct model *m, const struct utcp_ip *ip)
{
    bool doubled;

    if (m->spoiled || !model_accepts(m, ip, &doubled)) {
        m->spoiled = true;
        return false;
    }
    for (uint32_t i = 0; i < ip->len; i++) {
        m->count += m->there[ip->fragment_offset + i] ? 0 : 1;
        m->there[ip->fragment_offset + i] = true;
        m->bytes[ip->fragment_offset + i] = ip->data[i];
    }
    if (!ip->more_fragments)
        m->len = ip->fragment_offset + ip->len;
    return m->len != 0 && m->count == m->len;
}

static void step(struct utcp *u, struct model *models, const uint8_t *p)
{
    static uint8_t pattern[64 + 256];
    struct model *m = &models[p[0] % DATAGRAMS];
    struct utcp_ip whole, ip = {.src = src, .dst = dst, .family = 4, .proto = 6};
    bool expected, got;

    for (uint32_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 7);
    ip.fragment_id = p[0] % DATAGRAMS;
    ip.fragment_offset = p[1] % (BYTES_MAX / 8) * 8u;
    ip.len = p[2] % 64;
    ip.more_fragments = (p[3] & 1) != 0;
    ip.is_fragment = true;
    /* the same place holds the same bytes, but for a fragment that lies */
    ip.data = pattern + (ip.fragment_offset & 0xff) + ((p[3] & 2) != 0 ? 1 : 0);
    expected = model_add(m, &ip);
    got = utcp_reassemble(u, 1, &ip, &whole);
    INVARIANT(expected == got);
    if (!got)
        return;
    INVARIANT(whole.len == m->len && memcmp(whole.data, m->bytes, m->len) == 0);
    memset(m, 0, sizeof *m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model models[DATAGRAMS];
    struct utcp *u = new_stack();

    memset(models, 0, sizeof models);
    for (size_t at = 0; at + 4 <= size && at < 4 * FRAMES_MAX; at += 4)
        step(u, models, data + at);
    utcp_destroy(u);
    return 0;
}
