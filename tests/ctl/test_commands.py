"""Each command of wirepostctl but inject: what it asks, byte for byte, and what it prints for people and for machines."""
import json
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "lab")]
import tap  # noqa: E402
from ctl import Ctl  # noqa: E402
from fake_daemon import FakeDaemon, event, result  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

ID = "01a2b3c4d5e6f708"
COMMANDS = ["inject", "queue", "routes", "strategy", "why", "stats", "events", "lanes", "addresses", "pool", "config", "drain", "version", "help"]


def ago(**span):
    return (datetime.now(timezone.utc) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%S.123Z")


def asked(method, params, ident=1):
    text = json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params}, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def talk(ctl, work, argv, answer, request, status=0):
    """Runs the command for people and with --json; both ask the same. Gives the words for people."""
    with FakeDaemon(work / "s", lambda r, raw: [result(r, answer)]) as fake:
        got, out, err = ctl.run(work / "s", *argv)
        expect_equal(f"{argv}: {err}", (got, err), (status, ""))
        got, machine, err = ctl.run(work / "s", "--json", *argv)
        expect_equal(f"--json {argv}: {err}", (got, err), (status, ""))
        expect_equal(f"requests of {argv}", fake.lines, [request, request])
    (work / "s").unlink()
    expect_equal(f"--json {argv}", [json.loads(line) for line in machine.splitlines()], [answer])
    return out


MESSAGE = {"id": ID, "sender": "acme", "stream": "bulk:spring", "mail_from": "news@acme.example", "bytes": 1536,
           "recipients": {"queued": 2, "held": 3, "in_flight": 1, "delivered": 1234, "bounced": 0}, "last": "450 4.2.1 später wieder"}


def queue_list_shows_a_table_and_where_to_go_on(work, ctl):
    first = MESSAGE | {"accepted_at": ago(hours=3, minutes=5, seconds=20), "expires_at": ago(days=-2), "next_try_at": ago(minutes=-10, seconds=-30)}
    second = MESSAGE | {"id": "01a2b3c4d5e6f709", "mail_from": "", "bytes": 12, "accepted_at": ago(seconds=0), "next_try_at": None, "last": None}
    out = talk(ctl, work, ["queue", "list"], {"messages": [first, second], "total": 4321, "next": second["id"]}, asked("queue.list", {}))
    lines = out.splitlines()
    expect_equal("heads", lines[0],
                 "ID                SENDER  RETURN PATH            SIZE    AGE  QUEUED  HELD  IN FLIGHT  DELIVERED  BOUNCED    NEXT  LAST")
    expect(lines[1].startswith(f"{ID}  acme    <news@acme.example>  1.5 kB  3h05m       2     3          1      1,234        0  10m"), out)
    expect(lines[1].endswith("  450 4.2.1 später wieder"), out)
    expect(lines[2].startswith("01a2b3c4d5e6f709  acme    <>                     12 B     "), out)
    expect(lines[2].endswith("0       -  -"), out)
    expect_equal("end", lines[3:], ["2 shown of 4,321 queued", "more: --after 01a2b3c4d5e6f709"])


def queue_list_asks_for_what_the_options_say(work, ctl):
    out = talk(ctl, work, ["queue", "list", "--sender", "acme", "--domain", "müller.example", "--state=queued", "--limit", "5", "--after", ID],
               {"messages": [], "total": 0, "next": None},
               asked("queue.list", {"sender": "acme", "domain": "müller.example", "state": "queued", "limit": 5, "after": ID}))
    expect_equal("nothing", out, "no such message is queued\n0 shown of 0 queued\n")


