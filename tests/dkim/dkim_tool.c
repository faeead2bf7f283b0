/* dkim_tool.c - signs what comes on stdin: dkim_tool [--dates-change] UNIX_TIME {DOMAIN SELECTOR
 * KEY_FILE}... The signed message goes to stdout. With --from: the domain of From instead. */
#include "control/dkim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *read_all(size_t *ret_len)
{
    size_t room = 1 << 16, len = 0, n;
    uint8_t *data = malloc(room);
    while (data && (n = fread(data + len, 1, room - len, stdin)) > 0) {
        len += n;
        if (len == room) {
            room *= 2;
            data = realloc(data, room);
        }
    }
    *ret_len = len;
    return data;
}

static int print_from(const uint8_t *message, size_t len)
{
    char domain[DKIM_NAME_MAX];
    if (!dkim_from_domain(message, len, domain)) {
        return EXIT_FAILURE;
    }
    (void)puts(domain);
    return EXIT_SUCCESS;
}

static int sign(const uint8_t *message, size_t len, char **argv, int argc, uint32_t flags)
{
    struct dkim_key keys[8] = {{.domain = ""}};
    uint32_t n = 0;
    char error[512];
    for (int i = 1; i + 2 < argc && n < 8; i += 3, n++) {
        (void)snprintf(keys[n].domain, DKIM_NAME_MAX, "%s", argv[i]);
        (void)snprintf(keys[n].selector, DKIM_NAME_MAX, "%s", argv[i + 1]);
        if (!dkim_key_read(argv[i + 2], &keys[n], error, sizeof error)) {
            (void)fprintf(stderr, "%s\n", error);
            return EXIT_FAILURE;
        }
        char record[2048];
        if (dkim_record(&keys[n], record, sizeof record)) {
            (void)fprintf(stderr, "%s\n", record);
        }
    }
    size_t text_len;
    char *text = dkim_sign(message, len, keys, n, atoll(argv[0]), flags, &text_len);
    if (text) {
        (void)fwrite(text, 1, text_len, stdout);
        (void)fwrite(message, 1, len, stdout);
    }
    for (uint32_t i = 0; i < n; i++) {
        dkim_key_free(&keys[i]);
    }
    free(text);
    return text ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    size_t len;
    uint8_t *message = read_all(&len);
    int status = EXIT_FAILURE;
    if (message && argc == 2 && strcmp(argv[1], "--from") == 0) {
        status = print_from(message, len);
    } else if (message && argc > 1) {
        bool change = strcmp(argv[1], "--dates-change") == 0;
        status = sign(message, len, argv + 1 + change, argc - 1 - change,
                      change ? DKIM_DATES_CHANGE : 0);
    }
    free(message);
    return status;
}
