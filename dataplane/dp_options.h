/* dp_options.h - the command line of wirepost-dataplane. */
#ifndef WIREPOST_DP_OPTIONS_H
#define WIREPOST_DP_OPTIONS_H

#include <stdint.h>

struct dp_options {
    const char *config;  /* --config */
    const char *control; /* --control */
    const char *run_dir; /* --run-dir */
    uint32_t orphan_s;   /* --orphan-s */
};

/* Returns -1 to go on, otherwise the status to exit with (help and version were printed, or an
 * error was). */
int dp_options_parse(int argc, char **argv, struct dp_options *ret_options);

#endif
