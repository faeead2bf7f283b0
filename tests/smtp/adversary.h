/*
 * adversary.h - a server that says anything, at any time, driven by bytes; and a judge that knows
 * nothing of the client but what went over the wire.
 *
 * The judge keeps all bytes of the server and where the final dot went out among them. A recipient
 * is delivered exactly when the bytes up to the dot are whole replies and those after it begin with
 * a 2xx reply, by a parser of its own that looks at whole lines. A verdict that differs from the
 * client's aborts, as does a result that is missing, an unprintable text, or a command that no
 * client says.
 */
#ifndef WIREPOST_TESTS_SMTP_ADVERSARY_H
#define WIREPOST_TESTS_SMTP_ADVERSARY_H

#include "dataplane/smtp_client.h"

/* Transactions that ended so, for a test to see that all of it was reached. */
struct adversary_totals {
    uint32_t dots, delivered, doubtful, bounced, deferred;
};

void adversary_run(const uint8_t *script, size_t len, struct adversary_totals *totals);

#endif
