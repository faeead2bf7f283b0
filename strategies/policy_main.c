/*
 * policy_main.c - wirepost-policy: the strategies behind stdin and stdout, for simulation, replay
 * and audit. Everything answered is written before the program waits for more input.
 *
 * Usage: wirepost-policy [--state FILE]
 *   --state FILE: load the state from FILE if it exists; write it there when the input ends.
 * Exit: 0, 1 when the state cannot be read or written, 2 for wrong usage.
 */
#include "strategies/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES  65536
#define FLUSH_BYTES 262144
#define LINE_MAX_MB 64

static bool write_all(struct policy_text *out)
{
    for (size_t at = 0; at < out->n_bytes;) {
        ssize_t n = write(STDOUT_FILENO, out->at + at, out->n_bytes - at);
        if (n < 0 && errno != EINTR)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    out->n_bytes = 0;
    return true;
}

/* Every whole line of the input; what is left is moved to its front. */
static bool take_lines(struct policy *policy, struct policy_text *in, struct policy_text *out)
{
    size_t from = 0;
    char *end;

    while ((end = memchr(in->at + from, '\n', in->n_bytes - from)) != NULL) {
        policy_line(policy, in->at + from, (size_t)(end - in->at) - from, out);
        from = (size_t)(end - in->at) + 1;
        if (out->n_bytes >= FLUSH_BYTES && !write_all(out))
            return false;
    }
    memmove(in->at, in->at + from, in->n_bytes - from);
    in->n_bytes -= from;
    return true;
}

static bool run(struct policy *policy, struct policy_text *in, struct policy_text *out)
{
    static char bytes[READ_BYTES];

    for (;;) {
        ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        policy_put(in, bytes, (size_t)n);
        if (!take_lines(policy, in, out) || !write_all(out))
            return false;
        if (in->n_bytes > (size_t)LINE_MAX_MB << 20) {
            (void)fprintf(stderr, "wirepost-policy: a line is longer than %d MB\n", LINE_MAX_MB);
            return false;
        }
    }
    if (in->n_bytes > 0)
        policy_line(policy, in->at, in->n_bytes, out);
    return write_all(out);
}

/* ---- state ---- */

static bool read_file(FILE *file, struct policy_text *ret)
{
    static char bytes[READ_BYTES];
    size_t n;

    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
        policy_put(ret, bytes, n);
    return ferror(file) == 0;
}

static bool load_state(struct policy *policy, const char *path)
{
    struct policy_text image = {0};
    FILE *file = fopen(path, "rb");

    if (file == NULL)
        return errno == ENOENT;
    bool ok = read_file(file, &image) && policy_restore(policy, image.at, image.n_bytes);
    (void)fclose(file);
    free(image.at);
    return ok;
}

/* Beside the old state, then in its place: a crash leaves one of the two whole. */
static bool save_state(const struct policy *policy, const char *path)
{
    char beside[4096];
    size_t n_bytes = strategy_save_bytes(policy->engine);
    void *image = malloc(n_bytes);

    if (image == NULL || snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) {
        free(image);
        return false;
    }
    strategy_save(policy->engine, image);
    FILE *file = fopen(beside, "wb");
    bool ok = file != NULL && fwrite(image, 1, n_bytes, file) == n_bytes && fflush(file) == 0 &&
              fsync(fileno(file)) == 0;
    ok = file != NULL && fclose(file) == 0 && ok && rename(beside, path) == 0;
    free(image);
    return ok;
}

static int fail(const char *what, const char *path)
{
    (void)fprintf(stderr, "wirepost-policy: %s %s\n", what, path);
    return 1;
}

static int serve(const char *state)
{
    struct strategy_limits limits = strategy_limits_default();
    struct policy policy;
    struct policy_text in = {0}, out = {0};
    int code = 0;

    if (!policy_open(&policy, &limits))
        return fail("no memory for", "the state");
    if (state != NULL && !load_state(&policy, state))
        code = fail("cannot load the state from", state);
    else if (!run(&policy, &in, &out))
        code = fail("input or output failed:", strerror(errno));
    else if (state != NULL && !save_state(&policy, state))
        code = fail("cannot write the state to", state);
    free(in.at);
    free(out.at);
    policy_close(&policy);
    return code;
}

int main(int argc, char **argv)
{
    if (argc == 1)
        return serve(NULL);
    if (argc == 3 && strcmp(argv[1], "--state") == 0)
        return serve(argv[2]);
    (void)fprintf(stderr, "usage: wirepost-policy [--state FILE]\n");
    return 2;
}
