/*
 * dkim_key.c - see dkim_key.h.
 *
 * The text of a file is read into OpenSSL's secure heap, decoded there, and wiped; the numbers of
 * the key stay there. The heap is one mapping, locked (mlock) and left out of core dumps
 * (MADV_DONTDUMP). The decoder's own short-lived copies are in ordinary memory, which is why the
 * daemon is undumpable as well once it has keys (dkim_keys.c).
 */
#include "control/dkim_key.h"

#include "tcp/base.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX       16384
#define HEAP_BASE      (256u << 10) /* for decoding */
#define HEAP_PER_KEY   (16u << 10)  /* RSA-4096: 5 numbers of up to 512 bytes, and their heads */
#define HEAP_BLOCK_MIN 32

struct dkim_key {
    EVP_PKEY *pkey;
    enum dkim_algorithm algorithm;
    uint32_t bits;
    _Atomic uint32_t owners;
};

const char *dkim_algorithm_name(enum dkim_algorithm algorithm)
{
    static const char *const names[] = {
#define X(name, text, type) [DKIM_##name] = text,
        DKIM_ALGORITHM_MAP(X)
#undef X
    };
    return names[algorithm];
}

const char *dkim_algorithm_type(enum dkim_algorithm algorithm)
{
    static const char *const types[] = {
#define X(name, text, type) [DKIM_##name] = type,
        DKIM_ALGORITHM_MAP(X)
#undef X
    };
    return types[algorithm];
}

static enum dkim_memory memory_state;

void dkim_key_memory(uint32_t n)
{
    size_t wanted = HEAP_BASE + (size_t)n * HEAP_PER_KEY, bytes = 1;
    while (bytes < wanted) {
        bytes *= 2; /* it must be a power of two */
    }
    if (memory_state == DKIM_MEMORY_NONE) {
        memory_state = CRYPTO_secure_malloc_init(bytes, HEAP_BLOCK_MIN) == 1 ? DKIM_MEMORY_LOCKED
                                                                             : DKIM_MEMORY_UNLOCKED;
    }
}

enum dkim_memory dkim_key_memory_state(void)
{
    return memory_state;
}

/* ---- what is in it ----------------------------------------------------------------------- */

static bool judge(struct dkim_key *key, char *ret_error, size_t error_bytes)
{
    key->bits = (uint32_t)EVP_PKEY_get_bits(key->pkey);
    if (EVP_PKEY_is_a(key->pkey, "ED25519")) {
        key->algorithm = DKIM_ED25519;
        return true;
    }
    if (!EVP_PKEY_is_a(key->pkey, "RSA")) {
        (void)snprintf(ret_error, error_bytes, "is neither an RSA nor an Ed25519 key");
        return false;
    }
    key->algorithm = DKIM_RSA;
    if (key->bits < DKIM_RSA_BITS_MIN || key->bits > DKIM_RSA_BITS_MAX) {
        (void)snprintf(ret_error, error_bytes,
                       "is an RSA key of %u bits; DKIM takes %u (better %u) to %u (RFC 8301 3.2)",
                       key->bits, DKIM_RSA_BITS_MIN, DKIM_RSA_BITS_GOOD, DKIM_RSA_BITS_MAX);
        return false;
    }
    return true;
}

/* Nobody is asked for a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

struct dkim_key *dkim_key_read(const void *pem, size_t len, char *ret_error, size_t error_bytes)
{
    struct dkim_key *key = calloc(1, sizeof *key);
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    INVARIANT(key != NULL && bio != NULL);
    key->owners = 1;
    key->pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!key->pkey) {
        (void)snprintf(ret_error, error_bytes,
                       "is not a private key in PEM, or is locked with a passphrase");
    }
    if (!key->pkey || !judge(key, ret_error, error_bytes)) {
        dkim_key_free(key);
        return NULL;
    }
    return key;
}

/* ---- files ------------------------------------------------------------------------------- */

