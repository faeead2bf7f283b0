/* dp_eal_args.c - see dp_eal_args.h. */
#include "dataplane/dp_eal_args.h"

#include <stdarg.h>
#include <unistd.h>

#define CPU_LIST_MAX 4096u

/* ---- devices ----------------------------------------------------------------------------- */

static bool hex_digits(const char **text, size_t n)
{
    if (strspn(*text, "0123456789abcdefABCDEF") != n) {
        return false;
    }
    *text += n;
    return true;
}

/* bb:dd.f up to the end or a comma. */
static bool is_bus_address(const char *text)
{
    return hex_digits(&text, 2) && *text++ == ':' && hex_digits(&text, 2) && *text++ == '.' &&
           hex_digits(&text, 1) && (*text == '\0' || *text == ',');
}

bool dp_device_is_pci(const char *device)
{
    const char *text = device;
    return is_bus_address(device) ||
           (hex_digits(&text, 4) && *text++ == ':' && is_bus_address(text));
}

void dp_device_name(const char *device, char *buf, size_t buf_bytes)
{
    int len = (int)strcspn(device, ",");
    const char *domain = is_bus_address(device) ? "0000:" : "";
    (void)snprintf(buf, buf_bytes, "%s%.*s", domain, len, device);
}

/* ---- CPUs -------------------------------------------------------------------------------- */

/* "0,1,4" of the set. */
static void cpu_list(const cpu_set_t *cpus, char *buf, size_t buf_bytes)
{
    size_t used = 0;
    buf[0] = '\0';
    for (size_t cpu = 0; cpu < CPU_SETSIZE && used < buf_bytes; cpu++) {
        if (CPU_ISSET(cpu, cpus)) {
            int n = snprintf(buf + used, buf_bytes - used, "%s%zu", used ? "," : "", cpu);
            used += n > 0 ? (size_t)n : 0;
        }
    }
}

void dp_eal_check_cpus(const struct dp_config *config, const cpu_set_t *cpus,
                       struct config_errors *errors)
{
    char path[CONFIG_PATH_MAX], list[CPU_LIST_MAX];
    cpu_list(cpus, list, sizeof list);
    for (uint32_t i = 0; i < config->n_lanes; i++) {
        const struct dp_lane *lane = &config->lanes[i];
        if (!CPU_ISSET(lane->lcore, cpus)) {
            (void)snprintf(path, sizeof path, "/dataplane/ports/%u/queues/%u/lcore", lane->port,
                           lane->queue);
            config_error_add(errors, path,
                             "there is no CPU %u for this process; choose one of %s, another for "
                             "each queue",
                             lane->lcore, list);
        }
    }
}

/* ---- arguments --------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool add(struct dp_eal_args *args, const char *format,
                                                      ...)
{
    char *text = NULL;
    va_list arguments;
    if (args->argc >= DP_EAL_ARGS_MAX) {
        return false;
    }
    va_start(arguments, format);
    int n = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (n < 0) {
        return false;
    }
    args->owned[args->argc] = args->argv[args->argc] = text;
    args->argc++;
    return true;
}

static bool add_memory(struct dp_eal_args *args, const struct dp_config *config)
{
    if (config->huge_pages) {
        return add(args, "--in-memory");
    }
    /* --no-huge and --in-memory exclude each other in DPDK 22.11; this leaves no files either. */
    return add(args, "--no-shconf") && add(args, "--no-huge") && add(args, "-m") &&
           add(args, "%u", config->memory_mb);
}

static bool add_devices(struct dp_eal_args *args, const struct dp_config *config)
{
    bool any_pci = false, good = true;
    for (uint32_t i = 0; good && i < config->n_ports; i++) {
        const char *device = config->ports[i].device;
        if (dp_device_is_pci(device)) {
            any_pci = true;
            good = add(args, "-a") && add(args, "%s", device);
        } else {
            good = add(args, "--vdev=%s", device);
        }
    }
    return good && (any_pci || add(args, "--no-pci"));
}

static bool add_lcores(struct dp_eal_args *args, const struct dp_config *config,
                       const cpu_set_t *cpus)
{
    char list[CPU_LIST_MAX], text[2 * CPU_LIST_MAX];
    cpu_list(cpus, list, sizeof list);
    int used = snprintf(text, sizeof text, "--lcores=0@(%s)", list);
    for (uint32_t i = 0; i < config->n_lanes; i++) {
        used += snprintf(text + used, sizeof text - (size_t)used, ",%u@%u", i + 1,
                         config->lanes[i].lcore);
    }
    return add(args, "%s", text) && add(args, "--main-lcore=0");
}

/* The operator's own arguments, separated by spaces, come last and so may override. */
static bool add_extra(struct dp_eal_args *args, const struct dp_config *config)
{
    const char *at = config->eal_extra;
    for (;;) {
        at += strspn(at, " ");
        size_t len = strcspn(at, " ");
        if (len == 0) {
            return true;
        }
        if (!add(args, "%.*s", (int)len, at)) {
            return false;
        }
        at += len;
    }
}

bool dp_eal_args_make(struct dp_eal_args *args, const struct dp_config *config,
                      const cpu_set_t *cpus)
{
    *args = (struct dp_eal_args){0};
    return add(args, "wirepost-dataplane") && add(args, "--no-telemetry") &&
           add(args, "--file-prefix=wirepost-%d", (int)getpid()) &&
           add(args, "--log-level=warning") && add_memory(args, config) &&
           add_devices(args, config) && add_lcores(args, config, cpus) && add_extra(args, config);
}

void dp_eal_args_free(struct dp_eal_args *args)
{
    for (int i = 0; i < args->argc; i++) {
        free(args->owned[i]);
    }
    *args = (struct dp_eal_args){0};
}
