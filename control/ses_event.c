/* ses_event.c - see ses_event.h. */
#include "control/ses_event.h"

#include "control/events.h"
#include "control/ses_api.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static void add(struct ses_event *e, const char *address, const char *reply)
{
    if (address && address[0] && e->n < SES_EVENT_RCPT_MAX) {
        e->recipients[e->n].address = address;
        (void)snprintf(e->recipients[e->n++].reply, sizeof e->recipients[0].reply, "%s", reply);
    }
}

/* ---- the kinds --------------------------------------------------------------------------- */

/* "smtp; 550 5.1.1 user unknown" without what stands before; "" of a permanent one says that the
 * recipient is at fault. */
static void bounce_reply(const json_t *bounce, const json_t *recipient, char *reply,
                         size_t reply_bytes)
{
    const char *said = text_of(recipient, "diagnosticCode");
    const char *semicolon = strchr(said, ';');
    bool permanent = strcmp(text_of(bounce, "bounceType"), "Permanent") == 0;
    if (semicolon) {
        said = semicolon + 1 + strspn(semicolon + 1, " ");
    }
    (void)snprintf(reply, reply_bytes, "%s",
                   said[0]     ? said
                   : permanent ? ""
                               : "450 4.4.7 SES calls it transient and says no more");
}

static void take_bounce(struct ses_event *e, const json_t *bounce)
{
    json_t *recipient;
    size_t i;
    json_array_foreach(json_object_get(bounce, "bouncedRecipients"), i, recipient)
    {
        char reply[256];
        bounce_reply(bounce, recipient, reply, sizeof reply);
        add(e, text_of(recipient, "emailAddress"), reply);
    }
}

static void take_complaint(struct ses_event *e, const json_t *complaint)
{
    json_t *recipient;
    size_t i;
    if (strcmp(text_of(complaint, "complaintFeedbackType"), "not-spam") == 0) {
        return;
    }
    json_array_foreach(json_object_get(complaint, "complainedRecipients"), i, recipient)
    {
        add(e, text_of(recipient, "emailAddress"), "");
    }
}

static void take_list(struct ses_event *e, const json_t *list, const char *reply)
{
    json_t *recipient;
    size_t i;
    json_array_foreach(list, i, recipient)
    {
        add(e, json_string_value(recipient), reply);
    }
}

/* Opens and clicks do not say whose they are: of one recipient it is known. */
static void take_only(struct ses_event *e, const json_t *destination)
{
    if (json_array_size(destination) == 1) {
        take_list(e, destination, "");
    }
}

static void take_recipients(struct ses_event *e, const json_t *mail, const json_t *part)
{
    const json_t *destination = json_object_get(mail, "destination");
    char reply[256];
    switch (e->kind) {
    case FEEDBACK_BOUNCE:
        if (strcmp(e->type, "Reject") == 0) {
            (void)snprintf(reply, sizeof reply, "554 5.6.0 SES rejected it later: %.200s",
                           text_of(part, "reason"));
            take_list(e, destination, reply);
        } else {
            take_bounce(e, part);
        }
        break;
    case FEEDBACK_COMPLAINT:
        take_complaint(e, part);
        break;
    case FEEDBACK_DELIVERY:
        take_list(e, json_object_get(part, "recipients"), "");
        break;
    case FEEDBACK_OPEN:
    case FEEDBACK_CLICK:
        take_only(e, destination);
        break;
    case FEEDBACK_KINDS:
        break;
    }
}

/* ---- the whole --------------------------------------------------------------------------- */

static const struct {
    const char *type, *part;
    enum feedback_kind kind;
} kinds[] = {
    {"Bounce", "bounce", FEEDBACK_BOUNCE},       {"Complaint", "complaint", FEEDBACK_COMPLAINT},
    {"Delivery", "delivery", FEEDBACK_DELIVERY}, {"Open", "open", FEEDBACK_OPEN},
    {"Click", "click", FEEDBACK_CLICK},          {"Reject", "reject", FEEDBACK_BOUNCE},
};

static bool find_message(struct ses_event *e, const json_t *mail)
{
    const json_t *values = json_object_get(json_object_get(mail, "tags"), SES_ID_TAG);
    const char *id = json_string_value(json_array_get(values, 0));
    e->ses_id = text_of(mail, "messageId");
    return id && event_id_parse(id, &e->message_id);
}

static void take_kind(struct ses_event *e, const json_t *mail)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].type, e->type) == 0) {
            const json_t *part = json_object_get(e->root, kinds[i].part);
            e->kind = kinds[i].kind;
            e->at_ms = ctl_time_ms();
            (void)ctl_time_parse(text_of(part, "timestamp"), &e->at_ms);
            take_recipients(e, mail, part);
        }
    }
}

enum ses_event_result ses_event_parse(const char *json, size_t len, struct ses_event *ret)
{
    json_t *root = json_loadb(json, len, 0, NULL);
    const json_t *mail = json_object_get(root, "mail");
    *ret = (struct ses_event){.root = root, .type = text_of(root, "eventType")};
    if (!ret->type[0]) {
        ret->type = text_of(root, "notificationType");
    }
    bool ours = find_message(ret, mail);
    if (ours) {
        take_kind(ret, mail);
    }
    if (ret->n == 0) {
        ses_event_free(ret);
        return ours ? SES_EVENT_OTHER : SES_EVENT_FOREIGN;
    }
    return SES_EVENT_TAKEN;
}

void ses_event_free(struct ses_event *e)
{
    json_decref(e->root);
    e->root = NULL;
}
