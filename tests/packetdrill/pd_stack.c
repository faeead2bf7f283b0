/* pd_stack.c - see pd.h. */
#include "tests/packetdrill/pd.h"

#include "tcp/utcp_wire.h"
#include "tests/packetdrill/pd_interface.h"

#include <errno.h>

#define START_NS     (1000 * NS_PER_S)
#define SETTLED_NS   (10 * NS_PER_S) /* the announcements of the address are over by then */
#define OTHER_MS     50              /* real time that another thread gets to give us a packet */
#define NEVER_FOR_NS (86400 * NS_PER_S)

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1}, gateway_mac[6] = {2, 0, 0, 0, 0, 2};

/* ---- packets out --------------------------------------------------------------------------- */

/* The gateway's answer. */
static void answer_arp(struct pd *pd, const uint8_t *frame, uint32_t len)
{
    struct utcp_arp question, answer = {.op = ARP_REPLY};
    uint8_t reply[ETH_LEN + ARP_LEN];

    if (len < ETH_LEN || !utcp_arp_parse(frame + ETH_LEN, len - ETH_LEN, &question) ||
        question.op != ARP_REQUEST || memcmp(question.target_ip, pd->gateway.bytes, 4) != 0)
        return;
    memcpy(answer.sender_mac, gateway_mac, 6);
    memcpy(answer.sender_ip, pd->gateway.bytes, 4);
    memcpy(answer.target_ip, pd->local.bytes, 4);
    utcp_input(pd->u, pd->now_ns, reply, utcp_arp_put(reply, own_mac, own_mac, &answer), 0);
}

static void keep_packet(struct pd *pd, const uint8_t *frame, uint32_t len)
{
    struct pd_packet *packet = &pd->packets[(pd->first + pd->count) % PD_PACKETS_MAX];

    if (pd->count == PD_PACKETS_MAX)
        return; /* nobody reads */
    packet->time_us = pd->now_ns / NS_PER_US;
    packet->len = len - ETH_LEN;
    memcpy(packet->bytes, frame + ETH_LEN, packet->len);
    pd->count++;
}

static bool packet_out(struct pd *pd)
{
    uint8_t bytes[ETH_LEN + PD_PACKET_MAX];
    struct utcp_frame frame = {.head = bytes};
    uint32_t len;

    if (!utcp_output(pd->u, pd->now_ns, &frame))
        return false;
    len = frame.head_len;
    for (uint32_t i = 0; i < frame.n_slices; i++) {
        memcpy(bytes + len, frame.slices[i].data, frame.slices[i].len);
        len += frame.slices[i].len;
    }
    if (be16_get(bytes + 12) == ETH_TYPE_IPV4)
        keep_packet(pd, bytes, len);
    else
        answer_arp(pd, bytes, len);
    return true;
}

void pd_settle(struct pd *pd)
{
    struct utcp_event event;

    do {
        while (utcp_next_event(pd->u, &event))
            pd_socket_event(pd, &event);
    } while (packet_out(pd));
    (void)pthread_cond_broadcast(&pd->changed);
}

/* ---- time ------------------------------------------------------------------------------------ */

void pd_advance(struct pd *pd, uint64_t ns)
{
    const uint64_t until_ns = pd->now_ns + ns;
    uint64_t due_ns;

    while ((due_ns = utcp_deadline_ns(pd->u)) <= until_ns) {
        pd->now_ns = due_ns > pd->now_ns ? due_ns : pd->now_ns;
        utcp_on_deadline(pd->u, pd->now_ns);
        pd_settle(pd);
    }
    pd->now_ns = until_ns;
    (void)pthread_cond_broadcast(&pd->changed); /* who waits for a time looks again */
}

int pd_usleep(void *userdata, unsigned us)
{
    struct pd *pd = userdata;

    (void)pthread_mutex_lock(&pd->lock);
    pd_advance(pd, us * NS_PER_US);
    (void)pthread_mutex_unlock(&pd->lock);
    return 0;
}

static int now(void *userdata, struct timeval *tv, struct timezone *tz)
{
    struct pd *pd = userdata;

    (void)tz;
    (void)pthread_mutex_lock(&pd->lock);
    pd_advance(pd, NS_PER_US); /* or who waits for a time would wait for ever */
    *tv = (struct timeval){.tv_sec = (time_t)(pd->now_ns / NS_PER_S),
                           .tv_usec = (suseconds_t)(pd->now_ns % NS_PER_S / NS_PER_US)};
    (void)pthread_mutex_unlock(&pd->lock);
    return 0;
}

/* ---- the wire -------------------------------------------------------------------------------- */

int pd_netdev_send(void *userdata, const void *packet, size_t len)
{
    struct pd *pd = userdata;
    uint8_t frame[ETH_LEN + PD_PACKET_MAX];

    if (len > PD_PACKET_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    utcp_eth_put(frame, own_mac, gateway_mac, ETH_TYPE_IPV4);
    memcpy(frame + ETH_LEN, packet, len);
    (void)pthread_mutex_lock(&pd->lock);
    utcp_input(pd->u, pd->now_ns, frame, ETH_LEN + (uint32_t)len, 0);
    pd_settle(pd);
    (void)pthread_mutex_unlock(&pd->lock);
    return 0;
}

/* A thread that is about to make a call gets a moment for it. */
static void wait_for_others(struct pd *pd)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += OTHER_MS * (long)NS_PER_MS;
    until.tv_sec += until.tv_nsec / (long)NS_PER_S;
    until.tv_nsec %= (long)NS_PER_S;
    (void)pthread_cond_timedwait(&pd->changed, &pd->lock, &until);
}