def what_an_operator_does_to_the_queue_goes_on_until_all_is_touched(work, ctl):
    parts = [{"messages": 100, "recipients": 150, "in_flight": 1, "dry_run": False, "next": ID},
             {"messages": 7, "recipients": 7, "in_flight": 0, "dry_run": False, "next": None}]
    for verb in ("hold", "release", "retry", "bounce", "delete"):
        answers = iter(parts)
        with FakeDaemon(work / verb, lambda request, raw: [result(request, next(answers))]) as fake:
            status, out, err = ctl.run(work / verb, "queue", verb, "--sender", "acme", "--domain", "x.example")
            expect_equal(verb, (status, out, err), (0, "107 messages, 157 recipients; 1 recipients are in flight and were left alone\n", ""))
            asked_for = [(request["method"], request["params"]) for request in fake.requests]
        want = {"sender": "acme", "domain": "x.example"}
        expect_equal(verb, asked_for, [(f"queue.{verb}", want), (f"queue.{verb}", want | {"after": ID})])
    out = talk(ctl, work, ["queue", "delete", "--dry-run", ID], parts[1] | {"dry_run": True}, asked("queue.delete", {"dry_run": True, "id": ID}))
    expect("7 recipients would be touched" in out, out)
    for wrong in (["hold"], ["hold", ID, ID], ["hold", "--all", "--no-such"], ["burn", ID]):
        expect_equal(f"{wrong}", ctl.run(work / "nobody", "queue", *wrong)[0], 64)


def routes_are_listed_paused_and_tested(work, ctl):
    route = {"name": "main", "type": "smtp", "url": "smtp://relay.example:25", "state": "down", "connections": 1, "waiting": 2, "sent": 3,
             "failures": 4, "last": "connection refused"}
    out = talk(ctl, work, ["routes", "list"], {"routes": [route]}, asked("routes.list", {}))
    expect_equal("row", out.splitlines()[1].split(), ["main", "smtp", "smtp://relay.example:25", "down", "1", "2", "3", "4", "connection", "refused"])
    out = talk(ctl, work, ["routes", "pause", "main"], {"name": "main", "paused": True}, asked("routes.pause", {"name": "main"}))
    expect_equal("pause", out, "main: paused\n")
    out = talk(ctl, work, ["routes", "resume", "main"], {"name": "main", "paused": False}, asked("routes.resume", {"name": "main"}))
    expect_equal("resume", out, "main: resumed\n")
    out = talk(ctl, work, ["routes", "test", "main"], {"ok": True, "text": "it answered EHLO", "extensions": []}, asked("routes.test", {"name": "main"}))
    expect_equal("test", out, "main: works: it answered EHLO\n")
    with FakeDaemon(work / "down", lambda request, raw: [result(request, {"ok": False, "text": "refused", "extensions": []})]):
        expect_equal("a relay that is down", ctl.run(work / "down", "routes", "test", "main")[0], 75)
    expect_equal("wrong use", ctl.run(work / "nobody", "routes", "stop")[0], 64)


def queue_show_tells_of_each_recipient(work, ctl):
    detail = [{"address": "you@example.net", "state": "queued", "attempts": 3, "next_try_at": ago(hours=-1, seconds=-30),
               "last": {"at": ago(), "kind": "deferred", "stage": "rcpt", "code": 450, "enhanced": "4.2.1", "text": "try later",
                        "source": "192.0.2.10", "peer": "198.51.100.25", "host": "mx.example.net"}},
              {"address": "me@example.net", "state": "in_flight", "attempts": 0, "next_try_at": None, "last": None}]
    out = talk(ctl, work, ["queue", "show", ID],
               MESSAGE | {"accepted_at": "2026-11-23T19:00:00.000Z", "expires_at": "2026-11-28T19:00:00.000Z", "dsn_for": "01a2b3c4d5e6f700",
                          "recipients_detail": detail}, asked("queue.show", {"id": ID}))
    expect_equal("queue show", out, f"""\
id           {ID}
sender       acme
stream       bulk:spring
return path  news@acme.example
size         1.5 kB
accepted     2026-11-23T19:00:00.000Z
expires      2026-11-28T19:00:00.000Z
bounce of    01a2b3c4d5e6f700

RECIPIENT        STATE      ATTEMPTS   NEXT  SOURCE      HOST            STAGE  REPLY      TEXT
you@example.net  queued            3  1h00m  192.0.2.10  mx.example.net  rcpt   450 4.2.1  try later
me@example.net   in_flight         0      -  -           -               -      -          -
""")


