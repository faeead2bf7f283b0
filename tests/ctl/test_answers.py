"""wirepostctl and a daemon that refuses, is slow, is gone or talks nonsense; hostile texts; wrong use; the exit status of each."""
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "lab")]
import tap  # noqa: E402
from ctl import Ctl  # noqa: E402
from fake_daemon import HANG_UP, FakeDaemon, error, event, line, result  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

ID = "01a2b3c4d5e6f708"
REASONS = {"permission_denied": 77, "unknown_sender": 67, "bad_address": 65, "bad_message": 65, "message_too_large": 65, "too_many_recipients": 65,
           "spool_full": 75, "spool_error": 74, "draining": 75, "too_many_clients": 75, "not_found": 66, "not_possible": 69, "in_progress": 75, "key_reused": 65}
CODES = {-32700: 76, -32600: 76, -32601: 76, -32602: 64, -32000: 76}
COMMANDS = (["stats"], ["lanes"], ["queue", "list"], ["queue", "show", ID], ["why", ID], ["version"], ["drain"], ["config", "get"],
            ["events", "--no-follow"])
VERSION = {"version": "9", "protocol": 1, "pid": 1, "uptime_s": 3.5, "hostname": "x"}


def each_reason_has_the_exit_status_of_the_contract(work, ctl):
    for reason, want in REASONS.items():
        with FakeDaemon(work / reason, lambda request, raw, r=reason: [error(request, -32000, r, f"because {r}")]):
            for command in COMMANDS:
                status, _, err = ctl.run(work / reason, *command)
                expect_equal(f"{reason} of {command}", (status, err), (want, f"wirepostctl: because {reason}\n"))


def each_code_of_json_rpc_has_an_exit_status(work, ctl):
    for code, want in CODES.items():
        with FakeDaemon(work / str(code), lambda request, raw, c=code: [error(request, c, None, "no")]):
            expect_equal(str(code), ctl.run(work / str(code), "stats")[0], want)
    with FakeDaemon(work / "silent", lambda request, raw: [line({"jsonrpc": "2.0", "id": 1, "error": {}})]):
        expect_equal("an error without words", ctl.run(work / "silent", "stats"), (76, "", "wirepostctl: refused without a word\n"))


def json_has_the_error_on_stdout_too(work, ctl):
    with FakeDaemon(work / "s", lambda request, raw: [error(request, -32000, "not_found", "no such message")]):
        status, out, err = ctl.run(work / "s", "--json", "why", ID)
        expect_equal("status", (status, err), (66, "wirepostctl: no such message\n"))
        expect_equal("object", out, '{"error":{"code":-32000,"message":"no such message","data":{"reason":"not_found"}}}\n')


def a_daemon_that_is_not_there_is_told_with_the_remedy(work, ctl):
    (work / "file").write_text("")
    for name, words in (("nobody", "No such file"), ("file", "Connection refused")):
        for command in COMMANDS:
            status, _, err = ctl.run(work / name, *command)
            expect_equal(f"{name}: {err}", status, 69)
            expect(words in err and "start wirepostd" in err and "--socket" in err, err)
    status, _, err = ctl.run("/" + "x" * 200, "stats")
    expect_equal("long path", (status, "at most 107 bytes" in err), (64, True))
    if os.geteuid() != 0:
        (work / "closed").mkdir(mode=0)
        status, _, err = ctl.run(work / "closed" / "s", "stats")
        expect_equal("no right", (status, "sudo" in err), (77, True))


def a_client_that_is_turned_away_hears_why(work, ctl):
    """The daemon speaks first and hangs up: what is written then fails, what it said is still there."""
    for reason, want in (("too_many_clients", 75), ("permission_denied", 77)):
        with FakeDaemon(work / reason, greeting=error(None, -32000, reason, f"because {reason}")):
            for command in COMMANDS * 3:
                status, _, err = ctl.run(work / reason, *command)
                expect_equal(f"{command}: {err}", (status, err), (want, f"wirepostctl: because {reason}\n"))


