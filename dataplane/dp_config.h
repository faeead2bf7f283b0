/*
 * dp_config.h - the "dataplane" and "pools" parts of the configuration, parsed and checked. Both
 * processes use it: wirepostd checks the whole file, the data plane reads the same part.
 *
 * Errors name the JSON path and the remedy; all errors are gathered, not just the first. Unknown
 * keys are errors. No I/O here: the caller gives parsed JSON.
 */
#ifndef WIREPOST_DP_CONFIG_H
#define WIREPOST_DP_CONFIG_H

#include "dataplane/config_read.h"
#include "dataplane/ip_range.h"

#define DP_PORTS_MAX     16u
#define DP_LANES_MAX     64u
#define DP_ADDRESSES_MAX 65536u
#define DP_NAME_MAX      CONFIG_NAME_MAX
#define DP_CPU_MAX       1023u /* highest CPU number: CPU_SETSIZE - 1 */

struct dp_address {
    struct ip_addr addr;
    uint32_t lane;          /* index in dp_config.lanes */
    uint32_t pool;          /* index in dp_config.pools */
    uint32_t index_in_pool; /* 1.. : the {n} of the pool's EHLO name */
    char *ehlo;             /* a name of its own; null: the pool's */
    bool removed;           /* by control, at run time */
};

struct dp_lane {
    uint32_t port; /* index in dp_config.ports */
    uint16_t queue;
    uint16_t lcore; /* CPU */
};

/* What is on the link. */
struct dp_network {
    struct ip_prefix prefix4, prefix6; /* family 0: none; one of them at least is there */
    struct ip_addr gateway4, gateway6; /* family 0: none; gateway6 may be link-local */
};

struct dp_port {
    char name[DP_NAME_MAX]; /* the operator's name: wan0 */
    char device[256];       /* PCI address or vdev with arguments */
    uint16_t mtu;           /* 576..9000, default 1500 */
    bool has_mac;
    uint8_t mac[6]; /* "mac": "02:...": default the device's own */
    struct dp_network network;
    uint16_t n_queues;
};

/* Whether new addresses of a pool start with few mails a day; the strategies' business. */
enum dp_warmup { DP_WARMUP_BY_STRATEGY, DP_WARMUP_OFF, DP_WARMUP_ON };

struct dp_pool {
    char name[DP_NAME_MAX];
    char ehlo[256]; /* pattern with {n} and {ip}; checked host name after replacing */
    enum dp_warmup warmup;
    uint32_t n_addresses;
    bool removed; /* by control, at run time */
};

struct dp_config {
    struct dp_port ports[DP_PORTS_MAX];
    uint32_t n_ports;
    struct dp_lane lanes[DP_LANES_MAX]; /* by port, then queue */
    uint32_t n_lanes;
    struct dp_pool *pools;
    uint32_t n_pools;
    struct dp_address *addresses; /* sorted by lane, then in the order of the configuration */
    uint32_t n_addresses;
    uint32_t jobs_per_lane; /* "jobs": slots of a channel, power of two, 64..65536, default 1024 */
    uint64_t arena_bytes;   /* "arena_mb" per lane, default 64 MiB */
    uint32_t sessions_per_lane;  /* "sessions", default 4096 */
    uint32_t addresses_per_lane; /* "addresses": room for them, default 16384 */
    bool huge_pages;             /* default false: EAL runs with --no-huge */
    uint32_t memory_mb;          /* EAL memory without huge pages, default 256 */
    char eal_extra[512];         /* "eal": further EAL arguments */
    char tls_ca_file[1024];      /* root["tls"]["ca_file"]; "": the system's */
};

/* Parses root["dataplane"], root["pools"] and root["tls"]["ca_file"]; other keys of root are not
 * looked at. An address in two places, a queue twice, an lcore twice, an address outside its port's
 * prefix, a pool that does not exist are errors. Without root["dataplane"] there are no ports,
 * which is no error here.
 *
 * "addresses" maps a pool's name to a list of texts: one address, a range "a-b" (both included), or
 * a prefix "x/27" (its hosts, see ip_range.h), of IPv4 or IPv6; or an object {"address", "ehlo"}
 * for one that has an EHLO name of its own. "dataplane.binary" (which program wirepostd starts) is
 * only checked to be a text.
 *
 * True when no error was added; ret_config must be freed with dp_config_free() in either case. */
bool dp_config_parse(json_t *root, struct dp_config *ret_config, struct config_errors *errors);
void dp_config_free(struct dp_config *config);

/* "out-{n}.acme.example" with n = 3 -> "out-3.acme.example"; {ip} gives 192-0-2-1. False when buf
 * is too small. */
bool dp_pool_ehlo(const struct dp_config *config, const struct dp_address *address, char *buf,
                  size_t buf_bytes);

/* A full host name (RFC 5321 2.3.5). */
bool dp_host_name_valid(const char *name);
/* A pattern that gives one for every address. */
bool dp_ehlo_pattern_valid(const char *pattern);

/* Null when addresses of the range may be bound on this network; otherwise what is wrong with it
 * and what to do, to be read behind its text. */
const char *dp_network_refuses(const struct dp_network *network, const struct ip_range *range);

#endif
