"""wirepostctl inject and a scripted daemon: what it sends, byte for byte, and what it tells when not all goes well."""
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "lab")]
import tap  # noqa: E402
from ctl import Ctl  # noqa: E402
from fake_daemon import HANG_UP, FakeDaemon, error, line, result  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

TO = ["--to", "x@y.example"]
WINDOW = 16


def limit_then(answer, limit=1000):
    """A script: config.get tells a limit, everything else is up to `answer`."""
    def script(request, raw):
        if request["method"] == "config.get":
            yield result(request, {"config": limit})
        else:
            yield from answer(request, raw)
    return script


def ident(request):
    return f"{request['id']:016x}"


def accept(request, raw):
    yield result(request, {"id": ident(request), "recipients": 1, "bytes": len(raw), "durability": "durable"})


def outbox(work, count, name="outbox"):
    folder = work / name
    folder.mkdir()
    for n in range(count):
        (folder / f"{n:03}.eml").write_bytes(b"From: a@b.example\n\n%d" % n)
    return folder


# ---- what is sent ------------------------------------------------------------------------------------------------------------

def the_requests_are_right_to_the_byte(work, ctl):
    data = b"From: Anna <anna@acme.example>\nSubject: x\n\n\0\xff.\r\n\r.\n"
    (work / "a.eml").write_bytes(data)
    with FakeDaemon(work / "s", limit_then(accept)) as fake:
        got = ctl.run(work / "s", "inject", "--sender", "acme", "--to", "x@y.example", "--to", "<z@y.example>", "--stream", "bulk:spring", work / "a.eml")
        expect_equal("answer", got, (0, f"{2:016x}  {work}/a.eml\n", ""))
        expect_equal("lines", fake.lines, [
            b'{"jsonrpc":"2.0","id":1,"method":"config.get","params":{"path":"/limits/message_bytes"}}\n',
            b'{"jsonrpc":"2.0","id":2,"method":"inject","params":{"sender":"acme","mail_from":"anna@acme.example",'
            b'"rcpt_to":["x@y.example","z@y.example"],"stream":"bulk:spring","size":%d}}\n' % len(data)])
        expect_equal("bytes", fake.raws[1], data)


def the_envelope_comes_from_the_options_else_from_the_header(work, ctl):
    header = (b"From: Anna <anna@acme.example>, second@acme.example\nTO : \"B, C\" <b@x.example>,\n d@x.example (comment, here)\n"
              b"Cc: Team: e@x.example, f@x.example;, undisclosed-recipients:;\nBcc: g@x.example, h@[IPv6:2001:db8::1]\nResent-To: no@x.example\n\nTo: no@x.example\n")
    found = ["b@x.example", "d@x.example", "e@x.example", "f@x.example", "g@x.example", "h@[IPv6:2001:db8::1]"]
    cases = (([*TO], "anna@acme.example", ["x@y.example"]), (["-t"], "anna@acme.example", found), (["-t", *TO], "anna@acme.example", ["x@y.example", *found]),
             (["--from", "<>", *TO], "", ["x@y.example"]), (["--from", "", *TO], "", ["x@y.example"]), (["--from", "<q@z.example>", *TO], "q@z.example", ["x@y.example"]),
             (["--from", "ü@z.example", *TO], "ü@z.example", ["x@y.example"]))
    with FakeDaemon(work / "s", limit_then(accept)) as fake:
        for argv, mail_from, rcpt_to in cases:
            status, _, err = ctl.run(work / "s", "inject", *argv, "-", stdin=header)
            expect_equal(f"{argv}: {err}", status, 0)
            expect_equal(f"params of {argv}", fake.requests[-1]["params"], {"mail_from": mail_from, "rcpt_to": rcpt_to, "size": len(header)})


