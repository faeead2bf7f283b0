/* dp_spawn.c - starts the data plane with its part of the configuration. */
#include "control/dp_process_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

/* Beside us: as installed, and as built. */
static const char *const places[] = {"%s/wirepost-dataplane", "%s/../dataplane/wirepost-dataplane",
                                     "/usr/sbin/wirepost-dataplane",
                                     "/usr/local/sbin/wirepost-dataplane"};

static bool find_binary(const struct ctl_config *config, char *buf, size_t buf_bytes)
{
    char self[PATH_MAX] = "";
    if (config->binary[0]) {
        (void)snprintf(buf, buf_bytes, "%s", config->binary);
        return true;
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = n > 0 ? strrchr(self, '/') : NULL;
    if (slash) {
        *slash = '\0';
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        int length = snprintf(buf, buf_bytes, places[i], self);
#pragma GCC diagnostic pop
        if (length > 0 && (size_t)length < buf_bytes && access(buf, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

/* Complete or not there: written under another name first. */
static bool write_config(const struct ctl_config *config, const char *path)
{
    char draft[CTL_PATH_MAX + 32];
    (void)snprintf(draft, sizeof draft, "%s/dataplane.json.new", config->run_dir);
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    bool ok = write(fd, config->dp_json, config->dp_json_len) == (ssize_t)config->dp_json_len;
    return close(fd) == 0 && ok && rename(draft, path) == 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_child_exit(uv_process_t *process, int64_t status, int signal)
{
    struct dp_process *p = process->data;
    p->child = 0;
    ctl_log(status == 0 && signal == 0 ? CTL_LOG_INFO : CTL_LOG_ERROR,
            "the data plane's process ended", "pid=%d status=%d signal=%d", process->pid,
            (int)status, signal);
    uv_close((uv_handle_t *)process, on_handle_closed);
}

bool dp_spawn(struct dp_process *p)
{
    const struct ctl_config *config = &p->ctl->config;
    char binary[PATH_MAX], file[CTL_PATH_MAX + 32], sock[CTL_PATH_MAX + 32], run_dir[CTL_PATH_MAX];
    char name_config[] = "--config", name_control[] = "--control", name_run[] = "--run-dir";
    (void)snprintf(file, sizeof file, "%s/dataplane.json", config->run_dir);
    (void)snprintf(sock, sizeof sock, "%s/dataplane.sock", config->run_dir);
    (void)snprintf(run_dir, sizeof run_dir, "%s", config->run_dir);
    if (!find_binary(config, binary, sizeof binary)) {
        ctl_log(CTL_LOG_ERROR, "wirepost-dataplane is not found: name it in dataplane.binary",
                NULL);
        return false;
    }
    if (!write_config(config, file)) {
        ctl_log(CTL_LOG_ERROR, "the data plane's configuration cannot be written",
                "file=%s reason=\"%s\"", file, strerror(errno));
        return false;
    }
    char *args[] = {binary, name_config, file, name_control, sock, name_run, run_dir, NULL};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    uv_process_options_t options = {
        .exit_cb = on_child_exit,
        .file = binary,
        .args = args,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = stdio,
    };
    uv_process_t *process = ctl_must(calloc(1, sizeof *process));
    process->data = p;
    int result = uv_spawn(p->ctl->loop, process, &options);
    if (result != 0) {
        ctl_log(CTL_LOG_ERROR, "the data plane cannot be started", "binary=%s reason=\"%s\"",
                binary, uv_strerror(result));
        uv_close((uv_handle_t *)process, on_handle_closed);
        return false;
    }
    p->child = process->pid;
    uv_unref((uv_handle_t *)process);
    return true;
}
