/*
 * embed_text.c - runs at build time: a file of ASCII text becomes a constant of C.
 *
 * Usage: embed_text NAME FILE > OUTPUT
 */
#include <stdio.h>

int main(int argc, char **argv)
{
    FILE *in = argc == 3 ? fopen(argv[2], "r") : NULL;
    int byte;
    if (!in) {
        (void)fprintf(stderr, "embed_text: NAME and FILE are needed, and FILE must be readable\n");
        return 1;
    }
    (void)printf("static const char %s[] = {\n", argv[1]);
    while ((byte = getc(in)) != EOF) {
        if (byte < 1 || byte > 126) {
            (void)fprintf(stderr, "embed_text: %s: byte %d is not ASCII text\n", argv[2], byte);
            return 1;
        }
        (void)printf("%d,%s", byte, byte == '\n' ? "\n" : "");
    }
    (void)printf("0};\n");
    return fclose(in) == 0 ? 0 : 1;
}
