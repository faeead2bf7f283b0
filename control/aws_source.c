/* aws_source.c - see aws_source.h. */
#include "control/aws_source.h"

#include "control/ctl_log.h"
#include "control/ctl_time.h"
#include "control/secret_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES 16384u
#define TOKEN_LIFE     "21600" /* seconds; the most that IMDSv2 gives */
#define TOKEN_MAX      256u
#define ROLE_MAX       128u
#define ANSWER_MAX     16384u
#define ANSWER_S       5u
#define MARGIN_MS      600000 /* fetched again so long before they expire, or a quarter of life */
#define RETRY_MS       1000
#define RETRY_MS_MAX   60000
#define ROLES_PATH     "/latest/meta-data/iam/security-credentials/"

struct aws_source {
    struct https *https;
    enum aws_from from;
    const char *file;
    aws_source_fn changed;
    void *user;
    struct secret_file_stamp stamp;
    bool has, tried;
    struct aws_credentials credentials;
    char why[512];

    /* of the instance */
    uv_timer_t timer;
    bool asking;
    uint32_t failures; /* in a row */
    char token[TOKEN_MAX], role[ROLE_MAX];
};

/* ---- file and environment ---------------------------------------------------------------- */

static void read_file(struct aws_source *s)
{
    char text[FILE_MAX_BYTES];
    s->tried = true;
    s->has = false;
    if (secret_file_read(s->file, text, sizeof text, &s->stamp, s->why, sizeof s->why) < 0) {
        s->stamp = (struct secret_file_stamp){0};
        return;
    }
    s->has = aws_credentials_parse_file(text, &s->credentials);
    explicit_bzero(text, sizeof text);
    if (!s->has) {
        (void)snprintf(s->why, sizeof s->why,
                       "%.400s: needs aws_access_key_id and aws_secret_access_key", s->file);
    }
}

static void read_environment(struct aws_source *s)
{
    s->tried = true;
    s->has = aws_credentials_from_environment(&s->credentials);
    if (!s->has) {
        (void)snprintf(s->why, sizeof s->why,
                       "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the environment");
    }
}

/* ---- the instance ------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

static void failed(struct aws_source *s, const char *what, const struct https_answer *answer)
{
    int64_t wait_ms = RETRY_MS;
    (void)snprintf(s->why, sizeof s->why, "the instance metadata service: %s: %.200s (HTTP %ld)",
                   what, answer->text, answer->status);
    for (uint32_t i = 0; i < s->failures && wait_ms < RETRY_MS_MAX; i++) {
        wait_ms *= 2;
    }
    if (s->failures++ == 0) {
        ctl_log(CTL_LOG_WARN, "no credentials from the instance", "reason=\"%s\"", s->why);
    }
    s->asking = false;
    s->tried = true;
    wait_ms = wait_ms < RETRY_MS_MAX ? wait_ms : RETRY_MS_MAX;
    (void)uv_timer_start(&s->timer, on_timer, (uint64_t)wait_ms, 0);
    s->changed(s->user);
}

/* One line of an answer: visible characters only, since it goes into a header or a path. */
static bool take_line(const struct https_answer *answer, char *to, size_t to_bytes)
{
    size_t len = strcspn(answer->body, "\r\n");
    if (answer->result != HTTPS_OK || answer->status != 200 || len == 0 || len >= to_bytes) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)answer->body[i] <= 0x20 || (unsigned char)answer->body[i] >= 0x7f) {
            return false;
        }
    }
    memcpy(to, answer->body, len);
    to[len] = '\0';
    return true;
}

static void ask(struct aws_source *s, const char *path, bool put, https_fn done)
{
    char url[sizeof AWS_METADATA_URL + sizeof ROLES_PATH + ROLE_MAX], header[TOKEN_MAX + 48];
    const char *const headers[] = {header, NULL};
    (void)snprintf(url, sizeof url, AWS_METADATA_URL "%s", path);
    (void)snprintf(header, sizeof header, "%s: %s",
                   put ? "X-aws-ec2-metadata-token-ttl-seconds" : "X-aws-ec2-metadata-token",
                   put ? TOKEN_LIFE : s->token);
    const struct https_request request = {.url = url,
                                          .clear = true,
                                          .put = put,
                                          .headers = headers,
                                          .bytes_max = ANSWER_MAX,
                                          .timeout_s = ANSWER_S};
    https_ask(s->https, &request, done, s);
}