/* An open file that nobody else can read; or -1. */
static int open_private(const char *path, char *ret_error, size_t error_bytes)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        (void)snprintf(ret_error, error_bytes, "cannot be read: %s", strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        (void)snprintf(ret_error, error_bytes, "is no plain file of at most %d bytes", FILE_MAX);
    } else if (st.st_uid != 0 && st.st_uid != geteuid()) {
        (void)snprintf(ret_error, error_bytes,
                       "belongs to another user: it must be root's or the daemon's own");
    } else if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        (void)snprintf(ret_error, error_bytes,
                       "has mode %04o, others have access to it: chmod 0600 and make a new key",
                       (unsigned)st.st_mode & 07777u);
    } else {
        return fd;
    }
    (void)close(fd);
    return -1;
}

struct dkim_key *dkim_key_load(const char *path, char *ret_error, size_t error_bytes)
{
    int fd = open_private(path, ret_error, error_bytes);
    if (fd < 0) {
        return NULL;
    }
    struct dkim_key *key = NULL;
    uint8_t *pem = OPENSSL_secure_malloc(FILE_MAX);
    ssize_t len = pem ? read(fd, pem, FILE_MAX) : -1;
    (void)close(fd);
    if (len < 0) {
        (void)snprintf(ret_error, error_bytes, "cannot be read: %s",
                       pem ? strerror(errno) : "no locked memory is left for keys");
    } else {
        key = dkim_key_read(pem, (size_t)len, ret_error, error_bytes);
    }
    OPENSSL_secure_clear_free(pem, FILE_MAX);
    return key;
}

/* ---- use --------------------------------------------------------------------------------- */

struct dkim_key *dkim_key_ref(struct dkim_key *key)
{
    atomic_fetch_add_explicit(&key->owners, 1, memory_order_relaxed);
    return key;
}

void dkim_key_free(struct dkim_key *key)
{
    if (key && atomic_fetch_sub_explicit(&key->owners, 1, memory_order_acq_rel) == 1) {
        EVP_PKEY_free(key->pkey);
        free(key);
    }
}

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *key)
{
    return key->algorithm;
}

uint32_t dkim_key_bits(const struct dkim_key *key)
{
    return key->bits;
}

bool dkim_key_same(const struct dkim_key *a, const struct dkim_key *b)
{
    return EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

/* RSASSA-PKCS1-v1_5 of the hash (RFC 8017 8.2). */
static bool sign_rsa(EVP_PKEY *pkey, const uint8_t hash[32], uint8_t *out, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    bool good = ctx && EVP_PKEY_sign_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
                EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
                EVP_PKEY_sign(ctx, out, len, hash, 32) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* The hash is the message that PureEdDSA signs (RFC 8463 3). */
static bool sign_ed25519(EVP_PKEY *pkey, const uint8_t hash[32], uint8_t *out, size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                EVP_DigestSign(ctx, out, len, hash, 32) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

size_t dkim_key_sign(const struct dkim_key *key, const uint8_t hash[32],
                     uint8_t ret_signature[DKIM_SIGN_MAX])
{
    size_t len = DKIM_SIGN_MAX;
    bool good = false;
    switch (key->algorithm) {
    case DKIM_RSA:
        good = sign_rsa(key->pkey, hash, ret_signature, &len);
        break;
    case DKIM_ED25519:
        good = sign_ed25519(key->pkey, hash, ret_signature, &len);
        break;
    case DKIM_ALGORITHMS:
        break;
    }
    return good ? len : 0;
}

/* SubjectPublicKeyInfo for RSA (which RFC 6376 3.6.1 means by its openssl example, and everybody
 * publishes), the bare 32 bytes for Ed25519 (RFC 8463 4.2). */
size_t dkim_key_public(const struct dkim_key *key, uint8_t *ret_data, size_t room)
{
    size_t len = room;
    if (key->algorithm == DKIM_ED25519) {
        return EVP_PKEY_get_raw_public_key(key->pkey, ret_data, &len) == 1 ? len : 0;
    }
    int n = i2d_PUBKEY(key->pkey, NULL);
    if (n <= 0 || (size_t)n > room) {
        return 0;
    }
    return (size_t)i2d_PUBKEY(key->pkey, &ret_data);
}