def why_prints_the_lines_for_people(work, ctl):
    out = talk(ctl, work, ["why", ID], {"id": ID, "records": [{"seq": 1}], "lines": ["first", "second " + "x" * 20000]}, asked("message.why", {"id": ID}))
    expect_equal("lines", out, "first\nsecond " + "x" * 20000 + "\n")


STATS = {"messages": {"accepted": 1000, "finished": 990, "queued": 10, "in_flight": 3, "delivered": 1980, "deferred": 20, "bounced": 5, "doubtful": 1},
         "paths": [{"source": "192.0.2.10", "site": "example.net", "sent": 100, "delivered": 90, "deferred": 8, "bounced": 2, "doubtful": 0,
                    "bytes": 1234567, "first_at": 1000.0, "last_at": 1010.5},
                   {"source": "192.0.2.11", "site": "mx.example.org", "sent": 1, "delivered": 1, "deferred": 0, "bounced": 0, "doubtful": 0,
                    "bytes": 999, "first_at": 1000.0, "last_at": 1000.0}],
         "spool": {"messages": 10, "bytes": 4096, "max_bytes": 10_000_000_000, "free_bytes": 55_500_000_000, "writable": True},
         "dns": {"lookups": 44, "cache_hits": 40, "failures": 1, "under_way": 0, "cached": 4}, "uptime_s": 93784.5}


def stats_are_tables_of_counts_and_paths(work, ctl):
    out = talk(ctl, work, ["stats"], STATS, asked("stats", {}))
    expect_equal("stats", out, """\
up      1d02h
spool   10 messages, 4.1 kB of 10.0 GB, 55.5 GB free on the disk
dns     44 lookups, 40 from the cache, 1 failed, 0 under way

                 ACCEPTED  FINISHED  QUEUED  IN FLIGHT  DELIVERED  DEFERRED  BOUNCED  DOUBTFUL
since the start     1,000       990      10          3      1,980        20        5         1

SOURCE      DESTINATION     SENT  DELIVERED  DEFERRED  BOUNCED  DOUBTFUL   BYTES  DELIVERED/S
192.0.2.10  example.net      100         90         8        2         0  1.2 MB          8.6
192.0.2.11  mx.example.org     1          1         0        0         0   999 B            -
""")
    out = talk(ctl, work, ["stats"], STATS | {"paths": [], "spool": STATS["spool"] | {"writable": False}}, asked("stats", {}))
    expect("NOT WRITABLE: new mail is refused" in out and "nothing was sent" in out, out)


def stats_watch_asks_again_and_tells_what_happened_in_between(work, ctl):
    """The time between two looks is the daemon's own, so the rates are exact."""
    counter = {"looks": 0}

    def script(request, raw):
        n = counter["looks"]
        counter["looks"] += 1
        if n < 3:
            yield result(request, STATS | {"uptime_s": 100.0 + 4 * n, "messages": STATS["messages"] | {"delivered": 10 * n, "queued": 50 - 2 * n}})
        else:
            yield None
    for number, watch in enumerate((["--watch", "0.1"], ["--watch=0.1"])):
        counter["looks"] = 0
        with FakeDaemon(work / f"s{number}", script) as fake:
            status, out, err = ctl.run(work / f"s{number}", "stats", *watch)
            expect_equal(f"the daemon's end: {err}", status, 69)
            expect_equal("requests", fake.lines, [asked("stats", {}, n) for n in (1, 2, 3, 4)])
        rates = [line.split()[2:] for line in out.splitlines() if line.startswith("per second")]
        expect_equal("rates", rates, [["0.0", "0.0", "-0.5", "0.0", "2.5", "0.0", "0.0", "0.0"]] * 2)
        expect("\x1b" not in out, "escape sequences without a terminal")


