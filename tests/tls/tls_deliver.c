/*
 * tls_deliver.c - delivers a message over a kernel socket with the SMTP and TLS engines, for tests
 * against servers of others. One connection after another; for each a line of JSON with the
 * outcome.
 *
 *     tls_deliver PORT POLICY CA_FILE COUNT [TLSA]     POLICY: may encrypt verify dane
 *     TLSA: "3 1 1 hex"; the server is 127.0.0.1 and is to be mx.example
 */
#include "tests/tls/joined.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE    "Subject: over TLS\r\n\r\n.a line with a dot\r\nthe end\r\n"
#define TIMEOUT_MS 10000

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("connect");
        exit(2);
    }
    return fd;
}

static void send_all(struct joined *j, int fd)
{
    uint8_t bytes[TLS_BLOCK_BYTES];
    uint32_t len;
    while ((len = joined_output(j, now_ns(), bytes, sizeof bytes)) > 0) {
        if (send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) {
            joined_eof(j, now_ns(), "send failed");
            return;
        }
    }
}

/* Until the session is over. */
static void run(struct joined *j, int fd)
{
    uint8_t bytes[4096];
    while (!j->closed) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        send_all(j, fd);
        if (j->closed) {
            break;
        }
        if (poll(&poll_fd, 1, TIMEOUT_MS) != 1) {
            joined_eof(j, now_ns(), "the test's time is over");
            break;
        }
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            joined_eof(j, now_ns(), "the server closed the connection");
        } else {
            joined_input(j, now_ns(), bytes, (uint32_t)n);
        }
        if (j->events & SMTP_EV_TRANSACTION_DONE) {
            smtp_client_quit(&j->smtp, now_ns());
        }
    }
    send_all(j, fd);
}

static void print_outcome(const struct joined *j, const struct smtp_recipient *r)
{
    const struct tls_result *tls = tls_client_result(&j->tls);
    (void)printf("{\"kind\": \"%s\", \"stage\": \"%s\", \"code\": %u, \"text\": \"%s\", "
                 "\"version\": \"%s\", \"resumed\": %s, \"verified\": %s, \"failure\": \"%s\"}\n",
                 outcome_kind_text(r->kind), outcome_stage_text((enum outcome_stage)r->reply.stage),
                 r->reply.code, r->reply.text, tls->version ? tls->version : "",
                 tls->resumed ? "true" : "false", tls->verified ? "true" : "false",
                 tls_failure_text(tls->failure));
}

static void deliver(struct tls_context *context, uint16_t port, const struct tls_request *request)
{
    static const uint32_t stuff[] = {21};
    struct smtp_recipient recipient = {.address = "r@to.example"};
    struct smtp_transaction transaction = {
        .mail_from = "from@me.example",
        .recipients = &recipient,
        .n_recipients = 1,
        .body = {.data = (const uint8_t *)MESSAGE,
                 .len = strlen(MESSAGE),
                 .stuff = stuff,
                 .n_stuff = 1},
    };
    const struct smtp_options options = {.tls = request->policy == TLS_POLICY_MAY ? SMTP_TLS_MAY
                                                                                  : SMTP_TLS_MUST};
    struct joined j;
    int fd = connect_to(port);
    joined_begin(&j, now_ns(), context, &options, request);
    INVARIANT(smtp_client_start(&j.smtp, now_ns(), &transaction));
    run(&j, fd);
    print_outcome(&j, &recipient);
    joined_free(&j);
    (void)close(fd);
}

static enum tls_policy parse_policy(const char *text)
{
    static const char *const names[] = {"may", "encrypt", "dane", "verify"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum tls_policy)i;
        }
    }
    (void)fprintf(stderr, "no such policy: %s\n", text);
    exit(2);
}

static void parse_tlsa(const char *text, struct tls_tlsa *tlsa, uint8_t *data, size_t size)
{
    unsigned usage, selector, matching_type;
    char hex[1024];
    size_t len;
    if (sscanf(text, "%u %u %u %1023s", &usage, &selector, &matching_type, hex) != 4 ||
        OPENSSL_hexstr2buf_ex(data, size, &len, hex, '\0') != 1) {
        (void)fprintf(stderr, "not a TLSA record: %s\n", text);
        exit(2);
    }
    *tlsa = (struct tls_tlsa){(uint8_t)usage, (uint8_t)selector, (uint8_t)matching_type, data,
                              (uint32_t)len};
}

int main(int argc, char **argv)
{
    struct tls_context *context;
    struct tls_tlsa tlsa;
    uint8_t data[512];
    if (argc < 5) {
        (void)fprintf(stderr, "usage: tls_deliver PORT POLICY CA_FILE COUNT [TLSA]\n");
        return 2;
    }
    struct tls_request request = {.policy = parse_policy(argv[2]),
                                  .server_name = "mx.example",
                                  .wall_s = (int64_t)time(NULL)};
    if (argc > 5) {
        parse_tlsa(argv[5], &tlsa, data, sizeof data);
        request.tlsa = &tlsa;
        request.n_tlsa = 1;
    }
    const struct tls_config config = {.ca_file = argv[3]};
    enum tls_error error = tls_context_new(&config, &context);
    if (error != TLS_E_OK) {
        (void)fprintf(stderr, "%s\n", tls_error_text(error));
        return 2;
    }
    for (long i = strtol(argv[4], NULL, 10); i > 0; i--) {
        deliver(context, (uint16_t)strtoul(argv[1], NULL, 10), &request);
    }
    tls_context_free(context);
    return 0;
}
