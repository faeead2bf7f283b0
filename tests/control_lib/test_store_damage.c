/* test_store_damage.c - records that are damaged in a file that is whole. */
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#include <lmdb.h>

#define DELIVERED STORE_RCPT_DELIVERED

static struct spool spool;

static void setup(void)
{
    spool_make(&spool);
    spool_open(&spool);
}

static void teardown(void)
{
    spool_remove(&spool);
}

/* Writes one record of the closed spool, or with null data deletes it. */
static void put_raw(const char *db, const uint8_t *key, size_t key_len, const void *data,
                    size_t bytes)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {bytes, (void *)(uintptr_t)data};
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_set_mapsize(env, spool.config.max_bytes), 0);
    ck_assert_int_eq(mdb_env_open(env, spool.dir, MDB_NOTLS, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, db, 0, &dbi), 0);
    ck_assert_int_eq(data ? mdb_put(txn, dbi, &k, &v, 0) : mdb_del(txn, dbi, &k, NULL), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static const uint8_t id_2[8] = {0, 0, 0, 0, 0, 0, 0, 2};

static bool on_any(void *user, const struct store_message *message,
                   const struct store_rcpt *recipients)
{
    (void)user;
    (void)message;
    (void)recipients;
    return true;
}

START_TEST(a_damaged_record_costs_its_message_only_and_can_be_deleted)
{
    static const struct {
        const char *db;
        uint8_t key[12];
        size_t key_len, bytes;
    } rows[] = {
        {"message", {0, 0, 0, 0, 0, 0, 0, 2}, 8, 0},
        {"message", {0, 0, 0, 0, 0, 0, 0, 2}, 8, 60},
        {"rcpt", {0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0}, 12, 0},
        {"rcpt", {0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1}, 12, 40},
    };
    static const uint8_t junk[64] = {1, 0, 0, 0, 0, 0, 0, 0, 2, 255, 255, 255, 255};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct outcome_list list = {0};
        for (uint64_t id = 1; id <= 3; id++) {
            ck_assert_int_eq(spool_accept(&spool, id, 2, 1000), STORE_OK);
        }
        spool_close(&spool);
        put_raw(rows[i].db, rows[i].key, rows[i].key_len, junk, rows[i].bytes);
        spool_open(&spool);
        ck_assert_uint_eq(spool_count(&spool), 2);
        ck_assert(!store_show(spool.store, 2, on_any, NULL));
        spool_check_message(&spool, 3, 2, 1000);
        spool_update(&spool, 1, 0, DELIVERED, false, &list);
        spool_update(&spool, 2, rows[i].key[11], DELIVERED, false, &list);
        spool_update(&spool, 3, 0, DELIVERED, false, &list);
        spool_wait(&spool, &list, 3);
        ck_assert_int_eq(list.status[0], STORE_OK);
        ck_assert_int_eq(list.status[1], rows[i].key_len == 12 ? STORE_E_IO : STORE_OK);
        ck_assert_int_eq(list.status[2], STORE_OK);
        for (uint64_t id = 1; id <= 3; id++) { /* index 9: no such recipient */
            ck_assert_int_eq(spool_finish(&spool, id, 9, DELIVERED, true), STORE_OK);
        }
    }
}
END_TEST

START_TEST(a_message_without_one_of_its_recipients_is_damaged)
{
    static const uint8_t second[12] = {0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1};
    static const uint8_t eighth[12] = {0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 7};
    static const uint8_t record[] = {1, 0,   0,   0,   0, 0, 0, 0, 0, 0,   0, 0, 0, 0, 3, 0, 0,
                                     0, 'a', '@', 'b', 0, 1, 0, 0, 0, 'b', 0, 0, 0, 0, 0, 0};
    for (uint64_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(spool_accept(&spool, id, 2, 1000), STORE_OK);
    }
    spool_close(&spool);
    put_raw("rcpt", second, sizeof second, NULL, 0);
    spool_open(&spool);
    ck_assert_uint_eq(spool_count(&spool), 2);
    spool_close(&spool);
    put_raw("rcpt", eighth, sizeof eighth, record, sizeof record); /* as many as there should be */
    spool_open(&spool);
    ck_assert_uint_eq(spool_count(&spool), 2);
    spool_close(&spool);
    put_raw("rcpt", second, sizeof second, record, sizeof record);
    spool_open(&spool);
    ck_assert_uint_eq(spool_count(&spool), 3); /* the record itself is good */
}
END_TEST

START_TEST(a_damaged_body_is_gone_and_not_read_beyond_its_end)
{
    static const uint8_t rows[][16] = {{0}, {255, 255, 255, 255}, {3, 0, 0, 0}};
    static const size_t bytes[] = {7, 16, 16};
    ck_assert_int_eq(spool_accept(&spool, 2, 1, 1000), STORE_OK);
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        struct store_body body = {0};
        spool_close(&spool);
        put_raw("body", id_2, sizeof id_2, rows[i], bytes[i]);
        spool_open(&spool);
        ck_assert(!store_body_read(spool.store, 2, &body));
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("damage");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_damaged_record_costs_its_message_only_and_can_be_deleted);
    tcase_add_test(tc, a_message_without_one_of_its_recipients_is_damaged);
    tcase_add_test(tc, a_damaged_body_is_gone_and_not_read_beyond_its_end);
    return tap_run("store damage", tc);
}
