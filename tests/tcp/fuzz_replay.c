/* fuzz_replay.c - runs a fuzz target over every file of a folder: the committed corpus as a test.
 */
#include "tcp/base.h"

#include <dirent.h>

#define INPUT_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool replay(const char *folder, const char *name)
{
    static uint8_t input[INPUT_MAX];
    char path[4096];
    size_t len;
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (file == NULL)
        return false;
    len = fread(input, 1, sizeof input, file);
    (void)fclose(file);
    return LLVMFuzzerTestOneInput(input, len) == 0;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    const struct dirent *entry;
    unsigned n = 0, failed = 0;

    if (dir == NULL) {
        (void)fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        n++;
        if (!replay(argv[1], entry->d_name)) {
            failed++;
            (void)printf("not ok %u - %s\n", n, entry->d_name);
        } else {
            (void)printf("ok %u - %s\n", n, entry->d_name);
        }
    }
    (void)closedir(dir);
    (void)printf("1..%u\n", n);
    return failed == 0 && n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
