/* sink_main.c - wirepost-sink's command line and listeners: see sink.h, README.md. */
#include "tests/sink/sink.h"

#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>

#define BACKLOG   65535
#define CERTS_MAX 8u

static const char usage[] =
    "wirepost-sink [--cert NAME=CERT.pem,KEY.pem]... [--quiet] ADDRESS:PORT=SCRIPT...\n"
    "An SMTP receiver that misbehaves as scripts say; IPv6 addresses in brackets. Says \"ready\", "
    "then\n"
    "each event as a line of JSON; SIGUSR1 makes it say how many connections it holds, SIGTERM "
    "ends it.\n";

struct cert {
    char name[32], cert[512], key[512];
};

struct listener {
    uv_tcp_t tcp;
    struct sink *sink;
    struct sink_script *script;
};

static struct cert certs[CERTS_MAX];
static uint32_t n_certs;

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "wirepost-sink: %s: %s\n", what, why);
    return 1;
}

/* "NAME=CERT,KEY" */
static bool add_cert(const char *text)
{
    struct cert *cert = &certs[n_certs];
    if (n_certs == CERTS_MAX ||
        sscanf(text, "%31[^=]=%511[^,],%511s", cert->name, cert->cert, cert->key) != 3) {
        return false;
    }
    n_certs++;
    return true;
}

static bool give_cert(struct sink_script *script)
{
    for (uint32_t i = 0; i < n_certs; i++) {
        if (strcmp(certs[i].name, script->cert) == 0) {
            script->tls = sink_tls_context(certs[i].cert, certs[i].key, script->tls_max);
            return script->tls != NULL;
        }
    }
    return script->cert[0] == '\0';
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;
    if (status == 0) {
        sink_session_begin(l->sink, l->script, stream);
    }
}

/* "192.0.2.1:25" or "[2001:db8::1]:25" */
static bool parse_address(const char *text, size_t len, struct sockaddr_storage *ret_address)
{
    char host[64];
    const char *colon = memrchr(text, ':', len);
    if (!colon) {
        return false;
    }
    bool six = text[0] == '[';
    size_t host_len = (size_t)(colon - text) - (six ? 2 : 0);
    int port = (int)strtol(colon + 1, NULL, 10);
    if (host_len >= sizeof host) {
        return false;
    }
    memcpy(host, text + six, host_len);
    host[host_len] = '\0';
    return six ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)ret_address) == 0
               : uv_ip4_addr(host, port, (struct sockaddr_in *)ret_address) == 0;
}

/* "ADDRESS:PORT=SCRIPT"; null, or what is wrong. */
static const char *listen_on(struct sink *sink, const char *text)
{
    static char error[1024];
    struct sockaddr_storage address;
    const char *equals = strchr(text, '=');
    if (!equals || !parse_address(text, (size_t)(equals - text), &address)) {
        return "not ADDRESS:PORT=SCRIPT";
    }
    struct listener *l = calloc(1, sizeof *l);
    INVARIANT(l != NULL);
    l->script = sink_script_read(equals + 1, error, sizeof error);
    if (!l->script) {
        return error;
    }
    l->script->next = sink->scripts;
    sink->scripts = l->script;
    if (!give_cert(l->script)) {
        return "its cert is not among those given by --cert, or cannot be used";
    }
    l->sink = sink;
    l->tcp.data = l;
    (void)uv_tcp_init_ex(sink->loop, &l->tcp, address.ss_family);
    if (l->script->rcvbuf > 0) { /* accepted sockets inherit it */
        int bytes = (int)l->script->rcvbuf;
        (void)uv_recv_buffer_size((uv_handle_t *)&l->tcp, &bytes);
    }
    int result = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, 0);
    result = result ? result : uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    return result ? uv_strerror(result) : NULL;
}

static void on_signal(uv_signal_t *signal, int number)
{
    const struct sink *sink = signal->data;
    if (number == SIGTERM) {
        uv_stop(signal->loop);
        return;
    }
    printf("{\"sessions\": %llu, \"most\": %llu, \"accepted\": %llu}\n",
           (unsigned long long)sink->sessions, (unsigned long long)sink->sessions_most,
           (unsigned long long)sink->accepted);
    (void)fflush(stdout);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"cert", required_argument, NULL, 'c'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct sink sink;
    static uv_signal_t terminate, count;
    int option;
    sink.loop = uv_default_loop();
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'c' && !add_cert(optarg)) {
            return fail(optarg, "not NAME=CERT.pem,KEY.pem");
        }
        if (option == 'h' || option == '?') {
            (void)fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 1;
        }
        sink.quiet |= option == 'q';
    }
    raise_descriptor_limit();
    (void)signal(SIGPIPE, SIG_IGN);
    terminate.data = count.data = &sink;
    (void)uv_signal_init(sink.loop, &terminate);
    (void)uv_signal_init(sink.loop, &count);
    (void)uv_signal_start(&terminate, on_signal, SIGTERM);
    (void)uv_signal_start(&count, on_signal, SIGUSR1);
    for (int i = optind; i < argc; i++) {
        const char *why = listen_on(&sink, argv[i]);
        if (why) {
            return fail(argv[i], why);
        }
    }
    puts("ready");
    (void)fflush(stdout);
    (void)uv_run(sink.loop, UV_RUN_DEFAULT);
    return 0;
}