def events_are_lines_with_their_sequence_number_first(work, ctl):
    first = {"seq": 17, "type": "delivered", "at": "2026-11-23T19:07:00.123Z", "id": ID, "recipient": "a@b.example", "code": 250,
             "text": "ok, \"queued\" as x=1", "next_try_at": None, "evidence": "", "seconds": 0.5}
    second = {"seq": 18, "type": "drain", "at": "2026-11-23T19:07:01.000Z", "on": True}

    def script(request, raw):
        yield event(first) + event(second)
        yield result(request, {"cursor": 18})
    with FakeDaemon(work / "s", script) as fake:
        argv = ["events", "--after", "0", "--type", "delivered,drain", "--type", "bounced", "--no-follow"]
        status, out, err = ctl.run(work / "s", *argv)
        expect_equal("status", (status, err), (0, ""))
        expect_equal("events", out, f"17 2026-11-23T19:07:00.123Z delivered id={ID} recipient=a@b.example code=250 "
                                    "text=\"ok, \"queued\" as x=1\" seconds=0.5\n18 2026-11-23T19:07:01.000Z drain on=true\n")
        status, out, err = ctl.run(work / "s", "--json", *argv)
        expect_equal("--json", [json.loads(line) for line in out.splitlines()], [first, second])
        request = asked("events", {"after": 0, "types": ["delivered", "drain", "bounced"], "follow": False})
        expect_equal("requests", fake.lines, [request, request])


def events_are_followed_beyond_the_timeout_and_printed_at_once(work, ctl):
    def script(request, raw):
        yield result(request, {"cursor": 5})
        time.sleep(1.5)
        yield event({"seq": 6, "type": "finished", "at": "2026-11-23T19:07:01.000Z", "id": ID})
        time.sleep(60)
    with FakeDaemon(work / "s", script) as fake:
        process = ctl.start(work / "s", "--timeout", "1", "events", stdout=-1, stderr=-1)
        expect_equal("first line", process.stdout.readline().decode(), f"6 2026-11-23T19:07:01.000Z finished id={ID}\n")
        process.kill()
        process.communicate()
        expect_equal("request", fake.lines, [asked("events", {"follow": True})])


def events_tell_where_to_go_on_when_the_daemon_ends(work, ctl):
    def script(request, raw):
        yield result(request, {"cursor": 5})
        yield event({"seq": 41, "type": "finished", "at": "x", "id": ID})
        yield None
    with FakeDaemon(work / "s", script):
        status, out, err = ctl.run(work / "s", "events")
        expect_equal("status", status, 69)
        expect("closed the connection" in err and "events --after 41" in err, err)


def lanes_are_a_table(work, ctl):
    lane = {"lane": 0, "port": "wan0", "queue": 1, "cpu": 3, "state": "running", "heartbeat_ms": 2, "addresses": 4, "jobs_outstanding": 7,
            "jobs_limit": 1024, "arena_used": 25, "arena_bytes": 100,
            "counters": {"sessions": 1, "waiting": 2, "delivered": 3000, "deferred": 4, "bounced": 5, "doubtful": 6, "rx_frames": 7, "tx_frames": 8},
            "tcp": {}}
    out = talk(ctl, work, ["lanes"], {"dataplane": {"state": "running", "pid": 4711, "restarts": 1}, "lanes": [lane]}, asked("lanes", {}))
    expect_equal("lanes", out, """\
data plane: running, pid 4711; restarts: 1

LANE  PORT/QUEUE  CPU  STATE    HEARTBEAT  ADDRESSES    JOBS  ARENA  SESSIONS  WAITING  DELIVERED  DEFERRED  BOUNCED  DOUBTFUL  RX  TX
   0  wan0/1        3  running       2 ms          4  7/1024   25 %         1        2      3,000         4        5         6   7   8
""")
    silent = {"dataplane": {"state": "running", "pid": 1, "restarts": 0}, "lanes": [lane | {"state": "silent", "heartbeat_ms": 90_500}]}
    expect("  silent      1m30s  " in talk(ctl, work, ["lanes"], silent, asked("lanes", {})), "the heartbeat of a silent lane")
    out = talk(ctl, work, ["lanes"], {"dataplane": {"state": "down", "pid": 0, "restarts": 0}, "lanes": []}, asked("lanes", {}))
    expect_equal("no lanes", out, "data plane: down; restarts: 0\n\nno lane is open\n")


