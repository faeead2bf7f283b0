/* wpctl_addresses.c - `addresses` and `pool`: source addresses while mail flows: see wpctl.h. */
#include "tools/wpctl.h"

#include "tools/wpctl_client.h"
#include "tools/wpctl_json.h"
#include "tools/wpctl_table.h"
#include "tools/wpctl_text.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static void set(json_t *params, const char *command, const char *key, const char *text)
{
    if (!wpctl_set_text(params, key, text)) {
        wpctl_misuse(command, "the %s is not UTF-8", key);
    }
}

/* ---- addresses --------------------------------------------------------------------------- */

static void address_row(struct wpctl_table *table, const json_t *address)
{
    wpctl_cell(table, wpctl_text(address, "address"));
    wpctl_cell(table, wpctl_text(address, "pool"));
    wpctl_cell_format(table, "%s/%lld", wpctl_text(address, "port"),
                      (long long)wpctl_number(address, "queue"));
    wpctl_cell(table, wpctl_text(address, "state"));
    wpctl_cell(table, wpctl_true(address, "added") ? "run time" : "file");
    wpctl_cell(table, wpctl_text(address, "ehlo"));
    wpctl_cell_count(table, wpctl_number(address, "connections"));
    wpctl_cell_count(table, wpctl_number(address, "messages"));
}

static int addresses_list(json_t *params)
{
    json_t *result = wpctl_call_for_people("addresses.list", params), *address;
    size_t i;
    if (!result) {
        return EX_OK;
    }
    struct wpctl_table *table =
        wpctl_table_new("ADDRESS|POOL|PORT/QUEUE|STATE|FROM|EHLO|>CONNECTIONS|>MESSAGES");
    json_array_foreach(wpctl_need(result, "addresses", JSON_ARRAY), i, address)
    {
        address_row(table, address);
    }
    wpctl_table_show(table, "there are no such addresses");
    json_decref(result);
    return EX_OK;
}

static int addresses_change(const char *verb, json_t *params)
{
    static const struct {
        const char *verb, *method, *done;
    } verbs[] = {
        {"add", "addresses.add", "added"},        {"remove", "addresses.remove", "leaving"},
        {"drain", "addresses.drain", "draining"}, {"undrain", "addresses.undrain", "in use again"},
        {"move", "addresses.move", "moving"},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].verb, verb) == 0) {
            json_t *result = wpctl_call_for_people(verbs[i].method, params);
            if (result) {
                (void)printf("%lld addresses: %s\n", (long long)wpctl_number(result, "addresses"),
                             verbs[i].done);
                json_decref(result);
            }
            return EX_OK;
        }
    }
    wpctl_misuse("addresses", "list, add, remove, drain, undrain or move, not \"%s\"", verb);
}

static void take_queue(json_t *params, const char *text)
{
    int64_t queue;
    if (!wpctl_number_parse(text, 0, UINT16_MAX, &queue)) {
        wpctl_misuse("addresses", "--queue is the number of a queue, not \"%s\"", text);
    }
    (void)json_object_set_new(params, "queue", json_integer((json_int_t)queue));
}

static json_t *addresses_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"pool", required_argument, NULL, 'p'},
        {"port", required_argument, NULL, 'P'},
        {"queue", required_argument, NULL, 'q'},
        {"ehlo", required_argument, NULL, 'e'},
        {NULL, 0, NULL, 0},
    };
    json_t *params = wpctl_must(json_object());
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            set(params, "addresses", "pool", optarg);
            break;
        case 'P':
            set(params, "addresses", "port", optarg);
            break;
        case 'q':
            take_queue(params, optarg);
            break;
        case 'e':
            set(params, "addresses", "ehlo", optarg);
            break;
        default:
            exit(EX_USAGE); /* getopt_long() has said what */
        }
    }
    return params;
}

