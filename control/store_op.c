/* store_op.c - what is given to the writer: a copy of all of it but bodies. See store.h. Without
 * memory for such a copy the daemon stops: what is durable is safe, and nothing else was promised.
 */
#include "control/store_private.h"

#include "tcp/base.h"

/* ---- freeing ----------------------------------------------------------------------------- */

static void drop(const void *pointer)
{
    free((void *)(uintptr_t)pointer);
}

static void accept_free(struct store_accept *a)
{
    for (uint32_t i = 0; a->recipients && i < a->message.n_recipients; i++) {
        drop(a->recipients[i].address);
        drop(a->recipients[i].domain);
        drop(a->recipients[i].last);
        drop(a->recipients[i].orcpt);
    }
    drop(a->recipients);
    drop(a->message.sender);
    drop(a->message.stream);
    drop(a->message.mail_from);
    drop(a->message.dsn_for);
    drop(a->message.envid);
    drop(a->event_json);
    drop(a->note_name);
    drop(a->note_text);
}

void store_op_free(struct store_op *op)
{
    accept_free(&op->accept);
    for (uint32_t i = 0; op->update.recipients && i < op->update.n_recipients; i++) {
        drop(op->update.recipients[i].last);
        drop(op->update.recipients[i].event_json);
    }
    drop(op->update.recipients);
    drop(op->update.finished_event_json);
    free(op->event_json);
    free(op->note_name);
    free(op->note_text);
    free(op);
}

/* ---- copying ----------------------------------------------------------------------------- */

static char *copy(const char *text)
{
    char *result = text ? strdup(text) : NULL;
    INVARIANT(!text || result);
    return result;
}

static void copy_accept(struct store_accept *a, const struct store_accept *from)
{
    struct store_rcpt *list = calloc(from->message.n_recipients + 1u, sizeof list[0]);
    INVARIANT(list != NULL);
    *a = *from;
    a->message.sender = copy(from->message.sender);
    a->message.stream = copy(from->message.stream);
    a->message.mail_from = copy(from->message.mail_from);
    a->message.dsn_for = copy(from->message.dsn_for);
    a->message.envid = copy(from->message.envid);
    for (uint32_t i = 0; i < from->message.n_recipients; i++) {
        list[i] = from->recipients[i];
        list[i].address = copy(from->recipients[i].address);
        list[i].domain = copy(from->recipients[i].domain);
        list[i].last = copy(from->recipients[i].last);
        list[i].orcpt = copy(from->recipients[i].orcpt);
    }
    a->recipients = list;
    a->event_json = copy(from->event_json);
    a->note_name = copy(from->note_name);
    a->note_text = copy(from->note_text);
}

static void copy_update(struct store_update *u, const struct store_update *from)
{
    struct store_rcpt_update *list = calloc(from->n_recipients + 1u, sizeof list[0]);
    INVARIANT(list != NULL);
    *u = *from;
    for (uint32_t i = 0; i < from->n_recipients; i++) {
        list[i] = from->recipients[i];
        list[i].last = copy(from->recipients[i].last);
        list[i].event_json = copy(from->recipients[i].event_json);
    }
    u->recipients = list;
    u->finished_event_json = copy(from->finished_event_json);
    u->dsn = NULL;
}

/* ---- giving ------------------------------------------------------------------------------ */

static struct store_op *op_new(enum store_op_kind kind, store_done_fn done, void *user)
{
    struct store_op *op = calloc(1, sizeof *op);
    INVARIANT(op != NULL);
    op->kind = kind;
    op->done = done;
    op->user = user;
    return op;
}

static void give(struct store *s, struct store_op *op)
{
    s->pending_bytes += op->bytes;
    s->given_bytes += op->bytes;
    (void)pthread_mutex_lock(&s->lock);
    *s->waiting_tail = op;
    s->waiting_tail = &op->next;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
}

/* Pages of the body, and what records and events take. */
static uint64_t accept_bytes(const struct store_accept *a)
{
    uint64_t prefixes = 0;
    for (uint32_t i = 0; i < STORE_PREFIXES; i++) {
        prefixes += a->prefix[i].len;
    }
    return prefixes + a->message.body_bytes + a->n_stuff * sizeof a->stuff[0] + 4096 +
           (uint64_t)a->message.n_recipients * 512;
}

bool store_accept(struct store *s, const struct store_accept *accept, enum store_status *ret_status)
{
    uint64_t bytes = accept_bytes(accept);
    enum store_status status = store_admit(s, bytes);
    if (status != STORE_OK) {
        *ret_status = status;
        return false;
    }
    struct store_op *op = op_new(OP_ACCEPT, accept->done, accept->user);
    copy_accept(&op->accept, accept);
    op->bytes = bytes;
    give(s, op);
    return true;
}

void store_update(struct store *s, const struct store_update *update)
{
    struct store_op *op = op_new(OP_UPDATE, update->done, update->user);
    copy_update(&op->update, update);
    op->bytes = (uint64_t)update->n_recipients * 1024;
    if (update->dsn) {
        copy_accept(&op->accept, update->dsn);
        op->has_dsn = true;
        op->bytes += accept_bytes(update->dsn);
    }
    give(s, op);
}

void store_event(struct store *s, uint64_t message_id, const char *event_json)
{
    struct store_op *op = op_new(OP_EVENT, NULL, NULL);
    op->event_message_id = message_id;
    op->event_json = copy(event_json);
    give(s, op);
}

void store_note(struct store *s, const char *name, const char *text)
{
    INVARIANT(name[0] && strlen(name) <= STORE_NOTE_NAME_MAX);
    struct store_op *op = op_new(OP_NOTE, NULL, NULL);
    op->note_name = copy(name);
    op->note_text = copy(text);
    op->bytes = 1024 + (text ? strlen(text) : 0);
    give(s, op);
}
