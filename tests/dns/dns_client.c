/*
 * dns_client.c - the resolver on a loop of its own, driven line by line from standard input; each
 * answer is a line of JSON on standard output. For test_dns.py.
 *
 *     ask DOMAIN     dns_lookup()
 *     again DOMAIN   the same, and once more from within the callback
 *     get DOMAIN     dns_cached(); its status is "none" when it is not there
 *     stats          dns_stats()
 *     close          dns_close() from within the next callback; the program ends then
 *
 * At the end of its input it closes the resolver and ends, whatever is still being asked.
 */
#include "control/dns.h"

#include <inttypes.h>

struct asked;

struct client {
    uv_loop_t loop;
    uv_pipe_t input;
    struct dns_resolver *resolver;
    char text[1 << 17]; /* what has come of the current lines */
    size_t len;
    bool close_in_callback, closed, in_command;
    struct asked *asked; /* that wait for an answer */
};

struct asked {
    struct asked *next, **at;
    struct client *client;
    uint64_t began_ns;
    bool again;
};

static const char *status_text(const struct dns_answer *answer)
{
    switch (answer->status) {
    case DNS_OK:
        return "ok";
    case DNS_DEFER:
        return "defer";
    case DNS_BOUNCE:
        return "bounce";
    }
    return "nonsense";
}

static void print_text(const char *name, const char *text)
{
    printf("\"%s\": \"", name);
    for (; *text; text++) {
        printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    printf("\"");
}

/* "host": "none", "failed", or ["base", "records"]; the last of a host's addresses counts. */
static void print_tlsa(struct client *c, const struct dns_target *target, bool more)
{
    const struct dns_tlsa *tlsa = dns_tlsa(c->resolver, target->host);
    printf("%s\"%s\": ", more ? ", " : "", target->host);
    if (target->tlsa != DNS_TLSA_FOUND) {
        printf("\"%s\"", target->tlsa == DNS_TLSA_NONE ? "none" : "failed");
    } else if (tlsa) {
        printf("[\"%s\", \"%s\"]", tlsa->base, tlsa->text);
    } else {
        printf("null");
    }
}

static void print_answer(struct client *c, const char *domain, const struct dns_answer *answer,
                         uint64_t took_ns)
{
    char addr[IP_ADDR_TEXT_MAX];
    printf("{");
    print_text("domain", domain);
    printf(", \"status\": \"%s\", \"code\": %u, \"enhanced\": \"%u.%u.%u\", \"site\": %" PRIu32
           ", \"ms\": %" PRIu64 ", ",
           status_text(answer), answer->code, answer->enhanced[0], answer->enhanced[1],
           answer->enhanced[2], answer->site_hash, took_ns / NS_PER_MS);
    print_text("text", answer->text);
    printf(", \"targets\": [");
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        printf("%s[\"%s\", \"%s\", %u]", i ? ", " : "",
               ip_addr_format(&answer->targets[i].addr, addr), answer->targets[i].host,
               answer->targets[i].rank);
    }
    printf("], \"secure\": %s, \"tlsa\": {", answer->secure ? "true" : "false");
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        print_tlsa(c, &answer->targets[i], i > 0);
    }
    printf("}}\n");
    (void)fflush(stdout);
}

static void asked_free(struct asked *asked)
{
    *asked->at = asked->next;
    if (asked->next) {
        asked->next->at = asked->at;
    }
    free(asked);
}

static void close_all(struct client *c)
{
    if (!c->closed) {
        c->closed = true;
        dns_close(c->resolver);
        uv_close((uv_handle_t *)&c->input, NULL);
    }
    while (c->asked) {
        asked_free(c->asked);
    }
}

static void ask(struct client *c, const char *domain, bool again);

static void on_done(void *user, const char *domain, const struct dns_answer *answer)
{
    const struct asked asked = *(struct asked *)user;
    asked_free(user);
    INVARIANT(!asked.client->in_command && !asked.client->closed); /* dns.h promises that */
    print_answer(asked.client, domain, answer, uv_hrtime() - asked.began_ns);
    if (asked.again) {
        ask(asked.client, domain, false);
    }
    if (asked.client->close_in_callback) {
        close_all(asked.client);
    }
}

static void ask(struct client *c, const char *domain, bool again)
{
    struct asked *asked = malloc(sizeof *asked);
    INVARIANT(asked != NULL);
    *asked = (struct asked){c->asked, &c->asked, c, uv_hrtime(), again};
    if (asked->next) {
        asked->next->at = &asked->next;
    }
    c->asked = asked;
    bool outer = c->in_command;
    c->in_command = true;
    dns_lookup(c->resolver, domain, on_done, asked);
    c->in_command = outer;
}

