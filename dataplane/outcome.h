/*
 * outcome.h - how a delivery attempt ended: types that the SMTP engine, the channel between the two
 * processes and the control plane share. Types only.
 *
 * What a receiver did is data, never an error. Ambiguity has a name: OUTCOME_DOUBTFUL says that the
 * final dot went out and no reply came, so the message may have been accepted (RFC 1047).
 */
#ifndef WIREPOST_OUTCOME_H
#define WIREPOST_OUTCOME_H

#include <stdint.h>

/* Where in the dialogue it was decided; RFC 5321 4.5.3.2 gives each command its own timeout. */
#define OUTCOME_STAGE_MAP(X)                                                                       \
    X(NONE, "none")                                                                                \
    X(RESOLVE, "resolve") /* control plane: MX, A, AAAA */                                         \
    X(CONNECT, "connect")                                                                          \
    X(BANNER, "banner")                                                                            \
    X(EHLO, "ehlo")                                                                                \
    X(STARTTLS, "starttls")                                                                        \
    X(AUTH, "auth")                                                                                \
    X(MAIL, "mail")                                                                                \
    X(RCPT, "rcpt")                                                                                \
    X(DATA, "data")                                                                                \
    X(BODY, "body")                                                                                \
    X(DOT, "dot")                                                                                  \
    X(RSET, "rset")                                                                                \
    X(QUIT, "quit")                                                                                \
    X(LOCAL, "local") /* decided here: a size limit, a drain, a nonsensical job */

enum outcome_stage {
#define X(name, text) OUTCOME_STAGE_##name,
    OUTCOME_STAGE_MAP(X)
#undef X
};

/* What it means for this recipient. */
#define OUTCOME_KIND_MAP(X)                                                                        \
    X(NONE, "none")           /* nothing known yet */                                              \
    X(DELIVERED, "delivered") /* 2xx to the final dot and to this RCPT */                          \
    X(DEFERRED, "deferred")   /* temporary: try again later */                                     \
    X(BOUNCED, "bounced")     /* permanent: 5xx for this recipient or the message */               \
    X(DOUBTFUL, "doubtful")   /* final dot sent, no reply */                                       \
    X(RETURNED, "returned")   /* not attempted (drain, next target left): plan again at once */

enum outcome_kind {
#define X(name, text) OUTCOME_##name,
    OUTCOME_KIND_MAP(X)
#undef X
};

/* How the connection stood at the end, as the TCP of a lane knows it. */
#define OUTCOME_END_MAP(X)                                                                         \
    X(OPEN, "open")               /* it went on, or we ended it */                                 \
    X(FIN, "fin")                 /* the receiver closed it */                                     \
    X(RST, "rst")                 /* the receiver reset it */                                      \
    X(SILENCE, "silence")         /* nothing came any more: a timer of SMTP or of TCP ran out */   \
    X(UNREACHABLE, "unreachable") /* ICMP or ARP says that there is no way */

enum outcome_end {
#define X(name, text) OUTCOME_END_##name,
    OUTCOME_END_MAP(X)
#undef X
};

/* What became of the end of the message (final dot, or last byte of BDAT) when no reply to it came.
 * A receiver's application reads bytes in order, so it has not seen an end that never left. */
#define OUTCOME_ARRIVAL_MAP(X)                                                                     \
    X(NONE, "")                          /* answered, or never said */                             \
    X(NEVER, "never arrived")            /* not put on the wire: as safe to repeat as a 4xx */     \
    X(UNANSWERED, "arrived, unanswered") /* the receiver's TCP acknowledged it */                  \
    X(UNKNOWN, "unknown")                /* on the wire, not acknowledged */

enum outcome_arrival {
#define X(name, text) OUTCOME_ARRIVAL_##name,
    OUTCOME_ARRIVAL_MAP(X)
#undef X
};

const char *outcome_end_text(enum outcome_end end);
const char *outcome_arrival_text(enum outcome_arrival arrival);
const char *outcome_stage_text(enum outcome_stage stage);
const char *outcome_kind_text(enum outcome_kind kind);

#endif
