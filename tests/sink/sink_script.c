/* sink_script.c - script files: see sink.h, README.md. */
#include "tests/sink/sink.h"

#include <ctype.h>
#include <strings.h>

static int find_word(const char *const *words, int n, const char *word)
{
    for (int i = 0; i < n; i++) {
        if (strcasecmp(words[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

static int find_event(const char *word)
{
    static const char *const words[] = {
#define X(name, text) text,
        SINK_EVENT_MAP(X)
#undef X
    };
    return find_word(words, SINK_EVENTS, word);
}

static int find_action(const char *word)
{
    static const char *const words[] = {
#define X(name, text) text,
        SINK_ACTION_MAP(X)
#undef X
    };
    return find_word(words, SINK_ACTIONS, word);
}

/* The next word of *at, which moves behind it. */
static const char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t");
    *at = word + strcspn(word, " \t");
    if (**at) {
        *(*at)++ = '\0';
    }
    return word;
}

/* ---- actions ----------------------------------------------------------------------------- */

/* Bytes with \r \n \0 \\ \;, and CRLF behind them when it is a line. */
static void take_bytes(struct sink_action *action, const char *text, bool line)
{
    action->bytes = malloc(strlen(text) + 3);
    INVARIANT(action->bytes != NULL);
    for (; *text; text++) {
        char byte = *text;
        if (byte == '\\' && text[1]) {
            text++;
            byte = (char)(*text == 'r' ? '\r' : *text == 'n' ? '\n' : *text == '0' ? '\0' : *text);
        }
        action->bytes[action->len++] = byte;
    }
    if (line) {
        memcpy(action->bytes + action->len, "\r\n", 2);
        action->len += 2;
    }
}

static bool takes_number(enum sink_action_kind kind)
{
    return kind == SINK_DO_MANY || kind == SINK_DO_DRIP || kind == SINK_DO_WAIT;
}

/* "say 250 ok"; null: not an action. */
static struct sink_action *read_action(char *text)
{
    int kind = find_action(next_word(&text));
    if (kind < 0) {
        return NULL;
    }
    struct sink_action *action = calloc(1, sizeof *action);
    INVARIANT(action != NULL);
    action->kind = (enum sink_action_kind)kind;
    if (takes_number(action->kind)) {
        action->number = (uint32_t)strtoul(next_word(&text), NULL, 10);
    }
    take_bytes(action, text, action->kind == SINK_DO_SAY || action->kind == SINK_DO_DRIP);
    return action;
}

static void actions_free(struct sink_action *action)
{
    while (action) {
        struct sink_action *next = action->next;
        free(action->bytes);
        free(action);
        action = next;
    }
}

/* Where the action ends: at ";" that no "\" stands before. */
static char *end_of_action(char *text)
{
    char *at = text;
    while (*at && (*at != ';' || (at > text && at[-1] == '\\'))) {
        at++;
    }
    return at;
}

/* "A; B; C" */
static bool read_actions(char *text, struct sink_action **ret_first)
{
    while (*text) {
        char *end = end_of_action(text);
        bool more = *end == ';';
        *end = '\0';
        if (!(*ret_first = read_action(text))) {
            return false;
        }
        ret_first = &(*ret_first)->next;
        text = more ? end + 1 : end;
    }
    return true;
}

/* ---- lines ------------------------------------------------------------------------------- */

/* "EVENT [NTH] [@CONNECTION] ACTION; ..." */
static const char *read_rule(struct sink_script *script, char *text)
{
    struct sink_rule *rule = calloc(1, sizeof *rule), **last = &script->rules;
    INVARIANT(rule != NULL);
    int event = find_event(next_word(&text));
    while (*last) {
        last = &(*last)->next;
    }
    *last = rule;
    if (event < 0) {
        return "no such event";
    }
    rule->event = (enum sink_event)event;
    text += strspn(text, " ");
    if (isdigit((unsigned char)*text)) {
        rule->nth = (uint32_t)strtoul(next_word(&text), NULL, 10);
        text += strspn(text, " ");
    }
    if (*text == '@') {
        rule->connection = (uint32_t)strtoul(next_word(&text) + 1, NULL, 10);
    }
    return read_actions(text, &rule->actions) && rule->actions ? NULL : "no such action";
}

static const char *read_line(struct sink_script *script, char *line)
{
    line[strcspn(line, "\r\n")] = '\0';
    char *text = line;
    const char *word = next_word(&text);
    if (word[0] == '\0' || word[0] == '#' || strcmp(word, "expect") == 0) {
        return NULL; /* "expect" is for whoever runs the script */
    }
    if (strcmp(word, "on") == 0) {
        return read_rule(script, text);
    }
    if (strcmp(word, "offer") == 0) {
        script->offers = true;
        (void)snprintf(script->offer, sizeof script->offer, "%s", text);
    } else if (strcmp(word, "cert") == 0) {
        (void)snprintf(script->cert, sizeof script->cert, "%s", text);
    } else if (strcmp(word, "tlsmax") == 0) {
        script->tls_max = strcmp(text, "1.1") == 0 ? TLS1_1_VERSION : TLS1_2_VERSION;
    } else if (strcmp(word, "rcvbuf") == 0) {
        script->rcvbuf = (uint32_t)strtoul(text, NULL, 10);
    } else if (strcmp(word, "tarpit") == 0) {
        script->tarpit = true;
    } else {
        return "not on, offer, cert, tlsmax, rcvbuf, tarpit or expect";
    }
    return NULL;
}

struct sink_script *sink_script_read(const char *path, char *ret_error, size_t error_bytes)
{
    char line[4096];
    const char *name = strrchr(path, '/'), *why = NULL;
    FILE *file = fopen(path, "r");
    if (!file) {
        (void)snprintf(ret_error, error_bytes, "%s: cannot be read", path);
        return NULL;
    }
    struct sink_script *script = calloc(1, sizeof *script);
    INVARIANT(script != NULL);
    (void)snprintf(script->name, sizeof script->name, "%s", name ? name + 1 : path);
    for (unsigned n = 1; !why && fgets(line, sizeof line, file); n++) {
        why = read_line(script, line);
        if (why) {
            (void)snprintf(ret_error, error_bytes, "%s:%u: %s", path, n, why);
        }
    }
    (void)fclose(file);
    if (why) {
        sink_script_free(script);
        return NULL;
    }
    return script;
}

void sink_script_free(struct sink_script *script)
{
    while (script->rules) {
        struct sink_rule *rule = script->rules;
        script->rules = rule->next;
        actions_free(rule->actions);
        free(rule);
    }
    SSL_CTX_free(script->tls);
    free(script);
}

const struct sink_action *sink_script_find(const struct sink_script *script, enum sink_event event,
                                           uint32_t nth, uint32_t connection)
{
    for (const struct sink_rule *r = script->rules; r; r = r->next) {
        if (r->event == event && (r->nth == 0 || r->nth == nth) &&
            (r->connection == 0 || r->connection == connection)) {
            return r->actions;
        }
    }
    return NULL;
}
