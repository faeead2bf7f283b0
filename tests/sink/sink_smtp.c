/* sink_smtp.c - a good server, where the script says nothing: see sink.h. */
#include "tests/sink/sink.h"

#include <strings.h>

static const char good_offer[] = "PIPELINING 8BITMIME SMTPUTF8 ENHANCEDSTATUSCODES DSN CHUNKING";

static size_t put_keyword(char *buf, size_t buf_bytes, const char *keyword, size_t len)
{
    int n = snprintf(buf, buf_bytes, "250-%.*s\r\n", (int)len, keyword);
    return n > 0 && (size_t)n < buf_bytes ? (size_t)n : 0;
}

static void ehlo_reply(const struct sink_session *s, char *buf, size_t buf_bytes)
{
    const char *offer = s->script->offers ? s->script->offer : good_offer;
    size_t used = put_keyword(buf, buf_bytes, "sink", 4);
    while (*offer) {
        size_t len = strcspn(offer, " ");
        used += put_keyword(buf + used, buf_bytes - used, offer, len);
        offer += len + strspn(offer + len, " ");
    }
    if (s->script->cert[0]) {
        const char *keyword = s->ssl ? "REQUIRETLS" : "STARTTLS";
        used += put_keyword(buf + used, buf_bytes - used, keyword, strlen(keyword));
    }
    (void)snprintf(buf + used, buf_bytes - used, "250 HELP\r\n");
}

const char *sink_reply(struct sink_session *s, enum sink_event event, char *buf, size_t buf_bytes)
{
    switch (event) {
    case SINK_CONNECT:
        return "220 sink ESMTP\r\n";
    case SINK_EHLO:
        ehlo_reply(s, buf, buf_bytes);
        return buf;
    case SINK_HELO:
        return "250 sink\r\n";
    case SINK_STARTTLS:
        return s->script->cert[0] ? "220 2.0.0 go ahead\r\n" : "502 5.5.1 not here\r\n";
    case SINK_MAIL:
        return "250 2.1.0 ok\r\n";
    case SINK_RCPT:
        return "250 2.1.5 ok\r\n";
    case SINK_DATA:
        return s->accepted ? "354 go ahead\r\n" : "554 5.5.1 no valid recipients\r\n";
    case SINK_DOT:
        return "250 2.0.0 kept\r\n";
    case SINK_BDAT:
        return s->chunk_last ? "250 2.0.0 kept\r\n" : "250 2.0.0 chunk\r\n";
    case SINK_RSET:
        return "250 2.0.0 ok\r\n";
    case SINK_QUIT:
        return "221 2.0.0 bye\r\n";
    case SINK_OTHER:
        return "500 5.5.2 what\r\n";
    case SINK_BODY:
    case SINK_SECURED:
    case SINK_EVENTS:
        break;
    }
    return "";
}

void sink_said(struct sink_session *s, const char *reply)
{
    bool yes = reply[0] == '2';
    switch (s->event) {
    case SINK_MAIL:
        s->accepted = false;
        break;
    case SINK_RCPT:
        s->accepted |= yes;
        break;
    case SINK_DATA:
        s->expect = reply[0] == '3' ? SINK_IN_BODY : SINK_COMMAND;
        s->body_begun = false;
        s->bytes = 0;
        break;
    case SINK_DOT:
    case SINK_BDAT:
        if (yes && (s->event == SINK_DOT || s->chunk_last)) {
            s->sink->accepted++;
            sink_log(s, "accepted", "");
        }
        break;
    default:
        break;
    }
}

/* ---- commands ---------------------------------------------------------------------------- */

static void begin_chunk(struct sink_session *s, const char *line)
{
    char *end;
    s->chunk_left = strtoull(line + 5, &end, 10);
    s->chunk_last = strcasecmp(end, " LAST") == 0;
    s->expect = SINK_IN_CHUNK;
    sink_log(s, "chunk", line);
    if (s->chunk_left == 0) {
        s->expect = SINK_COMMAND;
        sink_happens(s, SINK_BDAT, line);
    }
}

void sink_command(struct sink_session *s, const char *line)
{
    static const struct {
        const char *verb;
        enum sink_event event;
    } verbs[] = {{"EHLO ", SINK_EHLO}, {"HELO ", SINK_HELO}, {"STARTTLS", SINK_STARTTLS},
                 {"MAIL ", SINK_MAIL}, {"RCPT ", SINK_RCPT}, {"DATA", SINK_DATA},
                 {"RSET", SINK_RSET},  {"QUIT", SINK_QUIT}};
    if (strncasecmp(line, "BDAT ", 5) == 0) {
        begin_chunk(s, line);
        return;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strncasecmp(line, verbs[i].verb, strlen(verbs[i].verb)) == 0) {
            sink_happens(s, verbs[i].event, line);
            return;
        }
    }
    sink_happens(s, SINK_OTHER, line);
}

void sink_body_line(struct sink_session *s, const uint8_t *line, size_t len)
{
    if (len == 3 && memcmp(line, ".\r\n", 3) == 0) {
        s->expect = SINK_COMMAND;
        sink_happens(s, SINK_DOT, ".");
        return;
    }
    s->bytes += len;
    if (!s->body_begun) {
        s->body_begun = true;
        sink_happens(s, SINK_BODY, "");
    }
}
