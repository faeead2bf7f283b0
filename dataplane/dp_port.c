/* dp_port.c - see dp_port.h. */
#include "dataplane/dp_port.h"

#include "dataplane/dp_eal_args.h"

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define RX_DESCRIPTORS 1024u
#define TX_DESCRIPTORS 1024u
#define POOL_CACHE     256u
#define POOL_SPARE     1536u /* bursts in hand, frames on their way to another lane, caches */
#define FRAME_OVERHEAD 22u   /* Ethernet header, a VLAN tag, FCS */

#define TX_CHECKSUMS (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
#define RX_CHECKSUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
#define RSS_WANTED                                                                                 \
    (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_IPV6 |                          \
     RTE_ETH_RSS_NONFRAG_IPV6_TCP)

/* One port while it is being set up. */
struct setup {
    const struct dp_config *config;
    uint32_t index;
    struct dp_device *device;
    struct dp_devices *devices;
    struct config_errors *errors;
    struct rte_eth_dev_info info;
    uint16_t rx_descriptors, tx_descriptors;
};

static bool refuse(struct setup *s, const char *key, const char *what, int error)
{
    char path[CONFIG_PATH_MAX];
    (void)snprintf(path, sizeof path, "/dataplane/ports/%u/%s", s->index, key);
    config_error_add(s->errors, path, "device %s: %s: %s", s->config->ports[s->index].device, what,
                     rte_strerror(error < 0 ? -error : error));
    return false;
}

static bool find_device(struct setup *s)
{
    char name[256];
    dp_device_name(s->config->ports[s->index].device, name, sizeof name);
    int result = rte_eth_dev_get_port_by_name(name, &s->device->port_id);
    if (result != 0) {
        return refuse(s, "device",
                      "DPDK did not open it (is the interface there? bound to a DPDK driver? "
                      "are we root?)",
                      result);
    }
    result = rte_eth_dev_info_get(s->device->port_id, &s->info);
    return result == 0 || refuse(s, "device", "cannot be asked for its features", result);
}

static struct rte_eth_conf wanted_conf(const struct setup *s)
{
    const struct dp_port *port = &s->config->ports[s->index];
    struct rte_eth_conf conf = {0};
    uint64_t rss = s->info.flow_type_rss_offloads & RSS_WANTED;
    conf.rxmode.mtu = port->mtu;
    conf.rxmode.offloads = s->info.rx_offload_capa & RX_CHECKSUMS;
    if ((s->info.tx_offload_capa & TX_CHECKSUMS) == TX_CHECKSUMS) {
        conf.txmode.offloads = TX_CHECKSUMS;
    }
    if (port->n_queues > 1 && rss != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss;
    }
    return conf;
}

static bool check_limits(struct setup *s)
{
    const struct dp_port *port = &s->config->ports[s->index];
    if (port->n_queues > s->info.max_rx_queues || port->n_queues > s->info.max_tx_queues) {
        uint16_t rx = s->info.max_rx_queues, tx = s->info.max_tx_queues;
        uint16_t most = rx < tx ? rx : tx;
        char path[CONFIG_PATH_MAX];
        (void)snprintf(path, sizeof path, "/dataplane/ports/%u/queues", s->index);
        config_error_add(s->errors, path,
                         "device %s has %u queues, not %u; name fewer, or give the device more "
                         "(net_af_packet: qpairs=%u)",
                         port->device, most, port->n_queues, port->n_queues);
        return false;
    }
    if (s->info.max_mtu != 0 && port->mtu > s->info.max_mtu) {
        return refuse(s, "mtu", "the device cannot do this MTU", EINVAL);
    }
    return true;
}

/* With receive interrupts where the device has them; they are only its descriptors to sleep on. */
static bool configure(struct setup *s)
{
    const struct dp_port *port = &s->config->ports[s->index];
    struct rte_eth_conf conf = wanted_conf(s);
    uint16_t id = s->device->port_id, n = port->n_queues;
    conf.intr_conf.rxq = 1;
    int result = rte_eth_dev_configure(id, n, n, &conf);
    if (result != 0) {
        conf.intr_conf.rxq = 0;
        result = rte_eth_dev_configure(id, n, n, &conf);
    }
    if (result != 0) {
        return refuse(s, "device", "cannot be configured", result);
    }
    s->device->tx_checksum_offload = conf.txmode.offloads == TX_CHECKSUMS;
    s->rx_descriptors = RX_DESCRIPTORS;
    s->tx_descriptors = TX_DESCRIPTORS;
    result = rte_eth_dev_adjust_nb_rx_tx_desc(id, &s->rx_descriptors, &s->tx_descriptors);
    return result == 0 || refuse(s, "device", "has no usable number of descriptors", result);
}

static struct rte_mempool *pool_make(const struct setup *s, uint32_t lane)
{
    char name[RTE_MEMPOOL_NAMESIZE];
    uint32_t frame = s->config->ports[s->index].mtu + FRAME_OVERHEAD + RTE_PKTMBUF_HEADROOM;
    uint32_t room = RTE_MAX(RTE_ALIGN_CEIL(frame, 64u), (uint32_t)RTE_MBUF_DEFAULT_BUF_SIZE);
    uint32_t n = s->rx_descriptors + s->tx_descriptors + POOL_SPARE;
    (void)snprintf(name, sizeof name, "lane-%u", lane);
    return rte_pktmbuf_pool_create(name, n, POOL_CACHE, 0, (uint16_t)room,
                                   rte_eth_dev_socket_id(s->device->port_id));
}

