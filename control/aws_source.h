/*
 * aws_source.h - where the credentials of a route come from, on the loop: a file (read again when
 * it changes), the environment, or the role of the EC2 instance by its metadata service (IMDSv2:
 * a token by PUT first, then GETs with it), fetched again before they expire.
 *
 * Secrets are never logged; texts name files and variables only.
 */
#ifndef WIREPOST_AWS_SOURCE_H
#define WIREPOST_AWS_SOURCE_H

#include "control/aws_credentials.h"
#include "control/https.h"

#define AWS_METADATA_URL "http://169.254.169.254"

enum aws_from { AWS_FROM_FILE, AWS_FROM_ENVIRONMENT, AWS_FROM_INSTANCE };

struct aws_source;

/* Something has come or failed: aws_source_get() may say something else now. */
typedef void (*aws_source_fn)(void *user);

/* file: for AWS_FROM_FILE; must outlive it. Null: no memory. */
struct aws_source *aws_source_open(uv_loop_t *loop, struct https *https, enum aws_from from,
                                   const char *file, aws_source_fn changed, void *user);
/* Before https_close(); the loop must run once more. */
void aws_source_close(struct aws_source *source);

enum aws_source_state {
    AWS_SOURCE_READY,
    AWS_SOURCE_WAIT,  /* the first answer is not there yet */
    AWS_SOURCE_FAILED /* there are none: the text says why */
};
/* Credentials that hold now; *ret_why is a sentence unless READY. Both are valid until the loop
 * runs. */
enum aws_source_state aws_source_get(struct aws_source *source, int64_t now_ms,
                                     const struct aws_credentials **ret, const char **ret_why);
/* The service does not like them: they are read or fetched anew. */
void aws_source_refresh(struct aws_source *source);

#endif
