/*
 * reply.c - the classifier: one pass over the text finds the rules whose first pattern begins at
 * some byte (a table keyed by four bytes), the first of them that holds wins; when none does, the
 * enhanced code decides, then the basic code.
 */
#include "strategies/reply.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define TEXTS_MAX 2

struct rule {
    enum reply_class class;
    const char *text[TEXTS_MAX];         /* null: no condition */
    uint32_t enhanced_from, enhanced_to; /* 5.7.28 is 5007028 */
    uint16_t code, code_class;
    bool no_code, list, dnsbl, quota, rate;
    uint8_t open_h;
};

static const struct rule rules[] = {
#include "reply_rules.inc"
};
#define N_RULES ((unsigned)(sizeof rules / sizeof rules[0]))

struct reply {
    char text[REPLY_BYTES_MAX + 1]; /* lower case, with a NUL */
    size_t n;
    unsigned code, enhanced;
};

const char *reply_class_name(enum reply_class c)
{
    static const char *const names[] = {
#define X(name, fault) #name,
        REPLY_CLASS_MAP(X)
#undef X
    };
    return (unsigned)c < REPLY_CLASSES ? names[c] : "invalid";
}

const char *reply_class_fault(enum reply_class c)
{
    static const char *const faults[] = {
#define X(name, fault) fault,
        REPLY_CLASS_MAP(X)
#undef X
    };
    return (unsigned)c < REPLY_CLASSES ? faults[c] : "invalid";
}

bool reply_class_parse(const char *name, enum reply_class *ret_class)
{
    for (unsigned c = 0; c < REPLY_CLASSES; c++) {
        if (strcmp(name, reply_class_name((enum reply_class)c)) == 0) {
            *ret_class = (enum reply_class)c;
            return true;
        }
    }
    return false;
}

unsigned reply_n_rules(void)
{
    return N_RULES;
}

bool reply_blames_recipient(enum reply_class c)
{
    return c == REPLY_BAD_RCPT || c == REPLY_INACTIVE;
}

struct reply_verdict reply_of_class(enum reply_class c)
{
    return (struct reply_verdict){.class = c};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static unsigned read_code(const char *at)
{
    if (at[0] < '2' || at[0] > '5' || !is_digit(at[1]) || !is_digit(at[2]) || is_digit(at[3]))
        return 0;
    return (unsigned)(at[0] - '0') * 100 + (unsigned)(at[1] - '0') * 10 + (unsigned)(at[2] - '0');
}

/* "5.7.28" -> 5007028; 0: it is none. */
static unsigned read_enhanced(const char *at)
{
    unsigned part[3] = {0};

    for (unsigned i = 0; i < 3; i++) {
        unsigned n_digits = 0;
        for (; is_digit(*at) && n_digits < 3; at++, n_digits++)
            part[i] = part[i] * 10 + (unsigned)(*at - '0');
        if (n_digits == 0 || (i < 2 && *at++ != '.'))
            return 0;
    }
    if (part[0] < 2 || part[0] > 5 || is_digit(*at))
        return 0;
    return part[0] * 1000000 + part[1] * 1000 + part[2];
}

static void read_reply(const char *text, size_t n_bytes, struct reply *r)
{
    r->n = n_bytes < REPLY_BYTES_MAX ? n_bytes : REPLY_BYTES_MAX;
    for (size_t i = 0; i < r->n; i++)
        r->text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
    r->text[r->n] = '\0';
    r->code = r->n >= 3 ? read_code(r->text) : 0;
    r->enhanced = 0;
    if (r->code != 0 && (r->text[3] == ' ' || r->text[3] == '-'))
        r->enhanced = read_enhanced(r->text + 4);
}

static bool conditions_hold(const struct rule *rule, const struct reply *r)
{
    if (rule->no_code && r->code != 0)
        return false;
    if (rule->code != 0 && r->code != rule->code)
        return false;
    if (rule->code_class != 0 && r->code / 100 != rule->code_class)
        return false;
    if (rule->enhanced_from != 0 &&
        (r->enhanced < rule->enhanced_from || r->enhanced > rule->enhanced_to))
        return false;
    return rule->text[1] == NULL || strstr(r->text, rule->text[1]) != NULL;
}

static uint32_t anchor_of(const char *at)
{
    uint32_t bytes;

    memcpy(&bytes, at, sizeof bytes);
    return (bytes * 2654435769u) >> (32 - REPLY_BUCKET_BITS);
}

void reply_index_init(struct reply_index *index)
{
    static_assert(N_RULES <= REPLY_RULES_MAX, "the index is too small for the rules");
    memset(index, 0, sizeof *index);
    for (unsigned i = N_RULES; i > 0; i--) { /* so that a chain is in ascending order */
        if (rules[i - 1].text[0] == NULL)
            continue;
        uint16_t *head = &index->head[anchor_of(rules[i - 1].text[0])];
        index->next[i - 1] = *head;
        *head = (uint16_t)i;
    }
}

/* The first rule with text that holds, N_RULES when none does. */
static unsigned match_text(const struct reply_index *index, const struct reply *r)
{
    unsigned best = N_RULES;

    for (size_t at = 0; at + 4 <= r->n; at++) {
        for (unsigned i = index->head[anchor_of(r->text + at)]; i != 0 && i <= best;
             i = index->next[i - 1]) {
            const struct rule *rule = &rules[i - 1];
            size_t n = strlen(rule->text[0]);
            if (n <= r->n - at && memcmp(r->text + at, rule->text[0], n) == 0 &&
                conditions_hold(rule, r))
                best = i - 1;
        }
    }
    return best;
}

static unsigned match_codes(const struct reply *r)
{
    for (unsigned pass = 0; pass < 2; pass++) { /* enhanced codes, then basic ones */
        for (unsigned i = 0; i < N_RULES; i++) {
            if (rules[i].text[0] == NULL && (rules[i].enhanced_from != 0) == (pass == 0) &&
                conditions_hold(&rules[i], r))
                return i;
        }
    }
    return N_RULES;
}

static void put_code(const struct reply *r, char ret_code[24])
{
    if (r->enhanced != 0)
        (void)snprintf(ret_code, 24, "%u-%u.%u.%u", r->code, r->enhanced / 1000000,
                       r->enhanced / 1000 % 1000, r->enhanced % 1000);
    else if (r->code != 0)
        (void)snprintf(ret_code, 24, "%u", r->code);
}

void reply_classify(const struct reply_index *index, const char *text, size_t n_bytes,
                    struct reply_verdict *ret_verdict)
{
    struct reply_verdict v = {.class = REPLY_UNKNOWN};
    struct reply r;

    read_reply(text, n_bytes, &r);
    put_code(&r, v.code);
    unsigned found = r.code / 100 == 2 ? N_RULES : match_text(index, &r);
    if (found == N_RULES)
        found = match_codes(&r);
    if (found < N_RULES) {
        const struct rule *rule = &rules[found];
        v.class = rule->class;
        v.list = rule->list;
        v.dnsbl = rule->dnsbl;
        v.quota = rule->quota;
        v.rate = rule->rate;
        v.open_h = rule->open_h;
        v.rule = (uint16_t)(found + 1);
    }
    *ret_verdict = v;
}
