"""Receivers that refuse, hang up and dribble: each recipient gets the outcome RFC 5321 asks for."""
import json
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

SENDER = "news@acme.example"
DOMAIN = "odd.example"
# Retries within seconds, so that a test sees them; a bounce of the report would only add noise.
DELIVERY = {"retry_s": [1, 2], "retry_jitter": 0, "doubtful_retry_s": 2, "idle_ms": 500}


class Site:
    def __init__(self, netns, work, args, *flags):
        appliance.start_dns(netns, work)
        self.log = work / "odd.jsonl"
        output = work / "odd.log"
        netns.start([appliance.PYTHON, appliance.HERE / "odd_receiver.py", "--listen",
                     f"{appliance.ZONES[DOMAIN]}:25", "--log", self.log, *flags], output)
        wait_until("receiver", lambda: output.exists() and "ready" in output.read_text())
        self.lab = appliance.Appliance(netns, args.build, work,
                                       appliance.configuration(work, delivery=DELIVERY)).start()
        self.expected = {}

    def inject(self, *locals_, index=0):
        recipients = [f"{local}@{DOMAIN}" for local in locals_]
        data = corpus.make(index, "-".join(locals_), SENDER, recipients[0])
        with self.lab.rpc() as rpc:
            ident = rpc.inject(data, "acme", SENDER, recipients)["id"]
        self.expected[ident] = verify.digest(data)
        return ident

    def kept(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def events(self, ident, until="finished", seconds=60):
        """Outcome events of a message from its acceptance on, once it is finished."""
        with self.lab.rpc(seconds) as rpc:
            rpc.call("events", after=0, follow=True)
            seen = []
            while True:
                event = rpc.receive().get("params", {})
                if event.get("id") == ident:
                    seen.append(event)
                    if event["type"] == until:
                        return seen


def outcomes(events):
    return [(event["type"], event["stage"], event["code"]) for event in events
            if event["type"] in ("delivered", "deferred", "bounced", "doubtful")]


def check(work, args, local, want, flags=(), index=0):
    """One message to `local` has exactly the outcomes `want`, and arrives intact if delivered."""
    with Netns() as netns:
        site = Site(netns, work, args, *flags)
        ident = site.inject(local, index=index)
        events = site.events(ident)
        expect_equal(f"outcomes of {local}", outcomes(events), want)
        if want[-1][0] == "delivered":
            expect_equal("bytes", site.kept()[-1]["sha256"], site.expected[ident])
        return events, site


def a_refused_recipient_bounces_with_the_servers_words(work, args):
    events, _ = check(work, args, "bounce", [("bounced", "rcpt", 550)])
    bounced = next(event for event in events if event["type"] == "bounced")
    expect_equal("enhanced", bounced["enhanced"], "5.1.1")
    expect("no such" in bounced["text"] and "mailbox here" in bounced["text"], bounced["text"])


def a_refused_message_bounces_at_the_final_dot(work, args):
    check(work, args, "refuse", [("bounced", "dot", 554)])


def a_greylisted_recipient_is_tried_again_from_the_same_address(work, args):
    events, _ = check(work, args, "defer", [("deferred", "rcpt", 450), ("delivered", "dot", 250)])
    sources = {event["source"] for event in events if event["type"] in ("deferred", "delivered")}
    expect_equal("source addresses", len(sources), 1)


def a_421_and_a_close_defer_and_are_tried_again(work, args):
    check(work, args, "busy", [("deferred", "rcpt", 421), ("delivered", "dot", 250)])


def a_close_at_rcpt_defers(work, args):
    check(work, args, "closercpt", [("deferred", "rcpt", 0), ("delivered", "dot", 250)])


def a_close_within_the_body_defers(work, args):
    # Large, so that the close comes before the final dot is given to TCP.
    check(work, args, "closebody", [("deferred", "body", 0), ("delivered", "dot", 250)], index=49)


def what_is_no_reply_is_never_taken_for_one(work, args):
    events, site = check(work, args, "garbage", [("deferred", "rcpt", 0), ("delivered", "dot", 250)])
    expect_equal("messages kept", len(site.kept()), 1)


def replies_byte_by_byte_are_understood(work, args):
    check(work, args, "dribble", [("delivered", "dot", 250)])


def a_server_without_extensions_gets_helo_and_one_command_at_a_time(work, args):
    check(work, args, "ok", [("delivered", "dot", 250)], flags=["--no-extensions"])


def a_close_or_reset_after_the_final_dot_is_doubtful_and_keeps_its_message_id(work, args):
    for number, local in enumerate(("closedot", "resetdot")):
        place = work / local
        place.mkdir()
        with Netns() as netns:
            site = Site(netns, place, args)
            ident = site.inject(local, index=number)
            want = [("doubtful", "dot", 0), ("delivered", "dot", 250)]
            expect_equal(local, outcomes(site.events(ident)), want)
            kept = site.kept()
            expect_equal("answers", [message["answered"] for message in kept], [False, True])
            expect_equal("Message-IDs", len({message["message_id"] for message in kept}), 1)
            with site.lab.rpc() as rpc:
                expect_equal("doubtful counted", rpc.call("stats")["messages"]["doubtful"], 1)


def recipients_of_one_transaction_have_an_outcome_each(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        ident = site.inject("ok1", "bounce1", "defer1", "ok2")
        events = site.events(ident)
        got = Counter((event["recipient"].partition("@")[0], event["type"]) for event in events
                      if "stage" in event)
        expect_equal("outcomes", dict(got), {("ok1", "delivered"): 1, ("ok2", "delivered"): 1,
                                             ("bounce1", "bounced"): 1, ("defer1", "deferred"): 1,
                                             ("defer1", "delivered"): 1})
        expect_equal("transactions kept", len(site.kept()), 2)


def nobody_listening_defers_at_connect(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        for process in site.lab.netns.processes:
            if "odd_receiver" in " ".join(map(str, process.args)):
                process.terminate()
                process.wait()
        ident = site.inject("ok")
        deferred = site.events(ident, until="deferred")[-1]
        expect_equal("stage", deferred["stage"], "connect")
        expect("refused" in deferred["text"], deferred["text"])


def mail_that_waits_goes_at_once_when_the_operator_says_retry_and_never_twice(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        config = dict(site.lab.config)
        expect_equal("stop", (site.lab.process.terminate(), site.lab.process.wait(60))[1], 0)
        site.lab.config = config | {"delivery": DELIVERY | {"retry_s": [3600]}}
        site.lab.start()
        idents = [site.inject(f"defer{n}", index=n) for n in range(5)]
        for ident in idents:
            site.events(ident, until="deferred")
        with site.lab.rpc() as rpc:
            for _ in range(3):  # again and again: the same recipient is never tried twice at a time
                rpc.call("queue.retry", all=True)
        for ident in idents:
            site.events(ident, seconds=20)
        expect_equal("kept", len(site.kept()), 5)


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([a_refused_recipient_bounces_with_the_servers_words,
             a_refused_message_bounces_at_the_final_dot,
             a_greylisted_recipient_is_tried_again_from_the_same_address,
             a_421_and_a_close_defer_and_are_tried_again,
             a_close_at_rcpt_defers,
             a_close_within_the_body_defers,
             what_is_no_reply_is_never_taken_for_one,
             replies_byte_by_byte_are_understood,
             a_server_without_extensions_gets_helo_and_one_command_at_a_time,
             a_close_or_reset_after_the_final_dot_is_doubtful_and_keeps_its_message_id,
             recipients_of_one_transaction_have_an_outcome_each,
             nobody_listening_defers_at_connect,
             mail_that_waits_goes_at_once_when_the_operator_says_retry_and_never_twice], args, args)


if __name__ == "__main__":
    main()
