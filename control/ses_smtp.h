/*
 * ses_smtp.h - the SMTP endpoint of Amazon SES: its host, and the password that is derived from a
 * secret access key (SES developer guide, "Converting AWS credentials to SMTP credentials"). Pure.
 */
#ifndef WIREPOST_SES_SMTP_H
#define WIREPOST_SES_SMTP_H

#include <stdbool.h>
#include <stddef.h>

#define SES_SMTP_PASSWORD_MAX 48u /* 33 bytes in base64, with NUL */

/* The user name is the id of the access key. False: no memory. */
bool ses_smtp_password(const char *secret, const char *region,
                       char ret_password[SES_SMTP_PASSWORD_MAX]);

#endif
