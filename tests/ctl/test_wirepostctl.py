"""wirepostctl against wirepostd, and against a daemon that answers nonsense."""
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("control", "lab")]
import tap  # noqa: E402
from daemon import SENDER, Daemon, message  # noqa: E402
from fake_daemon import FakeDaemon, error, result  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

CTL = None


def ctl(socket, *argv, stdin=b"", env=None):
    done = subprocess.run([CTL, "--socket", str(socket), *map(str, argv)], input=stdin, capture_output=True, timeout=60,
                          env={"PATH": os.environ["PATH"], "TZ": "UTC"} | (env or {}))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def limit_then(answer):
    """A script: config.get tells a limit of 1000 bytes, everything else is up to `answer`."""
    def script(request, raw):
        if request["method"] == "config.get":
            yield result(request, {"config": 1000})
        else:
            yield from answer(request, raw)
    return script


def every_command_works_with_the_daemon_for_people_and_for_machines(work, args):
    (work / "mail.eml").write_bytes(message())
    with Daemon(args.build, work) as d:
        status, out, err = ctl(d.socket, "inject", "--sender", "acme", "--to", "you@alpha.example", work / "mail.eml")
        expect_equal(f"inject: {err}", status, 0)
        ident = out.split()[0]
        for command, word in ((["queue", "list"], ident), (["queue", "show", ident], "you@alpha.example"), (["stats"], "QUEUED"),
                              (["lanes"], "wan0/0"), (["why", ident], "accepted from sender acme"), (["config", "get", "/limits"], "message_bytes"),
                              (["version"], "protocol 1"), (["events", "--after", "0", "--no-follow"], "accepted"), (["drain"], "draining"),
                              (["drain", "--off"], "not draining"), (["config", "check", work / "wirepost.json"], "no error"), (["help", "inject"], "--stream")):
            status, out, err = ctl(d.socket, *command)
            expect_equal(f"{command}: {err}", status, 0)
            expect(word in out, f"{command}: {word!r} is not in {out!r}")
            if command[0] != "help":
                status, out, err = ctl(d.socket, "--json", *command)
                expect_equal(f"--json {command}: {err}", status, 0)
                for line in out.splitlines():
                    json.loads(line)


def columns_of_a_table_stand_under_their_heads(work, args):
    (work / "mail.eml").write_bytes(message())
    with Daemon(args.build, work) as d:
        for to in ("short@a.example", "jürgen-with-a-long-name@alpha.example"):
            ctl(d.socket, "inject", "--sender", "acme", "--to", to, work / "mail.eml")
        lines = ctl(d.socket, "queue", "list")[1].splitlines()
        at = lines[0].index("RETURN PATH")
        expect_equal("column", [line[at:at + len(SENDER) + 2] for line in lines[1:3]], [f"<{SENDER}>"] * 2)
        expect_equal("right", len({line.index(line.split()[-1]) for line in lines[1:3]}), 1)


def exit_codes_are_those_of_the_contract(work, args):
    reasons = {"permission_denied": 77, "unknown_sender": 67, "bad_address": 65, "bad_message": 65, "message_too_large": 65,
               "too_many_recipients": 65, "spool_full": 75, "spool_error": 74, "draining": 75, "not_found": 66}
    for reason, want in reasons.items():
        with FakeDaemon(work / reason, lambda request, raw, r=reason: [error(request, -32000, r, f"because {r}")]):
            status, _, err = ctl(work / reason, "why", "0" * 16)
            expect_equal(reason, status, want)
            expect(f"because {reason}" in err, err)
    status, _, err = ctl(work / "nobody", "stats")
    expect_equal("no daemon", status, 69)
    expect("is wirepostd running" in err, err)
    for wrong in (["no-such"], ["queue"], ["why"], ["stats", "--watch", "x"], ["drain", "--now"], ["inject"], [],
                  ["inject", "--to", "x@y.example"], ["--timeout", "x", "stats"], ["config", "set"], ["--no-such"]):
        status, _, err = ctl(work / "nobody", *wrong)
        expect_equal(f"status of {wrong}", status, 64)
        expect(err != "", f"words for {wrong}")


def nonsense_from_the_daemon_is_told_and_nothing_crashes(work, args):
    cases = {"garbage": b"\x00\xff{{{\n", "array": b"[1,2]\n", "number": b"5\n"}
    for name, answer in cases.items():
        with FakeDaemon(work / name, lambda request, raw, a=answer: [a]):
            expect_equal(name, ctl(work / name, "stats")[0], 76)
    with FakeDaemon(work / "silent", lambda request, raw: []) as fake:
        fake.hang_up = True
        expect_equal("hangs up", ctl(work / "silent", "stats")[0], 69)
    with FakeDaemon(work / "slow", lambda request, raw: []):
        status, _, err = ctl(work / "slow", "--timeout", "1", "stats")
        expect_equal("no answer", status, 75)
        expect("--timeout" in err, err)
    with FakeDaemon(work / "empty", lambda request, raw: [result(request, {})]):
        for command in (["stats"], ["lanes"], ["queue", "list"], ["queue", "show", "0" * 16], ["why", "0" * 16], ["version"], ["drain"]):
            expect_equal(f"{command} of nothing", ctl(work / "empty", *command)[0], 0)


def an_answer_byte_by_byte_is_one_answer(work, args):
    def script(request, raw):
        for byte in result(request, {"version": "9", "protocol": 1, "pid": 1, "uptime_s": 3.5, "hostname": "x"}):
            yield bytes([byte])
    with FakeDaemon(work / "slow", script):
        status, out, _ = ctl(work / "slow", "version")
        expect_equal("version", (status, "wirepostd 9" in out), (0, True))