def config_get_prints_what_is_at_the_pointer(work, ctl):
    for value in ({"retry_s": [300, 900], "ehlo": "mürz"}, 1000, "text", True, None, []):
        out = talk(ctl, work, ["config", "get", "/delivery"], {"config": value}, asked("config.get", {"path": "/delivery"}))
        expect_equal("value", json.loads(out), value)
    talk(ctl, work, ["config", "get"], {"config": {}}, asked("config.get", {}))


def config_check_sends_the_file_and_names_what_is_wrong(work, ctl):
    file = work / "wirepost.json"
    file.write_text('{"hostname": "mta1.acme.example",\n "n": 1}')
    request = asked("config.check", {"config": {"hostname": "mta1.acme.example", "n": 1}})
    out = talk(ctl, work, ["config", "check", file], {"ok": True, "errors": []}, request)
    expect_equal("good", out, f"{file}: no error\n")
    errors = [{"path": "/n", "message": "unknown key"}, {"path": "", "message": "\"senders\" is missing"}]
    out = talk(ctl, work, ["config", "check", file], {"ok": False, "errors": errors}, request, status=78)
    expect_equal("bad", out, f"{file}: /n: unknown key\n{file}: \"senders\" is missing\n{file}: put right what is named above\n")
    with FakeDaemon(work / "s", lambda r, raw: [result(r, {"ok": True, "errors": []})]) as fake:
        expect_equal("standard input", ctl.run(work / "s", "config", "check", "-", stdin=file.read_bytes()), (0, "-: no error\n", ""))
        expect_equal("request", fake.lines, [request])


def config_check_tells_of_files_that_are_no_json_or_cannot_be_read(work, ctl):
    for name, text, words in (("a", "{\"x\": }", "line 1"), ("b", "{\"x\": 1,\n\"x\": 2}", "duplicate"), ("c", "", "line 1"), ("d", "{\"\x1b[2J", "control character")):
        (work / name).write_text(text)
        status, out, err = ctl.run(work / "nobody", "config", "check", work / name)
        expect_equal(f"{name}: {err}", (status, err), (78, ""))
        expect(words in out and "\x1b" not in out, out)
        status, out, _ = ctl.run(work / "nobody", "--json", "config", "check", work / name)
        expect_equal(name, (status, json.loads(out)["ok"], len(json.loads(out)["errors"])), (78, False, 1))
    status, _, err = ctl.run(work / "nobody", "config", "check", work / "missing")
    expect_equal("missing", (status, "No such file" in err), (66, True))


def drain_starts_waits_and_ends(work, ctl):
    out = talk(ctl, work, ["drain"], {"draining": True, "in_flight": 1234}, asked("drain", {"on": True, "wait": False}))
    expect_equal("on", out, "draining; recipients in flight: 1,234\n")
    out = talk(ctl, work, ["drain", "--off"], {"draining": False, "in_flight": 0}, asked("drain", {"on": False, "wait": False}))
    expect_equal("off", out, "not draining; recipients in flight: 0\n")
    out = talk(ctl, work, ["drain", "--wait"], {"draining": True, "in_flight": 0}, asked("drain", {"on": True, "wait": True}))
    expect_equal("wait", out, "draining; recipients in flight: 0\n")


def drain_wait_ends_early_only_when_a_timeout_was_asked_for(work, ctl):
    with FakeDaemon(work / "s"):
        status, _, err = ctl.run(work / "s", "--timeout", "1", "drain", "--wait")
        expect_equal("status", (status, "within 1 s (--timeout)" in err), (75, True))


