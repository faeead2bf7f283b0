/* spool.c - see spool.h. */
#include "tests/control_lib/spool.h"

#include "tcp/base.h"

#include <dirent.h>
#include <lmdb.h>
#include <poll.h>
#include <unistd.h>

#define WAIT_MS     20000
#define BODIES_MAX  8192u
#define STUFF_EVERY 1000u

static uint8_t *bodies[BODIES_MAX];
static uint32_t n_bodies;

/* ---- the folder -------------------------------------------------------------------------- */

void spool_make(struct spool *spool)
{
    *spool = (struct spool){.dir = "/tmp/wirepost-test-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(spool->dir));
    spool->config = (struct store_config){
        .path = spool->dir,
        .max_bytes = UINT64_C(1) << 30,
        .min_free_bytes = 1,
        .event_keep = 1000000,
    };
}

void spool_open(struct spool *spool)
{
    char error[1024] = "";
    spool->store = store_open(&spool->config, error, sizeof error);
    ck_assert_msg(spool->store != NULL, "%s", error);
}

const char *spool_refused(struct spool *spool)
{
    static char error[1024];
    error[0] = '\0';
    struct store *store = store_open(&spool->config, error, sizeof error);
    ck_assert_msg(store == NULL, "the spool opened");
    return error;
}

void spool_close(struct spool *spool)
{
    store_close(spool->store);
    spool->store = NULL;
}

void spool_remove(struct spool *spool)
{
    char path[512];
    const struct dirent *entry;
    spool_close(spool);
    spool_free_bodies();
    DIR *dir = opendir(spool->dir);
    while (dir && (entry = readdir(dir)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", spool->dir, entry->d_name);
        (void)unlink(path);
    }
    if (dir) {
        (void)closedir(dir);
    }
    (void)rmdir(spool->dir);
}

/* ---- messages ---------------------------------------------------------------------------- */

void spool_body_make(uint64_t id, uint8_t *data, size_t bytes)
{
    uint64_t x = id * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < bytes; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (uint8_t)x;
    }
}

static uint32_t n_stuff_of(size_t body_bytes)
{
    return (uint32_t)(body_bytes / STUFF_EVERY);
}

static const struct store_rcpt *recipients_make(uint32_t n)
{
    static struct store_rcpt list[256];
    static char addresses[256][32];
    ck_assert_uint_le(n, 256);
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(addresses[i], sizeof addresses[i], "r%u@example.net", i);
        list[i] = (struct store_rcpt){
            .address = addresses[i], .domain = "example.net", .last = "", .next_try_ms = i};
    }
    return list;
}

const struct store_accept *spool_message(uint64_t id, uint32_t n, size_t body_bytes)
{
    static struct store_accept accept;
    static char event[64];
    static uint32_t stuff[1u << 16], n_stuff_made;
    ck_assert_uint_lt(n_bodies, BODIES_MAX);
    ck_assert_uint_lt(n_stuff_of(body_bytes), 1u << 16);
    uint8_t *body = bodies[n_bodies++] = malloc(body_bytes + 1);
    ck_assert_ptr_nonnull(body);
    spool_body_make(id, body, body_bytes);
    for (uint32_t i = n_stuff_made; i < n_stuff_of(body_bytes); i++) {
        stuff[i] = i * STUFF_EVERY; /* once: the writer may be reading it */
        n_stuff_made = i + 1;
    }
    (void)snprintf(event, sizeof event, "{\"type\":\"accepted\",\"id\":\"%llu\"}",
                   (unsigned long long)id);
    accept = (struct store_accept){
        .message = {.id = id,
                    .accepted_ms = 1700000000000,
                    .expires_ms = 1700000000000 + (int64_t)id % 1000,
                    .sender = "acme",
                    .stream = "transactional",
                    .mail_from = "from@acme.example",
                    .needs = 1,
                    .n_recipients = n,
                    .body_bytes = body_bytes,
                    .dsn_for = ""},
        .recipients = recipients_make(n),
        .body = body,
        .stuff = stuff,
        .n_stuff = n_stuff_of(body_bytes),
        .event_json = event,
    };
    return &accept;
}

void spool_free_bodies(void)
{
    while (n_bodies > 0) {
        free(bodies[--n_bodies]);
    }
}

/* ---- giving and waiting ------------------------------------------------------------------ */

struct given {
    struct outcome_list *list;
    uint64_t number;
};

static void on_done(void *user, enum store_status status)
{
    struct given *given = user;
    struct outcome_list *list = given->list;
    ck_assert_uint_lt(list->n, 4096);
    list->status[list->n] = status;
    list->order[list->n++] = given->number;
    free(given);
}