static void wait_for_packet(struct pd *pd)
{
    const uint64_t end_ns = pd->now_ns + NEVER_FOR_NS;

    if (pd->count == 0)
        wait_for_others(pd);
    while (pd->count == 0 && utcp_deadline_ns(pd->u) < end_ns) {
        const uint64_t due_ns = utcp_deadline_ns(pd->u);

        pd_advance(pd, due_ns > pd->now_ns ? due_ns - pd->now_ns : 0);
    }
}

int pd_netdev_receive(void *userdata, void *packet, size_t *count, long long *time_us)
{
    struct pd *pd = userdata;
    const struct pd_packet *next = &pd->packets[pd->first];
    size_t len = 0;

    (void)pthread_mutex_lock(&pd->lock);
    wait_for_packet(pd);
    if (pd->count > 0) {
        len = next->len < *count ? next->len : *count;
        memcpy(packet, next->bytes, len);
        *time_us = (long long)next->time_us;
        pd->first = (pd->first + 1) % PD_PACKETS_MAX;
        pd->count--;
    }
    *count = len;
    (void)pthread_mutex_unlock(&pd->lock);
    return 0;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* --so_flags: "newreno,ecn,pacing,mtu=1280,window=65535,local=192.168.0.1,gateway=192.168.0.2". */
static void take_flag(struct pd *pd, struct utcp_config *config, const char *flag)
{
    if (strcmp(flag, "newreno") == 0)
        config->congestion = UTCP_CONGESTION_NEWRENO;
    else if (strcmp(flag, "ecn") == 0)
        config->no_ecn = false;
    else if (strcmp(flag, "pacing") == 0)
        config->no_pacing = false;
    else if (strncmp(flag, "mtu=", 4) == 0)
        config->mtu = (uint16_t)strtoul(flag + 4, NULL, 10);
    else if (strncmp(flag, "window=", 7) == 0)
        config->rx_window_bytes = (uint32_t)strtoul(flag + 7, NULL, 10);
    else if (strncmp(flag, "local=", 6) == 0)
        (void)ip_addr_parse(flag + 6, &pd->local);
    else if (strncmp(flag, "gateway=", 8) == 0)
        (void)ip_addr_parse(flag + 8, &pd->gateway);
    else
        (void)fprintf(stderr, "so_flags: not known: %s\n", flag);
}

static void take_flags(struct pd *pd, struct utcp_config *config, const char *flags)
{
    char text[256], *rest = text, *flag;

    (void)snprintf(text, sizeof text, "%s", flags == NULL ? "" : flags);
    while ((flag = strsep(&rest, ",")) != NULL)
        if (*flag != '\0')
            take_flag(pd, config, flag);
}

static bool stack_start(struct pd *pd, const char *flags)
{
    struct utcp_config config = {.mac = {2, 0, 0, 0, 0, 1},
                                 .mtu = 1500,
                                 .prefix4_len = 24,
                                 .secret = "packetdrill",
                                 .no_ecn = true,
                                 .no_pacing = true,
                                 .rx_window_bytes = 65535,
                                 .limits = {.connections = 256}};
    int error;

    (void)ip_addr_parse("192.168.0.1", &pd->local); /* packetdrill's own defaults */
    (void)ip_addr_parse("192.168.0.2", &pd->gateway);
    take_flags(pd, &config, flags);
    config.prefix4 = pd->local;
    config.prefix4.bytes[3] = 0;
    config.gateway4 = pd->gateway;
    pd->now_ns = START_NS;
    pd->u = utcp_create(&config, &error);
    if (pd->u == NULL || utcp_address_add(pd->u, pd->now_ns, &pd->local) != UTCP_OK)
        return false;
    pd_settle(pd);
    pd_advance(pd, SETTLED_NS);
    return true;
}

static void stop(void *userdata)
{
    struct pd *pd = userdata;

    utcp_destroy(pd->u);
    free(pd->packets);
    free(pd);
}

void packetdrill_interface_init(const char *flags, struct packetdrill_interface *interface)
{
    struct pd *pd = calloc(1, sizeof *pd);

    INVARIANT(pd != NULL);
    pd->packets = calloc(PD_PACKETS_MAX, sizeof *pd->packets);
    INVARIANT(pd->packets != NULL);
    (void)pthread_mutex_init(&pd->lock, NULL);
    (void)pthread_cond_init(&pd->changed, NULL);
    pd_sockets_init(pd);
    if (!stack_start(pd, flags)) {
        (void)fprintf(stderr, "the stack does not start with so_flags %s\n", flags);
        exit(EXIT_FAILURE);
    }
    *interface = (struct packetdrill_interface){
        .userdata = pd,
        .free = stop,
        .netdev_send = pd_netdev_send,
        .netdev_receive = pd_netdev_receive,
        .usleep = pd_usleep,
        .gettimeofday = now,
    };
    pd_calls_fill(interface);
}
