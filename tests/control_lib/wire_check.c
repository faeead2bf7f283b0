/* wire_check.c - see wire_check.h. */
#include "tests/control_lib/wire_check.h"

#include "tcp/base.h"

void wire_check(const struct wire_message *m)
{
    uint32_t n_stuff = 0;
    size_t line = 0;
    INVARIANT(m->len >= 2 && memcmp(m->data + m->len - 2, "\r\n", 2) == 0);
    for (size_t i = 0; i < m->len; i++) {
        if (line == 0 && m->data[i] == '.') {
            INVARIANT(n_stuff < m->n_stuff && m->stuff[n_stuff] == i);
            n_stuff++;
        }
        if (m->data[i] == '\r') {
            INVARIANT(m->data[++i] == '\n' && line <= 998);
            line = 0;
        } else {
            INVARIANT(m->data[i] != '\n' && m->data[i] != '\0');
            line++;
        }
    }
    INVARIANT(n_stuff == m->n_stuff);
    INVARIANT(strlen(m->message_id) < sizeof m->message_id);
}
