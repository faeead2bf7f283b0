/*
 * dkim_ring.h - the keys of all senders: those of the configuration, and those that an operator has
 * put in their place since (dkim.rotate), which stay over restarts until the configuration names
 * another key there.
 *
 * Of each domain and algorithm one key is active: what was rotated to, else the first that the
 * configuration lists. Only active keys sign; the others wait to be rotated to. A message is signed
 * by the active keys of the longest domain that is, or is above, the domain of its From address, so
 * it is always aligned as DMARC means it (RFC 7489 3.1.1).
 *
 * Loop thread. Whoever signs has a reference of its own to the key (dkim_key_ref()).
 */
#ifndef WIREPOST_DKIM_RING_H
#define WIREPOST_DKIM_RING_H

#include "control/ctl.h"

struct dkim_ring_key {
    char domain[DKIM_DOMAIN_MAX], selector[DKIM_SELECTOR_MAX];
    char identity[DKIM_IDENTITY_MAX]; /* i=; "": not said */
    char key_file[CTL_PATH_MAX];
    uint32_t expire_s; /* x=; 0: not said */
    bool active;
    bool configured; /* false: by dkim.rotate */
    struct dkim_key *key;
    int64_t loaded_ms;
    uint64_t n_signed; /* since start */
};

struct dkim_ring {
    uint32_t n;
    struct dkim_ring_key *keys; /* as configured, then what was added */
};

/* After the spool is open. One ring for each sender, in the order of config.senders. A key that was
 * rotated to and cannot be loaded is told in the log, and the configured one is active. */
struct dkim_ring *dkim_rings_open(struct ctl *ctl);
void dkim_rings_close(struct dkim_ring *rings, uint32_t n_senders);

/* The active keys for a domain of From, by algorithm (null: none), all of one domain. False: none.
 */
bool dkim_ring_find(struct dkim_ring *ring, const char *from_domain,
                    struct dkim_ring_key *ret_keys[DKIM_ALGORITHMS]);

/* Reads the key's file again. False with a sentence: the old key stays. *ret_changed: it is another
 * key now. */
bool dkim_ring_reload(struct dkim_ring_key *key, bool *ret_changed, char *ret_error,
                      size_t error_bytes);

/* Makes `key` the active one of its domain and algorithm; what was active waits. It is taken over:
 * one of the ring with the same domain, selector and algorithm is replaced. Durable with the next
 * commit. */
void dkim_ring_rotate(struct ctl *ctl, uint32_t sender, const struct dkim_ring_key *key);

#endif