def nonsense_is_told_and_nothing_crashes(work, ctl):
    answers = {"garbage": b"\x00\xff{{{\n", "array": b"[1,2]\n", "number": b"5\n", "empty line": b"\n", "no utf-8": b'{"id":1,"result":"\xff"}\n',
               "escape": b'{"\x1b[2J\n', "other id": line({"id": 99, "result": {}}), "text id": line({"id": "1", "result": {}}),
               "no id": line({"result": {}}), "null id": line({"id": None, "result": {}}), "neither": line({"id": 1}),
               "both": line({"id": 1, "result": {}, "error": {}}), "error is text": line({"id": 1, "error": "no"}),
               "result is text": line({"id": 1, "result": "yes"}), "twice": b'{"id":1,"id":1,"result":{}}\n', "deep": b"[" * 100000 + b"\n",
               "notification": line({"method": "other", "params": {}})}
    for number, (name, answer) in enumerate(answers.items()):
        with FakeDaemon(work / str(number), lambda request, raw, a=answer: [a]):
            for command in (["stats"], ["config", "get"]):
                status, out, err = ctl.run(work / str(number), *command)
                expect_equal(f"{name}: {err}", (status, out), (76, ""))
                expect("\x1b" not in err and "this is not wirepostd" in err, f"{name}: {err}")
            if name != "result is text":
                expect_equal(f"{name} of events", ctl.run(work / str(number), "events", "--no-follow")[0], 76)


def an_answer_without_what_was_promised_is_nonsense(work, ctl):
    with FakeDaemon(work / "empty", lambda request, raw: [result(request, {})]):
        for command in COMMANDS:
            if command[0] == "events":
                continue
            status, _, err = ctl.run(work / "empty", *command)
            expect_equal(f"{command}: {err}", (status, "same version" in err), (76, True))
    odd = {"messages": [1, None, {"recipients": 5, "bytes": "x", "last": 5}], "total": 1, "next": 7, "lanes": [[]], "dataplane": {}, "recipients_detail": [0],
           "lines": [None, 5], "protocol": 1, "in_flight": 0, "config": [], "draining": 5, "bytes": -5}
    with FakeDaemon(work / "odd", lambda request, raw: [result(request, odd | ({"messages": {}, "paths": [None, {}]} if request["method"] == "stats" else {}))]):
        for command in COMMANDS:
            status, _, err = ctl.run(work / "odd", *command)
            expect_equal(f"{command} of odd values: {err}", status, 0)


def numbers_out_of_all_proportion_do_no_harm(work, ctl):
    most, least = 2**63 - 1, -2**63
    looks = []

    def script(request, raw):
        looks.append(request)
        n, huge = (most, 1e308) if len(looks) % 2 else (least, -1e308)
        keys = ("bytes", "max_bytes", "free_bytes", "messages", "lookups", "delivered", "sent", "lane", "queue", "cpu", "heartbeat_ms", "jobs_limit", "arena_used",
                "arena_bytes", "queued", "in_flight", "attempts", "code", "pid", "seq")
        big = {key: n for key in keys} | {"uptime_s": huge if len(looks) < 9 else 1.0, "first_at": -huge, "last_at": huge}
        yield result(request, big | {"messages": big if request["method"] == "stats" else [big], "paths": [big], "spool": big, "dns": big, "lanes": [big | {"counters": big}],
                                     "dataplane": big, "recipients_detail": [big | {"last": big}], "total": n, "protocol": n, "lines": [], "config": n})
        if len(looks) > 12:
            yield HANG_UP
    with FakeDaemon(work / "s", script):
        for command in COMMANDS[:-1]:
            status, out, err = ctl.run(work / "s", *command)
            expect_equal(f"{command}: {err}", status, 0)
        expect_equal("watched", ctl.run(work / "s", "stats", "--watch", "0.1")[0], 69)


def an_answer_in_pieces_is_one_answer_and_two_in_one_piece_are_two(work, ctl):
    def pieces(request, raw):
        for byte in result(request, VERSION):
            yield bytes([byte])
    with FakeDaemon(work / "pieces", pieces):
        status, out, _ = ctl.run(work / "pieces", "version")
        expect_equal("version", (status, "wirepostd 9" in out), (0, True))
    with FakeDaemon(work / "together", lambda request, raw: [event({"seq": 1}) + event({"seq": 2}) + result(request, {"cursor": 2})]):
        status, out, _ = ctl.run(work / "together", "--json", "events", "--no-follow")
        expect_equal("events", (status, out), (0, '{"seq":1}\n{"seq":2}\n'))


