/*
 * aws_credentials.h - an access key of AWS, from the three places where it may stand. Pure.
 */
#ifndef WIREPOST_AWS_CREDENTIALS_H
#define WIREPOST_AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AWS_KEY_MAX    128u
#define AWS_SECRET_MAX 256u
#define AWS_TOKEN_MAX  4096u

struct aws_credentials {
    char key[AWS_KEY_MAX];
    char secret[AWS_SECRET_MAX];
    char token[AWS_TOKEN_MAX]; /* of temporary ones; "": none */
    int64_t expires_ms;        /* Unix; INT64_MAX: never */
};

/* A file as the tools of AWS write it: lines "aws_access_key_id = ...", "aws_secret_access_key =
 * ...", "aws_session_token = ..."; "[default]" or the lines before any section count, # and ; begin
 * comments. False: key or secret is missing, or a value has bytes that no key has. */
bool aws_credentials_parse_file(const char *text, struct aws_credentials *ret);

/* AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. */
bool aws_credentials_from_environment(struct aws_credentials *ret);

/* The answer of the instance metadata service: {"Code": "Success", "AccessKeyId",
 * "SecretAccessKey", "Token", "Expiration"}. */
bool aws_credentials_parse_instance(const char *json, size_t len, struct aws_credentials *ret);

#endif
