/* wpctl_queue.c - `queue list`, `queue show` and `why`: see wpctl.h. */
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
#include <time.h>

/* "in 4m10s", "now" when it is due, "-" when there is no such time. */
static const char *until(const char *rfc3339, char buf[WPCTL_UNIT_TEXT])
{
    int64_t at;
    if (!wpctl_time_parse(rfc3339, &at)) {
        return "-";
    }
    int64_t left = at - (int64_t)time(NULL);
    return left <= 0 ? "now" : wpctl_span(left, buf);
}

static const char *since(const char *rfc3339, char buf[WPCTL_UNIT_TEXT])
{
    int64_t at;
    return wpctl_time_parse(rfc3339, &at) ? wpctl_span((int64_t)time(NULL) - at, buf) : "-";
}

/* ---- queue list -------------------------------------------------------------------------- */

static void message_row(struct wpctl_table *table, const json_t *message)
{
    static const char *const counts[] = {"queued", "held", "in_flight", "delivered", "bounced"};
    char buf[WPCTL_UNIT_TEXT];
    const json_t *recipients = json_object_get(message, "recipients");
    wpctl_cell(table, wpctl_text(message, "id"));
    wpctl_cell(table, wpctl_text(message, "sender"));
    wpctl_cell_format(table, "<%s>", wpctl_text(message, "mail_from"));
    wpctl_cell_bytes(table, wpctl_number(message, "bytes"));
    wpctl_cell(table, since(wpctl_text(message, "accepted_at"), buf));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        wpctl_cell_count(table, wpctl_number(recipients, counts[i]));
    }
    wpctl_cell(table, until(wpctl_text(message, "next_try_at"), buf));
    wpctl_cell(table, wpctl_text(message, "last"));
}

static void set_filter(json_t *params, const char *key, const char *text)
{
    if (!wpctl_set_text(params, key, text)) {
        wpctl_misuse("queue", "--%s is not UTF-8", key);
    }
}

static void set_limit(json_t *params, const char *text)
{
    int64_t limit;
    if (!wpctl_number_parse(text, 1, INT64_MAX, &limit)) {
        wpctl_misuse("queue", "--limit is a number from 1, not \"%s\"", text);
    }
    (void)json_object_set_new(params, "limit", json_integer((json_int_t)limit));
}

static json_t *list_params(int argc, char **argv)
{
    static const struct option options[] = {
        {"sender", required_argument, NULL, 's'}, {"domain", required_argument, NULL, 's'},
        {"state", required_argument, NULL, 's'},  {"after", required_argument, NULL, 's'},
        {"limit", required_argument, NULL, 'l'},  {NULL, 0, NULL, 0},
    };
    json_t *params = wpctl_must(json_object());
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (option == 's') {
            set_filter(params, options[index].name, optarg);
        } else if (option == 'l') {
            set_limit(params, optarg);
        } else {
            exit(EX_USAGE); /* getopt_long() has said what */
        }
    }
    if (optind < argc) {
        wpctl_misuse("queue", "list takes options only, not \"%s\"", argv[optind]);
    }
    return params;
}

static void print_list(const json_t *result)
{
    char shown[WPCTL_UNIT_TEXT], total[WPCTL_UNIT_TEXT];
    json_t *messages = wpctl_need(result, "messages", JSON_ARRAY), *message;
    struct wpctl_table *table = wpctl_table_new("ID|SENDER|RETURN PATH|>SIZE|>AGE|>QUEUED|>HELD|"
                                                ">IN FLIGHT|>DELIVERED|>BOUNCED|>NEXT|LAST");
    size_t i;
    json_array_foreach(messages, i, message)
    {
        message_row(table, message);
    }
    wpctl_table_show(table, "no such message is queued");
    (void)printf("%s shown of %s queued\n", wpctl_count((int64_t)json_array_size(messages), shown),
                 wpctl_count(json_integer_value(wpctl_need(result, "total", JSON_INTEGER)), total));
    if (wpctl_text(result, "next")[0]) {
        (void)fputs("more: --after ", stdout);
        wpctl_put(stdout, wpctl_text(result, "next"));
        (void)fputc('\n', stdout);
    }
}

static int list(int argc, char **argv)
{
    json_t *result = wpctl_call_for_people("queue.list", list_params(argc, argv));
    if (result) {
        print_list(result);
        json_decref(result);
    }
    return EX_OK;
}

