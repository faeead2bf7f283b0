/* dp_config_private.h - between dp_config.c, dp_config_pool.c and dp_config_address.c. */
#ifndef WIREPOST_DP_CONFIG_PRIVATE_H
#define WIREPOST_DP_CONFIG_PRIVATE_H

#include "dataplane/dp_config.h"

/* One text of an "addresses" list. */
struct dp_spec {
    char path[CONFIG_PATH_MAX];
    uint32_t first, last; /* host order, first <= last */
    uint32_t lane, pool;
};

/* What a parse gathers beside the configuration itself. */
struct dp_parse {
    struct dp_config *config;
    struct config_errors *errors;
    size_t errors_before;  /* that were in the list when we came */
    struct dp_spec *specs; /* in the order of the configuration */
    size_t n_specs;
    uint64_t n_addresses; /* of all specs */
};

void config_parse_pools(struct dp_parse *p, json_t *pools);
/* Adds the specs of one queue's "addresses" object. */
void config_parse_addresses(struct dp_parse *p, const char *path, json_t *addresses, uint32_t lane);
/* Checks overlaps and expands all specs into config->addresses. */
void config_expand_addresses(struct dp_parse *p);

/* "192.0.2.0/24" into its parts; false when it is not IPv4 with a length of 0..32. */
bool config_parse_prefix4(const char *text, uint32_t *ret_network, uint8_t *ret_len);
uint32_t config_mask4(uint8_t prefix_len);
uint32_t config_addr4(const struct ip_addr *addr); /* host order */
struct ip_addr config_ip4(uint32_t host_order);

#endif
