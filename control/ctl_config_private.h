/* ctl_config_private.h - between the files of ctl_config*.c. */
#ifndef WIREPOST_CTL_CONFIG_PRIVATE_H
#define WIREPOST_CTL_CONFIG_PRIVATE_H

#include "control/ctl_config.h"

struct ctl_parse {
    struct ctl_config *config;
    struct config_errors *errors;
    size_t errors_before; /* that were in the list when we came */
    json_t *effective;    /* a copy of the file; defaults are filled in as it is read */
};

/* "tls" of "delivery" or of a sender; `otherwise` is filled in. */
enum tls_wants ctl_config_parse_tls(struct ctl_parse *p, const char *path, json_t *object,
                                    enum tls_wants otherwise);
void ctl_config_parse_routes(struct ctl_parse *p);
/* User name, password, token. */
void ctl_config_parse_login(struct ctl_parse *p, const char *path, json_t *object,
                            struct ctl_route *route);
/* "http". */
void ctl_config_parse_http(struct ctl_parse *p);
/* The keys of a route of type "ses" that others do not have. */
void ctl_config_parse_ses(struct ctl_parse *p, const char *path, json_t *object,
                          struct ctl_route *route);
/* "relay.example", "relay.example:25": into route->host and port. */
bool ctl_config_parse_authority(const char *text, uint16_t otherwise, struct ctl_route *route);
/* The domain as DNS has it: lower case, A-labels; malloc'ed. Null: it is none. */
char *ctl_config_domain_normal(const char *text);
/* "dkim" of a sender: its keys are loaded. */
void ctl_config_parse_dkim(struct ctl_parse *p, const char *path, json_t *object,
                           struct ctl_sender *sender);
/* Locked memory for all keys of the senders, before the first is loaded. */
void ctl_config_dkim_memory(json_t *senders);
/* "dkim" of a route; after its host. */
void ctl_config_parse_route_dkim(struct ctl_parse *p, const char *path, json_t *object,
                                 struct ctl_route *route);
/* "senders"; after "pools" and "routes". */
void ctl_config_parse_senders(struct ctl_parse *p);

#endif
