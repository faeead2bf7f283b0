/* queue_check.h - the invariants of control/queue_private.h, executed: aborts when one is broken.
 */
#ifndef WIREPOST_TESTS_QUEUE_CHECK_H
#define WIREPOST_TESTS_QUEUE_CHECK_H

#include "control/queue.h"

void queue_check(const struct queue *q);
/* Of the flows and domains that exist. */
size_t queue_check_flows(const struct queue *q);
size_t queue_check_domains(const struct queue *q);

#endif
