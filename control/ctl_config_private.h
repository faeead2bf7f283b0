/* ctl_config_private.h - between ctl_config.c and ctl_config_sender.c. */
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
/* "senders"; after "pools" and "routes". */
void ctl_config_parse_senders(struct ctl_parse *p);

#endif
