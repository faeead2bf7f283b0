/* utcp_siphash.h - SipHash-2-4 (Aumasson, Bernstein 2012): the keyed hash behind initial sequence
 * numbers (RFC 6528), local ports (RFC 6056) and timestamp offsets (RFC 7323 5.4). */
#ifndef WIREPOST_UTCP_SIPHASH_H
#define WIREPOST_UTCP_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t utcp_siphash(const uint8_t key[16], const uint8_t *data, size_t len);

#endif
