/* aws_credentials.c - see aws_credentials.h. */
#include "control/aws_credentials.h"

#include "control/ctl_time.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 5000u

/* Values go into header fields: printable, no blanks. */
static bool put(char *to, size_t to_bytes, const char *value)
{
    size_t len = strlen(value);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)value[i] <= 0x20 || (unsigned char)value[i] >= 0x7f) {
            return false;
        }
    }
    if (len >= to_bytes) {
        return false;
    }
    memcpy(to, value, len + 1);
    return true;
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r", text[len - 1])) {
        text[--len] = '\0';
    }
    return text;
}

static bool take_line(char *line, struct aws_credentials *c)
{
    char *equals = strchr(line, '=');
    if (!equals) {
        return false;
    }
    *equals = '\0';
    const char *name = trim(line), *value = trim(equals + 1);
    if (strcmp(name, "aws_access_key_id") == 0) {
        return put(c->key, sizeof c->key, value);
    }
    if (strcmp(name, "aws_secret_access_key") == 0) {
        return put(c->secret, sizeof c->secret, value);
    }
    if (strcmp(name, "aws_session_token") == 0) {
        return put(c->token, sizeof c->token, value);
    }
    return true; /* "region" and the like */
}

bool aws_credentials_parse_file(const char *text, struct aws_credentials *ret)
{
    struct aws_credentials c = {.expires_ms = INT64_MAX};
    char copy[LINE_MAX_BYTES];
    bool ours = true, good = true;
    while (*text && good) {
        size_t len = strcspn(text, "\n");
        good = len < sizeof copy;
        memcpy(copy, text, good ? len : 0);
        copy[good ? len : 0] = '\0';
        text += len + (text[len] == '\n');
        char *line = trim(copy);
        if (line[0] == '[') {
            ours = strcmp(line, "[default]") == 0;
        } else if (ours && line[0] != '\0' && line[0] != '#' && line[0] != ';') {
            good = good && take_line(line, &c);
        }
    }
    good = good && c.key[0] && c.secret[0];
    if (good) {
        *ret = c;
    }
    explicit_bzero(copy, sizeof copy);
    explicit_bzero(&c, sizeof c);
    return good;
}

bool aws_credentials_from_environment(struct aws_credentials *ret)
{
    const char *key = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    const char *token = getenv("AWS_SESSION_TOKEN");
    struct aws_credentials c = {.expires_ms = INT64_MAX};
    if (!key || !secret || !key[0] || !secret[0] || !put(c.key, sizeof c.key, key) ||
        !put(c.secret, sizeof c.secret, secret) ||
        !put(c.token, sizeof c.token, token ? token : "")) {
        return false;
    }
    *ret = c;
    return true;
}

static bool put_member(char *to, size_t to_bytes, const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value && value[0] && put(to, to_bytes, value);
}

bool aws_credentials_parse_instance(const char *json, size_t len, struct aws_credentials *ret)
{
    json_t *object = json_loadb(json, len, 0, NULL);
    const char *code = json_string_value(json_object_get(object, "Code"));
    const char *until = json_string_value(json_object_get(object, "Expiration"));
    struct aws_credentials c = {0};
    bool good = code && strcmp(code, "Success") == 0 && until &&
                ctl_time_parse(until, &c.expires_ms) &&
                put_member(c.key, sizeof c.key, object, "AccessKeyId") &&
                put_member(c.secret, sizeof c.secret, object, "SecretAccessKey") &&
                put_member(c.token, sizeof c.token, object, "Token");
    if (good) {
        *ret = c;
    }
    json_decref(object);
    explicit_bzero(&c, sizeof c);
    return good;
}
