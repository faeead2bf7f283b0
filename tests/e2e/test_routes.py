"""Relays over kernel sockets: shared chains, custom senders, failure of each, kill -9; custom never leaves by a shared relay."""
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import GATEWAY, RECEIVERS, Netns, require_root, wait_until  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

RELAYS = {"main": "203.0.113.25", "backup": "203.0.113.27", "oldprovider": "203.0.113.26"}
DELIVERY = {"retry_s": [1, 2], "retry_jitter": 0, "doubtful_retry_s": 2, "idle_ms": 500}
SENDERS = {
    "small": {"domains": ["small.example"], "strategy": "shared", "shared": ["main", "backup"]},
    "newco": {"domains": ["newco.example"], "strategy": "custom", "pool": "acme", "custom": "oldprovider"},
    "acme": {"domains": ["acme.example"], "strategy": "dedicated", "pool": "acme"},
}


class Site:
    """The appliance with three relays (aiosmtpd keeping every byte) and the usual receiver."""

    def __init__(self, netns, work, args, up=("main", "backup", "oldprovider"), **changes):
        self.netns, self.work, self.logs, self.servers = netns, work, {}, {}
        zones = dict(appliance.ZONES)
        appliance.start_dns(netns, work, {**zones, **{f"{name}.relay": RELAYS[name] for name in RELAYS}})
        self.direct = appliance.start_maildir_server(netns, self.folder("direct"))[1]
        for name in up:
            self.start_relay(name)
        routes = {name: {"type": "smtp", "url": f"smtp://{RELAYS[name]}", "idle_ms": 500} for name in RELAYS}
        config = appliance.configuration(work, delivery=DELIVERY, routes=routes, senders=SENDERS, **changes)
        self.lab = appliance.Appliance(netns, args.build, work, config).start()
        self.expected = {}

    def folder(self, name):
        (self.work / name).mkdir(exist_ok=True)
        return self.work / name

    def start_relay(self, name):
        before = len(self.netns.processes)
        self.logs[name] = appliance.start_maildir_server(self.netns, self.folder(name), RELAYS[name])[1]
        self.servers[name] = self.netns.processes[before]

    def stop_relay(self, name):
        self.servers[name].terminate()
        self.servers[name].wait()

    def inject(self, sender, count, domain="alpha.example", kind=0):
        origin = f"news@{SENDERS[sender]['domains'][0]}"
        with self.lab.rpc() as rpc:
            for n in range(count):
                data = corpus.make(n, f"{sender}.{len(self.expected)}", origin, f"r{n}@{domain}")
                rpc.inject(data, sender, origin, [f"r{n}@{domain}"])
                self.expected[verify.message_id(data)] = verify.digest(data)

    def wait(self, seconds=60):
        def finished():
            with self.lab.rpc() as rpc:
                return rpc.call("stats")["messages"]["queued"] == 0
        wait_until("every message finished", finished, seconds, step=0.1)

    def arrived(self, *names):
        found = []
        for name in names or [*self.logs, "direct"]:
            found += verify.from_maildir_log(self.direct if name == "direct" else self.logs[name])
        return found

    def events(self, *types):
        with self.lab.rpc() as rpc:
            return rpc.history(types)

    def exact(self, *names):
        result = verify.Comparison(self.expected, self.arrived(*names))
        expect(result.exact(), str(result))


