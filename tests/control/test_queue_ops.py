"""What an operator does to queued mail: hold, release, retry, bounce, delete, each with a dry run."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import daemon  # noqa: E402
import tap  # noqa: E402
from daemon import SENDER, Daemon, message  # noqa: E402
from netns import wait_until  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402


def states(rpc, ident):
    return [r["state"] for r in rpc.call("queue.show", id=ident)["recipients_detail"]]


def inject(rpc, *recipients, mail_from=SENDER):
    return rpc.inject(message(), "acme", mail_from, list(recipients))["id"]


def op(rpc, name, **selector):
    result = rpc.call(f"queue.{name}", **selector)
    return result["messages"], result["recipients"]


def until(rpc, ident, want):
    wait_until(f"{want}", lambda: states(rpc, ident) == want, 10, step=0.02)


def a_held_recipient_stays_held_over_a_restart_until_it_is_released(work, args):
    with Daemon(args.build, work) as d:
        with d.rpc() as rpc:
            ident = inject(rpc, "a@alpha.example", "b@beta.example")
            expect_equal("hold", op(rpc, "hold", domain="beta.example"), (1, 1))
            until(rpc, ident, ["queued", "held"])
            counts = rpc.call("queue.list")["messages"][0]["recipients"]
            expect_equal("counts", (counts["queued"], counts["held"]), (1, 1))
            expect_equal("listed", [len(rpc.call("queue.list", state=s)["messages"]) for s in ("held", "bounced")], [1, 0])
            expect_equal("again", op(rpc, "hold", domain="beta.example"), (0, 0))
            expect_equal("retry passes it over", op(rpc, "retry", all=True), (0, 0))
        d.kill()
        d.start()
        with d.rpc() as rpc:
            expect_equal("after a restart", states(rpc, ident), ["queued", "held"])
            expect_equal("release", op(rpc, "release", id=ident), (1, 1))
            until(rpc, ident, ["queued", "queued"])
            kinds = [(e["type"], e.get("recipient")) for e in rpc.history(["held", "released"])]
            expect_equal("events", kinds, [("held", "b@beta.example"), ("released", "b@beta.example")])


def a_dry_run_counts_and_changes_nothing(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for n in range(10):
            inject(rpc, f"a{n}@alpha.example", f"b{n}@alpha.example")
        for name in ("hold", "bounce", "delete"):
            expect_equal(name, op(rpc, name, sender="acme", dry_run=True), (10, 20))
        expect_equal("queued", rpc.call("queue.list")["total"], 10)
        expect_equal("events", rpc.history(["held", "bounced"]), [])
        page = rpc.call("queue.hold", all=True, limit=4)
        expect_equal("a part", (page["messages"], page["next"] is not None), (4, True))
        expect_equal("the rest", op(rpc, "hold", all=True, after=page["next"]), (6, 12))


def a_bounce_tells_the_sender_and_a_deletion_does_not(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        bounced, deleted = inject(rpc, "a@alpha.example", "b@beta.example"), inject(rpc, "c@alpha.example")
        expect_equal("bounce", op(rpc, "bounce", id=bounced, domain="alpha.example"), (1, 1))
        until(rpc, bounced, ["bounced", "queued"])
        wait_until("a bounce message", lambda: rpc.history(["dsn"]), 10)
        expect_equal("for", [e["for"] for e in rpc.history(["dsn"])], [bounced])
        expect_equal("delete", op(rpc, "delete", id=deleted), (1, 1))
        wait_until("deleted", lambda: deleted in [e["id"] for e in rpc.history(["finished"])], 10)
        expect_equal("bounce messages", len(rpc.history(["dsn"])), 1)
        text = next(e["text"] for e in rpc.history(["bounced"]) if e["id"] == deleted)
        expect_equal("text", text, "deleted by the operator")
        expect_equal("the rest", op(rpc, "bounce", all=True), (2, 2))  # b@beta, and the bounce message itself
        wait_until("empty", lambda: rpc.call("queue.list")["total"] == 1, 10)  # the second bounce message
        expect_equal("null path makes none", len(rpc.history(["dsn"])), 2)


def without_a_selector_nothing_is_touched(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        inject(rpc, "a@alpha.example")
        for name in ("hold", "release", "retry", "bounce", "delete"):
            try:
                rpc.call(f"queue.{name}")
                raise AssertionError(f"{name} of everything without a word")
            except RpcError as error:
                expect_equal("code", error.code, -32602)
        expect_equal("an id that is not there", op(rpc, "delete", id="00000000000000ff"), (0, 0))
        expect_equal("queued", rpc.call("queue.list")["total"], 1)


def thousands_of_messages_are_held_and_bounced_at_once(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for n in range(0, 3000):
            rpc.send("inject", {"sender": "acme", "mail_from": "", "rcpt_to": [f"r{n}@d{n % 50}.example"], "size": len(message())}, message())
            if n % 50 == 49:
                for _ in range(50):
                    expect("result" in rpc.receive(), "not accepted")
        expect_equal("hold", op(rpc, "hold", all=True), (3000, 3000))
        wait_until("held", lambda: len(rpc.call("queue.list", state="held", limit=10000)["messages"]) == 3000, 30)
        expect_equal("delete", op(rpc, "delete", all=True), (3000, 3000))
        wait_until("gone", lambda: rpc.call("stats")["messages"]["finished"] == 3000, 30)
        stats = rpc.call("stats")["messages"]
        expect_equal("counts", (stats["queued"], stats["in_flight"], stats["finished"]), (0, 0, 3000))


def main():
    args = tap.arguments(__doc__)
    tap.run([a_held_recipient_stays_held_over_a_restart_until_it_is_released,
             a_dry_run_counts_and_changes_nothing,
             a_bounce_tells_the_sender_and_a_deletion_does_not,
             without_a_selector_nothing_is_touched,
             thousands_of_messages_are_held_and_bounced_at_once], args, args)


if __name__ == "__main__":
    main()