def an_address_is_never_left_out_in_silence(work, ctl):
    cases = ((b"From: a@b.example\nTo: good@x.example, j\xfcrgen@x.example\n\n", ["-t"], "not UTF-8: name the recipients with --to"),
             (b"From: \xfc@b.example\n\n", TO, "not in UTF-8: name one with --from"), (b"From: a@b.example\n\n", ["-t"], "no recipient"),
             (b"Subject: x\n\n", TO, "no address in From:"), (b"From: <>\n\n", TO, "no address in From:"), (b"", TO, "it is empty"))
    with FakeDaemon(work / "s", limit_then(accept)) as fake:
        for data, argv, words in cases:
            status, out, err = ctl.run(work / "s", "inject", *argv, "-", stdin=data)
            expect_equal(f"{data}: {err}", (status, out, words in err), (65, "", True))
        expect_equal("nothing was sent", {r["method"] for r in fake.requests}, {"config.get"})
        ctl.run(work / "s", "inject", "-t", "-", stdin=b"From: a@b.example\nTo: x\0y@z.example\n\n")
        expect_equal("NUL is the daemon's to refuse", fake.requests[-1]["params"]["rcpt_to"], ["x\0y@z.example"])


def files_folders_and_standard_input_go_in_order(work, ctl):
    folder = outbox(work, 3)
    (folder / ".hidden").write_bytes(b"x")
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.eml").write_bytes(b"x")
    (folder / "link.eml").symlink_to("000.eml")
    (work / "single.eml").write_bytes(b"From: a@b.example\n\nsingle")
    with FakeDaemon(work / "s", limit_then(accept)) as fake:
        status, out, err = ctl.run(work / "s", "inject", *TO, work / "single.eml", f"{folder}/", "-", stdin=b"From: a@b.example\n\nstdin")
        expect_equal("status", (status, err), (0, "6 accepted, 0 refused\n"))
        expect_equal("order", [raw.split(b"\n\n")[1] for raw in fake.raws[1:]], [b"single", b"0", b"1", b"2", b"0", b"stdin"])
        expect_equal("names", [row.split("  ")[1] for row in out.splitlines()],
                     [f"{work}/single.eml", *(f"{folder}/{n}.eml" for n in ("000", "001", "002", "link")), "-"])
        (work / "none").mkdir()
        expect_equal("empty folder", ctl.run(work / "s", "inject", *TO, work / "none"), (0, "", "0 accepted, 0 refused\n"))
        expect_equal("--quiet", ctl.run(work / "s", "inject", "--quiet", *TO, work / "single.eml"), (0, "", ""))


def no_more_than_a_window_of_requests_is_unanswered(work, ctl):
    """The daemon answers only when nothing more comes: then exactly a window is unanswered, until the last."""
    folder, windows = outbox(work, 40), []

    class Patient(FakeDaemon):
        def _talk(self, client):
            received = b""
            with client:
                client.settimeout(0.3)
                while True:
                    try:
                        part = client.recv(65536)
                        if not part:
                            return
                        received += part
                    except TimeoutError:
                        requests = [json.loads(row[row.index(b"{"):]) for row in received.splitlines() if b"jsonrpc" in row]
                        received = b""
                        windows.append(len(requests))
                        client.sendall(b"".join(result(r, {"config": 1000, "id": ident(r)}) for r in reversed(requests)))
    with Patient(work / "s"):
        status, out, err = ctl.run(work / "s", "inject", *TO, folder)
        expect_equal(f"status: {err}", status, 0)
        expect_equal("each id once", len({row.split()[0] for row in out.splitlines()}), 40)
    expect_equal("unanswered", [n for n in windows if n][:2], [1, WINDOW])
    expect(max(windows) == WINDOW, windows)


