/* mail_date.h - the time as RFC 5322 3.3 writes it, in UTC. Pure; English whatever the locale. */
#ifndef WIREPOST_MAIL_DATE_H
#define WIREPOST_MAIL_DATE_H

#include <stdint.h>

#define MAIL_DATE_MAX 64u

/* "Mon, 23 Nov 2026 19:07:00 +0000"; returns buf. */
const char *mail_date(int64_t unix_s, char buf[MAIL_DATE_MAX]);

#endif
