/* wire_check.h - what wire.h promises of every result, whatever the input was. */
#ifndef WIREPOST_TESTS_CONTROL_LIB_WIRE_CHECK_H
#define WIREPOST_TESTS_CONTROL_LIB_WIRE_CHECK_H

#include "control/wire.h"

/* Aborts when it does not hold. */
void wire_check(const struct wire_message *message);

#endif
