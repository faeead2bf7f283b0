/*
 * rules_gen.c - runs at build time: rules/replies.json becomes the table of reply.c.
 *
 * Usage: rules_gen replies.json > reply_rules.inc. Anything in the file that it does not
 * understand is an error, so that a rule with a misspelt condition cannot stand there unnoticed.
 */
#include "strategies/pj.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX  8192
#define TEXT_MAX   65536
#define TEXTS_MAX  2
#define ANCHOR_MIN 4 /* reply.c finds patterns by their first four bytes */

static struct pj_node nodes[NODES_MAX];
static struct pj doc = {.nodes = nodes, .n_nodes_max = NODES_MAX};

static _Noreturn void die(const char *what, unsigned rule)
{
    (void)fprintf(stderr, "rules_gen: rule %u: %s\n", rule, what);
    exit(1);
}

static void print_texts(const struct pj_node *texts, unsigned rule)
{
    char text[128];

    if (texts->type != PJ_ARRAY || texts->n == 0 || texts->n > TEXTS_MAX)
        die("text is a list of one or two strings", rule);
    (void)printf(".text = {");
    const struct pj_node *at = pj_first(texts);
    for (uint32_t i = 0; i < texts->n; i++, at = pj_next(&doc, at)) {
        if (!pj_string(at, text, sizeof text) || strlen(text) < ANCHOR_MIN ||
            strpbrk(text, "\"\\") != NULL)
            die("a text has 4 to 127 plain bytes", rule);
        (void)printf("\"%s\", ", text);
    }
    (void)printf("}, ");
}

static void print_enhanced(const struct pj_node *range, unsigned rule)
{
    char text[16];
    unsigned a, b, c;

    if (range->type != PJ_ARRAY || range->n != 2)
        die("enhanced is a list of two codes", rule);
    const struct pj_node *at = pj_first(range);
    for (unsigned i = 0; i < 2; i++, at = pj_next(&doc, at)) {
        if (!pj_string(at, text, sizeof text) || sscanf(text, "%u.%u.%u", &a, &b, &c) != 3)
            die("bad enhanced code", rule);
        (void)printf(".%s = %u, ", i == 0 ? "enhanced_from" : "enhanced_to",
                     a * 1000000 + b * 1000 + c);
    }
}

static void print_code(const struct pj_node *code, unsigned rule)
{
    char text[8];

    if (!pj_string(code, text, sizeof text) || (strlen(text) != 1 && strlen(text) != 3))
        die("code is \"0\", a digit or three digits", rule);
    if (strcmp(text, "0") == 0)
        (void)printf(".no_code = true, ");
    else
        (void)printf(strlen(text) == 1 ? ".code_class = %s, " : ".code = %s, ", text);
}

static void print_flag(const char *name, const struct pj_node *value, unsigned rule)
{
    int64_t hours;

    if (value->type == PJ_TRUE)
        (void)printf(".%s = true, ", name);
    else if (pj_decimal(value, 0, &hours) && hours > 0 && hours < 25)
        (void)printf(".%s = %d, ", name, (int)hours);
    else
        die("a mark is true, or hours", rule);
}

static void print_member(const char *name, const struct pj_node *value, unsigned rule)
{
    static const char *const marks[] = {"list", "dnsbl", "quota", "rate", "open_h"};
    char text[32];

    if (strcmp(name, "class") == 0) {
        if (!pj_string(value, text, sizeof text))
            die("class is a string", rule);
        (void)printf(".class = REPLY_%s, ", text);
        return;
    }
    if (strcmp(name, "text") == 0) {
        print_texts(value, rule);
        return;
    }
    if (strcmp(name, "enhanced") == 0) {
        print_enhanced(value, rule);
        return;
    }
    if (strcmp(name, "code") == 0) {
        print_code(value, rule);
        return;
    }
    for (unsigned i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (strcmp(name, marks[i]) == 0) {
            print_flag(name, value, rule);
            return;
        }
    }
    die(name, rule);
}

static void print_rule(const struct pj_node *rule, unsigned number)
{
    char name[32];

    if (rule->type != PJ_OBJECT || pj_get(&doc, rule, "class") == NULL)
        die("no object with a class", number);
    (void)printf("    {");
    const struct pj_node *at = pj_first(rule);
    for (uint32_t i = 0; i < rule->n; i++) {
        const struct pj_node *value = pj_next(&doc, at);
        if (!pj_string(at, name, sizeof name))
            die("bad name", number);
        print_member(name, value, number);
        at = pj_next(&doc, value);
    }
    (void)printf("},\n");
}

int main(int argc, char **argv)
{
    static char text[TEXT_MAX];
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    size_t n = file == NULL ? 0 : fread(text, 1, sizeof text, file);

    if (file == NULL || n == sizeof text || !pj_parse(&doc, text, n))
        die(doc.error != NULL ? doc.error : "cannot read the file", 0);
    (void)fclose(file);
    const struct pj_node *rules = pj_get(&doc, nodes, "rules");
    if (rules == NULL || rules->type != PJ_ARRAY)
        die("no list named rules", 0);
    (void)printf("/* Made by rules_gen from rules/replies.json. */\n");
    const struct pj_node *at = pj_first(rules);
    for (unsigned i = 0; i < rules->n; i++, at = pj_next(&doc, at))
        print_rule(at, i + 1);
    return fflush(stdout) == 0 ? 0 : 1;
}
