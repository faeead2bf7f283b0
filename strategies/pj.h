/*
 * pj.h - a strict JSON reader (RFC 8259) for the lines of wirepost-policy and for the rule file.
 *
 * A document becomes an array of nodes in document order that point into the text; nothing is
 * copied. Numbers are read as decimals with a fixed scale, never as floating point. Not checked:
 * that keys are unique (the first counts), that text is UTF-8.
 */
#ifndef WIREPOST_STRATEGIES_PJ_H
#define WIREPOST_STRATEGIES_PJ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pj_type { PJ_NULL, PJ_FALSE, PJ_TRUE, PJ_NUMBER, PJ_STRING, PJ_ARRAY, PJ_OBJECT };

#define PJ_DEPTH_MAX 16

struct pj_node {
    enum pj_type type;
    uint32_t n;     /* members or elements */
    uint32_t next;  /* index just after this node and all below it */
    const char *at; /* a string's first byte after the quote */
    uint32_t n_bytes;
    bool escaped; /* the string has a backslash in it */
};

struct pj {
    struct pj_node *nodes; /* the caller's */
    uint32_t n_nodes, n_nodes_max;
    const char *end, *at;
    const char *error; /* null, or what is wrong */
};

/* One value and nothing behind it. False: error says why ("too many nodes": try with more). */
bool pj_parse(struct pj *doc, const char *text, size_t n_bytes);
extern const char PJ_TOO_MANY[];

/* A member's value, null when the node is no object or has no such member. */
const struct pj_node *pj_get(const struct pj *doc, const struct pj_node *object, const char *key);

/* First child of an array or object (of an object: its first key), and the node after one. */
const struct pj_node *pj_first(const struct pj_node *node);
const struct pj_node *pj_next(const struct pj *doc, const struct pj_node *node);

/* The string decoded, with a NUL; false when it is no string, does not fit, holds a NUL, or its
 * surrogates do not pair. */
bool pj_string(const struct pj_node *node, char *ret_text, size_t n_bytes_max);
bool pj_equals(const struct pj_node *node, const char *text);

/* A number x 10^scale, rounded towards zero; false when it is no number or does not fit. */
bool pj_decimal(const struct pj_node *node, unsigned scale, int64_t *ret_value);

#endif