/* Again well before they expire. */
static void rest(struct aws_source *s)
{
    int64_t life_ms = s->credentials.expires_ms - ctl_time_ms();
    int64_t margin_ms = life_ms / 4 < MARGIN_MS ? life_ms / 4 : MARGIN_MS;
    int64_t wait_ms = life_ms - margin_ms > RETRY_MS ? life_ms - margin_ms : RETRY_MS;
    (void)uv_timer_start(&s->timer, on_timer, (uint64_t)wait_ms, 0);
}

static void on_credentials(void *user, const struct https_answer *answer)
{
    struct aws_source *s = user;
    if (answer->result != HTTPS_OK || answer->status != 200 ||
        !aws_credentials_parse_instance(answer->body, answer->bytes, &s->credentials)) {
        failed(s, "the credentials of the role", answer);
        return;
    }
    s->asking = false;
    s->has = s->tried = true;
    s->failures = 0;
    rest(s);
    s->changed(s->user);
}

static void on_role(void *user, const struct https_answer *answer)
{
    struct aws_source *s = user;
    char path[sizeof ROLES_PATH + ROLE_MAX];
    if (!take_line(answer, s->role, sizeof s->role) || strchr(s->role, '/')) {
        failed(s, "the name of the role", answer);
        return;
    }
    (void)snprintf(path, sizeof path, ROLES_PATH "%s", s->role);
    ask(s, path, false, on_credentials);
}

static void on_token(void *user, const struct https_answer *answer)
{
    struct aws_source *s = user;
    if (!take_line(answer, s->token, sizeof s->token)) {
        failed(s, "its token", answer);
        return;
    }
    ask(s, ROLES_PATH, false, on_role);
}

static void fetch(struct aws_source *s)
{
    if (!s->asking) {
        s->asking = true;
        ask(s, "/latest/api/token", true, on_token);
    }
}

static void on_timer(uv_timer_t *timer)
{
    fetch(timer->data);
}

/* ---- the whole --------------------------------------------------------------------------- */

struct aws_source *aws_source_open(uv_loop_t *loop, struct https *https, enum aws_from from,
                                   const char *file, aws_source_fn changed, void *user)
{
    struct aws_source *s = calloc(1, sizeof *s);
    if (!s) {
        return NULL;
    }
    s->https = https;
    s->from = from;
    s->file = file;
    s->changed = changed;
    s->user = user;
    s->timer.data = s;
    (void)uv_timer_init(loop, &s->timer);
    aws_source_refresh(s);
    return s;
}

void aws_source_refresh(struct aws_source *s)
{
    switch (s->from) {
    case AWS_FROM_FILE:
        read_file(s);
        break;
    case AWS_FROM_ENVIRONMENT:
        read_environment(s);
        break;
    case AWS_FROM_INSTANCE:
        fetch(s);
        break;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct aws_source *s = handle->data;
    explicit_bzero(s, sizeof *s);
    free(s);
}

void aws_source_close(struct aws_source *s)
{
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

enum aws_source_state aws_source_get(struct aws_source *s, int64_t now_ms,
                                     const struct aws_credentials **ret, const char **ret_why)
{
    if (s->from == AWS_FROM_FILE && secret_file_changed(s->file, &s->stamp)) {
        read_file(s);
    }
    if (s->has && now_ms >= s->credentials.expires_ms) {
        s->has = false;
        (void)snprintf(s->why, sizeof s->why, "the credentials have expired");
    }
    *ret = &s->credentials;
    *ret_why = s->tried ? s->why : "the credentials are being fetched";
    return s->has ? AWS_SOURCE_READY : s->tried ? AWS_SOURCE_FAILED : AWS_SOURCE_WAIT;
}
