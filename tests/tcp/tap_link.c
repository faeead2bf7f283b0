/* tap_link.c - the TAP device, and the loop that drives a stack over it. */
#include "tests/tcp/tap_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 2048u
#define BURST     64u

static FILE *capture;

uint64_t tap_now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- capture (pcap, nanoseconds, Ethernet) -------------------------------------------------- */

bool tap_capture(const char *path)
{
    const uint32_t header[6] = {0xa1b23c4d, 4u << 16 | 2u, 0, 0, 65535, 1};

    capture = fopen(path, "wb");
    return capture != NULL && fwrite(header, sizeof header, 1, capture) == 1;
}

static void capture_frame(const struct iovec *iov, int n)
{
    const uint64_t now = tap_now_ns();
    uint32_t header[4] = {(uint32_t)(now / NS_PER_S), (uint32_t)(now % NS_PER_S), 0, 0};

    if (capture == NULL)
        return;
    for (int i = 0; i < n; i++)
        header[2] += (uint32_t)iov[i].iov_len;
    header[3] = header[2];
    (void)fwrite(header, sizeof header, 1, capture);
    for (int i = 0; i < n; i++)
        (void)fwrite(iov[i].iov_base, iov[i].iov_len, 1, capture);
    (void)fflush(capture);
}

/* ---- device --------------------------------------------------------------------------------- */

static bool interface_up(const char *name, const char *address)
{
    struct ifreq req = {0};
    struct sockaddr_in addr = {.sin_family = AF_INET};
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok;

    if (fd < 0)
        return false;
    memcpy(req.ifr_name, name, strlen(name) + 1);
    (void)inet_pton(AF_INET, address, &addr.sin_addr);
    memcpy(&req.ifr_addr, &addr, sizeof addr);
    ok = ioctl(fd, SIOCSIFADDR, &req) == 0;
    (void)inet_pton(AF_INET, "255.255.255.0", &addr.sin_addr);
    memcpy(&req.ifr_addr, &addr, sizeof addr);
    ok = ok && ioctl(fd, SIOCSIFNETMASK, &req) == 0;
    ok = ok && ioctl(fd, SIOCGIFFLAGS, &req) == 0;
    req.ifr_flags = (short)(req.ifr_flags | IFF_UP | IFF_RUNNING);
    ok = ok && ioctl(fd, SIOCSIFFLAGS, &req) == 0;
    (void)close(fd);
    return ok;
}

/* TAP_PEER6/64, without duplicate address detection: it would take two seconds. */
static bool interface_ipv6(const char *name)
{
    struct {
        struct in6_addr addr;
        uint32_t prefix_len;
        int index;
    } req = {.prefix_len = 64}; /* struct in6_ifreq */
    const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char path[96];
    FILE *f;
    bool ok;

    (void)snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_dad", name);
    f = fopen(path, "w");
    if (f != NULL) {
        (void)fputs("0", f);
        (void)fclose(f);
    }
    if (fd < 0)
        return false;
    (void)inet_pton(AF_INET6, TAP_PEER6, &req.addr);
    req.index = (int)if_nametoindex(name);
    ok = ioctl(fd, SIOCSIFADDR, &req) == 0;
    (void)close(fd);
    return ok;
}

#define DEVICE "wptest0"

