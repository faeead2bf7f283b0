/* dsn_samples.h - requests for bounces, for test_dsn.c and, printed by dsn_print.c, test_dsn.py. */
#ifndef WIREPOST_TESTS_CONTROL_LIB_DSN_SAMPLES_H
#define WIREPOST_TESTS_CONTROL_LIB_DSN_SAMPLES_H

#include "control/dsn.h"

#include <string.h>

#define DSN_ORIGINAL                                                                               \
    "From: a@acme.example\r\nTo: nobody@example.net\r\nSubject: folded\r\n subject\r\n"            \
    ".odd: field\r\n\r\nthe body is not returned\r\n"
#define DSN_ORIGINAL_8BIT "Subject: =\xc3\xa9 \r\nX: y\r\n\r\nbody\r\n"
#define DSN_ORIGINAL_RAW  "Subject: \xe9\xff\r\n\r\nbody\r\n"
#define DSN_LONG          "550 5.7.1 aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii jjjj kkkk llll mmmm nnnn"
#define DSN_X100                                                                                   \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxxxxx"
#define DSN_X1000                                                                                  \
    DSN_X100 DSN_X100 DSN_X100 DSN_X100 DSN_X100 DSN_X100 DSN_X100 DSN_X100 DSN_X100 DSN_X100

#define DSN_E10  "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
#define DSN_E50  DSN_E10 DSN_E10 DSN_E10 DSN_E10 DSN_E10
#define DSN_E200 DSN_E50 DSN_E50 DSN_E50 DSN_E50

static const struct dsn_recipient dsn_plain[] = {
    {"nobody@example.net", "5.1.1", "mx1.example.net", "550 5.1.1 no such user",
     "rfc822;no@body.example", false},
    {"late@example.org", "5.4.7", "", "not delivered in 5 days", "", false},
    {"odd@[192.0.2.1]", "5.0.0", "192.0.2.1", "", "", false},
    {"six@example.org", "5.2.2", "2001:db8::25", DSN_LONG, NULL, false},
};
static const struct dsn_recipient dsn_nasty[] = {
    {"a@x\r\nBcc: evil@example.org", "5.0.0\r\n\r\n", "mx\nX: y", "550 a\r\n\r\n--report\r\n.\r\nb",
     "x\r\ny;z\r\n", false},
    {"b@x", "5.0.0", "mx", DSN_X1000 DSN_X1000, "no type", false},
    {"c@x", "5.0.0", "mx", "550 \xc3\xa9 \xe9\xff \xc2\x85 \x01\x7f   many   blanks   ", "", true},
    {"\xe7\x94\xa8\\+=@example.org", "5.6.7", "mx", "\xe7\x94\xa8", "utf-8;\xe7\x94\xa8@x", false},
    {"e@x", "5.0.0", "mx", DSN_E200 DSN_E200, "", false},
};

enum {
    DSN_PLAIN,
    DSN_NASTY,
    DSN_UTF8,
    DSN_8BIT,
    DSN_RAW,
    DSN_NO_ORIGINAL,
    DSN_UTF8_RAW,
    DSN_SAMPLES
};

static inline struct dsn_request dsn_sample(int number)
{
    const char *original = number == DSN_8BIT || number == DSN_UTF8      ? DSN_ORIGINAL_8BIT
                           : number == DSN_RAW || number == DSN_UTF8_RAW ? DSN_ORIGINAL_RAW
                           : number == DSN_NO_ORIGINAL                   ? ""
                                                                         : DSN_ORIGINAL;
    bool utf8 = number == DSN_UTF8 || number == DSN_UTF8_RAW;
    bool nasty = number == DSN_NASTY || number == DSN_UTF8;
    return (struct dsn_request){
        .id = 0x1234,
        .hostname = "mta1.example.net",
        .to = utf8 ? "\xc3\xa9@acme.example" : "bounces@acme.example",
        .unix_s = 1795460820,
        .arrival_unix_s = 1795028820,
        .recipients = nasty ? dsn_nasty : dsn_plain,
        .n_recipients =
            nasty ? sizeof dsn_nasty / sizeof dsn_nasty[0] : sizeof dsn_plain / sizeof dsn_plain[0],
        .original = (const uint8_t *)original,
        .original_len = strlen(original),
        .utf8 = utf8,
    };
}

#endif
