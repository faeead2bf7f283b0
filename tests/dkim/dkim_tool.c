/*
 * dkim_tool.c - the engine for tests in Python, and its speed:
 *
 *     dkim_tool sign PROFILE UNIX_TIME EXPIRE_S IDENTITY {DOMAIN SELECTOR KEY_FILE}...
 *         signs what comes on stdin; the signed message goes to stdout, the keys' records to stderr
 *     dkim_tool from                     the domain of From of what comes on stdin
 *     dkim_tool canon PIECE              the canonical body of stdin, given in pieces of that size
 *     dkim_tool judge DOMAIN IDENTITY KEY_FILE [RECORD]...   what the records say of the key
 *     dkim_tool bench RSA_FILE ED25519_FILE                  signatures/s and GB/s of one core
 */
#include "control/dkim.h"
#include "control/dkim_canon.h"

#include "tcp/base.h"

#include <time.h>

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

static int complain(const char *what, const char *error)
{
    (void)fprintf(stderr, "%s%s%s\n", what, what[0] ? " " : "", error);
    return EXIT_FAILURE;
}

static struct dkim_key *load(const char *file)
{
    char error[256];
    struct dkim_key *key = dkim_key_load(file, error, sizeof error);
    if (!key) {
        (void)complain(file, error);
    }
    return key;
}

/* ---- sign -------------------------------------------------------------------------------- */

static bool sign_with(const struct dkim_message *m, const struct dkim_signer *signer,
                      enum dkim_profile profile)
{
    static char field[DKIM_SIGNATURE_MAX];
    char record[DKIM_RECORD_MAX];
    dkim_key_record(signer->key, record);
    (void)fprintf(stderr, "%s\n", record);
    size_t len = dkim_message_sign(m, signer, profile, field);
    return len > 0 && fwrite(field, 1, len, stdout) == len;
}

