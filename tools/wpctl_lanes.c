/* wpctl_lanes.c - `lanes`: the data plane's process and its lanes: see wpctl.h. */
#include "tools/wpctl.h"

#include "tools/wpctl_client.h"
#include "tools/wpctl_json.h"
#include "tools/wpctl_table.h"
#include "tools/wpctl_text.h"

#include <stdio.h>
#include <sysexits.h>

#define HEALTHY_MS 5000 /* after which the daemon calls a lane silent */

static void print_process(const json_t *process)
{
    (void)fputs("data plane: ", stdout);
    wpctl_put(stdout, wpctl_text(process, "state"));
    if (wpctl_number(process, "pid") > 0) {
        (void)printf(", pid %lld", (long long)wpctl_number(process, "pid"));
    }
    (void)printf("; restarts: %lld\n\n", (long long)wpctl_number(process, "restarts"));
}

/* In milliseconds while it is healthy, as a span when it is not. */
static void heartbeat_cell(struct wpctl_table *table, json_int_t age_ms)
{
    char span[WPCTL_UNIT_TEXT];
    if (age_ms < HEALTHY_MS) {
        wpctl_cell_format(table, "%lld ms", (long long)age_ms);
    } else {
        wpctl_cell(table, wpctl_span(age_ms / 1000, span));
    }
}

static void lane_row(struct wpctl_table *table, const json_t *lane)
{
    static const char *const keys[] = {"sessions", "waiting",  "delivered", "deferred",
                                       "bounced",  "doubtful", "rx_frames", "tx_frames"};
    const json_t *counters = json_object_get(lane, "counters");
    double arena = wpctl_real(lane, "arena_bytes");
    wpctl_cell_count(table, wpctl_number(lane, "lane"));
    wpctl_cell_format(table, "%s/%lld", wpctl_text(lane, "port"),
                      (long long)wpctl_number(lane, "queue"));
    wpctl_cell_count(table, wpctl_number(lane, "cpu"));
    wpctl_cell(table, wpctl_text(lane, "state"));
    heartbeat_cell(table, wpctl_number(lane, "heartbeat_ms"));
    wpctl_cell_count(table, wpctl_number(lane, "addresses"));
    wpctl_cell_format(table, "%lld/%lld", (long long)wpctl_number(lane, "jobs_outstanding"),
                      (long long)wpctl_number(lane, "jobs_limit"));
    wpctl_cell_format(table, "%.0f %%",
                      arena > 0 ? wpctl_real(lane, "arena_used") * 100 / arena : 0);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        wpctl_cell_count(table, wpctl_number(counters, keys[i]));
    }
}

static void print_lanes(const json_t *result)
{
    const json_t *lanes = wpctl_need(result, "lanes", JSON_ARRAY), *lane;
    size_t i;
    print_process(wpctl_need(result, "dataplane", JSON_OBJECT));
    struct wpctl_table *table = wpctl_table_new(
        ">LANE|PORT/QUEUE|>CPU|STATE|>HEARTBEAT|>ADDRESSES|>JOBS|>ARENA|>SESSIONS|>WAITING|"
        ">DELIVERED|>DEFERRED|>BOUNCED|>DOUBTFUL|>RX|>TX");
    json_array_foreach(lanes, i, lane)
    {
        lane_row(table, lane);
    }
    wpctl_table_show(table, "no lane is open");
}

int wpctl_lanes(int argc, char **argv)
{
    (void)argv;
    if (argc != 1) {
        wpctl_misuse("lanes", "it takes no arguments");
    }
    json_t *result = wpctl_call_for_people("lanes", NULL);
    if (result) {
        print_lanes(result);
        json_decref(result);
    }
    return EX_OK;
}
