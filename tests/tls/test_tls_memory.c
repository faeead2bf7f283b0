/* test_tls_memory.c - the engine allocates nothing after its start; what OpenSSL holds for a
 * session that is idle, and that all of it comes back. */
#include "tests/dataplane/tap.h"
#include "tests/tls/peer.h"

#include <openssl/crypto.h>
#include <unistd.h>

#define N_SESSIONS     50
#define IDLE_BYTES_MAX 24576u

static struct pki_cert ca, leaf;
static struct tls_context *context;
static struct peer peer;
static struct tls_client clients[N_SESSIONS];

/* ---- who allocates ----------------------------------------------------------------------- */

static bool for_client; /* the client's code runs, not the server's or the test's */
static uint32_t n_own;  /* calls of malloc by our code then; the linker sends them here */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
    n_own += for_client;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    n_own += for_client;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    n_own += for_client;
    return __real_realloc(p, size);
}

/* OpenSSL's bytes for clients. */
static size_t client_bytes, client_bytes_most;
struct header {
    size_t size;
    size_t for_client;
};

static void *ssl_malloc(size_t size, const char *file, int line)
{
    struct header *h = __real_malloc(sizeof *h + size);
    (void)file, (void)line;
    if (!h) {
        return NULL;
    }
    *h = (struct header){.size = size, .for_client = for_client};
    client_bytes += for_client ? size : 0;
    client_bytes_most = client_bytes > client_bytes_most ? client_bytes : client_bytes_most;
    return h + 1;
}

static void ssl_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    if (p) {
        struct header *h = (struct header *)p - 1;
        client_bytes -= h->for_client ? h->size : 0;
        free(h);
    }
}

static void *ssl_realloc(void *p, size_t size, const char *file, int line)
{
    void *copy = ssl_malloc(size, file, line);
    if (p && copy) {
        size_t old = ((struct header *)p - 1)->size;
        memcpy(copy, p, old < size ? old : size);
        ssl_free(p, file, line);
    }
    return copy;
}

/* ---- sessions ---------------------------------------------------------------------------- */

static void setup(void)
{
    char ca_file[] = "/tmp/wp-tls-ca-XXXXXX";
    pki_make(&ca, &(struct pki_request){.common_name = "CA", .is_ca = true, .rsa_bits = 2048});
    pki_make(&leaf,
             &(struct pki_request){
                 .common_name = "mx", .san = "DNS:mx.example", .issuer = &ca, .rsa_bits = 2048});
    pki_write(&ca, ca_file);
    const struct tls_config config = {.ca_file = ca_file};
    for_client = true;
    enum tls_error error = tls_context_new(&config, &context);
    for_client = false;
    ck_assert_int_eq(error, TLS_E_OK);
    ck_assert_int_eq(unlink(ca_file), 0);
}

static void teardown(void)
{
    tls_context_free(context);
    pki_free(&leaf);
    pki_free(&ca);
}

static void client_begin(struct tls_client *c, enum tls_policy policy)
{
    const struct tls_request request = {
        .policy = policy, .server_name = "mx.example", .wall_s = PKI_NOW_S};
    for_client = true;
    enum tls_error error = tls_client_init(c, context, NS_PER_S, &request);
    for_client = false;
    ck_assert_int_eq(error, TLS_E_OK);
}

static void client_takes(struct tls_client *c, const uint8_t *bytes, uint32_t len)
{
    uint8_t plain[256];
    for_client = true;
    tls_client_input(c, NS_PER_S, bytes, len);
    while (tls_client_read(c, NS_PER_S, plain, sizeof plain) > 0) {
    }
    for_client = false;
}

static void client_ends(struct tls_client *c)
{
    for_client = true;
    tls_client_free(c);
    for_client = false;
}

