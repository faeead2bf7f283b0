/* drain.c - see drain.h. */
#include "control/drain.h"

#include "control/dispatch.h"
#include "control/events.h"
#include "control/lanes.h"
#include "control/relay.h"

#define LOOK_MS 50

struct waiter {
    uv_timer_t timer;
    struct rpc_request *request;
};

void drain_set(struct ctl *ctl, bool on)
{
    on = on || ctl->stopping;
    if (ctl->draining == on) {
        return;
    }
    ctl->draining = on;
    for (uint32_t i = 0; i < ctl->config.dp.n_lanes; i++) {
        if (ctl->lanes->list[i].chan) {
            chan_control_drain(ctl->lanes->list[i].chan, on);
        }
    }
    if (on) {
        relays_hand_back(ctl->relays);
    }
    ctl_log(CTL_LOG_INFO, on ? "draining: nothing new is started" : "the drain has ended",
            "in_flight=%llu", (unsigned long long)ctl->counts.in_flight);
    events_drain(ctl, on);
    if (!on) {
        dispatch_wake(ctl);
    }
}

static void answer(struct rpc_request *request)
{
    const struct ctl *ctl = request->ctl;
    rpc_result(request, json_pack("{s:b, s:I}", "draining", ctl->draining, "in_flight",
                                  (json_int_t)ctl->counts.in_flight));
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_look(uv_timer_t *timer)
{
    struct waiter *waiter = timer->data;
    const struct ctl *ctl = waiter->request->ctl;
    if (ctl->counts.in_flight == 0 || !ctl->draining || !waiter->request->client) {
        answer(waiter->request);
        uv_close((uv_handle_t *)timer, on_closed);
    }
}

void drain_answer(struct rpc_request *request, bool wait)
{
    if (!wait) {
        answer(request);
        return;
    }
    struct waiter *waiter = ctl_must(calloc(1, sizeof *waiter));
    waiter->request = request;
    waiter->timer.data = waiter;
    (void)uv_timer_init(request->ctl->loop, &waiter->timer);
    (void)uv_timer_start(&waiter->timer, on_look, 0, LOOK_MS);
}
