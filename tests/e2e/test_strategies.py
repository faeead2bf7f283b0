"""The four strategies in a storm: an address is blocked, relays fail and come back; every move has a reason, nothing is lost."""
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

RELAYS = {"main": "203.0.113.25", "backup": "203.0.113.27", "own": "198.51.100.25"}
SOURCE = "192.0.2.10"
BLOCK = "421 4.7.28 our system has detected an unusual rate of unsolicited mail originating from your IP address"
DELIVERY = {"retry_s": [1, 2], "retry_jitter": 0, "doubtful_retry_s": 2, "idle_ms": 300}
SENDERS = {
    "acme": {"domains": ["acme.example"], "strategy": "auto", "pool": "acme", "shared": ["main", "backup"]},
    "newco": {"domains": ["newco.example"], "strategy": "custom", "pool": "acme", "custom": "own"},
}


class Site:
    """One own address, two shared relays, one custom provider, and a receiver that blocks addresses on demand."""

    def __init__(self, netns, work, args, senders=SENDERS, pools=None, up=("main", "backup", "own"), flags=(), dnsbl=None, hosts=None, **delivery):
        self.netns, self.work, self.logs, self.servers = netns, work, {}, {}
        self.expected, self.ids = {}, {}
        appliance.start_dns(netns, work, {**appliance.ZONES, **{f"{name}.relay": ip for name, ip in RELAYS.items()}}, hosts)
        self.blocks, self.kept = work / "blocks.json", work / "kept.jsonl"
        self.block(None)
        self.kept.touch()
        output = work / "receiver.log"
        netns.start([appliance.PYTHON, appliance.HERE / "odd_receiver.py", "--listen", f"{appliance.ZONES['odd.example']}:25",
                     "--log", self.kept, "--blocks", self.blocks, *flags], output)
        wait_until("receiver", lambda: "ready" in output.read_text())
        for name in up:
            self.start_relay(name)
        routes = {name: {"type": "smtp", "url": f"smtp://{ip}", "idle_ms": 300} for name, ip in RELAYS.items()}
        more = {"dnsbl": dnsbl} if dnsbl else {}
        config = appliance.configuration(work, lanes={0: SOURCE}, **more, delivery=DELIVERY | delivery, routes=routes, senders=senders,
                                         pools=pools or {"acme": {"ehlo": "out-{n}.acme.example", "warmup": False}})
        self.lab = appliance.Appliance(netns, args.build, work, config).start()

    def block(self, reply):
        self.blocks.write_text(json.dumps({SOURCE: reply} if reply else {}))

    def mails(self):
        path = Path(f"{self.blocks}.mails")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def start_relay(self, name):
        (self.work / name).mkdir(exist_ok=True)
        before = len(self.netns.processes)
        self.logs[name] = appliance.start_maildir_server(self.netns, self.work / name, RELAYS[name])[1]
        self.servers[name] = self.netns.processes[before]

    def stop_relay(self, name):
        self.servers[name].terminate()
        self.servers[name].wait()

    def inject(self, sender, count, stream="bulk"):
        origin = f"news@{SENDERS[sender]['domains'][0]}"
        with self.lab.rpc() as rpc:
            for n in range(count):
                recipient = f"ok{len(self.expected)}@odd.example"
                data = corpus.make(n, f"{sender}.{len(self.expected)}", origin, recipient)
                ident = rpc.inject(data, sender, origin, [recipient], stream)["id"]
                self.expected[verify.message_id(data)] = verify.digest(data)
                self.ids[ident] = recipient

    def call(self, method, **params):
        with self.lab.rpc() as rpc:
            return rpc.call(method, **params)

    def events(self, *types):
        with self.lab.rpc() as rpc:
            return rpc.history(types)

    def until_blocked(self):
        """Injects until the library has seen that the address is blocked."""
        def blocked():
            self.inject("acme", 5)
            return any(e["reason"] == "R_BOUNCE_SURGE" for e in self.events("decision"))
        wait_until("decision", blocked, 30, step=0.1)

    def wait(self, seconds=90):
        wait_until("every message finished", lambda: self.call("stats")["messages"]["queued"] == 0, seconds, step=0.1)

    def relayed(self, name):
        return list(verify.from_maildir_log(self.logs[name])) if name in self.logs else []

    def direct(self):
        return [json.loads(line) for line in self.kept.read_text().splitlines()]

    def exact(self):
        """Everything arrived once and unchanged, whichever way."""
        arrived = {m["message_id"]: m["sha256"] for m in self.direct()}
        n = len(self.direct())
        for name in self.logs:
            for ident, digest, *_ in self.relayed(name):
                arrived[ident] = digest
                n += 1
        expect_equal("messages that differ", {k for k in self.expected if arrived.get(k) != self.expected[k]}, set())
        expect_equal("arrivals", n, len(self.expected))