static struct given *given_new(struct outcome_list *list)
{
    static uint64_t number;
    struct given *given = malloc(sizeof *given);
    ck_assert_ptr_nonnull(given);
    *given = (struct given){list, number++};
    return given;
}

bool spool_give(struct spool *spool, uint64_t id, uint32_t n, size_t body_bytes,
                struct outcome_list *list)
{
    struct store_accept accept = *spool_message(id, n, body_bytes);
    enum store_status status = STORE_OK;
    accept.done = on_done;
    accept.user = given_new(list);
    if (store_accept(spool->store, &accept, &status)) {
        return true;
    }
    on_done(accept.user, status);
    return false;
}

void spool_update(struct spool *spool, uint64_t id, uint32_t index, uint8_t state, bool finished,
                  struct outcome_list *list)
{
    const struct store_rcpt_update rcpt = {
        .index = index,
        .state = state,
        .attempts = 1,
        .next_try_ms = 42,
        .last = "{\"kind\":\"deferred\"}",
        .event_json = "{\"type\":\"deferred\"}",
    };
    const struct store_update update = {
        .message_id = id,
        .recipients = &rcpt,
        .n_recipients = 1,
        .finished = finished,
        .finished_event_json = finished ? "{\"type\":\"finished\"}" : NULL,
        .done = on_done,
        .user = given_new(list),
    };
    store_update(spool->store, &update);
}

void spool_wait(struct spool *spool, const struct outcome_list *list, uint32_t n)
{
    while (list->n < n) {
        struct pollfd fd = {.fd = store_wake_fd(spool->store), .events = POLLIN};
        ck_assert_msg(poll(&fd, 1, WAIT_MS) == 1, "no callback came");
        store_poll(spool->store);
    }
}

enum store_status spool_accept(struct spool *spool, uint64_t id, uint32_t n, size_t body_bytes)
{
    struct outcome_list list = {0};
    (void)spool_give(spool, id, n, body_bytes, &list);
    spool_wait(spool, &list, 1);
    return list.status[0];
}

enum store_status spool_finish(struct spool *spool, uint64_t id, uint32_t index, uint8_t state,
                               bool finished)
{
    struct outcome_list list = {0};
    spool_update(spool, id, index, state, finished, &list);
    spool_wait(spool, &list, 1);
    return list.status[0];
}

/* ---- looking ----------------------------------------------------------------------------- */

static bool on_count(void *user, const struct store_message *message,
                     const struct store_rcpt *recipients)
{
    (void)message;
    (void)recipients;
    ++*(uint32_t *)user;
    return true;
}

uint32_t spool_count(struct spool *spool)
{
    uint32_t n = 0;
    store_each_message(spool->store, 0, on_count, &n);
    return n;
}

size_t spool_entries(struct spool *spool, const char *db)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_stat stat;
    spool_close(spool);
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, spool->dir, MDB_NOTLS | MDB_RDONLY, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, db, 0, &dbi), 0);
    ck_assert_int_eq(mdb_stat(txn, dbi, &stat), 0);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    spool_open(spool);
    return stat.ms_entries;
}

static bool on_check(void *user, const struct store_message *message,
                     const struct store_rcpt *recipients)
{
    const struct store_accept *wanted = user;
    ck_assert_uint_eq(message->n_recipients, wanted->message.n_recipients);
    ck_assert_uint_eq(message->body_bytes, wanted->message.body_bytes);
    ck_assert_int_eq(message->expires_ms, wanted->message.expires_ms);
    ck_assert_str_eq(message->mail_from, wanted->message.mail_from);
    for (uint32_t i = 0; i < message->n_recipients; i++) {
        ck_assert_str_eq(recipients[i].address, wanted->recipients[i].address);
        ck_assert_str_eq(recipients[i].domain, wanted->recipients[i].domain);
    }
    return true;
}

void spool_check_message(struct spool *spool, uint64_t id, uint32_t n, size_t body_bytes)
{
    struct store_accept wanted = *spool_message(id, n, body_bytes);
    struct store_body body = {0};
    ck_assert(store_show(spool->store, id, on_check, &wanted));
    ck_assert(store_body_read(spool->store, id, &body));
    ck_assert_uint_eq(body.len, body_bytes);
    ck_assert_uint_eq(body.n_stuff, wanted.n_stuff);
    body.data = malloc(body.len + 1);
    body.stuff = malloc((body.n_stuff + 1) * sizeof body.stuff[0]);
    ck_assert(body.data && body.stuff && store_body_read(spool->store, id, &body));
    ck_assert(memcmp(body.data, wanted.body, body_bytes) == 0);
    ck_assert(memcmp(body.stuff, wanted.stuff, body.n_stuff * sizeof body.stuff[0]) == 0);
    free(body.data);
    free(body.stuff);
}