def shared_mail_leaves_by_the_first_relay_of_its_chain_byte_for_byte(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("small", 100)
        site.wait()
        site.exact("main")
        expect_equal("elsewhere", len(site.arrived("backup", "oldprovider", "direct")), 0)
        delivered = site.events("delivered")
        expect_equal("route", {(e["route"], e["source"], e["peer"]) for e in delivered}, {("main", "", RELAYS["main"])})
        with site.lab.rpc() as rpc:
            paths = rpc.call("stats")["paths"]
            expect_equal("paths", [(p["source"], p["delivered"]) for p in paths], [("main", 100)])
            routes = {r["name"]: r for r in rpc.call("routes.list")["routes"]}
            expect_equal("sent", (routes["main"]["sent"], routes["main"]["state"]), (100, "up"))
        expect(Counter(p for _, _, p, _ in site.arrived("main")).keys() <= {RELAYS["main"], "203.0.113.25", GATEWAY, *RECEIVERS},
               "mail of a relay came from an address of the pool")


def when_the_first_relay_is_down_the_second_takes_over_and_back(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, up=("backup", "oldprovider"))
        site.inject("small", 40)
        site.wait()
        site.exact("backup")
        with site.lab.rpc() as rpc:
            routes = {r["name"]: r for r in rpc.call("routes.list")["routes"]}
            expect_equal("state", routes["main"]["state"], "down")
            expect("refused" in routes["main"]["last"], str(routes["main"]))
        site.start_relay("main")
        wait_until("main is probed", lambda: site.inject("small", 1) or any(True for _ in site.arrived("main")), 40, step=0.5)
        site.wait()
        site.exact()


def a_custom_sender_uses_its_provider_and_its_addresses_and_never_a_shared_relay(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("newco", 100)
        site.wait()
        site.exact()
        counts = {name: len(site.arrived(name)) for name in ("main", "backup", "oldprovider", "direct")}
        expect_equal("shared", counts["main"] + counts["backup"], 0)
        expect(counts["oldprovider"] >= 4 and counts["direct"] >= 4, f"each carries at least 5 %: {counts}")
        site.stop_relay("oldprovider")
        site.inject("newco", 60)
        site.wait()
        site.exact()
        expect_equal("shared", len(site.arrived("main", "backup")), 0)


def with_every_relay_down_mail_is_held_and_told_and_leaves_when_one_is_back(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, up=())
        site.inject("small", 12)
        wait_until("both are down", lambda: [r["state"] for r in site.lab.rpc().call("routes.list")["routes"]
                                             if r["name"] != "oldprovider"] == ["down", "down"], 30)
        wait_until("held", lambda: site.events("held"), 30)
        expect_equal("reason", site.events("held")[0]["reason"], "R_RELAY_DOWN")
        site.start_relay("backup")
        site.wait(120)
        site.exact()


def a_paused_route_gets_nothing_until_it_is_resumed(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        with site.lab.rpc() as rpc:
            expect_equal("pause", rpc.call("routes.pause", name="main"), {"name": "main", "paused": True})
            site.inject("small", 10)
            site.wait()
            site.exact("backup")
            rpc.call("routes.resume", name="main")
            site.inject("small", 10)
            site.wait()
            expect_equal("by main", len(site.arrived("main")), 10)
            try:
                rpc.call("routes.pause", name="nobody")
                raise AssertionError("a route that is not there was paused")
            except RpcError as error:
                expect_equal("reason", error.reason, "not_found")


def a_test_of_a_route_connects_and_sends_nothing(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, up=("main",))
        with site.lab.rpc() as rpc:
            good = rpc.call("routes.test", name="main")
            expect(good["ok"] and "8BITMIME" in good["extensions"], str(good))
            bad = rpc.call("routes.test", name="backup")
            expect(not bad["ok"] and "refused" in bad["text"], str(bad))
        expect_equal("mail", len(site.arrived()), 0)


def killed_while_relays_work_nothing_is_lost(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.lab.config["spool"]["event_keep"] = 100_000
        for round_ in range(4):
            site.inject("small", 150)
            time.sleep(0.02 * round_)
            for pid in site.lab.daemon_pids("wirepostd"):
                os.kill(pid, signal.SIGKILL)
            site.lab.process.wait()
            site.lab.start(lanes_up=False)
        site.wait(90)
        doubtful = {e["id"] for e in site.events("doubtful")}
        counts = Counter(ident for ident, *_ in site.arrived())
        expect_equal("lost", sorted(site.expected.keys() - counts.keys()), [])
        twice = sum(n > 1 for n in counts.values())
        expect(twice <= len(doubtful), f"{twice} arrived twice, {len(doubtful)} are named doubtful")
        print(f"# {len(site.expected)} injected, {len(doubtful)} doubtful, {twice} twice")
        expect_equal("exit status", (site.lab.process.terminate(), site.lab.process.wait(60))[1], 0)


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([shared_mail_leaves_by_the_first_relay_of_its_chain_byte_for_byte,
             when_the_first_relay_is_down_the_second_takes_over_and_back,
             a_custom_sender_uses_its_provider_and_its_addresses_and_never_a_shared_relay,
             with_every_relay_down_mail_is_held_and_told_and_leaves_when_one_is_back,
             a_paused_route_gets_nothing_until_it_is_resumed,
             a_test_of_a_route_connects_and_sends_nothing,
             killed_while_relays_work_nothing_is_lost], args, args)


if __name__ == "__main__":
    main()
