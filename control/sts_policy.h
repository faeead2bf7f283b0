/*
 * sts_policy.h - what MTA-STS records and policies say (RFC 8461 3.1, 3.2, 4.1). Pure; all input is
 * a stranger's.
 */
#ifndef WIREPOST_STS_POLICY_H
#define WIREPOST_STS_POLICY_H

#include "control/dns.h"

#define STS_ID_MAX    33u    /* with NUL */
#define STS_BODY_MAX  65536u /* RFC 8461 3.2 leaves it to us; 64 KiB is what it suggests */
#define STS_MAX_AGE_S 31557600u

enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };

struct sts_policy {
    enum sts_mode mode;
    uint32_t max_age_s;
};

/* The id of the only record that begins with "v=STSv1;". False: there is none, or it is malformed,
 * or there are several: no policy. */
bool sts_record_id(const struct dns_txt *txt, char ret_id[STS_ID_MAX]);

/* False with a constant text in *ret_why. `body` ends with a NUL and holds none. */
bool sts_policy_parse(const char *body, struct sts_policy *ret_policy, const char **ret_why);

/* Whether the host name (lower case, A-labels) matches a pattern of the policy. */
bool sts_policy_matches(const char *body, const char *host);

#endif