/* ---- queue show -------------------------------------------------------------------------- */

static void show_line(const char *name, const char *text)
{
    (void)printf("%-12s ", name);
    wpctl_put(stdout, text);
    (void)fputc('\n', stdout);
}

static void recipient_row(struct wpctl_table *table, const json_t *recipient)
{
    char next[WPCTL_UNIT_TEXT];
    const json_t *last = json_object_get(recipient, "last");
    json_int_t code = wpctl_number(last, "code");
    wpctl_cell(table, wpctl_text(recipient, "address"));
    wpctl_cell(table, wpctl_text(recipient, "state"));
    wpctl_cell_count(table, wpctl_number(recipient, "attempts"));
    wpctl_cell(table, until(wpctl_text(recipient, "next_try_at"), next));
    wpctl_cell(table, wpctl_text(last, "source"));
    wpctl_cell(table, wpctl_text(last, "host"));
    wpctl_cell(table, wpctl_text(last, "stage"));
    if (code != 0) {
        wpctl_cell_format(table, "%lld %s", (long long)code, wpctl_text(last, "enhanced"));
    } else { /* the receiver did not reply */
        wpctl_cell(table, wpctl_text(last, "enhanced"));
    }
    wpctl_cell(table, wpctl_text(last, "text"));
}

static void print_message(const json_t *message)
{
    char bytes[WPCTL_UNIT_TEXT];
    json_t *details = wpctl_need(message, "recipients_detail", JSON_ARRAY), *recipient;
    const char *path = wpctl_text(message, "mail_from");
    size_t i;
    show_line("id", wpctl_text(message, "id"));
    show_line("sender", wpctl_text(message, "sender"));
    show_line("stream", wpctl_text(message, "stream"));
    show_line("return path", path[0] ? path : "<> (null)");
    show_line("size", wpctl_bytes(wpctl_number(message, "bytes"), bytes));
    show_line("accepted", wpctl_text(message, "accepted_at"));
    show_line("expires", wpctl_text(message, "expires_at"));
    if (wpctl_text(message, "dsn_for")[0]) {
        show_line("bounce of", wpctl_text(message, "dsn_for"));
    }
    (void)puts("");
    struct wpctl_table *table =
        wpctl_table_new("RECIPIENT|STATE|>ATTEMPTS|>NEXT|SOURCE|HOST|STAGE|REPLY|TEXT");
    json_array_foreach(details, i, recipient)
    {
        recipient_row(table, recipient);
    }
    wpctl_table_show(table, "it has no recipient");
}

static json_t *id_params(const char *command, const char *id)
{
    json_t *params = wpctl_must(json_object());
    if (!wpctl_set_text(params, "id", id)) {
        wpctl_misuse(command, "an id has 16 hexadecimal digits");
    }
    return params;
}

static int show(const char *id)
{
    json_t *message = wpctl_call_for_people("queue.show", id_params("queue", id));
    if (message) {
        print_message(message);
        json_decref(message);
    }
    return EX_OK;
}

int wpctl_queue(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "list") == 0) {
        argv[1] = argv[0];
        return list(argc - 1, argv + 1);
    }
    if (argc == 3 && strcmp(argv[1], "show") == 0) {
        return show(argv[2]);
    }
    static const char *const verbs[] = {"hold", "release", "retry", "bounce", "delete"};
    for (size_t i = 0; argc >= 2 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[1], verbs[i]) == 0) {
            return wpctl_queue_operate(argc, argv);
        }
    }
    wpctl_misuse("queue", "queue list, show, hold, release, retry, bounce or delete");
}

/* ---- why --------------------------------------------------------------------------------- */

int wpctl_why(int argc, char **argv)
{
    if (argc != 2) {
        wpctl_misuse("why", "the id of one message, as inject and queue list print it");
    }
    json_t *result = wpctl_call_for_people("message.why", id_params("why", argv[1]));
    if (!result) {
        return EX_OK;
    }
    json_t *lines = wpctl_need(result, "lines", JSON_ARRAY), *line;
    size_t i;
    json_array_foreach(lines, i, line)
    {
        wpctl_put(stdout, json_is_string(line) ? json_string_value(line) : "");
        (void)fputc('\n', stdout);
    }
    json_decref(result);
    return EX_OK;
}
