/*
 * decisions_file.c - what the decision library has learned, on disk. A file of its own and not the
 * spool's database: it is one image of some megabytes that is replaced as a whole, and losing ten
 * seconds of learning is no loss of mail.
 */
#include "control/decisions_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_FILE "strategies.state"
#define STATE_MAX  (1u << 30)

/* ---- files ------------------------------------------------------------------------------- */

static bool path_of(const struct ctl *ctl, const char *name, const char *suffix,
                    char path[CTL_PATH_MAX + 64])
{
    int n = snprintf(path, CTL_PATH_MAX + 64, "%s/%s%s", ctl->config.spool.path, name, suffix);
    return n > 0 && n < (int)CTL_PATH_MAX + 64;
}

static bool write_all(int fd, const void *bytes, size_t n_bytes)
{
    const char *at = bytes;
    while (n_bytes > 0) {
        ssize_t n = write(fd, at, n_bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        at += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

/* A new file is safe only when its name is (fsync(2)). */
static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return good;
}

bool decisions_replace_file(const struct ctl *ctl, const char *name, const void *bytes,
                            size_t n_bytes)
{
    char path[CTL_PATH_MAX + 64], fresh[CTL_PATH_MAX + 64];
    if (!path_of(ctl, name, "", path) || !path_of(ctl, name, ".new", fresh)) {
        return false;
    }
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    bool good = write_all(fd, bytes, n_bytes) && fsync(fd) == 0;
    good = close(fd) == 0 && good;
    if (good && rename(fresh, path) == 0) {
        return sync_folder(ctl->config.spool.path);
    }
    (void)unlink(fresh);
    return false;
}

static bool read_all(int fd, char *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = read(fd, bytes, n_bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

bool decisions_read_file(const struct ctl *ctl, const char *name, void **ret_bytes,
                         size_t *ret_n_bytes)
{
    char path[CTL_PATH_MAX + 64];
    struct stat st;
    int fd = path_of(ctl, name, "", path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    bool good = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size < STATE_MAX;
    char *bytes = good ? malloc((size_t)st.st_size + 1) : NULL;
    good = bytes && read_all(fd, bytes, (size_t)st.st_size);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (!good) {
        free(bytes);
        return false;
    }
    bytes[st.st_size] = '\0';
    *ret_bytes = bytes;
    *ret_n_bytes = (size_t)st.st_size;
    return true;
}

/* ---- the state --------------------------------------------------------------------------- */

void decisions_load(struct decisions *d)
{
    void *image;
    size_t n_bytes;
    if (!decisions_read_file(d->ctl, STATE_FILE, &image, &n_bytes)) {
        return;
    }
    enum strategy_error error = strategy_load(d->engine, image, n_bytes);
    free(image);
    if (error != STRATEGY_OK) {
        ctl_log(CTL_LOG_WARN, "the strategies start learning anew",
                "file=" STATE_FILE " reason=\"%s\"", strategy_error_text(error));
    }
}

struct saving {
    struct decisions *decisions;
    const struct ctl *ctl;
    void *image;
    size_t n_bytes;
    bool good;
    uv_work_t work;
};

static void save_work(uv_work_t *work)
{
    struct saving *saving = work->data;
    saving->good = decisions_replace_file(saving->ctl, STATE_FILE, saving->image, saving->n_bytes);
}

static void tell_failure(bool good)
{
    if (!good) {
        ctl_log(CTL_LOG_WARN, "what the strategies have learned cannot be saved",
                "file=" STATE_FILE " reason=\"%s\"", strerror(errno));
    }
}

static void on_saved(uv_work_t *work, int status)
{
    struct saving *saving = work->data;
    saving->decisions->saving = false;
    tell_failure(saving->good || status == UV_ECANCELED);
    free(saving->image);
    free(saving);
}

/* Grants that are not used yet count as used in the image: a restart may send less, never more. */
static struct saving *take_image(struct decisions *d)
{
    struct saving *saving = ctl_must(calloc(1, sizeof *saving));
    saving->decisions = d;
    saving->ctl = d->ctl;
    saving->n_bytes = strategy_save_bytes(d->engine);
    saving->image = ctl_must(malloc(saving->n_bytes));
    saving->work.data = saving;
    strategy_save(d->engine, saving->image);
    d->changed = false;
    return saving;
}

void decisions_save(struct decisions *d)
{
    if (d->saving) {
        return;
    }
    struct saving *saving = take_image(d);
    d->saving = true;
    if (uv_queue_work(d->ctl->loop, &saving->work, save_work, on_saved) != 0) {
        on_saved(&saving->work, UV_ECANCELED);
    }
}

void decisions_save_now(struct decisions *d)
{
    grants_return_all(d->grants, decisions_now_ms(d));
    struct saving *saving = take_image(d);
    save_work(&saving->work);
    tell_failure(saving->good);
    free(saving->image);
    free(saving);
}
