/* sim_private.h - between sim.c and sim_tls.c. */
#ifndef WIREPOST_TESTS_DATAPLANE_SIM_PRIVATE_H
#define WIREPOST_TESTS_DATAPLANE_SIM_PRIVATE_H

#include "tests/dataplane/sim.h"

/* ---- sim.c ---- */
void sim_send(struct sim *s, struct sim_conn *c, const uint8_t *bytes, uint32_t len);
/* Bytes of SMTP from the client. */
void sim_plain(struct sim *s, struct sim_conn *c, const uint8_t *bytes, uint32_t n);

/* ---- sim_tls.c ---- */
struct tls_context *sim_tls_context(struct sim *s, const char *ca_file);
void sim_tls_begin(struct sim *s, struct sim_conn *c);
void sim_tls_input(struct sim *s, struct sim_conn *c, const uint8_t *bytes, uint32_t n);
void sim_tls_say(struct sim *s, struct sim_conn *c, const char *text);
void sim_tls_end(struct sim_conn *c);
void sim_tls_free(struct sim *s);

#endif
