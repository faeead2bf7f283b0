/* dp_config_private.h - between the dp_config*.c files. */
#ifndef WIREPOST_DP_CONFIG_PRIVATE_H
#define WIREPOST_DP_CONFIG_PRIVATE_H

#include "dataplane/dp_config.h"

/* One text of an "addresses" list. */
struct dp_spec {
    char path[CONFIG_PATH_MAX];
    struct ip_range range;
    uint32_t lane, pool;
    char *ehlo; /* of a single address, or null */
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

/* "ipv4" and "ipv6" of an object; one of them is needed. */
void config_parse_network(struct dp_parse *p, const char *path, json_t *object,
                          struct dp_network *network);

#endif