static void get(struct client *c, const char *domain)
{
    const struct dns_answer *answer = dns_cached(c->resolver, domain);
    if (answer) {
        print_answer(c, domain, answer, 0);
    } else {
        printf("{\"domain\": \"%s\", \"status\": \"none\"}\n", domain);
        (void)fflush(stdout);
    }
}

static void on_txt(void *user, const struct dns_txt *txt)
{
    (void)user;
    printf("{\"found\": %s, \"txt\": [", txt->found ? "true" : "false");
    for (uint32_t i = 0; i < txt->n; i++) {
        printf("%s\"%s\"", i > 0 ? ", " : "", txt->text[i]);
    }
    printf("]}\n");
    (void)fflush(stdout);
}

static void print_stats(const struct client *c)
{
    struct dns_stats stats;
    dns_stats(c->resolver, &stats);
    printf("{\"lookups\": %" PRIu64 ", \"cache_hits\": %" PRIu64 ", \"failures\": %" PRIu64
           ", \"under_way\": %" PRIu32 ", \"cached\": %" PRIu32 "}\n",
           stats.lookups, stats.cache_hits, stats.failures, stats.under_way, stats.cached);
    (void)fflush(stdout);
}

static void command(struct client *c, char *line)
{
    char *domain = strchr(line, ' ');
    if (domain) {
        *domain++ = '\0';
    }
    if (domain && (strcmp(line, "ask") == 0 || strcmp(line, "again") == 0)) {
        ask(c, domain, line[1] == 'g');
    } else if (domain && strcmp(line, "get") == 0) {
        get(c, domain);
    } else if (domain && strcmp(line, "txt") == 0) {
        dns_txt(c->resolver, domain, on_txt, c);
    } else if (strcmp(line, "stats") == 0) {
        print_stats(c);
    } else if (strcmp(line, "close") == 0) {
        c->close_in_callback = true;
    } else {
        (void)fprintf(stderr, "dns_client: unknown command %s\n", line);
        exit(EXIT_FAILURE);
    }
}

static void on_room(uv_handle_t *handle, size_t size, uv_buf_t *ret_buf)
{
    struct client *c = handle->data;
    (void)size;
    *ret_buf = uv_buf_init(c->text + c->len, (unsigned)(sizeof c->text - c->len));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    char *line = c->text, *end;
    (void)buf;
    if (n < 0) {
        close_all(c);
        return;
    }
    c->len += (size_t)n;
    while ((end = memchr(line, '\n', c->len - (size_t)(line - c->text))) != NULL) {
        *end = '\0';
        command(c, line);
        line = end + 1;
    }
    c->len -= (size_t)(line - c->text);
    memmove(c->text, line, c->len);
}

/* dns_client TIMEOUT_MS private|public [SERVER]... */
int main(int argc, char **argv)
{
    static struct client c;
    char error[256];
    if (argc < 3) {
        return EXIT_FAILURE;
    }
    const char *twice;
    struct provider_list *providers = provider_list_new(NULL, 0, NULL, 0, &twice);
    if (!providers) {
        return EXIT_FAILURE;
    }
    const struct dns_config config = {
        .servers = (const char *const *)argv + 3,
        .n_servers = (uint32_t)argc - 3,
        .timeout_ms = (uint32_t)strtoul(argv[1], NULL, 10),
        .allow_private = strcmp(argv[2], "private") == 0,
        .seed = 1,
        .trust_anchor_file = getenv("WIREPOST_TRUST_ANCHOR"),
        .port = 25,
        .providers = providers,
    };
    (void)uv_loop_init(&c.loop);
    c.resolver = dns_open(&c.loop, &config, error, sizeof error);
    if (!c.resolver) {
        (void)fprintf(stderr, "%s\n", error);
        provider_list_free(providers);
        (void)uv_loop_close(&c.loop);
        return EXIT_FAILURE;
    }
    c.input.data = &c;
    (void)uv_pipe_init(&c.loop, &c.input, 0);
    (void)uv_pipe_open(&c.input, 0);
    (void)uv_read_start((uv_stream_t *)&c.input, on_room, on_input);
    (void)uv_run(&c.loop, UV_RUN_DEFAULT);
    provider_list_free(providers);
    return uv_loop_close(&c.loop) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
