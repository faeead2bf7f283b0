"""What comes in at the control socket and is wrong: a clear error, and nothing of it is kept."""
import base64
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import daemon  # noqa: E402
import tap  # noqa: E402
from daemon import SENDER, Daemon, message  # noqa: E402
from netns import wait_until  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

TO = ["you@alpha.example"]


def refused(call, *args, **kwargs):
    """The error of a call that must fail."""
    try:
        result = call(*args, **kwargs)
    except RpcError as error:
        return error.error
    raise AssertionError(f"not refused: {result}")


def line(client, data):
    client.sendall(data + b"\n")
    return json.loads(client.makefile("rb").readline())


def nothing_queued(d):
    with d.rpc() as rpc:
        expect_equal("messages queued", rpc.call("queue.list")["total"], 0)
        expect_equal("messages in the spool", rpc.call("stats")["spool"]["messages"], 0)


def what_is_no_request_is_told_and_the_connection_stays_usable(work, args):
    cases = [(b"{nonsense", -32700), (b"[1,2]", -32600), (b"\xff\xfe", -32700), (b'"text"', -32600),
             (b'{"jsonrpc":"1.0","id":1,"method":"version"}', -32600),
             (b'{"jsonrpc":"2.0","id":1}', -32600),
             (b'{"jsonrpc":"2.0","id":{},"method":"version"}', -32600),
             (b'{"jsonrpc":"2.0","id":1,"method":"version","params":[1]}', -32602),
             (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"version"}', -32700),
             (b'{"jsonrpc":"2.0","id":1,"method":"no.such"}', -32601),
             (b'{"jsonrpc":"2.0","id":1,"method":"version","params":{"x":1}}', -32602)]
    with Daemon(args.build, work) as d:
        client = d.raw()
        for data, code in cases:
            answer = line(client, data)
            expect_equal(f"code for {data!r}", answer["error"]["code"], code)
            expect(len(answer["error"]["message"]) > 10, f"words for {data!r}: {answer}")
        good = line(client, b'{"jsonrpc":"2.0","id":"a","method":"version"}')
        expect_equal("id", good["id"], "a")
        expect_equal("protocol", good["result"]["protocol"], 1)


def raw_bytes_of_a_request_that_is_refused_are_never_taken_for_requests(work, args):
    trap = b'{"jsonrpc":"2.0","id":99,"method":"drain"}\n'
    with Daemon(args.build, work) as d:
        for head in ({"jsonrpc": "1.0", "method": "inject"}, {"jsonrpc": "2.0", "method": "inject", "id": [1]},
                     {"jsonrpc": "2.0", "method": "inject", "id": 5}):
            client = d.raw()
            answers = client.makefile("rb")
            client.sendall(json.dumps(head | {"params": {"size": len(trap)}}).encode() + b"\n" + trap)
            expect("error" in json.loads(answers.readline()), f"not refused: {head}")
            expect_equal("next", line(client, b'{"jsonrpc":"2.0","id":7,"method":"version"}')["id"], 7)
        client = d.raw()
        answers = client.makefile("rb")
        client.sendall(b'{"jsonrpc":"2.0","method":"inject","params":{"size":43,}}\n' + trap)
        expect_equal("code", json.loads(answers.readline())["error"]["code"], -32700)
        expect_equal("the connection ends", answers.readline(), b"")
        with d.rpc() as rpc:
            expect_equal("draining", rpc.call("drain", on=False)["draining"], False)
            expect_equal("drain events", rpc.history(["drain"]), [])