def version_tells_of_both_programs(work, ctl):
    answer = {"version": "0.2.0", "protocol": 1, "pid": 4711, "uptime_s": 3700.25, "hostname": "mta1.acme.example"}
    out = talk(ctl, work, ["version"], answer, asked("version", {}))
    expect_equal("second line", out.splitlines()[1], "wirepostd 0.2.0 (protocol 1) on mta1.acme.example, pid 4711, up 1h01m")
    expect(out.startswith("wirepostctl "), out)
    status, out, err = ctl.run(work / "nobody", "version")
    expect_equal("no daemon", (status, out.split()[0]), (69, "wirepostctl"))
    with FakeDaemon(work / "s", lambda r, raw: [result(r, answer | {"protocol": 2})]):
        status, _, err = ctl.run(work / "s", "version")
        expect("speaks protocol 1, the daemon 2" in err, err)


def help_exists_for_every_command_with_an_example(work, ctl):
    status, overview, err = ctl.run(work / "nobody", "help")
    expect_equal("help", (status, err), (0, ""))
    expect_equal("--help", ctl.run(work / "nobody", "--help"), (0, overview, ""))
    expect(all(len(line) <= 80 for line in overview.splitlines()), "a line is longer than a terminal of 80 columns")
    names = [line.split()[0] for line in overview.split("Commands:\n")[1].split("\n\n")[0].splitlines()]
    expect_equal("commands", names, COMMANDS)
    for name in names:
        status, text, err = ctl.run(work / "nobody", "help", name)
        expect_equal(name, (status, err), (0, ""))
        expect(text.startswith("usage: wirepostctl [OPTIONS] " + name), text)
        expect("wirepostctl" in text.split("Examples:\n")[1], text)
        expect(all(len(line) <= 80 for line in text.splitlines()), f"{name}: a line is longer than a terminal of 80 columns")
        if name != "help":
            expect_equal(f"{name} --help", ctl.run(work / "nobody", name, "--help"), (0, text, ""))
    expect(ctl.run(work / "nobody", "--version")[1].startswith("wirepostctl "), "--version")


def manual_and_completion_know_every_command_and_option_that_help_tells(work, ctl):
    tools = Path(__file__).resolve().parents[2] / "tools"
    manual, completion = ((tools / name).read_text() for name in ("wirepostctl.1", "completions/wirepostctl"))
    overview = ctl.run(work / "nobody", "help")[1]
    for name in ["", *COMMANDS]:
        told = ctl.run(work / "nobody", "help", name)[1].split("Examples:")[0] if name else overview
        options = set(re.findall(r"--([a-z][a-z-]+)", told))
        for option in options:
            expect(f"Fl Fl {option}" in manual, f"--{option} of {name} is not in the manual")
            expect(f"--{option}" in completion, f"--{option} of {name} is not in the completion")
        expect(name in completion and (f".It Cm {name}" in manual or f".Cm {name}" in manual), f"{name} is missing")
    for status in re.findall(r"\b(\d+) [a-z]", overview.split("Exit status")[1]):
        expect(f".It {status}\n" in manual, f"exit status {status} is not in the manual")


