/*
 * ctl_config.h - the configuration of the appliance: one JSON file, checked as a whole. All errors
 * are gathered, each with its JSON pointer and the remedy; unknown keys are errors.
 * control/config.schema.json says the same for editors.
 *
 * Parsing is pure (JSON in, struct out); ctl_config_load() reads the file.
 */
#ifndef WIREPOST_CTL_CONFIG_H
#define WIREPOST_CTL_CONFIG_H

#include "control/aws_source.h"
#include "control/backoff.h"
#include "control/dkim.h"
#include "dataplane/channel.h"
#include "dataplane/dp_config.h"
#include "dataplane/smtp_client.h"
#include "dataplane/tls_client.h"
#include "strategies/strategy.h"

#define CTL_PATH_MAX    1024u
#define CTL_SERVERS_MAX 8u
#define CTL_SENDERS_MAX 10000u
#define CTL_ZONES_MAX   16u
#define CTL_DKIM_MAX    64u /* keys of a sender */
#define CTL_ROUTES_MAX  64u
#define CTL_CHAIN_MAX   8u

/* What is wanted of TLS towards receivers, at least: see tls_plan.h. */
#define TLS_WANTS_MAP(X)                                                                           \
    X(NONE, "none")                                                                                \
    X(MAY, "may")                                                                                  \
    X(AUTO, "auto")                                                                                \
    X(ENCRYPT, "encrypt")                                                                          \
    X(VERIFY, "verify")                                                                            \
    X(DANE, "dane")

enum tls_wants {
#define X(name, text) TLS_WANTS_##name,
    TLS_WANTS_MAP(X)
#undef X
        TLS_N_WANTS
};

#define CTL_SES_TAGS_MAX 10u
#define CTL_TOPICS_MAX   16u

/* Amazon SES by its API. */
struct ctl_ses {
    char region[32];
    char endpoint[300]; /* https://HOST or https://HOST:PORT */
    enum aws_from from;
    char credentials_file[CTL_PATH_MAX];
    char configuration_set[65]; /* "": none */
    struct {
        char name[65], value[257];
    } tags[CTL_SES_TAGS_MAX];
    uint32_t n_tags, timeout_s, account_poll_s;
};

enum ctl_route_type { CTL_ROUTE_SMTP, CTL_ROUTE_SES };

/* A relay. */
struct ctl_route {
    char name[CONFIG_NAME_MAX];
    enum ctl_route_type type;
    struct ctl_ses ses; /* of its type */
    char host[256];     /* A-labels, or "[192.0.2.1]" */
    uint16_t port;
    uint32_t connections, messages_per_connection, idle_ms;
    enum smtp_tls tls;
    enum tls_policy policy; /* of TLS, when there is any */
    char username[SMTP_CREDENTIAL_MAX], password[SMTP_CREDENTIAL_MAX]; /* "": no AUTH */
    enum dkim_profile dkim; /* what is signed of mail that goes there; DKIM_PROFILES: nothing */
    char token_file[CTL_PATH_MAX]; /* of a bearer token, in place of the password; "": none */
    uint32_t max_24h, max_per_h, max_per_s; /* mails that the account allows; 0: no limit */
    int32_t cost_ppm; /* of a mail, in millionths of its worth; -1: as its kind has it */
};

/* A key that signs mail of a sender. */
struct ctl_dkim {
    char domain[DKIM_DOMAIN_MAX], selector[DKIM_SELECTOR_MAX];
    char identity[DKIM_IDENTITY_MAX]; /* i=; "": not said */
    char key_file[CTL_PATH_MAX];
    uint32_t expire_s; /* x=; 0: not said */
    struct dkim_key *key;
};

struct ctl_sender {
    char name[CONFIG_NAME_MAX];
    enum tls_wants tls;            /* its own word, or that of "delivery" */
    enum strategy_kind strategy;   /* in force */
    enum strategy_kind configured; /* in the file */
    bool has_pool;
    uint32_t pool;                  /* index in dp.pools */
    uint32_t shared[CTL_CHAIN_MAX]; /* shared routes, in the order to use them */
    uint32_t n_shared;
    bool fallback;         /* dedicated: shared routes while the own addresses are in trouble */
    struct ctl_dkim *dkim; /* null: its mail is not signed */
    uint32_t n_dkim;
    uint32_t v30;    /* mails of the last 30 days before it came here; UINT32_MAX: not known */
    uint32_t custom; /* route of strategy custom; UINT32_MAX: none */
    char *
        *domains; /* return paths of these domains belong to this sender when `inject` names none */
    size_t n_domains;
};

struct ctl_config {
    json_t *effective; /* what is in force, defaults filled in, for config.get */
    char hostname[256];
    char run_dir[CTL_PATH_MAX];

    struct {
        char path[CTL_PATH_MAX];
        uint32_t max_mb, min_free_mb, event_keep;
    } spool;
    struct {
        char socket[108]; /* sun_path */
        char group[64];   /* may call read methods; "": none */
        uint32_t clients, clients_per_uid;
    } control;
    struct {
        char server[CTL_SERVERS_MAX][64];
        const char *servers[CTL_SERVERS_MAX];
        uint32_t n_servers, timeout_ms;
        bool allow_private;
        char trust_anchor_file[CTL_PATH_MAX]; /* "": no DNSSEC */
    } dns;
    struct {
        char zone[CTL_ZONES_MAX][128];
        uint32_t n_zones, interval_s;
    } dnsbl;
    struct {
        uint32_t port;
        struct backoff backoff;
        enum tls_wants tls;
        bool chunking; /* BDAT where it is offered (RFC 3030) */
        uint32_t expire_s, bounce_expire_s, doubtful_retry_s;
        uint32_t connections_per_address, messages_per_connection, idle_ms, in_flight_per_site;
    } delivery;
    struct {
        uint32_t message_bytes, recipients;
    } limits;

    bool spawn;                /* start the data plane ourselves */
    char binary[CTL_PATH_MAX]; /* which; "": beside wirepostd, then in the PATH's usual places */
    struct dp_config dp;
    char *dp_json; /* the text of dataplane.json */
    size_t dp_json_len;
    uint64_t dp_hash; /* chan_config_hash() of it */

    struct {
        char listen[64]; /* "": not at all */
        struct sockaddr_storage address;
        char topics[CTL_TOPICS_MAX][256]; /* of SNS, that are listened to */
        uint32_t n_topics;
        char sns_endpoint[300]; /* instead of SNS's own hosts; "": those */
    } http;
    char tls_ca_file[CTL_PATH_MAX]; /* "": the system's */
    struct ctl_route *routes;
    uint32_t n_routes;
    struct ctl_sender *senders; /* sorted by name */
    uint32_t n_senders;
};

/* True when no error was added. ret_config must be freed with ctl_config_free() in either case. */
bool ctl_config_parse(json_t *root, struct ctl_config *ret_config, struct config_errors *errors);
/* Reads and parses. A file that cannot be read or is not JSON is one error with the path "". */
bool ctl_config_load(const char *path, struct ctl_config *ret_config, struct config_errors *errors);
void ctl_config_free(struct ctl_config *config);

/* Index by name, or by the domain of a return path (a subdomain counts too); UINT32_MAX: none. */
uint32_t ctl_config_sender(const struct ctl_config *config, const char *name);
uint32_t ctl_config_route(const struct ctl_config *config, const char *name);
uint32_t ctl_config_sender_of_domain(const struct ctl_config *config, const char *domain);

#endif
