/* ses_smtp.c - see ses_smtp.h: the key of SigV4 for a fixed day signs a fixed word; its MAC, behind
 * the number of the version, is the password. */
#include "control/ses_smtp.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#define MAC_BYTES 32
#define VERSION   0x04

bool ses_smtp_password(const char *secret, const char *region,
                       char ret_password[SES_SMTP_PASSWORD_MAX])
{
    const char *const words[] = {"11111111", region, "ses", "aws4_request", "SendRawEmail"};
    char key[512];
    unsigned char mac[1 + MAC_BYTES];
    int n = snprintf(key, sizeof key, "AWS4%s", secret);
    bool good = n > 0 && (size_t)n < sizeof key;
    const void *with = key;
    int with_bytes = n;
    for (size_t i = 0; good && i < sizeof words / sizeof words[0]; i++) {
        unsigned char out[MAC_BYTES];
        good = HMAC(EVP_sha256(), with, with_bytes, (const unsigned char *)words[i],
                    strlen(words[i]), out, NULL) != NULL;
        memcpy(mac + 1, out, sizeof out);
        with = mac + 1;
        with_bytes = MAC_BYTES;
    }
    mac[0] = VERSION;
    if (good) {
        (void)EVP_EncodeBlock((unsigned char *)ret_password, mac, sizeof mac);
    }
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(mac, sizeof mac);
    return good;
}