/* Until neither has more to say. */
static void talk(struct tls_client *c)
{
    static uint8_t bytes[65536];
    int len;
    do {
        for_client = true;
        (void)wire_client_to_peer(c, &peer);
        for_client = false;
        (void)SSL_do_handshake(peer.ssl);
        (void)SSL_read(peer.ssl, bytes, sizeof bytes);
        len = BIO_read(peer.out, bytes, sizeof bytes);
        if (len > 0) {
            client_takes(c, bytes, (uint32_t)len);
        }
    } while (len > 0);
}

static void establish(struct tls_client *c, enum tls_policy policy)
{
    peer_accept(&peer);
    client_begin(c, policy);
    talk(c);
    ck_assert_uint_eq(tls_client_next_event(c), TLS_EV_ESTABLISHED);
}

static void deliver(struct tls_client *c)
{
    static const uint8_t message[10000];
    for (uint32_t sent = 0; sent < sizeof message;) {
        for_client = true;
        sent += tls_client_write(c, NS_PER_S, message + sent, (uint32_t)sizeof message - sent);
        for_client = false;
        talk(c);
    }
    peer_say(&peer, "250 taken\r\n");
    talk(c);
}

static void listen_on(int version)
{
    const struct peer_options options = {
        .leaf = &leaf, .chain = &ca, .version_min = version, .version_max = version};
    peer_init(&peer, &options);
}

/* ---- tests ------------------------------------------------------------------------------- */

START_TEST(the_engine_allocates_nothing_for_a_session)
{
    listen_on(0);
    uint32_t before = n_own;
    for (int i = 0; i < 10; i++) {
        establish(&clients[0], TLS_POLICY_VERIFY);
        deliver(&clients[0]);
        client_ends(&clients[0]);
    }
    ck_assert_uint_gt(before, 0); /* of the context: the counter works */
    ck_assert_uint_eq(n_own, before);
    peer_free(&peer);
}
END_TEST

static const struct {
    int version;
    enum tls_policy policy;
    const char *text;
} kinds[] = {
    {TLS1_3_VERSION, TLS_POLICY_MAY, "TLS 1.3, not verified"},
    {TLS1_3_VERSION, TLS_POLICY_VERIFY, "TLS 1.3, verified"},
    {TLS1_2_VERSION, TLS_POLICY_VERIFY, "TLS 1.2, verified"},
};

START_TEST(an_idle_session_is_small)
{
    listen_on(kinds[_i].version);
    size_t before = client_bytes;
    for (int i = 0; i < N_SESSIONS; i++) {
        establish(&clients[i], kinds[_i].policy);
        deliver(&clients[i]);
    }
    size_t each = (client_bytes - before) / N_SESSIONS + sizeof(struct tls_client);
    (void)printf("# %s: %zu bytes for an idle session\n", kinds[_i].text, each);
    ck_assert_uint_le(each, IDLE_BYTES_MAX);
    ck_assert_uint_eq(tls_context_blocks_free(context), 1024);
    for (int i = 0; i < N_SESSIONS; i++) {
        client_ends(&clients[i]);
    }
    peer_free(&peer);
}
END_TEST

START_TEST(sessions_leave_only_their_tickets_behind)
{
    size_t before = 0;
    listen_on(TLS1_3_VERSION);
    for (int i = 0; i < 200; i++) {
        establish(&clients[0], TLS_POLICY_VERIFY);
        deliver(&clients[0]);
        client_ends(&clients[0]);
        before = i == 20 ? client_bytes : before; /* the places for tickets are taken */
    }
    ck_assert_uint_le(client_bytes, before + 4096);
    peer_free(&peer);
}
END_TEST

int main(void)
{
    if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1) {
        return EXIT_FAILURE;
    }
    TCase *tc = tcase_create("memory");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_engine_allocates_nothing_for_a_session);
    tcase_add_loop_test(tc, an_idle_session_is_small, 0, (int)(sizeof kinds / sizeof kinds[0]));
    tcase_add_test(tc, sessions_leave_only_their_tickets_behind);
    return tap_run("tls memory", tc);
}
