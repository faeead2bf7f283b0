/* bench_kernel.c - see bench_kernel.h. */
#include "tools/bench/bench_kernel.h"

#include "dataplane/dp_clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 20u
#define PATH_LEN 4200u

/* Where both programs are; false when nowhere. */
static bool find(const struct bench_options *options, char *folder, size_t len)
{
    const char *roots[] = {options->postfix, ""};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        char path[PATH_LEN];
        if (!roots[i]) {
            continue;
        }
        (void)snprintf(folder, len, "%s", roots[i]);
        (void)snprintf(path, sizeof path, "%s/usr/sbin/smtp-source", roots[i]);
        if (access(path, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

/* A port of the loopback address that nobody uses now. */
static uint16_t free_port(void)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof sin;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sin, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&sin, &len) != 0) {
        sin.sin_port = 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return ntohs(sin.sin_port);
}

static void in_child(const char *folder, const char *program, const char *const *args, uint16_t cpu)
{
    char path[PATH_LEN], libraries[PATH_LEN];
    struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
    (void)setrlimit(RLIMIT_NOFILE, &files);
    (void)snprintf(path, sizeof path, "%s/usr/sbin/%s", folder, program);
    (void)snprintf(libraries, sizeof libraries, "%s/usr/lib/postfix", folder);
    (void)setenv("LD_LIBRARY_PATH", libraries, 1);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)dup2(null, STDOUT_FILENO);
    (void)dup2(null, STDERR_FILENO);
    (void)execv(path, (char *const *)args);
    _exit(127);
}

static pid_t start(const char *folder, const char *program, const char *const *args, uint16_t cpu)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        in_child(folder, program, args, cpu);
    }
    return pid;
}

/* Until it listens, or five seconds. */
static bool listens(uint16_t port)
{
    const struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(port)};
    for (uint32_t i = 0; i < 500; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool there = connect(fd, (const struct sockaddr *)&sin, sizeof sin) == 0;
        (void)close(fd);
        if (there) {
            return true;
        }
        (void)usleep(10000);
    }
    return false;
}

static bool send_all(const struct bench_options *o, const char *folder, const char *where,
                     struct bench_kernel *k)
{
    char size[16], sessions[16], messages[16];
    const char *args[ARGS_MAX];
    uint32_t n = 0;
    int status = 0;
    struct rusage usage;
    (void)snprintf(size, sizeof size, "%u", o->size);
    (void)snprintf(sessions, sizeof sessions, "%u", o->sessions < 1000 ? o->sessions : 1000);
    (void)snprintf(messages, sizeof messages, "%u", o->kernel_messages);
    args[n++] = "smtp-source";
    if (!o->new_connections) {
        args[n++] = "-d";
    }
    const char *const rest[] = {"-l", size, "-s", sessions, "-m", messages, where};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        args[n++] = rest[i];
    }
    args[n] = NULL;
    uint64_t begin_ns = dp_clock_ns();
    pid_t pid = start(folder, "smtp-source", args, o->sender_cpu);
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || status != 0) {
        (void)snprintf(k->why_not, sizeof k->why_not, "smtp-source failed with status %d", status);
        return false;
    }
    double us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    k->messages = o->kernel_messages;
    k->cpu_us_per_message = us / (double)o->kernel_messages;
    k->messages_per_s = (double)o->kernel_messages * 1e9 / (double)(dp_clock_ns() - begin_ns);
    return true;
}

void bench_kernel_run(const struct bench_options *options, struct bench_kernel *ret_kernel)
{
    char folder[4096], where[32];
    struct bench_kernel k = {0};
    uint16_t port = free_port();
    if (options->kernel_messages == 0) {
        (void)snprintf(k.why_not, sizeof k.why_not, "--kernel-messages 0");
    } else if (!find(options, folder, sizeof folder)) {
        (void)snprintf(k.why_not, sizeof k.why_not,
                       "smtp-source is not there; --postfix names the folder");
    } else {
        (void)snprintf(where, sizeof where, "127.0.0.1:%u", port);
        const char *const sink[] = {"smtp-sink", "-u", "root", where, "1024", NULL};
        pid_t pid = start(folder, "smtp-sink", sink, options->sink_cpu);
        k.ran = pid > 0 && listens(port) && send_all(options, folder, where, &k);
        if (!k.ran && k.why_not[0] == '\0') {
            (void)snprintf(k.why_not, sizeof k.why_not, "smtp-sink does not listen");
        }
        if (pid > 0) {
            (void)kill(pid, SIGTERM);
            (void)waitpid(pid, NULL, 0);
        }
    }
    *ret_kernel = k;
}
