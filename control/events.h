/*
 * events.h - the events of control/API.md as JSON texts, ready for the store. Each begins with
 * {"type":"...","at":"..." so that a reader can filter without parsing (event_type_is()). The store
 * adds the sequence number.
 */
#ifndef WIREPOST_EVENTS_H
#define WIREPOST_EVENTS_H

#include "control/ctl.h"
#include "strategies/engine.h"

/* A new object {type, at}; further members are the caller's to add. */
json_t *event_new(const char *type, int64_t at_ms);
/* Its text, malloc'ed; the object is given up. */
char *event_text(json_t *event);
/* Records it, of a message (0: of none); the object is given up. */
void event_record(struct ctl *ctl, uint64_t message_id, json_t *event);
/* Whether the text of an event is of this type. */
bool event_type_is(const char *json, size_t len, const char *type);

/* Id of a message as it is written everywhere: 16 hexadecimal digits. */
#define EVENT_ID_TEXT 17
const char *event_id_text(uint64_t id, char buf[EVENT_ID_TEXT]);
/* False when the text is no id. */
bool event_id_parse(const char *text, uint64_t *ret_id);

/* Recorded at once. */
void events_dataplane(struct ctl *ctl, const char *state, int pid, const char *text);
/* A new decision of the strategies. */
void events_decision(struct ctl *ctl, const struct strategy_key *key,
                     const struct strategy_record *record, const char *line);
void events_drain(struct ctl *ctl, bool on);
void events_held(struct ctl *ctl, uint64_t id, const char *recipient, const char *reason,
                 const char *evidence, int64_t until_ms);

#endif
