/*
 * dns_tlsa.c - DANE for SMTP (RFC 7672): which TLSA question follows for a mail host, and what its
 * answer means. Pure, but for the table that keeps the records.
 *
 *     addresses secure     alias      TLSA of its expansion, where there are none TLSA of the host
 *                          no alias   TLSA of the host
 *     addresses insecure   alias      CNAME of the host; when that is secure TLSA of the host
 * (2.2.2) no alias   nothing
 *
 * Nothing is asked where the MX answer is insecure (2.2.1), nor for a host without addresses: old
 * servers of unsigned zones do not even answer (2.1.2).
 */
#include "control/dns_private.h"

#include "tcp/utcp_siphash.h"

/* ---- questions --------------------------------------------------------------------------- */

static void ask_tlsa(struct dns_dane *dane, enum dns_dane_step step, const char *base,
                     uint16_t port)
{
    dane->step = step;
    (void)snprintf(dane->name, sizeof dane->name, "_%u._tcp.%s", port, base);
}

void dns_dane_begin(const struct dns_hosts *hosts, struct dns_host *host, uint16_t port,
                    struct dns_dane *dane)
{
    *dane = (struct dns_dane){.step = DNS_DANE_ADDRESSES};
    if (!hosts->secure || host->n4 + host->n6 == 0) {
        return;
    }
    if (!host->insecure && host->alias[0]) {
        ask_tlsa(dane, DNS_DANE_EXPANDED, host->alias, port);
    } else if (!host->insecure) {
        ask_tlsa(dane, DNS_DANE_OWN, host->name, port);
    } else if (host->alias[0]) {
        dane->step = DNS_DANE_CNAME;
        (void)snprintf(dane->name, sizeof dane->name, "%s", host->name);
    }
}

/* Records that are no TLSA records are unusable, and are left out. */
static void fill(const struct dns_host *host, enum dns_dane_step step,
                 const struct dns_records *records, struct dns_tlsa *tlsa)
{
    const char *base = step == DNS_DANE_EXPANDED ? host->alias : host->name;
    (void)snprintf(tlsa->base, sizeof tlsa->base, "%s", base);
    tlsa->text[0] = '\0';
    for (uint32_t i = 0; i < records->n; i++) {
        (void)tlsa_text_add(tlsa->text, records->data[i], records->len[i]);
    }
}

void dns_dane_take(struct dns_host *host, const struct dns_records *records, uint16_t port,
                   struct dns_dane *dane, struct dns_tlsa *ret_tlsa)
{
    enum dns_dane_step step = dane->step;
    dane->name[0] = '\0';
    if (records->reply == DNS_REPLY_FAILED) {
        host->tlsa = DNS_TLSA_FAILED;
        (void)snprintf(host->why, sizeof host->why, "%s", records->why);
    } else if (step == DNS_DANE_CNAME) {
        if (records->secure && records->reply == DNS_REPLY_DATA) {
            ask_tlsa(dane, DNS_DANE_OWN, host->name, port);
        }
    } else if (records->reply == DNS_REPLY_DATA && records->secure) {
        host->tlsa = DNS_TLSA_FOUND;
        fill(host, step, records, ret_tlsa);
    } else if (step == DNS_DANE_EXPANDED) {
        ask_tlsa(dane, DNS_DANE_OWN, host->name, port);
    }
}

/* ---- the table --------------------------------------------------------------------------- */

struct entry {
    struct entry *next;
    uint64_t used; /* tick */
    char host[256];
    struct dns_tlsa tlsa;
};

struct dns_tlsa_table {
    uint32_t max, count, n_buckets;
    uint64_t tick;
    uint8_t key[DNS_KEY_BYTES];
    struct entry *buckets[];
};

struct dns_tlsa_table *dns_tlsa_table_new(uint32_t entries_max, const uint8_t key[DNS_KEY_BYTES])
{
    struct dns_tlsa_table *table =
        calloc(1, sizeof *table + entries_max * sizeof table->buckets[0]);
    if (table) {
        table->max = table->n_buckets = entries_max;
        memcpy(table->key, key, sizeof table->key);
    }
    return table;
}

void dns_tlsa_table_free(struct dns_tlsa_table *table)
{
    for (uint32_t i = 0; table && i < table->n_buckets; i++) {
        while (table->buckets[i]) {
            struct entry *entry = table->buckets[i];
            table->buckets[i] = entry->next;
            free(entry);
        }
    }
    free(table);
}

static struct entry **place(struct dns_tlsa_table *table, const char *host)
{
    uint64_t hash = utcp_siphash(table->key, (const uint8_t *)host, strlen(host));
    struct entry **at = &table->buckets[hash % table->n_buckets];
    while (*at && strcmp((*at)->host, host) != 0) {
        at = &(*at)->next;
    }
    return at;
}

/* Rare: the table has places for thousands of hosts with DANE. */
static void drop_oldest(struct dns_tlsa_table *table)
{
    struct entry **oldest = NULL;
    for (uint32_t i = 0; i < table->n_buckets; i++) {
        for (struct entry **at = &table->buckets[i]; *at; at = &(*at)->next) {
            oldest = !oldest || (*at)->used < (*oldest)->used ? at : oldest;
        }
    }
    struct entry *entry = *oldest;
    *oldest = entry->next;
    free(entry);
    table->count--;
}

void dns_tlsa_table_put(struct dns_tlsa_table *table, const char *host, const struct dns_tlsa *tlsa)
{
    struct entry **at = place(table, host);
    if (!*at) {
        if (table->count == table->max) {
            drop_oldest(table);
            at = place(table, host);
        }
        if (!(*at = calloc(1, sizeof **at))) {
            return;
        }
        (void)snprintf((*at)->host, sizeof(*at)->host, "%s", host);
        table->count++;
    }
    (*at)->tlsa = *tlsa;
    (*at)->used = ++table->tick;
}

const struct dns_tlsa *dns_tlsa_table_get(struct dns_tlsa_table *table, const char *host)
{
    struct entry *entry = *place(table, host);
    if (!entry) {
        return NULL;
    }
    entry->used = ++table->tick;
    return &entry->tlsa;
}
