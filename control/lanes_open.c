/*
 * lanes_open.c - the channel files: opened or made at start, made anew after the data plane has
 * died. See lanes.h.
 *
 * A file of another size, or of a lane that the configuration does not have any more, is kept as a
 * retired lane until its jobs are in the spool; then it is removed.
 */
#include "control/lanes.h"

#include "control/addresses.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELAY_SLOTS 1024u

static void on_done(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    lanes_collect(poll->data);
}

static bool lane_memory(struct lane *lane)
{
    uint32_t n = chan_control_n_slots(lane->chan);
    lane->jobs = calloc(n, sizeof lane->jobs[0]);
    lane->bodies = calloc(n, sizeof lane->bodies[0]);
    return lane->jobs && lane->bodies;
}

static void explain(int result, const char *run_dir, uint32_t number, char *ret_error,
                    size_t error_bytes)
{
    if (result == CHAN_E_SYSTEM && errno == ENOSPC) {
        (void)snprintf(
            ret_error, error_bytes,
            "%s has no room for the channel of lane %u: make it a larger tmpfs, or lower "
            "dataplane.arena_mb",
            run_dir, number);
        return;
    }
    (void)snprintf(ret_error, error_bytes, "%s/lane-%u.chan: %s", run_dir, number,
                   result == CHAN_E_SYSTEM ? strerror(errno) : chan_error_text(result));
}

/* A file that this version cannot read tells nothing: its jobs are in the spool as queued ones. */
static int open_or_replace(const char *run_dir, const struct chan_geometry *geometry,
                           struct chan_control **ret_chan, enum chan_found *ret_found)
{
    char path[CTL_PATH_MAX + 32];
    int result = chan_control_open(run_dir, geometry, ret_chan, ret_found);
    if (result != CHAN_E_FORMAT || chan_dataplane_alive(run_dir) ||
        !chan_file_path(run_dir, geometry->lane, path, sizeof path)) {
        return result;
    }
    ctl_log(CTL_LOG_WARN,
            "a channel file of another version is replaced; what was in flight in it is sent "
            "again",
            "file=%s", path);
    (void)unlink(path);
    return chan_control_open(run_dir, geometry, ret_chan, ret_found);
}

/* Watches what the lane has finished. */
static void lane_watch(struct lane *lane)
{
    lane->done_poll = ctl_must(calloc(1, sizeof *lane->done_poll));
    lane->done_poll->data = lane;
    (void)uv_poll_init(lane->ctl->loop, lane->done_poll, chan_control_done_fd(lane->chan));
    (void)uv_poll_start(lane->done_poll, UV_READABLE, on_done);
}

static bool lane_open(struct ctl_lanes *lanes, uint32_t number, char *ret_error, size_t error_bytes)
{
    struct ctl *ctl = lanes->ctl;
    struct lane *lane = &lanes->list[number];
    const struct chan_geometry geometry = {
        .lane = number,
        .n_slots = ctl->config.dp.jobs_per_lane,
        .arena_bytes = ctl->config.dp.arena_bytes,
        .n_addresses = ctl->config.dp.addresses_per_lane,
    };
    enum chan_found found = CHAN_FOUND_NONE;
    int result = open_or_replace(ctl->config.run_dir, &geometry, &lane->chan, &found);
    if (result != CHAN_OK) {
        explain(result, ctl->config.run_dir, number, ret_error, error_bytes);
        return false;
    }
    lane->ctl = ctl;
    lane->number = number;
    lane->retired = number >= ctl->config.dp.n_lanes || found == CHAN_FOUND_OLD_SIZE;
    if (!lane_memory(lane)) {
        (void)snprintf(ret_error, error_bytes, "out of memory for lane %u", number);
        return false;
    }
    if (found != CHAN_FOUND_NONE) {
        lanes_adopt(lanes, lane);
    }
    lane_watch(lane);
    return true;
}

/* Lanes of the configuration, and those whose files are left from another one. */
static uint32_t count_lanes(const struct ctl_config *config)
{
    uint32_t n = config->dp.n_lanes;
    for (uint32_t i = n; i < DP_LANES_MAX; i++) {
        char path[CTL_PATH_MAX + 32];
        if (chan_file_path(config->run_dir, i, path, sizeof path) && access(path, F_OK) == 0) {
            n = i + 1;
        }
    }
    return n;
}

