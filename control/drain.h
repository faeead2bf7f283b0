/*
 * drain.h - nothing new is started: by the method `drain`, or because the daemon is to stop. What
 * runs finishes or is handed back.
 */
#ifndef WIREPOST_DRAIN_H
#define WIREPOST_DRAIN_H

#include "control/rpc.h"

void drain_set(struct ctl *ctl, bool on);
/* Answers `drain`; with wait only when nothing is in flight any more, or the drain was ended. */
void drain_answer(struct rpc_request *request, bool wait);

#endif
