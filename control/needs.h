/* needs.h - which SMTP extensions a message cannot do without (RFC 6152, RFC 6531). */
#ifndef WIREPOST_NEEDS_H
#define WIREPOST_NEEDS_H

#include "control/wire.h"
#include "dataplane/channel.h"

static inline uint32_t message_needs(const struct wire_message *wire, bool utf8_address)
{
    bool utf8 = utf8_address || (wire->flags & WIRE_HAS_8BIT_HEADER) != 0;
    bool eight = utf8 || (wire->flags & WIRE_HAS_8BIT_BODY) != 0;
    return (eight ? CHAN_NEED_8BITMIME : 0u) | (utf8 ? CHAN_NEED_SMTPUTF8 : 0u);
}

#endif
