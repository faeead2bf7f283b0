/* pj.c - see pj.h. Recursion is bounded by PJ_DEPTH_MAX. */
#include "strategies/pj.h"

#include <string.h>

const char PJ_TOO_MANY[] = "too many nodes";

static bool parse_value(struct pj *doc, unsigned depth);

static bool fail(struct pj *doc, const char *error)
{
    if (doc->error == NULL)
        doc->error = error;
    return false;
}

static void skip_space(struct pj *doc)
{
    while (doc->at < doc->end &&
           (*doc->at == ' ' || *doc->at == '\t' || *doc->at == '\n' || *doc->at == '\r'))
        doc->at++;
}

static bool take(struct pj *doc, char c)
{
    skip_space(doc);
    if (doc->at >= doc->end || *doc->at != c)
        return false;
    doc->at++;
    return true;
}

static struct pj_node *add(struct pj *doc, enum pj_type type)
{
    if (doc->n_nodes == doc->n_nodes_max) {
        (void)fail(doc, PJ_TOO_MANY);
        return NULL;
    }
    struct pj_node *node = &doc->nodes[doc->n_nodes++];
    *node = (struct pj_node){.type = type, .at = doc->at, .next = doc->n_nodes};
    return node;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_escape(struct pj *doc)
{
    if (++doc->at >= doc->end)
        return fail(doc, "unfinished string");
    if (*doc->at == 'u') {
        for (unsigned i = 0; i < 4; i++) {
            if (++doc->at >= doc->end || hex(*doc->at) < 0)
                return fail(doc, "bad \\u escape");
        }
    } else if (strchr("\"\\/bfnrt", *doc->at) == NULL || *doc->at == '\0') {
        return fail(doc, "unknown escape");
    }
    doc->at++;
    return true;
}

static bool parse_string(struct pj *doc)
{
    doc->at++;
    struct pj_node *node = add(doc, PJ_STRING);

    if (node == NULL)
        return false;
    while (doc->at < doc->end && *doc->at != '"') {
        if ((unsigned char)*doc->at < 0x20)
            return fail(doc, "control character in a string");
        if (*doc->at != '\\') {
            doc->at++;
            continue;
        }
        node->escaped = true;
        if (!parse_escape(doc))
            return false;
    }
    if (doc->at >= doc->end)
        return fail(doc, "unfinished string");
    node->n_bytes = (uint32_t)(doc->at - node->at);
    doc->at++;
    return true;
}

static bool digits(struct pj *doc)
{
    const char *from = doc->at;

    while (doc->at < doc->end && *doc->at >= '0' && *doc->at <= '9')
        doc->at++;
    return doc->at > from;
}

static bool parse_number(struct pj *doc)
{
    struct pj_node *node = add(doc, PJ_NUMBER);

    if (node == NULL)
        return false;
    if (*doc->at == '-')
        doc->at++;
    const char *whole = doc->at;
    if (!digits(doc) || (*whole == '0' && doc->at > whole + 1))
        return fail(doc, "bad number");
    if (doc->at < doc->end && *doc->at == '.') {
        doc->at++;
        if (!digits(doc))
            return fail(doc, "bad number");
    }
    if (doc->at < doc->end && (*doc->at == 'e' || *doc->at == 'E')) {
        doc->at++;
        if (doc->at < doc->end && (*doc->at == '+' || *doc->at == '-'))
            doc->at++;
        if (!digits(doc))
            return fail(doc, "bad number");
    }
    node->n_bytes = (uint32_t)(doc->at - node->at);
    return true;
}

static bool parse_word(struct pj *doc)
{
    static const struct {
        const char *text;
        enum pj_type type;
    } words[] = {{"null", PJ_NULL}, {"true", PJ_TRUE}, {"false", PJ_FALSE}};

    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(words[i].text);
        if ((size_t)(doc->end - doc->at) >= n && memcmp(doc->at, words[i].text, n) == 0) {
            if (add(doc, words[i].type) == NULL)
                return false;
            doc->at += n;
            return true;
        }
    }
    return fail(doc, "unexpected character");
}

static bool parse_member(struct pj *doc, unsigned depth)
{
    skip_space(doc);
    if (doc->at >= doc->end || *doc->at != '"')
        return fail(doc, "a member needs a name in quotes");
    if (!parse_string(doc))
        return false;
    if (!take(doc, ':'))
        return fail(doc, "':' expected");
    return parse_value(doc, depth);
}

static bool parse_inside(struct pj *doc, enum pj_type type, unsigned depth)
{
    char close = type == PJ_OBJECT ? '}' : ']';
    uint32_t self = doc->n_nodes;

    if (depth >= PJ_DEPTH_MAX)
        return fail(doc, "nested too deeply");
    if (add(doc, type) == NULL)
        return false;
    doc->at++;
    if (!take(doc, close)) {
        do {
            if (!(type == PJ_OBJECT ? parse_member(doc, depth + 1) : parse_value(doc, depth + 1)))
                return false;
            doc->nodes[self].n++;
        } while (take(doc, ','));
        if (!take(doc, close))
            return fail(doc, "',' or the end of the list expected");
    }
    doc->nodes[self].next = doc->n_nodes;
    return true;
}

static bool parse_value(struct pj *doc, unsigned depth)
{
    skip_space(doc);
    if (doc->at >= doc->end)
        return fail(doc, "unexpected end");
    switch (*doc->at) {
    case '{':
        return parse_inside(doc, PJ_OBJECT, depth);
    case '[':
        return parse_inside(doc, PJ_ARRAY, depth);
    case '"':
        return parse_string(doc);
    case 't':
    case 'f':
    case 'n':
        return parse_word(doc);
    default:
        return parse_number(doc);
    }
}

bool pj_parse(struct pj *doc, const char *text, size_t n_bytes)
{
    doc->n_nodes = 0;
    doc->error = NULL;
    doc->at = text;
    doc->end = text + n_bytes;
    if (n_bytes > UINT32_MAX)
        return fail(doc, "too long");
    if (!parse_value(doc, 0))
        return false;
    skip_space(doc);
    return doc->at == doc->end ? true : fail(doc, "text after the value");
}
