/* dkim_key.c - keys: read, told as a DNS record, compared with one. See dkim.h. */
#include "control/dkim.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX    65536
#define RSA_MIN     1024
#define RSA_MAX     8192
#define ED25519_RAW 32u

/* ---- reading ----------------------------------------------------------------------------- */

static bool fail(char *ret_error, size_t error_bytes, const char *file, const char *why)
{
    (void)snprintf(ret_error, error_bytes, "%s: %s", file, why);
    return false;
}

static bool is_private(int fd, size_t *ret_bytes, const char **ret_why)
{
    struct stat st;
    *ret_why = NULL;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        *ret_why = "is not a file";
    } else if ((st.st_mode & 077) != 0) {
        *ret_why = "others than its owner may read it: chmod 600";
    } else if (st.st_uid != 0 && st.st_uid != geteuid()) {
        *ret_why = "belongs to another user";
    } else if (st.st_size <= 0 || st.st_size > FILE_MAX) {
        *ret_why = "is empty, or too large for a key";
    }
    *ret_bytes = *ret_why ? 0 : (size_t)st.st_size;
    return *ret_why == NULL;
}

static int no_password(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

/* The text of the file is in the secure heap, too. */
static EVP_PKEY *parse(int fd, size_t n_bytes)
{
    EVP_PKEY *key = NULL;
    char *text = OPENSSL_secure_malloc(n_bytes);
    ssize_t n = text ? read(fd, text, n_bytes) : -1;
    BIO *bio = n > 0 ? BIO_new_mem_buf(text, (int)n) : NULL;
    if (bio) {
        key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
        (void)BIO_free(bio);
    }
    OPENSSL_secure_clear_free(text, n_bytes);
    return key;
}

static const char *check(struct dkim_key *key)
{
    key->is_ed25519 = EVP_PKEY_is_a(key->key, "ED25519");
    key->bits = (unsigned)EVP_PKEY_get_bits(key->key);
    if (key->is_ed25519) {
        return NULL;
    }
    if (!EVP_PKEY_is_a(key->key, "RSA")) {
        return "is neither an RSA nor an Ed25519 key";
    }
    return key->bits < RSA_MIN || key->bits > RSA_MAX
               ? "an RSA key needs 1024 to 8192 bits, and should have 2048 (RFC 8301 3.2)"
               : NULL;
}

bool dkim_key_read(const char *file, struct dkim_key *ret_key, char *ret_error, size_t error_bytes)
{
    size_t n_bytes;
    const char *why;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fail(ret_error, error_bytes, file, strerror(errno));
    }
    if (is_private(fd, &n_bytes, &why)) {
        ret_key->key = parse(fd, n_bytes);
        why = ret_key->key ? check(ret_key) : "holds no private key in PEM without a password";
    }
    (void)close(fd);
    if (why) {
        dkim_key_free(ret_key);
        return fail(ret_error, error_bytes, file, why);
    }
    return true;
}

void dkim_key_free(struct dkim_key *key)
{
    EVP_PKEY_free(key->key);
    key->key = NULL;
}

/* ---- DNS (RFC 6376 3.6.1; RFC 8463 4) ---------------------------------------------------- */

static int public_bytes(const struct dkim_key *key, unsigned char **ret_bytes)
{
    size_t n = ED25519_RAW;
    if (!key->is_ed25519) {
        *ret_bytes = NULL;
        return i2d_PUBKEY(key->key, ret_bytes);
    }
    *ret_bytes = OPENSSL_malloc(ED25519_RAW);
    return *ret_bytes && EVP_PKEY_get_raw_public_key(key->key, *ret_bytes, &n) == 1 ? (int)n : -1;
}

bool dkim_record(const struct dkim_key *key, char *text, size_t text_bytes)
{
    unsigned char *bytes = NULL;
    int n = public_bytes(key, &bytes);
    int head = snprintf(text, text_bytes, "v=DKIM1; k=%s; p=", key->is_ed25519 ? "ed25519" : "rsa");
    bool good = n > 0 && (size_t)head + ((size_t)n + 2) / 3 * 4 < text_bytes;
    if (good) {
        (void)EVP_EncodeBlock((unsigned char *)text + head, bytes, n);
    }
    OPENSSL_free(bytes);
    return good;
}

/* The value of a tag without white space; false: it is not there. */
static bool tag_value(const char *record, char name, char *value, size_t value_bytes)
{
    for (const char *at = record; *at;) {
        at += strspn(at, " \t\r\n;");
        const char *equals = at + 1 + (*at ? strspn(at + 1, " \t\r\n") : 0);
        if (*at == name && *equals == '=') {
            size_t n = 0;
            for (at = equals + 1; *at && *at != ';' && n + 1 < value_bytes; at++) {
                if (!strchr(" \t\r\n", *at)) {
                    value[n++] = *at;
                }
            }
            value[n] = '\0';
            return true;
        }
        at += strcspn(at, ";");
    }
    return false;
}

bool dkim_record_fits(const struct dkim_key *key, const char *record)
{
    char own[2048], published[2048], wanted[2048];
    return dkim_record(key, own, sizeof own) && tag_value(own, 'p', wanted, sizeof wanted) &&
           tag_value(record, 'p', published, sizeof published) && strcmp(wanted, published) == 0;
}