static bool queue_setup(struct setup *s, uint32_t lane)
{
    uint16_t id = s->device->port_id, queue = s->config->lanes[lane].queue;
    struct rte_mempool *pool = pool_make(s, lane);
    if (!pool) {
        config_error_add(s->errors, "/dataplane/memory_mb",
                         "no memory for the frames of lane %u; raise it", lane);
        return false;
    }
    s->devices->pools[lane] = pool;
    int socket = rte_eth_dev_socket_id(id);
    unsigned node = socket < 0 ? 0 : (unsigned)socket;
    int result = rte_eth_rx_queue_setup(id, queue, s->rx_descriptors, node, NULL, pool);
    if (result != 0) {
        return refuse(s, "queues", "receive queue", result);
    }
    result = rte_eth_tx_queue_setup(id, queue, s->tx_descriptors, node, NULL);
    return result == 0 || refuse(s, "queues", "transmit queue", result);
}

static bool queues_setup(struct setup *s)
{
    for (uint32_t lane = 0; lane < s->config->n_lanes; lane++) {
        if (s->config->lanes[lane].port == s->index && !queue_setup(s, lane)) {
            return false;
        }
    }
    return true;
}

static bool set_mac(struct setup *s)
{
    const struct dp_port *port = &s->config->ports[s->index];
    struct rte_ether_addr mac;
    if (port->has_mac) {
        memcpy(mac.addr_bytes, port->mac, sizeof mac.addr_bytes);
        int result = rte_eth_dev_default_mac_addr_set(s->device->port_id, &mac);
        if (result != 0) {
            return refuse(s, "mac", "does not take another address; remove \"mac\"", result);
        }
    }
    int result = rte_eth_macaddr_get(s->device->port_id, &mac);
    memcpy(s->device->mac, mac.addr_bytes, sizeof s->device->mac);
    return result == 0 || refuse(s, "device", "does not say its address", result);
}

static bool start(struct setup *s)
{
    uint16_t id = s->device->port_id;
    /* Not every device can change its MTU; a wrong one shows in the next line. */
    int result = rte_eth_dev_set_mtu(id, s->config->ports[s->index].mtu);
    if (result != 0 && result != -ENOTSUP) {
        return refuse(s, "mtu", "the device does not take this MTU", result);
    }
    result = rte_eth_dev_start(id);
    if (result != 0) {
        return refuse(s, "device", "cannot be started", result);
    }
    s->device->started = true;
    return true;
}

/* ND needs the solicited-node groups of our addresses (RFC 4861 7.2.1). Their number is as that of
 * the addresses, more than devices have filters for, so all groups come in; the stack drops the
 * rest. A device that knows neither mode (net_af_packet on a veth) delivers everything anyway. */
static bool receive_groups(struct setup *s)
{
    uint16_t id = s->device->port_id;
    if (s->config->ports[s->index].network.prefix6.addr.family == 0) {
        return true;
    }
    int result = rte_eth_allmulticast_enable(id);
    if (result != 0) {
        result = rte_eth_promiscuous_enable(id);
    }
    return result == 0 || result == -ENOTSUP ||
           refuse(s, "ipv6", "the device does not receive multicast, which IPv6 needs", result);
}

bool dp_devices_open(struct dp_devices *devices, const struct dp_config *config,
                     struct config_errors *errors)
{
    static bool (*const steps[])(struct setup *) = {
        find_device, check_limits, configure, queues_setup, start, set_mac, receive_groups,
    };
    *devices = (struct dp_devices){0};
    for (uint32_t i = 0; i < config->n_ports; i++) {
        struct setup s = {
            .config = config,
            .index = i,
            .device = &devices->ports[i],
            .devices = devices,
            .errors = errors,
        };
        for (size_t step = 0; step < RTE_DIM(steps); step++) {
            if (!steps[step](&s)) {
                return false;
            }
        }
    }
    return true;
}

void dp_devices_close(struct dp_devices *devices, const struct dp_config *config)
{
    for (uint32_t i = 0; i < config->n_ports; i++) {
        if (devices->ports[i].started) {
            (void)rte_eth_dev_stop(devices->ports[i].port_id);
            (void)rte_eth_dev_close(devices->ports[i].port_id);
        }
    }
    for (uint32_t lane = 0; lane < config->n_lanes; lane++) {
        rte_mempool_free(devices->pools[lane]);
    }
}

/* net_tap's queue is a file that is readable by level and needs no arming. A device with real
 * interrupts would need arming around each sleep; it is polled instead, like those without any. */
int dp_device_rx_fd(const struct dp_device *device, uint16_t queue)
{
    struct rte_eth_dev_info info;
    if (rte_eth_dev_info_get(device->port_id, &info) != 0 ||
        strcmp(info.driver_name, "net_tap") != 0) {
        return -1;
    }
    return rte_eth_dev_rx_intr_ctl_q_get_fd(device->port_id, queue);
}
