/* wpctl_progress.c - see wpctl_progress.h. */
#include "tools/wpctl_progress.h"

#include "tools/wpctl.h"
#include "tools/wpctl_text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_COLUMNS  30u
#define TERMINAL_MS  100
#define ELSEWHERE_MS 2000

void wpctl_progress_init(struct wpctl_progress *progress, size_t total, bool asked)
{
    int64_t now_ms = wpctl_now_ms();
    bool terminal = isatty(STDERR_FILENO);
    *progress = (struct wpctl_progress){
        .on = asked || (terminal && total > 1),
        .terminal = terminal,
        .total = total,
        .started_ms = now_ms,
        .drawn_ms = terminal ? now_ms - TERMINAL_MS : now_ms, /* a bar at once, no line yet */
    };
}

static void bar_text(char bar[BAR_COLUMNS + 1], size_t done, size_t total)
{
    size_t filled = total > 0 ? done * BAR_COLUMNS / total : BAR_COLUMNS;
    memset(bar, '.', BAR_COLUMNS);
    memset(bar, '#', filled < BAR_COLUMNS ? filled : BAR_COLUMNS);
    bar[BAR_COLUMNS] = '\0';
}

void wpctl_progress_show(struct wpctl_progress *progress, size_t done, size_t refused)
{
    int64_t now_ms = wpctl_now_ms(), pause_ms = progress->terminal ? TERMINAL_MS : ELSEWHERE_MS;
    bool early = now_ms - progress->drawn_ms < pause_ms && done < progress->total;
    if (!progress->on || (early && !progress->hidden)) {
        return;
    }
    char bar[BAR_COLUMNS + 1], n[WPCTL_UNIT_TEXT], of[WPCTL_UNIT_TEXT], no[WPCTL_UNIT_TEXT];
    int64_t used_ms = now_ms > progress->started_ms ? now_ms - progress->started_ms : 1;
    bar_text(bar, done, progress->total);
    (void)fprintf(stderr, "%s[%s] %s of %s, %s refused, %.0f/s%s", progress->terminal ? "\r" : "",
                  bar, wpctl_count((int64_t)done, n), wpctl_count((int64_t)progress->total, of),
                  wpctl_count((int64_t)refused, no), (double)done * 1000 / (double)used_ms,
                  progress->terminal ? "\x1b[K" : "\n");
    progress->drawn = progress->terminal;
    progress->hidden = false;
    progress->drawn_ms = now_ms;
}

void wpctl_progress_hide(struct wpctl_progress *progress)
{
    if (progress->drawn) {
        (void)fputs("\r\x1b[K", stderr);
        progress->drawn = false;
        progress->hidden = true;
    }
}

void wpctl_progress_end(struct wpctl_progress *progress)
{
    if (progress->drawn) {
        (void)fputc('\n', stderr);
        progress->drawn = false;
    }
}
