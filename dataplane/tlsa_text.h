/*
 * tlsa_text.h - TLSA records as text, "3 1 1 0a1b...;2 0 1 ..." (RFC 6698 2.2, records separated by
 * semicolons): so they travel in a job. Pure, for both processes.
 */
#ifndef WIREPOST_TLSA_TEXT_H
#define WIREPOST_TLSA_TEXT_H

#include "dataplane/tls_client.h"

#define TLSA_RECORDS_MAX 16u   /* of one host; more are left out */
#define TLSA_BYTES_MAX   2048u /* of their data all together */
#define TLSA_TEXT_MAX    (2 * TLSA_BYTES_MAX + 16 * TLSA_RECORDS_MAX)

struct tlsa_set {
    struct tls_tlsa records[TLSA_RECORDS_MAX]; /* their data points into bytes */
    uint32_t n;
    uint8_t bytes[TLSA_BYTES_MAX];
};

/* False: not in that form, or too much; *ret_set is not to be used. The set must not be copied. */
bool tlsa_text_read(const char *text, struct tlsa_set *ret_set);

/* Appends a record as it is in DNS (RFC 6698 2.1); false: not one, or there is no room for it. */
bool tlsa_text_add(char text[TLSA_TEXT_MAX], const uint8_t *rdata, size_t len);

#endif