def an_answer_belongs_to_its_file_in_whatever_order_it_comes(work, ctl):
    folder, held = outbox(work, 40), []

    def late(request, raw):
        held.append((request, raw))
        if len(held) == 8 or raw.endswith(b"\n39"):
            for r, data in reversed(held):
                yield result(r, {"id": f"{int(data.split(bytes([10]))[-1]):016}"})
            held.clear()
    with FakeDaemon(work / "s", limit_then(late)):
        status, out, err = ctl.run(work / "s", "inject", *TO, folder)
        expect_equal(f"status: {err}", status, 0)
        for row in out.splitlines():
            number, name = row.split()
            expect_equal("id belongs to file", int(number), int(Path(name).stem))


# ---- what is refused ---------------------------------------------------------------------------------------------------------

def a_message_over_the_limit_is_refused_without_being_read_or_sent(work, ctl):
    with FakeDaemon(work / "s", limit_then(accept)) as fake:
        for size, want in ((1000, 0), (1001, 65)):
            data = b"From: a@b.example\n\n".ljust(size, b"x")
            (work / "file").write_bytes(data)
            for argv, stdin in (([work / "file"], b""), (["-"], data)):
                status, _, err = ctl.run(work / "s", "inject", *TO, *argv, stdin=stdin)
                expect_equal(f"{size} {argv}: {err}", status, want)
                expect(want == 0 or "over limits.message_bytes of the daemon, 1.0 kB" in err, err)
        expect_equal("sent", [len(raw) for raw in fake.raws if raw], [1000, 1000])
        with open(work / "huge", "wb") as huge:
            huge.truncate(1 << 40)
        expect_equal("1 TiB", ctl.run(work / "s", "inject", *TO, work / "huge")[0], 65)
        with open("/dev/zero", "rb") as endless:
            process = ctl.start(work / "s", "inject", *TO, "-", stdin=endless, stdout=-1, stderr=-1)
            expect_equal(f"endless: {process.communicate(timeout=30)}", process.returncode, 65)


def a_refused_message_does_not_stop_the_others_and_the_first_failure_is_the_status(work, ctl):
    """File 7 is too large, 13 and 20 are refused by the daemon, later and in another order: the first of the folder counts."""
    folder, held = outbox(work, 40), []
    (folder / "030.eml").write_bytes(b"x" * 2000)

    def script(request, raw):
        held.append((request, raw))
        if len(held) == WINDOW or raw.endswith(b"\n39"):
            for r, data in reversed(held):
                if data.endswith((b"\n13", b"\n20")):
                    yield error(r, -32000, "unknown_sender" if data.endswith(b"13") else "spool_full", "no " + data.decode()[-2:])
                else:
                    yield result(r, {"id": ident(r)})
            held.clear()
    with FakeDaemon(work / "s", limit_then(script)):
        status, out, err = ctl.run(work / "s", "inject", *TO, folder)
        expect_equal("status of 013.eml", status, 67)
        expect_equal("accepted", len(out.splitlines()), 37)
        for words in (f"{folder}/013.eml: no 13\n", f"{folder}/020.eml: no 20\n", f"{folder}/030.eml: it is over", "37 accepted, 3 refused\n"):
            expect(words in err, err)


def files_that_cannot_be_read_are_refused_alone(work, ctl):
    (work / "good").write_bytes(b"From: a@b.example\n\n")
    (work / "\udcff\x1b[31m").write_bytes(b"")
    with FakeDaemon(work / "s", limit_then(accept)):
        status, out, err = ctl.run(work / "s", "inject", *TO, work / "missing", work / "good", os.fsencode(work / "\udcff\x1b[31m"))
        expect_equal("status", (status, len(out.splitlines())), (66, 1))
        expect(f"{work}/missing: No such file" in err and "\\xff\\x1b[31m: it is empty" in err and "1 accepted, 2 refused" in err, err)
        expect("\x1b" not in err, err)
        status, out, err = ctl.run(work / "s", "--json", "inject", *TO, work / "missing", work / "good", os.fsencode(work / "\udcff\x1b[31m"))
        rows = [json.loads(row) for row in out.splitlines()]
        expect_equal("files", sorted(Path(row["file"]).name for row in rows), ["\\xff\\x1b[31m", "good", "missing"])
        if os.geteuid() != 0:
            (work / "good").chmod(0)
            expect_equal("no right", ctl.run(work / "s", "inject", *TO, work / "good")[0], 77)


