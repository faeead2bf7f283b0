"""What `inject` is told beside the message: idempotency keys, over restarts and kill -9; fields of unsubscription."""
import base64
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import daemon  # noqa: E402
import tap  # noqa: E402
from daemon import SENDER, Daemon, message  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402


def inject(rpc, key, data=None, to="a@alpha.example", stream="transactional"):
    return rpc.call("inject", sender="acme", mail_from=SENDER, rcpt_to=[to], stream=stream, idempotency_key=key,
                    message=base64.b64encode(data or message()).decode())


def refused(rpc, *args, **more):
    try:
        inject(rpc, *args, **more)
    except RpcError as error:
        return error.reason or error.code
    return "accepted"


def the_same_key_is_answered_with_the_first_id_and_accepts_nothing(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        first = inject(rpc, "order 17")
        expect("duplicate" not in first, str(first))
        again = inject(rpc, "order 17")
        expect_equal("again", (again["id"], again["recipients"], again["bytes"], again["duplicate"]), (first["id"], 1, first["bytes"], True))
        expect(inject(rpc, "order 18")["id"] != first["id"], "another key is another message")
        expect_equal("queued", rpc.call("queue.list")["total"], 2)
        expect_equal("accepted", len(rpc.history(["accepted"])), 2)


def another_message_with_the_key_is_refused(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        inject(rpc, "k")
        for what, change in {"message": {"data": message() + b"more\r\n"}, "recipient": {"to": "b@alpha.example"}, "stream": {"stream": "bulk"}}.items():
            expect_equal(what, refused(rpc, "k", **change), "key_reused")
        expect_equal("queued", rpc.call("queue.list")["total"], 1)


def odd_keys_are_refused(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for key in ("", "a" * 129, "new\nline", "ä"):
            expect_equal(repr(key), refused(rpc, key), -32602)
        inject(rpc, "a" * 128)
        inject(rpc, "../../%2f\\ ;'\"")


def keys_are_known_after_a_kill_exactly_when_their_message_is(work, args):
    with Daemon(args.build, work) as d:
        answers = {}
        for round_ in range(6):
            def work_on():
                try:
                    with d.rpc() as rpc:
                        for n in range(200):
                            answers[f"{round_}.{n}"] = inject(rpc, f"{round_}.{n}")["id"]
                except (ConnectionError, OSError, ValueError):
                    pass
            thread = threading.Thread(target=work_on)
            thread.start()
            thread.join(0.05 * (round_ + 1))
            d.kill()
            thread.join()
            d.start()
        with d.rpc() as rpc:
            total = rpc.call("queue.list")["total"]
            for key, ident in answers.items():
                again = inject(rpc, key)
                expect_equal(key, (again["id"], again.get("duplicate")), (ident, True))
            known = sum(bool(inject(rpc, f"{r}.{n}").get("duplicate")) for r in range(6) for n in range(200) if f"{r}.{n}" not in answers)
            expect_equal("each queued message has its key", total, len(answers) + known)
            print(f"# {len(answers)} were answered before a kill, {known} were durable without an answer")


def two_at_once_with_one_key_are_one_message(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        data = message()
        params = {"sender": "acme", "mail_from": SENDER, "rcpt_to": ["a@alpha.example"], "idempotency_key": "k", "size": len(data)}
        for _ in range(20):
            rpc.send("inject", params, data)
        results = [rpc.receive() for _ in range(20)]
        reasons = {r["error"]["data"]["reason"] for r in results if "error" in r}
        expect(reasons <= {"in_progress"}, str(reasons))
        expect_equal("ids", len({r["result"]["id"] for r in results if "result" in r}), 1)
        expect_equal("queued", rpc.call("queue.list")["total"], 1)


def unsubscription_is_asked_for_with_good_addresses_only(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        def send(what, data=None):
            try:
                return rpc.call("inject", sender="acme", mail_from=SENDER, rcpt_to=["a@alpha.example"], list_unsubscribe=what,
                                message=base64.b64encode(data or message()).decode())["bytes"]
            except RpcError as error:
                return error.reason or error.code
        plain = rpc.inject(message(), "acme", SENDER, ["a@alpha.example"])["bytes"]
        url, mailto = "https://acme.example/u?id=1%2C2", "mailto:leave@acme.example?subject=x"
        click = len(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")
        expect_equal("url", send({"url": url}) - plain, len(f"List-Unsubscribe: <{url}>\r\n") + click)
        expect_equal("mailto", send({"mailto": mailto}) - plain, len(f"List-Unsubscribe: <{mailto}>\r\n"))
        expect_equal("both", send({"url": url, "mailto": mailto}) - plain, len(f"List-Unsubscribe: <{url}>,\r\n <{mailto}>\r\n") + click)
        for wrong in ({}, [], "x", {"url": "http://acme.example/"}, {"url": "https://"}, {"url": url + "\r\nX: y"}, {"url": url + ">"}, {"url": "https://" + "a" * 900},
                      {"mailto": "leave@acme.example"}, {"url": url, "more": 1}, {"url": 5}, {"url": url + "ä"}):
            expect_equal(str(wrong)[:60], send(wrong), -32602)
        expect_equal("twice", send({"url": url}, b"List-Unsubscribe: <https://x.example/>\r\n" + message()), "bad_message")


def main():
    args = tap.arguments(__doc__)
    tap.run([the_same_key_is_answered_with_the_first_id_and_accepts_nothing, another_message_with_the_key_is_refused, odd_keys_are_refused,
             keys_are_known_after_a_kill_exactly_when_their_message_is, two_at_once_with_one_key_are_one_message,
             unsubscription_is_asked_for_with_good_addresses_only], args, args)


if __name__ == "__main__":
    main()