def when_the_only_address_is_blocked_auto_moves_to_shared_within_a_second_and_says_why(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("acme", 5)  # with more good ones among the last 50 it would be slowed down first
        site.wait()
        expect_equal("by the own address", len(site.direct()), 5)
        site.block(BLOCK)
        began = time.time()
        site.until_blocked()
        decided = time.time()
        site.inject("acme", 40)
        site.wait()
        late = [m for m in site.mails() if m["at"] > decided + 1]
        expect_equal("MAIL from the blocked address later than a second after the decision", late, [])
        site.exact()
        print(f"# {sum(m['blocked'] for m in site.mails())} refused at MAIL, decided {decided - began:.1f} s after the first")
        decision = next(e for e in site.events("decision") if e["reason"] == "R_BOUNCE_SURGE")
        expect(SOURCE in decision["line"] and "421-4.7.28" in decision["line"], str(decision))
        flow = {"sender": "acme", "stream": "bulk", "provider": decision["provider"]}
        why = site.call("strategy.explain", **flow)
        expect_equal("explained", (why["reason"], why["new"]), ("R_BOUNCE_SURGE", {"main": 100}))
        not_own = site.call("strategy.why_not", path=SOURCE, **flow)
        expect(not not_own["usable"] and "R_BOUNCE_SURGE" in not_own["why_not"], str(not_own))
        last = list(site.ids)[-1]
        lines = site.call("message.why", id=last)["lines"]
        expect(any("R_BOUNCE_SURGE" in line for line in lines), str(lines))
        plan = site.call("strategy.simulate", n=1000, **flow)
        expect_equal("simulated", plan["split"], [{"path": "main", "n": 1000}])


def what_waits_in_a_lane_for_a_path_that_closes_is_taken_back(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, flags=["--block-seconds", "0.1"], connections_per_address=4)
        site.block("451 4.7.650 The mail server has been temporarily rate limited due to IP reputation")
        site.call("drain", on=True)
        site.inject("acme", 400)
        site.call("drain", on=False)  # four connections, a tenth of a second each: ten seconds of work
        site.wait()
        site.exact()
        mails = [m for m in site.mails() if m["blocked"]]
        lanes = site.call("lanes")["lanes"]
        returned = sum(lane["counters"]["jobs_returned"] for lane in lanes)
        lasted = mails[-1]["at"] - mails[0]["at"]
        print(f"# {len(mails)} of 400 were refused at MAIL, within {lasted:.1f} s; {returned} were taken back from the lane")
        expect(returned > 200, "the lane went on")
        expect(lasted < 4, "MAIL from the blocked address went on for too long")


def an_address_on_a_block_list_sends_nothing_more(work, args):
    with Netns() as netns:
        listed = {"10.2.0.192.zen.spamhaus.org": "127.0.0.2", "10.2.0.192.broken.example": "127.255.255.254"}
        site = Site(netns, work, args, hosts=listed,
                    dnsbl={"zones": ["zen.spamhaus.org", "broken.example", "clean.example"], "interval_s": 1})
        wait_until("asked", lambda: all(q["state"] != "unknown" for q in site.call("dnsbl.list")["listings"]), 20)
        expect_equal("listings", [(q["ip"], q["zone"], q["state"], q["answer"]) for q in site.call("dnsbl.list")["listings"]],
                     [(SOURCE, "zen.spamhaus.org", "listed", "127.0.0.2"), (SOURCE, "broken.example", "error", "127.255.255.254"),
                      (SOURCE, "clean.example", "clean", "")])
        site.inject("acme", 20)
        site.inject("newco", 5)
        site.wait()
        expect_equal("by the listed address", site.direct(), [])
        expect_equal("where", (len(site.relayed("main")), len(site.relayed("own"))), (20, 5))
        expect("R_DNSBL" in {e["reason"] for e in site.events("decision")}, "no decision")
        events = [(e["zone"], e["state"]) for e in site.events("dnsbl")]
        expect(("zen.spamhaus.org", "listed") in events and ("clean.example", "clean") not in events, str(events))
        site.exact()


def shared_relays_fail_over_and_back_while_the_own_address_is_blocked(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("acme", 5)
        site.wait()
        site.block(BLOCK)
        site.until_blocked()
        site.wait()
        site.stop_relay("main")
        before = len(site.relayed("backup"))
        site.inject("acme", 40)
        site.wait()
        expect(len(site.relayed("backup")) >= before + 40, "the second relay did not take over")
        expect(any(e["reason"] in ("R_RELAY_DOWN", "R_BOUNCE_SURGE") for e in site.events("delivered")[-10:]), "no reason given")
        site.start_relay("main")
        was = len(site.relayed("main"))
        wait_until("main is used again", lambda: site.inject("acme", 1) or len(site.relayed("main")) > was, 60, step=0.5)
        site.wait()
        site.exact()


def a_custom_sender_in_the_same_storm_never_touches_shared(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("newco", 40)
        site.wait()
        site.block(BLOCK)
        site.inject("newco", 60)
        site.wait()
        site.stop_relay("own")
        site.inject("newco", 10)
        wait_until("held", lambda: site.events("held"), 60)
        time.sleep(3)
        expect_equal("queued", site.call("stats")["messages"]["queued"], 10)
        expect_equal("shared", [len(site.relayed(name)) for name in ("main", "backup")], [0, 0])
        site.start_relay("own")
        site.wait(120)
        expect_equal("shared", [len(site.relayed(name)) for name in ("main", "backup")], [0, 0])
        site.exact()


def a_receiver_with_a_limit_of_connections_gets_everything_at_its_pace(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, flags=["--max-connections", "2"], connections_per_address=8)
        site.call("strategy.set", sender="acme", strategy="dedicated")
        began = time.time()
        site.inject("acme", 200)
        site.wait(150)
        site.exact()
        told = len(site.events("deferred"))
        expect("R_BOUNCE_SURGE" not in {e["reason"] for e in site.events("decision")}, "a limit of connections is no blow to a reputation")
        print(f"# 200 messages in {time.time() - began:.0f} s, {told} deferred; {[e['line'] for e in site.events('decision')][-3:]}")
        expect_equal("by the own address or shared relays", len(site.direct()) + len(site.relayed("main")), 200)


def new_addresses_of_auto_are_warmed_up_and_the_rest_is_shared(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, pools={"acme": {"ehlo": "out-{n}.acme.example"}})
        for _ in range(6):
            site.inject("acme", 50)
        site.wait()
        expect_equal("by the new address", len(site.direct()), 100)
        expect_equal("shared", len(site.relayed("main")), 200)
        expect("R_WARMUP_CAP" in {e["reason"] for e in site.events("decision")}, "the cap is not told")
        site.exact()
        site.lab.process.terminate()
        site.lab.process.wait(60)
        site.lab.start()
        site.inject("acme", 20)
        site.wait()
        expect_equal("the cap is remembered over a restart", len(site.direct()), 100)
        site.exact()


def a_strategy_is_set_kept_over_a_restart_and_set_back(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        expect_equal("get", site.call("strategy.get", sender="acme")["strategy"], "auto")
        got = site.call("strategy.set", sender="acme", strategy="shared")
        expect_equal("set", (got["strategy"], got["configured"], [e["kind"] for e in got["endpoints"]]), ("shared", "auto", ["shared", "shared"]))
        site.inject("acme", 10)
        site.wait()
        expect_equal("by the relay", (len(site.relayed("main")), len(site.direct())), (10, 0))
        site.lab.process.terminate()
        site.lab.process.wait(60)
        site.lab.start()
        expect_equal("after a restart", site.call("strategy.get", sender="acme")["strategy"], "shared")
        site.call("strategy.set", sender="acme", strategy="dedicated")
        site.inject("acme", 10)
        site.wait()
        expect_equal("by the own address", len(site.direct()), 10)
        for wrong, reason in (("custom", "not_possible"), ("none", None)):
            try:
                site.call("strategy.set", sender="acme", strategy=wrong)
                raise AssertionError(f"{wrong} was set")
            except RpcError as error:
                expect_equal(wrong, error.reason, reason)
        expect_equal("still", site.call("strategy.get", sender="acme")["strategy"], "dedicated")


def what_comes_back_later_is_booked_to_the_delivery(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("acme", 3)
        site.wait()
        ident, recipient = next(iter(site.ids.items()))
        got = site.call("event.report", reports=[
            {"id": ident, "type": "open", "at": "2099-01-01T00:00:00Z"},
            {"id": ident, "type": "open"},
            {"id": ident, "recipient": recipient.upper(), "type": "complaint"},
            {"id": ident, "type": "bounce", "reply": "550 5.1.1 no such user"},
            {"id": ident, "type": "sneeze"}, {"id": "00000000000000ff", "type": "open"}, {"id": ident, "recipient": "x@y", "type": "open"}])
        expect_equal("taken", got["taken"], 4)
        expect_equal("refused", [r["index"] for r in got["refused"]], [4, 5, 6])
        wait_until("recorded", lambda: len(site.events("feedback")) == 4, 10)
        feedback = site.events("feedback")
        expect_equal("recorded", [(e["kind"], e["machine"], e["path"]) for e in feedback],
                     [("open", False, SOURCE), ("open", True, SOURCE), ("complaint", feedback[2]["machine"], SOURCE), ("bounce", feedback[3]["machine"], SOURCE)])
        expect(any("complaint" in line for line in site.call("message.why", id=ident)["lines"]), "why does not tell")


def main():
    require_root()
    args = tap.arguments(__doc__)
    tap.run([when_the_only_address_is_blocked_auto_moves_to_shared_within_a_second_and_says_why,
             what_waits_in_a_lane_for_a_path_that_closes_is_taken_back,
             an_address_on_a_block_list_sends_nothing_more,
             shared_relays_fail_over_and_back_while_the_own_address_is_blocked,
             a_custom_sender_in_the_same_storm_never_touches_shared,
             a_receiver_with_a_limit_of_connections_gets_everything_at_its_pace,
             new_addresses_of_auto_are_warmed_up_and_the_rest_is_shared,
             a_strategy_is_set_kept_over_a_restart_and_set_back,
             what_comes_back_later_is_booked_to_the_delivery], args, args)


if __name__ == "__main__":
    main()