def json_has_a_line_for_each_message(work, ctl):
    folder = outbox(work, 3)
    (folder / "002.eml").write_bytes(b"")

    def script(request, raw):
        yield error(request, -32000, "bad_message", "bad") if raw.endswith(b"\n1") else result(request, {"id": ident(request), "durability": "durable"})
    with FakeDaemon(work / "s", limit_then(script)):
        status, out, err = ctl.run(work / "s", "--json", "inject", *TO, folder)
        expect_equal(f"status: {err}", status, 65)
        rows = sorted((json.loads(row) for row in out.splitlines()), key=lambda row: row["file"])
        expect_equal("rows", rows, [
            {"id": f"{2:016x}", "durability": "durable", "file": f"{folder}/000.eml"},
            {"status": 65, "file": f"{folder}/001.eml", "error": {"code": -32000, "message": "bad", "data": {"reason": "bad_message"}}},
            {"status": 65, "file": f"{folder}/002.eml", "error": {"message": "it is empty"}}])


def escape_sequences_in_names_and_answers_are_made_visible(work, ctl):
    evil = "\x1b[31m\u009b2J\x7f"
    (work / evil).write_bytes(b"From: a@b.example\n\n")
    for number, answer in enumerate((lambda r, raw: [result(r, {"id": evil})], lambda r, raw: [error(r, -32000, "bad_message", evil)])):
        with FakeDaemon(work / f"s{number}", limit_then(answer)):
            for argv in ([], ["--json"]):
                _, out, err = ctl.run(work / f"s{number}", *argv, "inject", *TO, work / evil)
                for bad in ("\x1b", "\u009b", "\x7f"):
                    expect(bad not in out + err, f"{bad!r} in {out!r} {err!r}")


# ---- when the daemon fails ---------------------------------------------------------------------------------------------------

def messages_without_an_answer_are_called_unknown_and_accepted_ones_are_told(work, ctl):
    """The daemon accepts five and hangs up while more are on their way."""
    folder = outbox(work, 100)

    def script(request, raw):
        if request["id"] <= 6:
            yield from accept(request, raw)
        else:
            yield HANG_UP
    for _ in range(5):
        with FakeDaemon(work / "s", limit_then(script)):
            status, out, err = ctl.run(work / "s", "inject", *TO, folder)
        (work / "s").unlink()
        expect_equal(f"status: {err}", status, 69)
        expect_equal("accepted", [row.split("/")[-1] for row in out.splitlines()], [f"{n:03}.eml" for n in range(5)])
        rows = err.splitlines()
        unknown = len(rows) - 1
        expect(1 <= unknown <= WINDOW, err)
        for n, row in enumerate(rows[:-1], 5):
            expect(row.startswith(f"wirepostctl: {folder}/{n:03}.eml: no answer: it may have been accepted (wirepostctl queue list"), row)
        expect_equal("summary", rows[-1], f"5 accepted, 0 refused, {unknown} without an answer, {95 - unknown} not sent")


def a_silent_daemon_leaves_messages_unknown_after_the_timeout(work, ctl):
    with FakeDaemon(work / "s", limit_then(lambda request, raw: [])):
        status, out, err = ctl.run(work / "s", "--timeout", "1", "--json", "inject", *TO, outbox(work, 2))
        expect_equal(f"status: {err}", status, 75)
        rows = [json.loads(row) for row in out.splitlines()]
        expect_equal("rows", [(row["status"], row["error"]["data"]["reason"]) for row in rows], [(75, "unanswered")] * 2)
        expect("within 1 s (--timeout)" in rows[0]["error"]["message"], out)


