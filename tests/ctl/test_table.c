/* test_table.c - aligned tables (tools/wpctl_table.h). */
#include "tests/ctl/tap.h"
#include "tools/wpctl_table.h"

#include <locale.h>
#include <stdio.h>

/* Prints and frees the table; compares what came out. */
static void expect_print(struct wpctl_table *table, const struct wpctl_table_style *style,
                         const char *want)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    wpctl_table_print(table, out, style);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_str_eq(text, want);
    free(text);
}

static const struct wpctl_table_style plain = {.empty = "nothing"};

START_TEST(columns_are_aligned_left_or_right_under_their_heads)
{
    struct wpctl_table *table = wpctl_table_new("NAME|>N|LAST");
    wpctl_cell(table, "a");
    wpctl_cell_count(table, 1234567);
    wpctl_cell(table, "x");
    wpctl_cell(table, "longer name");
    wpctl_cell_bytes(table, 1500);
    wpctl_cell_format(table, "%d of %s", 5, "six");
    expect_print(table, &plain,
                 "NAME                 N  LAST\n"
                 "a            1,234,567  x\n"
                 "longer name     1.5 kB  5 of six\n");
}
END_TEST

START_TEST(a_last_column_may_be_aligned_to_the_right)
{
    struct wpctl_table *table = wpctl_table_new("NAME|>N");
    wpctl_cell(table, "a");
    wpctl_cell_count(table, 10);
    expect_print(table, &plain, "NAME   N\na     10\n");
}
END_TEST

START_TEST(alignment_counts_columns_and_not_bytes)
{
    struct wpctl_table *table = wpctl_table_new("NAME|LAST");
    wpctl_cell(table, "grüße");
    wpctl_cell(table, "x");
    wpctl_cell(table, "日本語");
    wpctl_cell(table, "x");
    expect_print(table, &plain, "NAME    LAST\ngrüße   x\n日本語  x\n");
}
END_TEST

START_TEST(cells_are_made_visible_and_an_empty_one_is_a_dash)
{
    struct wpctl_table *table = wpctl_table_new("A|B|C");
    wpctl_cell(table, "\x1b[2J");
    wpctl_cell(table, "");
    wpctl_cell_format(table, "%s", "\n");
    expect_print(table, &plain, "A        B  C\n\\x1b[2J  -  \\n\n");
}
END_TEST

START_TEST(negative_bytes_are_none)
{
    struct wpctl_table *table = wpctl_table_new("A");
    wpctl_cell_bytes(table, -1);
    expect_print(table, &plain, "A\n0 B\n");
}
END_TEST

START_TEST(without_a_row_the_table_says_so)
{
    expect_print(wpctl_table_new("A|B"), &plain, "nothing\n");
}
END_TEST

START_TEST(heads_are_bold_when_that_is_wanted)
{
    const struct wpctl_table_style style = {.bold_heads = true};
    struct wpctl_table *table = wpctl_table_new("A|B");
    wpctl_cell(table, "1");
    wpctl_cell(table, "2");
    expect_print(table, &style, "\x1b[1mA  B\x1b[0m\n1  2\n");
}
END_TEST

static const struct {
    size_t columns;
    const char *cell; /* what is left of "0123456789abcdef" */
} clips[] =
    {
        {0, "0123456789abcdef"}, {22, "0123456789abcdef"}, {21, "0123456789abcd…"},
        {17, "0123456789…"},     {16, "012345678…"},       {15, "012345678…"},
        {1, "012345678…"}, /* not below ten columns */
};

START_TEST(the_last_column_is_cut_to_fit_but_not_to_nothing)
{
    const struct wpctl_table_style style = {.columns = clips[_i].columns};
    struct wpctl_table *table = wpctl_table_new("NAME|LAST");
    char want[128];
    wpctl_cell(table, "abcd");
    wpctl_cell(table, "0123456789abcdef");
    (void)snprintf(want, sizeof want, "NAME  LAST\nabcd  %s\n", clips[_i].cell);
    expect_print(table, &style, want);
}
END_TEST

START_TEST(many_rows_are_kept)
{
    struct wpctl_table *table = wpctl_table_new(">N");
    char *want = NULL;
    size_t bytes;
    FILE *out = open_memstream(&want, &bytes);
    (void)fputs("  N\n", out);
    for (int i = 0; i < 1000; i++) {
        wpctl_cell_count(table, i);
        (void)fprintf(out, "%3d\n", i);
    }
    ck_assert_int_eq(fclose(out), 0);
    expect_print(table, &plain, want);
    free(want);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("table");
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* as main() of wirepostctl does */
    tcase_add_test(tc, columns_are_aligned_left_or_right_under_their_heads);
    tcase_add_test(tc, a_last_column_may_be_aligned_to_the_right);
    tcase_add_test(tc, alignment_counts_columns_and_not_bytes);
    tcase_add_test(tc, cells_are_made_visible_and_an_empty_one_is_a_dash);
    tcase_add_test(tc, negative_bytes_are_none);
    tcase_add_test(tc, without_a_row_the_table_says_so);
    tcase_add_test(tc, heads_are_bold_when_that_is_wanted);
    tcase_add_loop_test(tc, the_last_column_is_cut_to_fit_but_not_to_nothing, 0,
                        (int)(sizeof clips / sizeof clips[0]));
    tcase_add_test(tc, many_rows_are_kept);
    return tap_run("table", tc);
}