def a_wrong_parameter_is_named_by_its_path(work, args):
    good = {"sender": "acme", "mail_from": SENDER, "rcpt_to": TO,
            "message": base64.b64encode(message()).decode()}
    cases = [({"mail_from": None}, "/mail_from"), ({"mail_from": 7}, "/mail_from"),
             ({"rcpt_to": "you@alpha.example"}, "/rcpt_to"), ({"rcpt_to": []}, "/rcpt_to"),
             ({"rcpt_to": ["you@alpha.example", 5]}, "/rcpt_to/1"), ({"message": "%%%"}, "/message"),
             ({"message": 5}, "/message"), ({"stream": "x y"}, "/stream"), ({"to": []}, "/to"),
             ({"sender": 5}, "/sender"), ({"size": 0, "message": None}, "/size"),
             ({"size": -1, "message": None}, "/size"), ({"size": "9", "message": None}, "/size")]
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for change, path in cases:
            params = {key: value for key, value in (good | change).items() if value is not None}
            error = refused(rpc.call, "inject", **params)
            expect_equal(f"code for {change}", error["code"], -32602)
            expect_equal(f"path for {change}", error["data"]["path"], path)
        for method, params, path in (("queue.list", {"limit": 0}, "/limit"), ("queue.list", {"state": "x"}, "/state"),
                                     ("queue.show", {}, "/id"), ("queue.show", {"id": "xyz"}, "/id"),
                                     ("events", {"types": "x"}, "/types"), ("events", {"after": -1}, "/after"),
                                     ("config.get", {"path": "/no/such"}, "/path"), ("drain", {"on": 1}, "/on")):
            error = refused(rpc.call, method, **params)
            expect_equal(f"path of {method} {params}", error["data"]["path"], path)
        nothing_queued(d)


def a_bad_address_is_refused_wherever_it_stands(work, args):
    bad = ["", "nobody", "@alpha.example", "you@", "you@alpha.example\r\nRCPT TO:<x@y.example>", "a\nb@alpha.example",
           "a\0b@alpha.example", "you@alpha..example", "you@-a.example", "you@al pha.example", "a b@alpha.example",
           "@relay.example:you@alpha.example", "you@[192.0.2.1", "you@[300.1.1.1]", "<you@alpha.example>",
           "a" * 65 + "@alpha.example", "you@" + "a" * 64 + ".example", "you@" + "abc." * 70 + "example",
           '"unfinished@alpha.example', ".you@alpha.example", "yo..u@alpha.example", "you@alpha.example>", "x@a_b.example"]
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for address in bad:
            error = refused(rpc.inject, message(), "acme", SENDER, ["ok@alpha.example", address])
            expect_equal(f"reason for {address!r}", error["data"]["reason"], "bad_address")
            expect_equal("path", error["data"]["path"], "/rcpt_to/1")
            if address:
                error = refused(rpc.inject, message(), "acme", address, TO)
                expect_equal(f"reason for {address!r}", error["data"]["reason"], "bad_address")
        nothing_queued(d)
        for address in ["you@alpha.example", '"odd address"@alpha.example', "you@[192.0.2.1]", "you+tag@ALPHA.example",
                        "you@[IPv6:2001:db8::1]", "jürgen@bücher.example", "you@bücher.example", "o'neil@alpha.example"]:
            rpc.inject(message(), "acme", "", [address])
        with d.rpc() as other:
            listed = other.call("queue.list")["messages"]
            expect_equal("accepted", len(listed), 8)
            shown = other.call("queue.show", id=listed[6]["id"])["recipients_detail"][0]
            expect_equal("A-labels", shown["address"], "you@xn--bcher-kva.example")