const char *tap_open_at(const char *address, int *ret_fd)
{
    struct ifreq req = {.ifr_name = DEVICE, .ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd;

    if (geteuid() != 0)
        return "needs root: a network namespace and a TAP device";
    if (unshare(CLONE_NEWNET) != 0)
        return "needs network namespaces: unshare(CLONE_NEWNET) is refused";
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return "needs /dev/net/tun";
    if (ioctl(fd, TUNSETIFF, &req) != 0 || !interface_up(req.ifr_name, address)) {
        (void)close(fd);
        return "needs a TAP device: it cannot be made or brought up";
    }
    *ret_fd = fd;
    return NULL;
}

const char *tap_open(int *ret_fd)
{
    const char *missing = tap_open_at(TAP_PEER, ret_fd);

    if (missing == NULL && !interface_ipv6(DEVICE)) {
        (void)close(*ret_fd);
        return "needs IPv6 in the kernel";
    }
    return missing;
}

/* ---- loop ----------------------------------------------------------------------------------- */

void tap_link_start(struct tap_link *link, int fd, const char *ip)
{
    struct utcp_config config = {
        .mac = TAP_MAC,
        .mtu = link->mtu == 0 ? 1500 : link->mtu,
        .prefix4_len = 24,
        .prefix6_len = 64,
        .secret = "not a secret",
        .rx_window_bytes = 262144,
        .tx_queue_bytes = link->tx_queue_bytes,
        .limits = {.connections = 512, .rx_blocks = 4096},
    };
    struct ip_addr addr;
    int error = UTCP_OK;

    (void)ip_addr_parse("192.0.2.0", &config.prefix4);
    INVARIANT(ip_addr_parse(ip, &addr));
    if (addr.family == 6)
        (void)ip_addr_parse("2001:db8::", &config.prefix6);
    link->fd = fd;
    link->u = utcp_create(&config, &error);
    INVARIANT(link->u != NULL);
    INVARIANT(utcp_address_add(link->u, tap_now_ns(), &addr) == UTCP_OK);
}

void tap_link_stop(struct tap_link *link)
{
    utcp_destroy(link->u);
    link->u = NULL;
}

/* What has passed the emulator goes to the stack, or into the device. */
static void emulated_frames(struct tap_link *link)
{
    struct emu_frame *frame;

    while ((frame = emu_take(link->emu, tap_now_ns())) != NULL) {
        if (frame->to == 0)
            utcp_input(link->u, tap_now_ns(), frame->bytes, frame->len, 0);
        else
            INVARIANT(write(link->fd, frame->bytes, frame->len) > 0);
        free(frame);
    }
}

static void frames_in(struct tap_link *link)
{
    uint8_t frame[FRAME_MAX];

    for (unsigned i = 0; i < BURST; i++) {
        const ssize_t n = read(link->fd, frame, sizeof frame);
        struct iovec iov = {.iov_base = frame, .iov_len = n < 0 ? 0 : (size_t)n};

        if (n <= 0)
            return;
        capture_frame(&iov, 1);
        if (link->emu != NULL)
            emu_put(link->emu, tap_now_ns(), 1, frame, (uint32_t)n);
        else
            utcp_input(link->u, tap_now_ns(), frame, (uint32_t)n, 0);
    }
}

static void frame_to_emulator(struct tap_link *link, const struct iovec *iov, uint32_t n)
{
    uint8_t bytes[FRAME_MAX];
    uint32_t len = 0;

    for (uint32_t i = 0; i < n; i++) {
        INVARIANT(len + iov[i].iov_len <= sizeof bytes);
        memcpy(bytes + len, iov[i].iov_base, iov[i].iov_len);
        len += (uint32_t)iov[i].iov_len;
    }
    emu_put(link->emu, tap_now_ns(), 0, bytes, len);
}

static void frames_out(struct tap_link *link)
{
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};

    while (utcp_output(link->u, tap_now_ns(), &frame)) {
        struct iovec iov[1 + UTCP_SLICES_MAX] = {{.iov_base = head, .iov_len = frame.head_len}};

        for (uint32_t i = 0; i < frame.n_slices; i++)
            iov[i + 1] = (struct iovec){.iov_base = (void *)(uintptr_t)frame.slices[i].data,
                                        .iov_len = frame.slices[i].len};
        capture_frame(iov, (int)frame.n_slices + 1);
        if (link->emu != NULL)
            frame_to_emulator(link, iov, frame.n_slices + 1);
        else
            INVARIANT(writev(link->fd, iov, (int)frame.n_slices + 1) > 0);
    }
}

static void events(struct tap_link *link)
{
    struct utcp_event event;

    while (utcp_next_event(link->u, &event))
        link->on_event(link, &event);
}

static void wait_for_frame(struct tap_link *link)
{
    const uint64_t now = tap_now_ns();
    uint64_t deadline = utcp_deadline_ns(link->u);
    struct pollfd pfd = {.fd = link->fd, .events = POLLIN};
    int ms = 100;

    if (link->emu != NULL && emu_deadline_ns(link->emu) < deadline)
        deadline = emu_deadline_ns(link->emu);
    if (deadline <= now)
        ms = 0;
    else if ((deadline - now) / NS_PER_MS < 100)
        ms = (int)((deadline - now) / NS_PER_MS) + (link->emu != NULL ? 0 : 1);
    (void)poll(&pfd, 1, ms);
}

bool tap_link_run(struct tap_link *link, const bool *done, unsigned seconds)
{
    const uint64_t end = tap_now_ns() + seconds * NS_PER_S;

    while (tap_now_ns() < end) {
        frames_in(link);
        if (link->emu != NULL)
            emulated_frames(link);
        utcp_on_deadline(link->u, tap_now_ns());
        events(link);
        frames_out(link);
        if (*done)
            return true;
        wait_for_frame(link);
    }
    return false;
}