int wpctl_addresses(int argc, char **argv)
{
    json_t *params = addresses_options(argc, argv);
    const char *verb = optind < argc ? argv[optind++] : "";
    json_t *list = wpctl_must(json_array());
    for (; optind < argc; optind++) {
        json_t *text = json_string(argv[optind]);
        if (!text) {
            wpctl_misuse("addresses", "an address is not UTF-8");
        }
        (void)json_array_append_new(list, text);
    }
    if (json_array_size(list) > 0) {
        (void)json_object_set_new(params, "addresses", list);
    } else {
        json_decref(list);
    }
    return strcmp(verb, "list") == 0 ? addresses_list(params) : addresses_change(verb, params);
}

/* ---- pool -------------------------------------------------------------------------------- */

static void pool_row(struct wpctl_table *table, const json_t *pool)
{
    json_t *sender, *senders = wpctl_need(pool, "senders", JSON_ARRAY);
    char names[256] = "";
    size_t i, used = 0;
    json_array_foreach(senders, i, sender)
    {
        const char *name = json_string_value(sender);
        int n = snprintf(names + used, sizeof names - used, "%s%s", i ? " " : "", name ? name : "");
        used += n > 0 && (size_t)n < sizeof names - used ? (size_t)n : 0;
    }
    wpctl_cell(table, wpctl_text(pool, "name"));
    wpctl_cell(table, wpctl_text(pool, "ehlo"));
    wpctl_cell(table, wpctl_text(pool, "warmup"));
    wpctl_cell(table, wpctl_true(pool, "added") ? "run time" : "file");
    wpctl_cell_count(table, wpctl_number(pool, "addresses"));
    wpctl_cell_count(table, wpctl_number(pool, "usable"));
    wpctl_cell(table, names);
}

static struct wpctl_table *pools_table(void)
{
    return wpctl_table_new("POOL|EHLO|WARM-UP|FROM|>ADDRESSES|>USABLE|SENDERS");
}

static int pool_list(void)
{
    json_t *result = wpctl_call_for_people("pool.list", NULL), *pool;
    size_t i;
    if (!result) {
        return EX_OK;
    }
    struct wpctl_table *table = pools_table();
    json_array_foreach(wpctl_need(result, "pools", JSON_ARRAY), i, pool)
    {
        pool_row(table, pool);
    }
    wpctl_table_show(table, "there is no pool");
    json_decref(result);
    return EX_OK;
}

static int pool_change(const char *method, json_t *params)
{
    json_t *result = wpctl_call_for_people(method, params);
    if (result) {
        struct wpctl_table *table = pools_table();
        pool_row(table, result);
        wpctl_table_show(table, NULL);
        json_decref(result);
    }
    return EX_OK;
}

/* --warmup on or off; absent: as the senders' strategies have it. */
static json_t *pool_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"warmup", required_argument, NULL, 'w'},
        {NULL, 0, NULL, 0},
    };
    json_t *params = wpctl_must(json_object());
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'w') {
            exit(EX_USAGE); /* getopt_long() has said what */
        }
        if (strcmp(optarg, "on") != 0 && strcmp(optarg, "off") != 0) {
            wpctl_misuse("pool", "--warmup is on or off, not \"%s\"", optarg);
        }
        (void)json_object_set_new(params, "warmup", json_boolean(strcmp(optarg, "on") == 0));
    }
    return params;
}

int wpctl_pool(int argc, char **argv)
{
    json_t *params = pool_options(argc, argv);
    int n = argc - optind;
    char **word = argv + optind;
    const char *verb = n > 0 ? word[0] : "";
    if (n == 1 && strcmp(verb, "list") == 0) {
        json_decref(params);
        return pool_list();
    }
    if (n == 3 && strcmp(verb, "add") == 0) {
        set(params, "pool", "name", word[1]);
        set(params, "pool", "ehlo", word[2]);
        return pool_change("pool.add", params);
    }
    if (n == 2 && strcmp(verb, "remove") == 0) {
        set(params, "pool", "name", word[1]);
        return pool_change("pool.remove", params);
    }
    if (n == 3 && strcmp(verb, "assign") == 0) {
        set(params, "pool", "sender", word[1]);
        set(params, "pool", "pool", word[2]);
        return pool_change("pool.assign", params);
    }
    wpctl_misuse("pool", "list; add NAME EHLO; remove NAME; or assign SENDER NAME");
}