def a_long_answer_is_taken_and_an_over_long_one_is_not(work, ctl):
    text = "x" * (20 << 20)
    with FakeDaemon(work / "long", lambda request, raw: [result(request, {"id": ID, "lines": [text], "records": []})]):
        status, out, _ = ctl.run(work / "long", "why", ID)
        expect_equal("20 MiB", (status, len(out)), (0, len(text) + 1))
    with FakeDaemon(work / "over", lambda request, raw: [b"x" * (1 << 20) for _ in range(66)]):
        status, out, err = ctl.run(work / "over", "why", ID)
        expect_equal("over 64 MiB", (status, "over 64 MiB" in err), (76, True))


def a_daemon_that_is_silent_or_dribbles_is_waited_for_no_longer_than_asked(work, ctl):
    def dribble(request, raw):
        for _ in range(100):
            yield b" "
            time.sleep(0.1)
    for name, script in (("silent", lambda request, raw: []), ("dribbles", dribble)):
        with FakeDaemon(work / name, script):
            for command in COMMANDS[:1] + (["events"],):
                began = time.monotonic()
                status, _, err = ctl.run(work / name, "--timeout", "1", *command)
                expect_equal(f"{name}: {err}", (status, "no answer within 1 s (--timeout)" in err), (75, True))
                expect(time.monotonic() - began < 5, f"{name} was waited for too long")


def a_daemon_that_hangs_up_is_told(work, ctl):
    for name, answers in (("at once", [HANG_UP]), ("in the middle", [b'{"id":1,"res', HANG_UP])):
        with FakeDaemon(work / name, lambda request, raw, a=answers: a):
            for command in COMMANDS:
                status, _, err = ctl.run(work / name, *command)
                expect_equal(f"{name}: {err}", (status, "closed the connection; its log may say why" in err), (69, True))


# ---- hostile texts -----------------------------------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\x1b[31m\r\n\u009b2J\u202eevil\x7f\u2028\u200b"
BAD = ("\x1b", "\x07", "\u009b", "\u202e", "\x7f", "\r", "\u2028", "\u200b")


def hostile(request, raw):
    """Every text that the daemon can say, and the names of members that it chooses."""
    method, message = request["method"], {"id": EVIL, "sender": EVIL, "stream": EVIL, "mail_from": EVIL, "accepted_at": EVIL, "expires_at": EVIL,
                                          "next_try_at": EVIL, "last": EVIL, "dsn_for": EVIL}
    values = {
        "queue.list": {"messages": [message], "total": 1, "next": EVIL},
        "queue.show": message | {"recipients_detail": [{"address": EVIL, "state": EVIL, "next_try_at": EVIL, "last": {
            "source": EVIL, "host": EVIL, "stage": EVIL, "code": 5, "enhanced": EVIL, "text": EVIL}}]},
        "message.why": {"lines": [EVIL], "records": [{EVIL: EVIL}]},
        "stats": {"messages": {}, "paths": [{"source": EVIL, "site": EVIL}], "spool": {EVIL: EVIL}},
        "lanes": {"dataplane": {"state": EVIL}, "lanes": [{"port": EVIL, "state": EVIL}]},
        "version": {"version": EVIL, "hostname": EVIL, "protocol": 1},
        "config.get": {"config": {EVIL: [EVIL]}},
        "config.check": {"ok": False, "errors": [{"path": EVIL, "message": EVIL}]},
        "drain": {"draining": EVIL, "in_flight": 0, EVIL: EVIL},
        "events": {"cursor": 1},
    }
    if method == "events":
        yield event({"seq": 1, "at": EVIL, "type": EVIL, EVIL: 1, "text": EVIL, "list": [EVIL, {EVIL: EVIL}]})
    yield result(request, values[method])


def check_clean(what, text, shown=True):
    for bad in BAD:
        expect(bad not in text, f"{what}: {bad!r} came through: {text!r}")
    if shown:
        expect("\\x1b" in text or "\\u001B" in text.replace("\\u001b", "\\u001B"), f"{what}: not made visible: {text!r}")