static int sign_all(const uint8_t *data, size_t len, char **argv, int argc)
{
    static struct dkim_message m;
    char error[256];
    enum dkim_profile profile =
        strcmp(argv[0], "stable") == 0 ? DKIM_PROFILE_STABLE : DKIM_PROFILE_ALL;
    if (!dkim_message_scan(data, len, &m, error, sizeof error) || !dkim_message_hash(&m)) {
        return complain("", error);
    }
    for (int i = 4; i + 2 < argc; i += 3) {
        struct dkim_key *key = load(argv[i + 2]);
        const struct dkim_signer signer = {
            .key = key,
            .domain = argv[i],
            .selector = argv[i + 1],
            .identity = argv[3],
            .signed_s = atoll(argv[1]),
            .expire_s = (uint32_t)atol(argv[2]),
        };
        if (!key || !sign_with(&m, &signer, profile)) {
            return EXIT_FAILURE;
        }
        dkim_key_free(key);
    }
    return fwrite(data, 1, len, stdout) == len ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_from(const uint8_t *data, size_t len)
{
    static struct dkim_message m;
    char domain[DKIM_DOMAIN_MAX], error[256];
    if (!dkim_message_scan(data, len, &m, error, sizeof error) ||
        !dkim_message_from(&m, domain, error, sizeof error)) {
        return complain("", error);
    }
    (void)puts(domain);
    return EXIT_SUCCESS;
}

/* ---- canon, judge ------------------------------------------------------------------------ */

static void to_stdout(void *user, const uint8_t *data, size_t len)
{
    (void)user;
    (void)fwrite(data, 1, len, stdout);
}

static int print_canon(const uint8_t *data, size_t len, size_t piece)
{
    struct dkim_body body;
    dkim_body_init(&body, to_stdout, NULL);
    for (size_t at = 0; at < len; at += piece) {
        dkim_body_input(&body, data + at, len - at < piece ? len - at : piece);
    }
    dkim_body_end(&body);
    return EXIT_SUCCESS;
}

static int judge(char **argv, int argc)
{
    struct dkim_key *key = load(argv[2]);
    bool testing;
    if (!key) {
        return EXIT_FAILURE;
    }
    enum dkim_published state = dkim_key_published(
        key, (const char *const *)argv + 3, (uint32_t)(argc - 3), argv[0], argv[1], &testing);
    (void)printf("%s%s\n", dkim_published_name(state), testing ? " testing" : "");
    dkim_key_free(key);
    return EXIT_SUCCESS;
}

/* ---- bench ------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void bench_sign(const struct dkim_message *m, const struct dkim_key *key)
{
    static char field[DKIM_SIGNATURE_MAX];
    const struct dkim_signer signer = {
        .key = key, .domain = "acme.example", .selector = "s1", .signed_s = 1795460820};
    uint32_t n = 0;
    double start = seconds(), took;
    do {
        INVARIANT(dkim_message_sign(m, &signer, DKIM_PROFILE_ALL, field) > 0);
        n++;
    } while ((took = seconds() - start) < 1);
    (void)printf("%-14s %u bits: %8.0f signatures/s per core\n",
                 dkim_algorithm_name(dkim_key_algorithm(key)), dkim_key_bits(key), n / took);
}

static void drop(void *user, const uint8_t *data, size_t len)
{
    (void)data;
    *(size_t *)user += len;
}

static void bench_body(const char *what, const char *line, size_t bytes)
{
    static struct dkim_message m;
    size_t line_len = strlen(line), dropped = 0;
    uint8_t *data = malloc(bytes + line_len);
    INVARIANT(data != NULL);
    for (size_t at = 0; at < bytes; at += line_len) {
        memcpy(data + at, line, line_len);
    }
    m.body = data;
    m.body_len = bytes;
    uint32_t n = 0;
    double start = seconds(), hashing, canonical;
    do {
        INVARIANT(dkim_message_hash(&m));
        n++;
    } while ((hashing = seconds() - start) < 0.5);
    start = seconds();
    for (uint32_t i = 0; i < n; i++) {
        struct dkim_body body;
        dkim_body_init(&body, drop, &dropped);
        dkim_body_input(&body, data, bytes);
        dkim_body_end(&body);
    }
    canonical = seconds() - start;
    (void)printf("%-14s body hash %.2f GB/s, of which canonical form alone %.2f GB/s\n", what,
                 (double)bytes * n / hashing / 1e9, (double)bytes * n / canonical / 1e9);
    free(data);
}

static int bench(char **files)
{
    static const char header[] = "From: Acme <news@acme.example>\r\nTo: you@alpha.example\r\n"
                                 "Subject: hello\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
                                 "Message-ID: <1@acme.example>\r\nMIME-Version: 1.0\r\n"
                                 "Content-Type: text/html; charset=utf-8\r\n\r\nhello\r\n";
    static struct dkim_message m;
    char error[256];
    for (int i = 0; i < 2; i++) {
        struct dkim_key *key = load(files[i]);
        if (!key ||
            !dkim_message_scan((const uint8_t *)header, strlen(header), &m, error, sizeof error)) {
            return EXIT_FAILURE;
        }
        bench_sign(&m, key);
        dkim_key_free(key);
    }
    bench_body("text", "Dear customer, this is a line of text as it stands in mail.\r\n", 1 << 20);
    bench_body("base64",
               "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\r\n",
               1 << 20);
    bench_body("indented html", "        <td  align=\"left\">   <b>Hello</b>\t</td>  \r\n",
               1 << 20);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int status = EXIT_FAILURE;
    if (strcmp(what, "judge") == 0 && argc > 4) {
        return judge(argv + 2, argc - 2);
    }
    if (strcmp(what, "bench") == 0 && argc == 4) {
        return bench(argv + 2);
    }
    size_t len;
    uint8_t *data = read_all(&len);
    if (data && strcmp(what, "sign") == 0 && argc > 5) {
        status = sign_all(data, len, argv + 2, argc - 2);
    } else if (data && strcmp(what, "from") == 0) {
        status = print_from(data, len);
    } else if (data && strcmp(what, "canon") == 0 && argc == 3) {
        status = print_canon(data, len, (size_t)atol(argv[2]));
    }
    free(data);
    return status;
}