def a_daemon_that_does_not_read_is_given_up_after_the_timeout(work, ctl):
    (work / "large").write_bytes(b"From: a@b.example\n\n".ljust(8 << 20, b"x"))
    release = threading.Event()

    class Deaf(FakeDaemon):
        def _answer(self, client, data, lines):
            client.sendall(result({"id": 1}, {"config": 1 << 30}))
            release.wait(30)
            return False
    with Deaf(work / "s"):
        status, _, err = ctl.run(work / "s", "--timeout", "1", "inject", *TO, work / "large")
        release.set()
        expect_equal(f"status: {err}", status, 75)
        expect("it may have been accepted" in err, err)


def nonsense_in_the_middle_ends_it(work, ctl):
    answers = {"other id": line({"id": 99, "result": {"id": "1"}}), "no id of the message": line({"id": 2, "result": {}}), "garbage": b"{{{\n",
               "neither": line({"id": 2}), "event": line({"method": "event", "params": {}})}
    (work / "good").write_bytes(b"From: a@b.example\n\n")
    for number, (name, answer) in enumerate(answers.items()):
        with FakeDaemon(work / f"s{number}", limit_then(lambda request, raw, a=answer: [a])):
            status, out, err = ctl.run(work / f"s{number}", "inject", *TO, work / "good")
            expect_equal(f"{name}: {err}", (status, out, "this is not wirepostd" in err), (76, "", True))
    with FakeDaemon(work / "away", limit_then(lambda request, raw: [error(None, -32000, "draining", "going away"), HANG_UP])):
        status, _, err = ctl.run(work / "away", "inject", *TO, work / "good")
        expect_equal(f"draining: {err}", (status, "going away" in err), (75, True))
    for number, limit in enumerate((None, "x", 0, -1, 1.5)):
        with FakeDaemon(work / f"l{number}", limit_then(accept, limit)):
            expect_equal(f"limit {limit}", ctl.run(work / f"l{number}", "inject", *TO, work / "good")[0], 76)


def the_first_interrupt_stops_the_sending_and_waits_for_answers(work, ctl):
    folder, go = outbox(work, 200), threading.Event()

    def script(request, raw):
        if request["id"] > 10:
            go.wait(20)
        yield from accept(request, raw)
    with FakeDaemon(work / "s", limit_then(script)) as fake:
        process = ctl.start(work / "s", "inject", *TO, folder, stdout=-1, stderr=-1)
        while len(fake.lines) < 11:  # one that is not answered yet
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        go.set()
        out, err = process.communicate(timeout=30)
        expect_equal(f"status: {err}", process.returncode, 130)
        accepted = len(out.splitlines())
        expect_equal("every request has its answer", accepted, len(fake.lines) - 1)
        expect(accepted < 200, "it went on")
        expect(f"{accepted} accepted, 0 refused, {200 - accepted} not sent" in err.decode(), err)


def main():
    args = tap.arguments(__doc__)
    tap.run([the_requests_are_right_to_the_byte, the_envelope_comes_from_the_options_else_from_the_header, an_address_is_never_left_out_in_silence,
             files_folders_and_standard_input_go_in_order, no_more_than_a_window_of_requests_is_unanswered,
             an_answer_belongs_to_its_file_in_whatever_order_it_comes, a_message_over_the_limit_is_refused_without_being_read_or_sent,
             a_refused_message_does_not_stop_the_others_and_the_first_failure_is_the_status, files_that_cannot_be_read_are_refused_alone,
             json_has_a_line_for_each_message, escape_sequences_in_names_and_answers_are_made_visible,
             messages_without_an_answer_are_called_unknown_and_accepted_ones_are_told, a_silent_daemon_leaves_messages_unknown_after_the_timeout,
             a_daemon_that_does_not_read_is_given_up_after_the_timeout, nonsense_in_the_middle_ends_it,
             the_first_interrupt_stops_the_sending_and_waits_for_answers], args, Ctl(args.build))


if __name__ == "__main__":
    main()