def addresses_and_pools_are_shown_and_changed(work, ctl):
    one = {"address": "192.0.2.10", "pool": "acme", "port": "wan0", "queue": 0, "lane": 0, "state": "up", "ehlo": "out-1.acme.example",
           "added": False, "connections": 3, "messages": 1200}
    other = one | {"address": "2001:db8:7::10", "queue": 1, "state": "drained", "added": True, "connections": 0, "messages": 0}
    out = talk(ctl, work, ["addresses", "list", "--pool", "acme"], {"addresses": [one, other], "total": 2}, asked("addresses.list", {"pool": "acme"}))
    expect_equal("table", out.splitlines(), [
        "ADDRESS         POOL  PORT/QUEUE  STATE    FROM      EHLO                CONNECTIONS  MESSAGES",
        "192.0.2.10      acme  wan0/0      up       file      out-1.acme.example            3     1,200",
        "2001:db8:7::10  acme  wan0/1      drained  run time  out-1.acme.example            0         0"])
    for words, method, params, done in [
            (["add", "--pool", "acme", "--queue", "1", "--ehlo", "m.acme.example", "192.0.2.9"], "addresses.add",
             {"pool": "acme", "queue": 1, "ehlo": "m.acme.example", "addresses": ["192.0.2.9"]}, "added"),
            (["drain", "192.0.2.9", "192.0.2.64/27"], "addresses.drain", {"addresses": ["192.0.2.9", "192.0.2.64/27"]}, "draining"),
            (["undrain", "--pool", "acme"], "addresses.undrain", {"pool": "acme"}, "in use again"),
            (["move", "--port", "wan0", "--queue", "0", "192.0.2.9"], "addresses.move",
             {"port": "wan0", "queue": 0, "addresses": ["192.0.2.9"]}, "moving"),
            (["remove", "192.0.2.9"], "addresses.remove", {"addresses": ["192.0.2.9"]}, "leaving")]:
        expect_equal("said", talk(ctl, work, ["addresses", *words], {"addresses": 4}, asked(method, params)), f"4 addresses: {done}\n")
    pool = {"name": "late", "ehlo": "m{n}.late.example", "warmup": "on", "addresses": 12, "usable": 11, "senders": ["acme", "b"], "added": True}
    out = talk(ctl, work, ["pool", "list"], {"pools": [pool]}, asked("pool.list", {}))
    expect_equal("table", out.splitlines(), ["POOL  EHLO               WARM-UP  FROM      ADDRESSES  USABLE  SENDERS",
                                            "late  m{n}.late.example  on       run time         12      11  acme b"])
    talk(ctl, work, ["pool", "add", "--warmup", "on", "late", "m{n}.late.example"], pool,
         asked("pool.add", {"warmup": True, "name": "late", "ehlo": "m{n}.late.example"}))
    talk(ctl, work, ["pool", "remove", "late"], pool, asked("pool.remove", {"name": "late"}))
    talk(ctl, work, ["pool", "assign", "acme", "late"], pool, asked("pool.assign", {"sender": "acme", "pool": "late"}))
    for wrong in (["addresses"], ["addresses", "stop"], ["addresses", "move", "--queue", "x"], ["pool"], ["pool", "add", "a"], ["pool", "list", "--warmup", "x"]):
        expect_equal(str(wrong), ctl.run(work / "nobody", *wrong)[0], 64)


def the_socket_comes_from_the_option_else_from_the_environment(work, ctl):
    with FakeDaemon(work / "env", lambda r, raw: [result(r, {"version": "7", "protocol": 1})]) as fake:
        for argv, socket in (([], work / "env"), (["--socket", work / "env"], work / "nobody")):
            done = subprocess.run([ctl.binary, *argv, "version"], capture_output=True, env=ctl.environment({"WIREPOST_SOCKET": str(socket)}), timeout=60)
            expect_equal(f"status: {done.stderr}", done.returncode, 0)
        expect_equal("requests", len(fake.lines), 2)


