/* ctl_config_login.c - who we are at a route of type "smtp": a user name with a password or a
 * token, or an access key of AWS. See ctl_config.h. */
#include "control/ctl_config_private.h"

#include "control/secret_file.h"
#include "control/ses_smtp.h"

static bool has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

/* The first line of the file; never in an error or a log. */
static bool read_secret(const char *file, char *buf, size_t buf_bytes, char *ret_error,
                        size_t error_bytes)
{
    char text[4096];
    if (secret_file_read(file, text, sizeof text, NULL, ret_error, error_bytes) < 0) {
        return false;
    }
    size_t len = strcspn(text, "\r\n");
    text[len] = '\0';
    bool good = len > 0 && len + 1 < buf_bytes && !has_control(text);
    if (good) {
        memcpy(buf, text, len + 1);
    } else {
        (void)snprintf(ret_error, error_bytes,
                       "%s: its first line is no password of 1 to %zu bytes", file, buf_bytes - 2);
    }
    explicit_bzero(text, sizeof text);
    return good;
}

/* Its id is the user name, the password is derived from its secret. */
static void take_access_key(struct ctl_parse *p, const char *path, const char *file,
                            struct ctl_route *route)
{
    char text[16384], error[CTL_PATH_MAX + 128], child[CONFIG_PATH_MAX];
    struct aws_credentials key = {0};
    bool good = secret_file_read(file, text, sizeof text, NULL, error, sizeof error) >= 0;
    if (good && !(aws_credentials_parse_file(text, &key) && !key.token[0] &&
                  ses_smtp_password(key.secret, route->ses.region, route->password))) {
        good = false;
        (void)snprintf(error, sizeof error,
                       "%s: needs aws_access_key_id and aws_secret_access_key, and no session "
                       "token: SMTP of SES takes no temporary ones",
                       file);
    }
    if (good) {
        (void)snprintf(route->username, sizeof route->username, "%s", key.key);
    } else {
        config_error_add(p->errors, config_path_join(child, path, "credentials_file"), "%s", error);
    }
    explicit_bzero(text, sizeof text);
    explicit_bzero(&key, sizeof key);
}

/* A user name with its password, or with a token. */
static void take_login(struct ctl_parse *p, const char *path, json_t *object, const char *file,
                       struct ctl_route *route)
{
    char child[CONFIG_PATH_MAX], error[CTL_PATH_MAX + 128];
    bool named = config_get_text(p->errors, path, object, "username", false, route->username,
                                 sizeof route->username);
    if (named != (file[0] || route->token_file[0]) || (file[0] && route->token_file[0])) {
        config_error_add(p->errors, path,
                         "\"username\" belongs together with \"password_file\" or "
                         "\"token_file\"");
        return;
    }
    if (named && (has_control(route->username) || !route->username[0])) {
        config_error_add(p->errors, config_path_join(child, path, "username"),
                         "is empty or has a control character in it");
    }
    if (file[0] &&
        !read_secret(file, route->password, sizeof route->password, error, sizeof error)) {
        config_error_add(p->errors, config_path_join(child, path, "password_file"), "%s", error);
    }
}

void ctl_config_parse_login(struct ctl_parse *p, const char *path, json_t *object,
                            struct ctl_route *route)
{
    char file[CTL_PATH_MAX] = "", key_file[CTL_PATH_MAX] = "", child[CONFIG_PATH_MAX];
    (void)config_get_text(p->errors, path, object, "password_file", false, file, sizeof file);
    (void)config_get_text(p->errors, path, object, "token_file", false, route->token_file,
                          sizeof route->token_file);
    bool key = config_get_text(p->errors, path, object, "credentials_file", false, key_file,
                               sizeof key_file);
    if (key && (!route->ses.region[0] || json_object_get(object, "username"))) {
        config_error_add(p->errors, config_path_join(child, path, "credentials_file"),
                         "belongs to \"ses_smtp\", without \"username\"");
    } else if (key) {
        take_access_key(p, path, key_file, route);
    } else {
        take_login(p, path, object, file, route);
    }
    if (route->username[0] && route->policy != TLS_POLICY_VERIFY) {
        config_error_add(p->errors, config_path_join(child, path, "tls"),
                         "must be \"verify\" for a route with a password");
    }
}