def a_sender_that_is_not_configured_is_refused(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        error = refused(rpc.inject, message(), "stranger", SENDER, TO)
        expect_equal("reason", error["data"]["reason"], "unknown_sender")
        params = {"mail_from": "x@stranger.example", "rcpt_to": TO, "message": base64.b64encode(message()).decode()}
        expect_equal("reason by domain", refused(rpc.call, "inject", **params)["data"]["reason"], "unknown_sender")
        nothing_queued(d)
        params["mail_from"] = "x@bounces.acme.example"
        rpc.call("inject", **params)
        expect_equal("sender by domain", rpc.call("queue.list")["messages"][0]["sender"], "acme")


def too_many_recipients_are_refused_and_duplicates_get_one_copy(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        error = refused(rpc.inject, message(), "acme", SENDER, [f"r{n}@alpha.example" for n in range(51)])
        expect_equal("reason", error["data"]["reason"], "too_many_recipients")
        nothing_queued(d)
        result = rpc.inject(message(), "acme", SENDER, ["a@alpha.example", "b@alpha.example", "a@alpha.example"])
        expect_equal("recipients", result["recipients"], 2)
        shown = rpc.call("queue.show", id=result["id"])["recipients_detail"]
        expect_equal("kept", [r["address"] for r in shown], ["a@alpha.example", "b@alpha.example"])


def a_bad_message_is_refused_with_its_line(work, args):
    head = b"Subject: x\r\n"
    cases = [(b"\r\nno header\r\n", "line 1"), (head + b"no field\r\n\r\nbody\r\n", "line 2"),
             (head + b"\r\na\0b\r\n", "line 3"), (head + b"\r\na\rb\r\n", "line 3"), (head + b"\r\na\r\r\nb", "line 3"),
             (head + b"\r\n" + b"x" * 999 + b"\r\n", "line 3"), (b"From me\r\nSubject: x\r\n\r\n", "line 1"),
             (b"X" * 5, "line 1"), (head + b"\r\nx\r", "line 3")]
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for data, place in cases:
            error = refused(rpc.inject, data, "acme", SENDER, TO)
            expect_equal(f"reason for {data[:40]!r}", error["data"]["reason"], "bad_message")
            expect(error["message"].startswith(place), f"{data[:40]!r}: {error['message']}")
        nothing_queued(d)
        rpc.inject(head + b"\r\n" + b"x" * 998 + b"\r\n", "acme", SENDER, TO)


def a_message_over_the_limit_is_thrown_away_and_the_connection_goes_on(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for size in (1_000_001, 30_000_000):
            error = refused(rpc.inject, message(b"x\r\n" * (size // 3 + 1))[:size], "acme", SENDER, TO)
            expect_equal("reason", error["data"]["reason"], "message_too_large")
        encoded = base64.b64encode(message(b"x\r\n" * 400_000)).decode()
        error = refused(rpc.call, "inject", sender="acme", mail_from=SENDER, rcpt_to=TO, message=encoded)
        expect_equal("reason of base64", error["data"]["reason"], "message_too_large")
        nothing_queued(d)
        result = rpc.inject(message(), "acme", SENDER, TO)
        expect_equal("durability", result["durability"], "durable")
        rss = int(next(l.split()[1] for l in Path(f"/proc/{d.process.pid}/status").read_text().splitlines()
                       if l.startswith("VmHWM")))
        print(f"# {rss} kB were resident at most")


def a_connection_that_ends_within_a_message_leaves_nothing(work, args):
    with Daemon(args.build, work) as d:
        for sent in (0, 1, 50):
            client = d.raw()
            data = message()
            head = {"jsonrpc": "2.0", "id": 1, "method": "inject",
                    "params": {"sender": "acme", "mail_from": SENDER, "rcpt_to": TO, "size": len(data)}}
            client.sendall(json.dumps(head).encode() + b"\n" + data[:sent])
            client.close()
        client = d.raw()
        client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"ver')
        client.close()
        nothing_queued(d)


def requests_cut_at_any_byte_are_understood(work, args):
    data = message()
    head = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "inject",
                       "params": {"sender": "acme", "mail_from": SENDER, "rcpt_to": TO, "size": len(data)}})
    stream = head.encode() + b"\n" + data + b'{"jsonrpc":"2.0","id":2,"method":"version"}\n'
    with Daemon(args.build, work) as d:
        for cut in range(1, len(stream), 7):
            client = d.raw()
            answers = client.makefile("rb")
            client.sendall(stream[:cut])
            time.sleep(0.001)
            client.sendall(stream[cut:])
            got = {json.loads(answers.readline())["id"] for _ in range(2)}
            expect_equal(f"answers when cut at {cut}", got, {1, 2})
            client.close()


def an_endless_line_ends_only_its_own_connection(work, args):
    with Daemon(args.build, work) as d:
        client = d.raw()
        try:
            for _ in range(70):
                client.sendall(b"x" * (1 << 20))
            answer = json.loads(client.makefile("rb").readline())
            expect_equal("code", answer["error"]["code"], -32600)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed while we were writing: fine, too
        with d.rpc() as rpc:
            rpc.call("version")


def a_follower_that_does_not_read_is_closed_and_others_are_not(work, args):
    with Daemon(args.build, work) as d:
        lazy = d.raw()
        lazy.sendall(b'{"jsonrpc":"2.0","id":1,"method":"events","params":{"after":0}}\n')
        with d.rpc() as rpc, d.rpc() as follower:
            follower.call("events", after=0)
            body = message()
            for n in range(400):
                rpc.inject(body, "acme", SENDER, TO)
            seen = [follower.receive()["params"] for _ in range(400)]
            expect_equal("events", [e["type"] for e in seen], ["accepted"] * 400)
            expect_equal("in order", [e["seq"] for e in seen], sorted(e["seq"] for e in seen))


def events_history_filters_and_goes_on_from_a_cursor(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        ids = [rpc.inject(message(), "acme", SENDER, TO)["id"] for _ in range(5)]
        rpc.call("drain")
        rpc.call("drain", on=False)
        events = rpc.history(["accepted"])
        expect_equal("accepted", [e["id"] for e in events], ids)
        wait_until("drain events", lambda: len(rpc.history(["drain"])) == 2)
        later = rpc.history([], after=events[2]["seq"])
        expect_equal("types after the third", [e["type"] for e in later], ["accepted", "accepted", "drain", "drain"])
        expect_equal("nothing more", rpc.history([], after=later[-1]["seq"]), [])


def the_queue_is_listed_in_pages_and_by_filters(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for n in range(25):
            rpc.inject(message(subject=str(n)), "acme", SENDER, [f"x@{'alpha' if n % 2 else 'beta'}.example"])
        seen, after = [], {}
        while True:
            page = rpc.call("queue.list", limit=10, **after)
            seen += [m["id"] for m in page["messages"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        expect_equal("pages", (len(seen), seen == sorted(seen), page["total"]), (25, True, 25))
        expect_equal("by domain", len(rpc.call("queue.list", domain="beta.example")["messages"]), 13)
        expect_equal("by sender", len(rpc.call("queue.list", sender="nobody")["messages"]), 0)
        one = rpc.call("queue.show", id=seen[0])
        expect_equal("state", one["recipients_detail"][0]["state"], "queued")
        expect_equal("unknown", refused(rpc.call, "queue.show", id="00000000000000ff")["data"]["reason"], "not_found")
        why = rpc.call("message.why", id=seen[0])
        expect(why["records"][0]["type"] == "accepted" and SENDER in why["lines"][0], str(why))


def date_and_message_id_are_added_and_bcc_is_removed_and_nothing_else_changes(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        data = b"From: <a@acme.example>\nBcc: secret@alpha.example,\n other@alpha.example\nSubject: s\n\n.dot\n..\nend"
        result = rpc.inject(data, "acme", SENDER, TO)
        kept = b"From: <a@acme.example>\r\nSubject: s\r\n\r\n.dot\r\n..\r\nend\r\n"
        added = result["bytes"] - len(kept)
        # "Date: Mon, 23 Nov 2026 19:07:00 +0000" and "Message-ID: <16 digits@mta1.acme.example>"
        expect(75 <= added <= 90, f"{added} bytes were added")


def main():
    args = tap.arguments(__doc__)
    tap.run([what_is_no_request_is_told_and_the_connection_stays_usable,
             raw_bytes_of_a_request_that_is_refused_are_never_taken_for_requests,
             a_wrong_parameter_is_named_by_its_path,
             a_bad_address_is_refused_wherever_it_stands,
             a_sender_that_is_not_configured_is_refused,
             too_many_recipients_are_refused_and_duplicates_get_one_copy,
             a_bad_message_is_refused_with_its_line,
             a_message_over_the_limit_is_thrown_away_and_the_connection_goes_on,
             a_connection_that_ends_within_a_message_leaves_nothing,
             requests_cut_at_any_byte_are_understood,
             an_endless_line_ends_only_its_own_connection,
             a_follower_that_does_not_read_is_closed_and_others_are_not,
             events_history_filters_and_goes_on_from_a_cursor,
             the_queue_is_listed_in_pages_and_by_filters,
             date_and_message_id_are_added_and_bcc_is_removed_and_nothing_else_changes], args, args)


if __name__ == "__main__":
    main()
