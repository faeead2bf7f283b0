/*
 * script.h - a dialogue with the SMTP client as a text: what the server says and what else happens
 * stands in it, and what the client does about it too. A run replays the former, writes down the
 * latter, and the two texts must be equal.
 *
 * In:   S: 250 ok      the server says this line; lines after each other are one piece
 *       N              smtp_client_start()        Q    smtp_client_quit()
 *       T 300          so many seconds pass       P    the peer acknowledged more of the body
 *       E why          the connection ends
 *       K, V           the TLS handshake is done; V: and the server is verified
 *       X why          the TLS handshake failed
 * Out:  C: RCPT TO:<r1@to.example>     the client says this line
 *       N refused                      (in the place of N)
 *       ! ready done closed starttls   events, and after done and closed:
 *       = delivered dot 250 2.0.0 ok   a result: kind, stage, code, enhanced code, text
 *       # mail 421 4.3.2 bye           closed: the reason
 *
 * Every transcript is taken with the server's pieces whole, byte by byte, and cut at every byte.
 */
#ifndef WIREPOST_TESTS_SMTP_SCRIPT_H
#define WIREPOST_TESTS_SMTP_SCRIPT_H

#include "dataplane/smtp_client.h"

#define SCRIPT_RECIPIENTS_MAX 8u

struct script {
    const char *name; /* a sentence of behaviour */
    const char *text;
    uint32_t n_recipients; /* [1]; named r1@to.example, r2@to.example ... */
    uint32_t needs;        /* SMTP_NEED_* */
    const char *mail_from; /* [from@me.example] */
    const char *recipient; /* [r1@to.example] */
    struct smtp_options options;
    enum smtp_ret ret;
    const char *envid;
    uint32_t notify; /* this and the next: of all recipients */
    const char *orcpt;
    bool pieces_matter; /* a reply comes too early, which only shows in one piece */
};

/* The message of every transaction, as the script writes it. */
#define SCRIPT_MESSAGE       "C: Subject: t\nC: \nC: hi\nC: .\n"
#define SCRIPT_CHUNK         "C: BDAT 18 LAST\nC: Subject: t\nC: \nC: hi\n"
#define SCRIPT_MESSAGE_BYTES 18 /* for SIZE= */

/* Greeting and EHLO without and with PIPELINING. */
#define SCRIPT_PLAIN "N\nS: 220 mx\nC: EHLO me.example\nS: 250 mx\n! ready\n"
#define SCRIPT_PIPE  "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250 PIPELINING\n! ready\n"

void script_check(const struct script *script);

/* Runs each script as a test of its name; returns the exit code of the program. */
int script_main(const char *suite, const struct script *scripts, int n_scripts);

#endif
