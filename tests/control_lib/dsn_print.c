/* dsn_print.c - prints the bounce of a sample: dsn_print NUMBER. */
#include "tests/control_lib/dsn_samples.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    uint8_t *data;
    size_t len;
    int number = argc == 2 ? atoi(argv[1]) : DSN_SAMPLES;
    if (number < 0 || number >= DSN_SAMPLES) {
        (void)fprintf(stderr, "usage: %s 0..%d\n", argv[0], DSN_SAMPLES - 1);
        return 64;
    }
    struct dsn_request request = dsn_sample(number);
    if (!dsn_make(&request, &data, &len)) {
        return 71;
    }
    size_t written = fwrite(data, 1, len, stdout);
    free(data);
    return written == len ? 0 : 74;
}
