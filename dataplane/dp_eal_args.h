/*
 * dp_eal_args.h - the arguments for DPDK's EAL, from the configuration. A pure function; no DPDK.
 *
 * EAL runs without shared files and without telemetry, so it leaves no files and opens no socket.
 * The main lcore, number 0, is the main thread on all CPUs of the process; lane i is lcore i + 1,
 * on its configured CPU alone.
 */
#ifndef WIREPOST_DP_EAL_ARGS_H
#define WIREPOST_DP_EAL_ARGS_H

#include "dataplane/dp_config.h"

#include <sched.h>

#define DP_EAL_ARGS_MAX 96

struct dp_eal_args {
    char *argv[DP_EAL_ARGS_MAX + 1]; /* null-terminated; EAL may reorder them */
    char *owned[DP_EAL_ARGS_MAX];    /* what dp_eal_args_free() frees */
    int argc;
};

/* "0000:3b:00.0" or "3b:00.0", with or without arguments behind a comma. */
bool dp_device_is_pci(const char *device);
/* The device's name without arguments; a PCI address gets its domain. */
void dp_device_name(const char *device, char *buf, size_t buf_bytes);

/* Checks that each lane's CPU is in `cpus` (those that the process may run on); adds an error per
 * lane whose CPU is not. */
void dp_eal_check_cpus(const struct dp_config *config, const cpu_set_t *cpus,
                       struct config_errors *errors);

/* False: too many arguments, or no memory. Free in either case. */
bool dp_eal_args_make(struct dp_eal_args *args, const struct dp_config *config,
                      const cpu_set_t *cpus);
void dp_eal_args_free(struct dp_eal_args *args);

#endif