/* The relays' channel is our own on both sides; no process that could be alive has it. */
static bool relay_lane_open(struct ctl_lanes *lanes, char *ret_error, size_t error_bytes)
{
    struct ctl *ctl = lanes->ctl;
    struct lane *lane = &lanes->list[LANE_RELAY];
    const struct chan_geometry geometry = {.n_slots = RELAY_SLOTS,
                                           .arena_bytes = ctl->config.dp.arena_bytes};
    enum chan_found found = CHAN_FOUND_NONE;
    char folder[CTL_PATH_MAX + 16];
    (void)snprintf(folder, sizeof folder, "%s/relays", ctl->config.run_dir);
    if (ctl->config.n_routes == 0 && access(folder, F_OK) != 0) {
        return true;
    }
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        (void)snprintf(ret_error, error_bytes, "%s: %s", folder, strerror(errno));
        return false;
    }
    int result = open_or_replace(folder, &geometry, &lane->chan, &found);
    if (result != CHAN_OK) {
        explain(result, folder, 0, ret_error, error_bytes);
        return false;
    }
    lane->ctl = ctl;
    lane->number = LANE_RELAY;
    lane->retired = found == CHAN_FOUND_OLD_SIZE;
    if (!lane_memory(lane)) {
        (void)snprintf(ret_error, error_bytes, "out of memory for the relays");
        return false;
    }
    if (found != CHAN_FOUND_NONE) {
        lanes_adopt(lanes, lane);
    }
    return true;
}

struct ctl_lanes *lanes_open(struct ctl *ctl, char *ret_error, size_t error_bytes)
{
    struct ctl_lanes *lanes = ctl_must(calloc(1, sizeof *lanes));
    lanes->ctl = ctl;
    uint32_t n = count_lanes(&ctl->config);
    for (uint32_t i = 0; i < n; i++) {
        lanes->n = i + 1;
        if (!lane_open(lanes, i, ret_error, error_bytes)) {
            lanes_close(lanes);
            return NULL;
        }
    }
    if (!relay_lane_open(lanes, ret_error, error_bytes)) {
        lanes_close(lanes);
        return NULL;
    }
    return lanes;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void lane_close(struct lane *lane)
{
    if (lane->done_poll) {
        uv_close((uv_handle_t *)lane->done_poll, on_closed);
    }
    for (uint32_t i = 0; lane->jobs && i < chan_control_n_slots(lane->chan); i++) {
        if (lane->jobs[i]) {
            job_free(lane->jobs[i]);
        }
    }
    for (uint32_t i = 0; lane->bodies && i < chan_control_n_slots(lane->chan); i++) {
        while (lane->bodies[i]) {
            struct lane_body *body = lane->bodies[i];
            lane->bodies[i] = body->next;
            free(body);
        }
    }
    free(lane->jobs);
    free(lane->bodies);
    chan_control_close(lane->chan);
    *lane = (struct lane){0};
}

void lanes_close(struct ctl_lanes *lanes)
{
    for (uint32_t i = 0; lanes && i <= LANE_RELAY; i++) {
        lane_close(&lanes->list[i]);
    }
    free(lanes);
}

/* Its jobs are in the spool; the file goes, and a new one comes if the configuration has the lane.
 */
static bool lane_replace(struct ctl_lanes *lanes, uint32_t number)
{
    char path[CTL_PATH_MAX + 32], error[CTL_PATH_MAX + 256];
    lane_close(&lanes->list[number]);
    if (chan_file_path(lanes->ctl->config.run_dir, number, path, sizeof path)) {
        (void)unlink(path);
    }
    if (number >= lanes->ctl->config.dp.n_lanes) {
        return true;
    }
    if (!lane_open(lanes, number, error, sizeof error)) {
        ctl_log(CTL_LOG_ERROR, "a channel could not be made", "reason=\"%s\"", error);
        return false;
    }
    return true;
}

bool lanes_reset(struct ctl_lanes *lanes)
{
    INVARIANT(lanes->n_jobs == 0);
    for (uint32_t i = 0; i < lanes->n; i++) {
        struct lane *lane = &lanes->list[i];
        if (lane->chan && !lane->retired) {
            chan_control_reset(lane->chan);
        } else if (!lane_replace(lanes, i)) {
            return false;
        }
    }
    lanes->n = lanes->ctl->config.dp.n_lanes;
    addresses_follow_lanes(lanes->ctl->addresses);
    return true;
}

bool lanes_reset_relay(struct ctl_lanes *lanes)
{
    char path[CTL_PATH_MAX + 32], error[CTL_PATH_MAX + 256];
    struct lane *lane = &lanes->list[LANE_RELAY];
    INVARIANT(lane->n_jobs == 0);
    if (!lane->retired) {
        chan_control_reset(lane->chan);
        return true;
    }
    lane_close(lane);
    (void)snprintf(path, sizeof path, "%s/relays/lane-0.chan", lanes->ctl->config.run_dir);
    (void)unlink(path);
    if (!relay_lane_open(lanes, error, sizeof error)) {
        ctl_log(CTL_LOG_ERROR, "the relays' channel could not be made", "reason=\"%s\"", error);
        return false;
    }
    return true;
}