def escape_sequences_never_reach_the_terminal(work, ctl):
    (work / "empty.json").write_text("{}")
    with FakeDaemon(work / "evil", hostile):
        for command in COMMANDS + (["config", "check", work / "empty.json"],):
            _, out, err = ctl.run(work / "evil", *command)
            check_clean(command, out + err, shown=command != ["drain"])
            _, out, err = ctl.run(work / "evil", "--json", *command)
            check_clean(["--json", *command], out + err)
    with FakeDaemon(work / "refuses", lambda request, raw: [error(request, -32000, "not_found", EVIL)]):
        for command in COMMANDS:
            _, out, err = ctl.run(work / "refuses", *command)
            check_clean(command, out + err)
            _, out, err = ctl.run(work / "refuses", "--json", *command)
            check_clean(command, out + err)


# ---- wrong use ---------------------------------------------------------------------------------------------------------------

def wrong_use_is_told_in_words_and_asks_no_daemon(work, ctl):
    wrong = ([], ["no-such"], ["help", "no-such"], ["help", "a", "b"], ["--no-such"], ["--socket"], ["--timeout", "x", "stats"], ["--timeout", "-1", "stats"],
             ["--timeout", "86401", "stats"], ["--timeout", "", "stats"], ["queue"], ["queue", "empty"], ["queue", "show"], ["queue", "show", ID, ID],
             ["queue", "list", ID], ["queue", "list", "--no-such"], ["queue", "list", "--limit", "abc"], ["queue", "list", "--limit", "0"],
             ["queue", "list", "--limit", "5x"], ["queue", "list", "--sender", b"\xfc"], ["queue", "list", "--limit", "9" * 30], ["why"], ["why", ID, ID],
             ["why", b"\xff"], ["stats", "x"], ["stats", "--watch", "x"], ["stats", "--watch", "0"], ["stats", "--watch=nan"], ["stats", "--watch", "1", "2"],
             ["stats", "--no-such"], ["events", "x"], ["events", "--after", "x"], ["events", "--after", "-1"], ["events", "--after", ""],
             ["events", "--type", "delivred"], ["events", "--type", ""], ["events", "--no-such"], ["lanes", "x"], ["config"], ["config", "set"],
             ["config", "check"], ["config", "get", "a", "b"], ["config", "get", b"/\xff"], ["drain", "--now"], ["drain", "now"], ["drain", "--off", "--wait"],
             ["version", "x"], ["inject"], ["inject", "--to", "x@y.example"], ["inject", "-"], ["inject", "--to", b"\xfc@y.example", "-"],
             ["inject", "--from", b"\xfc", "--to", "x@y.example", "-"], ["inject", "--no-such", "-"], ["inject", "--sender", b"\xff", "-t", "-"])
    for argv in wrong:
        status, out, err = ctl.run(work / "nobody", *argv)
        expect_equal(f"{argv}: {err}", (status, out), (64, ""))
        expect("wirepostctl" in err and "nobody" not in err, f"{argv}: {err}")


def output_that_cannot_be_written_is_not_success(work, ctl):
    with FakeDaemon(work / "s", lambda request, raw: [result(request, VERSION)]):
        for argv in (["version"], ["--json", "version"], ["help"], ["help", "inject"], ["--help"], ["--version"], ["inject", "--help"]):
            with open("/dev/full", "wb") as full:
                process = ctl.start(work / "s", *argv, stdout=full, stderr=-1)
                _, err = process.communicate(timeout=30)
            expect_equal(f"{argv}: {err}", process.returncode, 74)
            expect(b"standard output: No space left" in err, err)


def main():
    args = tap.arguments(__doc__)
    tap.run([each_reason_has_the_exit_status_of_the_contract, each_code_of_json_rpc_has_an_exit_status, json_has_the_error_on_stdout_too,
             a_daemon_that_is_not_there_is_told_with_the_remedy, a_client_that_is_turned_away_hears_why, nonsense_is_told_and_nothing_crashes,
             an_answer_without_what_was_promised_is_nonsense, numbers_out_of_all_proportion_do_no_harm,
             an_answer_in_pieces_is_one_answer_and_two_in_one_piece_are_two,
             a_long_answer_is_taken_and_an_over_long_one_is_not, a_daemon_that_is_silent_or_dribbles_is_waited_for_no_longer_than_asked,
             a_daemon_that_hangs_up_is_told, escape_sequences_never_reach_the_terminal, wrong_use_is_told_in_words_and_asks_no_daemon,
             output_that_cannot_be_written_is_not_success], args, Ctl(args.build))


if __name__ == "__main__":
    main()
