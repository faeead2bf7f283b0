"""wirepostctl on a terminal: emphasis, the bar, a screen that is drawn again, texts that are cut to fit."""
import re
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "lab")]
import tap  # noqa: E402
from ctl import Ctl  # noqa: E402
from fake_daemon import FakeDaemon, result  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

STATS = {"messages": {}, "paths": [], "uptime_s": 1.0}
LIST = {"messages": [{"id": "1" * 16, "sender": "acme", "mail_from": "a@b.example", "last": "450 " + "wörter " * 40}], "total": 1, "next": None}


def script(request, raw):
    answers = {"config.get": {"config": 1000}, "inject": {"id": f"{request['id']:016x}"}, "stats": STATS, "queue.list": LIST}
    yield result(request, answers[request["method"]])


def outbox(work, count):
    folder = work / "outbox"
    folder.mkdir()
    for n in range(count):
        (folder / f"{n:03}.eml").write_bytes(b"From: a@b.example\n\n" if n != count // 2 else b"")  # an empty one is refused
    return folder


def heads_are_bold_unless_that_is_not_wanted(work, ctl):
    with FakeDaemon(work / "s", script):
        for argv, env, bold in (([], {}, True), (["--no-color"], {}, False), ([], {"NO_COLOR": "1"}, False), ([], {"NO_COLOR": ""}, True), (["--json"], {}, False)):
            status, shown = ctl.on_terminal(work / "s", *argv, "queue", "list", env=env)
            expect_equal(f"{argv} {env}", (status, "\x1b[1mID  " in shown, "\x1b[0m" in shown), (0, bold, bold))
        expect("\x1b" not in ctl.run(work / "s", "queue", "list")[1], "bold on a pipe")


def the_last_column_is_cut_to_the_terminal_and_nowhere_else(work, ctl):
    with FakeDaemon(work / "s", script):
        for columns in (120, 150):
            _, shown = ctl.on_terminal(work / "s", "--no-color", "queue", "list", columns=columns)
            row = shown.splitlines()[1]
            expect_equal(f"{columns} columns: {row}", (len(row), row[-1]), (columns, "…"))
        expect("wörter " * 39 in ctl.run(work / "s", "queue", "list")[1], "cut on a pipe")


def a_bar_shows_how_far_it_is(work, ctl):
    folder = outbox(work, 50)
    with FakeDaemon(work / "s", script):
        with open(work / "ids", "wb") as ids:
            status, shown = ctl.on_terminal(work / "s", "inject", "--to", "x@y.example", folder, stdout=ids)
        expect_equal("status", status, 65)
        expect_equal("ids", len((work / "ids").read_text().splitlines()), 49)
        expect(re.search(r"\r\[#{30}\] 50 of 50, 1 refused, \d+/s\x1b\[K\r\n49 accepted, 1 refused\r\n$", shown), f"the end: {shown!r}")
        expect("\r\x1b[Kwirepostctl: " + str(folder) in shown, f"a refusal stands on a line of its own: {shown!r}")


def ids_and_the_bar_share_a_terminal(work, ctl):
    folder = outbox(work, 20)
    with FakeDaemon(work / "s", script):
        _, shown = ctl.on_terminal(work / "s", "inject", "--to", "x@y.example", folder)
    rows = [row.split("\x1b[K")[-1].strip("\r") for row in shown.split("\n")]
    expect_equal("ids", len([row for row in rows if re.fullmatch(rf"[0-9a-f]{{16}}  {folder}/\d\d\d.eml", row)]), 19)


def there_is_no_bar_for_one_message_or_without_a_terminal_unless_asked_for(work, ctl):
    folder = outbox(work, 5)
    with FakeDaemon(work / "s", script):
        _, shown = ctl.on_terminal(work / "s", "inject", "--to", "x@y.example", folder / "000.eml")
        expect("[" not in shown and "\x1b" not in shown, shown)
        _, _, err = ctl.run(work / "s", "inject", "--to", "x@y.example", folder)
        expect("[" not in err and "\r" not in err, err)
        _, _, err = ctl.run(work / "s", "inject", "--progress", "--to", "x@y.example", folder)
        expect(re.search(r"^\[#{30}\] 5 of 5, 1 refused, \d+/s$", err, re.M) and "\r" not in err and "\x1b" not in err, err)


def a_slow_daemon_is_told_of_now_and_then_without_a_terminal(work, ctl):
    def slow(request, raw):
        if request["id"] == 3:
            time.sleep(2.2)
        yield from script(request, raw)
    with FakeDaemon(work / "s", slow):
        _, _, err = ctl.run(work / "s", "inject", "--progress", "--to", "x@y.example", outbox(work, 5))
    expect(re.search(r"^\[#+\.+\] [1-4] of 5", err, re.M), err)


def watch_draws_the_screen_again(work, ctl):
    with FakeDaemon(work / "s", script):
        _, shown = ctl.on_terminal(work / "s", "stats", "--watch", "0.1", until=lambda text: text.count(b"\x1b[2J") >= 3)
        expect(shown.startswith("\x1b[H\x1b[2Jup "), shown[:50])
        _, shown = ctl.on_terminal(work / "s", "--json", "stats", "--watch", "0.1", until=lambda text: text.count(b"\n") >= 3)
        expect("\x1b" not in shown, shown)


def main():
    args = tap.arguments(__doc__)
    tap.run([heads_are_bold_unless_that_is_not_wanted, the_last_column_is_cut_to_the_terminal_and_nowhere_else, a_bar_shows_how_far_it_is,
             ids_and_the_bar_share_a_terminal, there_is_no_bar_for_one_message_or_without_a_terminal_unless_asked_for,
             a_slow_daemon_is_told_of_now_and_then_without_a_terminal, watch_draws_the_screen_again], args, Ctl(args.build))


if __name__ == "__main__":
    main()
