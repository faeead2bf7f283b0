/* records.c - see records.h. */
#include "tests/dns/records.h"

const uint8_t test_key[DNS_KEY_BYTES] = "a key for tests";
const struct dns_records nodata = {.reply = DNS_REPLY_NODATA};
const struct dns_records nxdomain = {.reply = DNS_REPLY_NXDOMAIN};
const struct dns_records servfail = {.reply = DNS_REPLY_FAILED, .why = "SERVFAIL"};

void rdata_add(struct rdata *r, const void *data, size_t len)
{
    ck_assert_uint_lt(r->n, COUNT(r->data));
    r->data[r->n] = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(r->data[r->n]);
    memcpy(r->data[r->n], data, len);
    r->len[r->n++] = len;
}

void rdata_add_mx(struct rdata *r, uint16_t preference, const char *name)
{
    uint8_t data[400];
    size_t used = 2;
    be16_put(data, preference);
    while (*name) {
        size_t label = strcspn(name, ".");
        data[used++] = (uint8_t)label;
        memcpy(data + used, name, label);
        used += label;
        name += label + (name[label] == '.');
    }
    data[used++] = 0;
    rdata_add(r, data, used);
}

void rdata_free(struct rdata *r)
{
    while (r->n > 0) {
        free(r->data[--r->n]);
    }
}

struct dns_records rdata_records(const struct rdata *r)
{
    return (struct dns_records){
        .reply = DNS_REPLY_DATA, .data = (const uint8_t *const *)r->data, .len = r->len, .n = r->n};
}

struct dns_hosts hosts_make(uint32_t n)
{
    struct dns_hosts hosts = {.n = n};
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(hosts.list[i].name, sizeof hosts.list[i].name, "%c.example", 'a' + (int)i);
        hosts.list[i].preference = 10;
    }
    return hosts;
}

void host_add(struct dns_host *host, const char *addresses)
{
    char text[1024], *rest = text;
    (void)snprintf(text, sizeof text, "%s", addresses);
    for (const char *word; (word = strsep(&rest, " ")) != NULL;) {
        struct ip_addr addr;
        struct rdata r = {0};
        ck_assert_msg(ip_addr_parse(word, &addr), "%s", word);
        rdata_add(&r, addr.bytes, addr.family == 4 ? 4 : 16);
        const struct dns_records records = rdata_records(&r);
        dns_plan_address(host, addr.family, &records, false);
        rdata_free(&r);
    }
}

void check_end(const struct dns_answer *answer, enum dns_status status, unsigned code,
               const char *enhanced, const char *words)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%u.%u.%u", answer->enhanced[0], answer->enhanced[1],
                   answer->enhanced[2]);
    ck_assert_int_eq(answer->status, status);
    ck_assert_uint_eq(answer->code, code);
    ck_assert_str_eq(text, enhanced);
    ck_assert_uint_eq(answer->n_targets, 0);
    ck_assert_msg(strstr(answer->text, words) != NULL, "\"%s\" is not in \"%s\"", words,
                  answer->text);
}

void check_targets(const struct dns_answer *answer, const char *want)
{
    char got[512] = "", addr[IP_ADDR_TEXT_MAX];
    size_t used = 0;
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%s/%u", i ? " " : "",
                                 ip_addr_format(&answer->targets[i].addr, addr),
                                 answer->targets[i].rank);
    }
    ck_assert_str_eq(got, want);
    ck_assert_int_eq(answer->status, DNS_OK);
}
