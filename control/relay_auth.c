/* relay_auth.c - what AUTH of a relay needs beside the password: a token, HMAC-MD5. See
 * relay_private.h. */
#include "control/relay_private.h"
#include "control/secret_file.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

void relay_hmac_md5(const char *key, const uint8_t *message, size_t len, uint8_t ret_mac[16])
{
    INVARIANT(HMAC(EVP_md5(), key, (int)strlen(key), message, len, ret_mac, NULL) != NULL);
}

static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f) {
            return false;
        }
    }
    return len > 0 && len < SMTP_TOKEN_MAX;
}

bool relay_token_read(const struct ctl_route *config, char **ret_token, char *ret_why,
                      size_t why_bytes)
{
    char text[SMTP_TOKEN_MAX + 2];
    *ret_token = NULL;
    if (!config->token_file[0]) {
        return true;
    }
    if (secret_file_read(config->token_file, text, sizeof text, NULL, ret_why, why_bytes) < 0) {
        return false;
    }
    size_t len = strcspn(text, "\r\n");
    text[len] = '\0';
    if (is_token(text, len)) {
        *ret_token = ctl_must(strdup(text));
    } else {
        (void)snprintf(ret_why, why_bytes, "%.180s: its first line is no token",
                       config->token_file);
    }
    explicit_bzero(text, sizeof text);
    return *ret_token != NULL;
}

void relay_token_free(char *token)
{
    if (token) {
        explicit_bzero(token, strlen(token));
    }
    free(token);
}
