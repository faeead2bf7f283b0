/* sts_policy.c - see sts_policy.h. */
#include "control/sts_policy.h"

#include <ctype.h>
#include <strings.h>

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* ---- the record (RFC 8461 3.1) ----------------------------------------------------------- */

/* "name=value" up to ";" or the end. False: not in that form. */
static bool next_field(const char **at, const char **ret_name, size_t *ret_name_len,
                       const char **ret_value, size_t *ret_value_len)
{
    const char *name = skip_blanks(*at), *equals = name + strcspn(name, "=;");
    if (*equals != '=' || equals == name) {
        return false;
    }
    const char *end = equals + 1 + strcspn(equals + 1, ";");
    const char *last = end;
    while (last > equals + 1 && isblank((unsigned char)last[-1])) {
        last--;
    }
    *ret_name = name;
    *ret_name_len = (size_t)(equals - name);
    *ret_value = equals + 1;
    *ret_value_len = (size_t)(last - equals - 1);
    *at = *end == ';' ? skip_blanks(end + 1) : end;
    return true;
}

static bool is_id(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)value[i])) {
            return false;
        }
    }
    return len > 0 && len < STS_ID_MAX;
}

static bool read_record(const char *text, char ret_id[STS_ID_MAX])
{
    const char *at = text + strlen("v=STSv1;"), *name, *value;
    size_t name_len, value_len;
    bool found = false;
    for (at = skip_blanks(at); *at;) {
        if (!next_field(&at, &name, &name_len, &value, &value_len)) {
            return false;
        }
        if (name_len == 2 && memcmp(name, "id", 2) == 0 && !found) {
            if (!is_id(value, value_len)) {
                return false;
            }
            memcpy(ret_id, value, value_len);
            ret_id[value_len] = '\0';
            found = true;
        }
    }
    return found;
}

bool sts_record_id(const struct dns_txt *txt, char ret_id[STS_ID_MAX])
{
    const char *only = NULL;
    for (uint32_t i = 0; i < txt->n; i++) {
        if (strncmp(txt->text[i], "v=STSv1;", 8) != 0) {
            continue;
        }
        if (only) {
            return false;
        }
        only = txt->text[i];
    }
    return only && read_record(only, ret_id);
}

/* ---- the policy (RFC 8461 3.2) ----------------------------------------------------------- */

struct line {
    const char *name, *value;
    size_t name_len, value_len;
};

/* "name: value" up to LF or CRLF. Empty lines are passed over; false: the end, or no such line
 * (*ret_bad). */
static bool next_line(const char **at, struct line *ret_line, bool *ret_bad)
{
    while (**at == '\r' || **at == '\n') {
        (*at)++;
    }
    size_t len = strcspn(*at, "\n");
    const char *end = *at + len, *colon = memchr(*at, ':', len);
    *ret_bad = len > 0 && (!colon || colon == *at);
    if (len == 0 || *ret_bad) {
        return false;
    }
    ret_line->name = *at;
    ret_line->name_len = (size_t)(colon - *at);
    ret_line->value = skip_blanks(colon + 1);
    *at = end;
    while (end > ret_line->value && isspace((unsigned char)end[-1])) {
        end--;
    }
    ret_line->value_len = end > ret_line->value ? (size_t)(end - ret_line->value) : 0;
    return true;
}

static bool name_is(const struct line *line, const char *name)
{
    return line->name_len == strlen(name) && memcmp(line->name, name, line->name_len) == 0;
}

static bool value_is(const struct line *line, const char *value)
{
    return line->value_len == strlen(value) && memcmp(line->value, value, line->value_len) == 0;
}

static bool read_mode(const struct line *line, enum sts_mode *ret_mode)
{
    static const char *const words[] = {
        [STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce"};
    for (enum sts_mode mode = STS_NONE; mode <= STS_ENFORCE; mode++) {
        if (value_is(line, words[mode])) {
            *ret_mode = mode;
            return true;
        }
    }
    return false;
}

/* At most ten digits; what is above a year counts as a year. */
static bool read_age(const struct line *line, uint32_t *ret_age_s)
{
    uint64_t age = 0;
    for (size_t i = 0; i < line->value_len; i++) {
        if (!isdigit((unsigned char)line->value[i]) || i == 10) {
            return false;
        }
        age = age * 10 + (uint64_t)(line->value[i] - '0');
    }
    *ret_age_s = age < STS_MAX_AGE_S ? (uint32_t)age : STS_MAX_AGE_S;
    return line->value_len > 0;
}

/* Which fields were there; of each but mx the first counts. */
struct seen {
    bool version, mode, age, mx;
};

static const char *take_line(const struct line *line, struct seen *seen, struct sts_policy *policy)
{
    const char *why = NULL;
    if (name_is(line, "version") && !seen->version) {
        seen->version = true;
        why = value_is(line, "STSv1") ? NULL : "another version than STSv1";
    } else if (name_is(line, "mode") && !seen->mode) {
        seen->mode = true;
        why = read_mode(line, &policy->mode) ? NULL : "an unknown mode";
    } else if (name_is(line, "max_age") && !seen->age) {
        seen->age = true;
        why = read_age(line, &policy->max_age_s) ? NULL : "max_age is not a number of seconds";
    } else if (name_is(line, "mx")) {
        seen->mx = true;
    }
    return why;
}

bool sts_policy_parse(const char *body, struct sts_policy *ret_policy, const char **ret_why)
{
    struct sts_policy policy = {.mode = STS_NONE};
    struct seen seen = {0};
    struct line line;
    bool bad = false;
    *ret_why = NULL;
    while (!*ret_why && next_line(&body, &line, &bad)) {
        *ret_why = take_line(&line, &seen, &policy);
    }
    if (*ret_why) {
        return false;
    }
    if (bad || !seen.version || !seen.mode || !seen.age) {
        *ret_why = bad ? "a line without a colon" : "version, mode or max_age is missing";
        return false;
    }
    if (policy.mode != STS_NONE && !seen.mx) {
        *ret_why = "no mx";
        return false;
    }
    *ret_policy = policy;
    return true;
}

/* ---- hosts (RFC 8461 4.1) ---------------------------------------------------------------- */

/* "*." stands for exactly one label. */
static bool pattern_matches(const char *pattern, size_t len, const char *host)
{
    if (len > 0 && pattern[len - 1] == '.') {
        len--;
    }
    if (len > 2 && pattern[0] == '*' && pattern[1] == '.') {
        const char *dot = strchr(host, '.');
        if (!dot || dot == host) {
            return false;
        }
        host = dot + 1;
        pattern += 2;
        len -= 2;
    }
    return strlen(host) == len && strncasecmp(host, pattern, len) == 0;
}

bool sts_policy_matches(const char *body, const char *host)
{
    struct line line;
    bool bad;
    while (next_line(&body, &line, &bad)) {
        if (name_is(&line, "mx") && pattern_matches(line.value, line.value_len, host)) {
            return true;
        }
    }
    return false;
}
