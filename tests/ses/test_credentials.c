/* test_credentials.c - access keys from files, the environment and the metadata service. */
#include "control/aws_credentials.h"
#include "control/secret_file.h"
#include "control/ses_smtp.h"
#include "tests/control_lib/tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(a_file_as_the_tools_of_aws_write_it_is_read)
{
    static const char *const good[] = {
        "aws_access_key_id = AK\naws_secret_access_key = SE/+=\n",
        "[default]\r\naws_access_key_id=AK\r\naws_secret_access_key=SE/+=\r\nregion = "
        "eu-west-1\r\n",
        "# mine\n\n[other]\naws_access_key_id = XX\naws_secret_access_key = YY\n[default]\n "
        "aws_access_key_id = AK \n; no\naws_secret_access_key=SE/+=",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct aws_credentials c;
        ck_assert_msg(aws_credentials_parse_file(good[i], &c), "%zu", i);
        ck_assert_str_eq(c.key, "AK");
        ck_assert_str_eq(c.secret, "SE/+=");
        ck_assert_str_eq(c.token, "");
        ck_assert_int_eq(c.expires_ms, INT64_MAX);
    }
}
END_TEST

START_TEST(what_is_incomplete_or_could_break_a_header_is_refused)
{
    static const char *const bad[] = {
        "",
        "aws_access_key_id = AK\n",
        "aws_secret_access_key = SE\n",
        "[other]\naws_access_key_id = AK\naws_secret_access_key = SE\n",
        "aws_access_key_id = A K\naws_secret_access_key = SE\n",
        "aws_access_key_id = AK\naws_secret_access_key = S\x01\n",
        "aws_access_key_id = AK\naws_secret_access_key = SE\naws_session_token = t\xc3\xa4\n",
        "aws_access_key_id = AK\naws_secret_access_key = SE\njust a line\n",
    };
    struct aws_credentials c = {.key = "before"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!aws_credentials_parse_file(bad[i], &c), "%zu", i);
    }
    char longer[6000] = "aws_access_key_id = AK\naws_secret_access_key = ";
    memset(longer + strlen(longer), 'x', 5000);
    ck_assert(!aws_credentials_parse_file(longer, &c));
    ck_assert_str_eq(c.key, "before");
}
END_TEST

START_TEST(the_answer_of_the_metadata_service_needs_all_its_members)
{
    static const char good[] =
        "{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
        "\"Expiration\":\"2026-11-24T12:00:00Z\"}";
    struct aws_credentials c;
    ck_assert(aws_credentials_parse_instance(good, strlen(good), &c));
    ck_assert_str_eq(c.token, "T");
    ck_assert_int_eq(c.expires_ms, INT64_C(1795521600000));
    static const char *const members[] = {"Success", "AccessKeyId", "SecretAccessKey",
                                          "Token",   "Expiration",  "2026"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        char bad[sizeof good];
        memcpy(bad, good, sizeof good);
        strstr(bad, members[i])[0] = '_';
        ck_assert_msg(!aws_credentials_parse_instance(bad, strlen(bad), &c), "%s", bad);
    }
    for (size_t n = 0; n < strlen(good); n++) {
        ck_assert(!aws_credentials_parse_instance(good, n, &c));
    }
}
END_TEST

START_TEST(the_environment_is_used_when_both_are_there)
{
    struct aws_credentials c;
    ck_assert_int_eq(unsetenv("AWS_SESSION_TOKEN"), 0);
    ck_assert_int_eq(setenv("AWS_ACCESS_KEY_ID", "AK", 1), 0);
    ck_assert_int_eq(unsetenv("AWS_SECRET_ACCESS_KEY"), 0);
    ck_assert(!aws_credentials_from_environment(&c));
    ck_assert_int_eq(setenv("AWS_SECRET_ACCESS_KEY", "SE", 1), 0);
    ck_assert(aws_credentials_from_environment(&c));
    ck_assert_int_eq(setenv("AWS_SESSION_TOKEN", "T\r\nX: y", 1), 0);
    ck_assert(!aws_credentials_from_environment(&c));
}
END_TEST

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(a_secret_that_others_may_read_is_refused_and_never_quoted)
{
    char path[] = "/tmp/wirepost-secret-XXXXXX", buf[64], error[256];
    struct secret_file_stamp stamp;
    ck_assert_int_eq(close(mkstemp(path)), 0);
    static const struct {
        mode_t mode;
        bool good;
    } modes[] = {{0600, true},  {0400, true},  {0640, true},  {0644, false},
                 {0604, false}, {0660, false}, {0602, false}, {0777, false}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        write_file(path, "hunter2", modes[i].mode);
        long n = secret_file_read(path, buf, sizeof buf, &stamp, error, sizeof error);
        ck_assert_msg((n == 7) == modes[i].good, "%o: %ld %s", modes[i].mode, n,
                      n < 0 ? error : "");
        ck_assert(n >= 0 || (strstr(error, path) && !strstr(error, "hunter2")));
    }
    write_file(path, "hunter2", 0600);
    ck_assert_int_eq(secret_file_read(path, buf, 7, NULL, error, sizeof error),
                     -1); /* no room for the NUL */
    ck_assert_int_eq(secret_file_read(path, buf, sizeof buf, &stamp, error, sizeof error), 7);
    ck_assert(!secret_file_changed(path, &stamp));
    write_file(path, "hunter22", 0600);
    ck_assert(secret_file_changed(path, &stamp));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert(secret_file_changed(path, &stamp));
    ck_assert_int_eq(secret_file_read("/tmp", buf, sizeof buf, NULL, error, sizeof error), -1);
}
END_TEST

START_TEST(the_password_of_the_smtp_endpoint_is_derived_as_documented)
{
    /* by the steps of the developer guide, in Python's own hmac */
    static const struct {
        const char *secret, *region, *password;
    } derived[] = {
        {"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "eu-west-1",
         "BMW5RDrXmmVs0lV7GpI4oLkHXpZ4stDsk6q91z1g38Pk"},
        {"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1",
         "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"},
        {"x", "ap-south-1", "BNWwoW0aqoOqGhCWafg1kzhVzj6WOjJ+67qEaXTIWk5+"},
    };
    for (size_t i = 0; i < sizeof derived / sizeof derived[0]; i++) {
        char password[SES_SMTP_PASSWORD_MAX];
        ck_assert(ses_smtp_password(derived[i].secret, derived[i].region, password));
        ck_assert_str_eq(password, derived[i].password);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("credentials");
    tcase_add_test(tc, a_file_as_the_tools_of_aws_write_it_is_read);
    tcase_add_test(tc, what_is_incomplete_or_could_break_a_header_is_refused);
    tcase_add_test(tc, the_answer_of_the_metadata_service_needs_all_its_members);
    tcase_add_test(tc, the_environment_is_used_when_both_are_there);
    tcase_add_test(tc, the_password_of_the_smtp_endpoint_is_derived_as_documented);
    tcase_add_test(tc, a_secret_that_others_may_read_is_refused_and_never_quoted);
    return tap_run("credentials", tc);
}