def strategies_are_listed_set_and_explained(work, ctl):
    acme = {"sender": "acme", "strategy": "shared", "configured": "auto",
            "endpoints": [{"path": "192.0.2.10", "kind": "dedicated"}, {"path": "main", "kind": "shared"}, {"path": "ses", "kind": "ses"}]}
    out = talk(ctl, work, ["strategy", "list"], {"senders": [acme, acme | {"sender": "b", "strategy": "auto"}]}, asked("strategy.get", {}))
    expect_equal("list", out, "SENDER  STRATEGY  CONFIGURED  OWN  SHARED  SES  CUSTOM\nacme    shared    auto          1       1    1       0\n"
                              "b       auto      -             1       1    1       0\n")
    out = talk(ctl, work, ["strategy", "set", "acme", "shared"], acme, asked("strategy.set", {"sender": "acme", "strategy": "shared"}))
    expect_equal("paths", out.splitlines()[3:], ["PATH        KIND", "192.0.2.10  dedicated", "main        shared", "ses         ses"])
    talk(ctl, work, ["strategy", "get", "acme"], acme, asked("strategy.get", {"sender": "acme"}))
    why = {"decision": 7, "at": ago(seconds=1), "reason": "R_DNSBL", "meaning": "a block list names the address", "old": {"192.0.2.10": 100},
           "new": {"main": 90}, "old_held": 0, "new_held": 10, "evidence": {"text": "e"}, "line": "14:03:07 gmail: dedicated->shared 90 %, R_DNSBL: e"}
    out = talk(ctl, work, ["strategy", "explain", "--stream", "bulk", "acme", "gmail"], why,
               asked("strategy.explain", {"sender": "acme", "provider": "gmail", "stream": "bulk"}))
    expect_equal("explain", out, "14:03:07 gmail: dedicated->shared 90 %, R_DNSBL: e\nbefore: 192.0.2.10 100 %\nnow:    main 90 % held 10 %\n"
                                 "R_DNSBL: a block list names the address\n")
    request = asked("strategy.why_not", {"sender": "acme", "provider": "gmail", "path": "main"})
    out = talk(ctl, work, ["strategy", "why-not", "acme", "gmail", "main"], {"path": "main", "usable": False, "why_not": "R_RELAY_DOWN: main is out of order"}, request)
    expect_equal("why not", out, "main: R_RELAY_DOWN: main is out of order\n")
    out = talk(ctl, work, ["strategy", "why-not", "acme", "gmail", "main"], {"path": "main", "usable": True, "why_not": ""}, request)
    expect_equal("why not", out, "main: may be used\n")
    plan = {"split": [{"path": "main", "n": 4900}], "held": 100, "retry_at": None, "reason": "R_SPIKE", "evidence": {"text": "too many"}, "low_volume": False}
    out = talk(ctl, work, ["strategy", "simulate", "acme", "gmail", "5000"], plan, asked("strategy.simulate", {"sender": "acme", "provider": "gmail", "n": 5000}))
    expect_equal("simulate", out, "PATH    MAILS\nmain    4,900\n(held)    100\nR_SPIKE: too many\n")
    for wrong in (["stop"], ["get"], ["set", "acme"], ["simulate", "acme", "gmail", "0"], ["explain", "acme"]):
        expect_equal(str(wrong), ctl.run(work / "nobody", "strategy", *wrong)[0], 64)


def main():
    args = tap.arguments(__doc__)
    tap.run([queue_list_shows_a_table_and_where_to_go_on, queue_list_asks_for_what_the_options_say,              what_an_operator_does_to_the_queue_goes_on_until_all_is_touched,
             routes_are_listed_paused_and_tested,
             strategies_are_listed_set_and_explained,
             queue_show_tells_of_each_recipient,
             why_prints_the_lines_for_people, stats_are_tables_of_counts_and_paths, stats_watch_asks_again_and_tells_what_happened_in_between,
             events_are_lines_with_their_sequence_number_first, events_are_followed_beyond_the_timeout_and_printed_at_once,
             events_tell_where_to_go_on_when_the_daemon_ends, lanes_are_a_table, config_get_prints_what_is_at_the_pointer,
             config_check_sends_the_file_and_names_what_is_wrong, config_check_tells_of_files_that_are_no_json_or_cannot_be_read,
             drain_starts_waits_and_ends, drain_wait_ends_early_only_when_a_timeout_was_asked_for, version_tells_of_both_programs,
             help_exists_for_every_command_with_an_example,
             addresses_and_pools_are_shown_and_changed, manual_and_completion_know_every_command_and_option_that_help_tells, the_socket_comes_from_the_option_else_from_the_environment],
            args, Ctl(args.build))


if __name__ == "__main__":
    main()
