/* signing.c - see signing.h. */
#include "control/signing.h"

struct signing {
    struct wire_message *message;
    const struct dkim_key *keys;
    uint32_t n_keys, flags;
    int64_t unix_s;
    char *text;
    size_t len;
    signing_done_fn done;
    void *user;
    uv_work_t work;
};

static int by_domain(const void *a, const void *b)
{
    const struct dkim_key *x = a, *y = b;
    size_t nx = strlen(x->domain), ny = strlen(y->domain);
    return nx != ny ? (nx < ny) - (nx > ny) : strcmp(x->domain, y->domain);
}

void signing_sort(struct ctl_sender *sender)
{
    if (sender->n_dkim > 0) {
        qsort(sender->dkim, sender->n_dkim, sizeof sender->dkim[0], by_domain);
    }
}

uint32_t signing_keys(const struct ctl_sender *sender, const struct wire_message *message,
                      const struct dkim_key **ret_keys, const char **ret_refused)
{
    char from[DKIM_NAME_MAX];
    uint32_t n = 0;
    *ret_refused = NULL;
    if (sender->n_dkim == 0) {
        return 0;
    }
    if (!dkim_from_domain(message->data, message->len, from)) {
        *ret_refused = "it has no From with one address, or several: it cannot be signed";
        return 0;
    }
    for (uint32_t i = 0; i < sender->n_dkim; i++) {
        const struct dkim_key *key = &sender->dkim[i];
        if (n > 0 && strcmp(key->domain, (*ret_keys)->domain) != 0) {
            break;
        }
        if (dkim_is_aligned(from, key->domain)) {
            *ret_keys = n == 0 ? key : *ret_keys;
            n++;
        }
    }
    if (n == 0) {
        *ret_refused = "its From belongs to no domain that the sender's \"dkim\" has a key for";
    }
    return n;
}

static void on_work(uv_work_t *work)
{
    struct signing *s = work->data;
    s->text = dkim_sign(s->message->data, s->message->len, s->keys, s->n_keys, s->unix_s, s->flags,
                        &s->len);
}

static void on_signed(uv_work_t *work, int status)
{
    struct signing *s = work->data;
    bool good = status == 0 && s->text && wire_message_prepend(s->message, s->text, s->len);
    s->done(s->user, good);
    free(s->text);
    free(s);
}

void signing_start(struct ctl *ctl, struct wire_message *message, const struct dkim_key *keys,
                   uint32_t n_keys, int64_t unix_s, uint32_t flags, signing_done_fn done,
                   void *user)
{
    struct signing *s = ctl_must(calloc(1, sizeof *s));
    *s = (struct signing){.message = message,
                          .keys = keys,
                          .n_keys = n_keys,
                          .unix_s = unix_s,
                          .flags = flags,
                          .done = done,
                          .user = user};
    s->work.data = s;
    (void)ctl_must(uv_queue_work(ctl->loop, &s->work, on_work, on_signed) == 0 ? ctl : NULL);
}