def escape_sequences_never_reach_the_terminal(work, args):
    evil = "\x1b]0;owned\x07\x1b[31m\r\n\x9b2J\u202eevil\x7f"
    hostile = {"messages": [{"id": evil, "sender": evil, "mail_from": evil, "last": evil, "recipients": {}}], "lines": [evil],
               "recipients_detail": [{"address": evil, "state": evil, "last": {"text": evil}}], "id": evil, "sender": evil,
               "paths": [{"source": evil, "site": evil}], "version": "1", "hostname": "h", "lanes": [{"port": evil, "state": evil}], "total": 1}
    with FakeDaemon(work / "evil", lambda request, raw: [result(request, hostile)]):
        for command in (["queue", "list"], ["queue", "show", "0" * 16], ["why", "0" * 16], ["stats"], ["lanes"]):
            _, out, err = ctl(work / "evil", *command)
            for bad in ("\x1b", "\x07", "\x9b", "\u202e", "\x7f", "\r"):
                expect(bad not in out + err, f"{command}: {bad!r} came through: {out!r}")
            expect("\\x1b" in out, f"{command}: not made visible: {out!r} {err!r}")
    with FakeDaemon(work / "error", lambda request, raw: [error(request, -32000, "not_found", evil)]):
        _, _, err = ctl(work / "error", "why", "0" * 16)
        expect("\x1b" not in err and "\\x1b" in err, err)


def inject_sends_what_was_asked_for_byte_for_byte(work, args):
    data = b"From: Anna <anna@acme.example>\nTo: \"B, C\" <b@x.example>,\n d@x.example (comment, here)\nCc: Team: e@x.example, f@x.example;\nBcc: g@x.example\n\n\0\xff.\n"
    (work / "a.eml").write_bytes(data)
    with FakeDaemon(work / "s", limit_then(lambda request, raw: [result(request, {"id": "1" * 16})])) as fake:
        expect_equal("status", ctl(work / "s", "inject", "-t", "--stream", "bulk:x", work / "a.eml")[0], 0)
        request, raw = fake.requests[-1]
        expect_equal("bytes", raw, data)
        expect_equal("params", request["params"], {"mail_from": "anna@acme.example", "stream": "bulk:x", "size": len(data), "rcpt_to": [
            "b@x.example", "d@x.example", "e@x.example", "f@x.example", "g@x.example"]})
        ctl(work / "s", "inject", "--sender", "s", "--from", "<>", "--to", "x@y.example", "--to", "z@y.example", "-", stdin=b"Subject: x\n\n")
        request, raw = fake.requests[-1]
        expect_equal("params", request["params"], {"sender": "s", "mail_from": "", "stream": "transactional", "size": 12, "rcpt_to": ["x@y.example", "z@y.example"]})


def inject_goes_on_after_a_refusal_and_ends_with_its_status(work, args):
    folder = work / "outbox"
    folder.mkdir()
    for n in range(40):
        (folder / f"{n:02}.eml").write_bytes(b"From: a@b.example\n\n" + (b"x" * 2000 if n == 7 else str(n).encode()))
    waiting = []

    def late(request, raw):
        """Answers in another order than asked, eight at a time."""
        waiting.append((request, raw))
        if len(waiting) == 8 or raw.endswith(b"39"):
            for request, raw in reversed(waiting):
                yield (error(request, -32000, "bad_message", "no") if raw.endswith(b"\n13")
                       else result(request, {"id": raw.split(b"\n")[-1].decode()}))
            waiting.clear()
    with FakeDaemon(work / "s", limit_then(late)):
        status, out, err = ctl(work / "s", "inject", "--to", "x@y.example", folder)
        expect_equal("status", status, 65)
        expect_equal("accepted", len(out.splitlines()), 38)
        expect("13.eml: no" in err and "07.eml: it is over" in err and "38 accepted, 2 refused" in err, err)
        for line in out.splitlines():
            ident, name = line.split()
            expect_equal("id belongs to file", int(ident), int(Path(name).stem))
    expect_equal("no such file", ctl(work / "s2", "inject", "--to", "x@y.example", "/no/such")[0], 69)
    with FakeDaemon(work / "s3", limit_then(lambda request, raw: [])):
        status, _, err = ctl(work / "s3", "inject", "--to", "x@y.example", "/no/such")
        expect_equal("no such file", (status, "/no/such" in err), (66, True))


def the_socket_comes_from_the_environment(work, args):
    with FakeDaemon(work / "env", lambda request, raw: [result(request, {"version": "7"})]):
        done = subprocess.run([CTL, "version"], capture_output=True, env={"WIREPOST_SOCKET": str(work / "env")}, timeout=60)
        expect("wirepostd 7" in done.stdout.decode(), done.stderr.decode())


def main():
    global CTL
    args = tap.arguments(__doc__)
    CTL = Path(args.build).resolve() / "tools" / "wirepostctl"
    tap.run([every_command_works_with_the_daemon_for_people_and_for_machines,
             columns_of_a_table_stand_under_their_heads,
             exit_codes_are_those_of_the_contract,
             nonsense_from_the_daemon_is_told_and_nothing_crashes,
             an_answer_byte_by_byte_is_one_answer,
             escape_sequences_never_reach_the_terminal,
             inject_sends_what_was_asked_for_byte_for_byte,
             inject_goes_on_after_a_refusal_and_ends_with_its_status,
             the_socket_comes_from_the_environment], args, args)


if __name__ == "__main__":
    main()
