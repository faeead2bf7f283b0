"""Source addresses while mail flows: drained, moved, added, removed, over restarts and crashes; pools likewise."""
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import GATEWAY6, RECEIVERS, RECEIVERS6, Netns, require_root, wait_until  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

SENDER = "news@acme.example"
ZONES = {"alpha.example": RECEIVERS[0], "six.example": RECEIVERS6[0]}
POOLS = {"acme": {"ehlo": "out-{n}.acme.example"}}


class Site:
    def __init__(self, netns, work, args, lanes=None, **changes):
        self.netns, self.expected = netns, {}
        netns.add_ipv6()
        appliance.start_dns(netns, work, ZONES)
        self.log = appliance.start_maildir_server(netns, work, RECEIVERS[0], f"--listen={RECEIVERS6[0]}:25")[1]
        config = appliance.configuration(work, lanes or {0: "192.0.2.10-192.0.2.11", 1: "192.0.2.20-192.0.2.21"},
                                         delivery={"retry_s": [1], "retry_jitter": 0, "idle_ms": 2000, "doubtful_retry_s": 2},
                                         pools=POOLS, **changes)
        config["dataplane"]["ports"][0]["ipv6"] = {"prefix": "2001:db8:7::/64", "gateway": GATEWAY6}
        self.lab = appliance.Appliance(netns, args.build, work, config).start()

    def call(self, method, **params):
        with self.lab.rpc() as rpc:
            return rpc.call(method, **params)

    def inject(self, count, domain="alpha.example"):
        with self.lab.rpc() as rpc:
            for n in range(count):
                data = corpus.make(n, f"live{len(self.expected)}", SENDER, f"r{n}@{domain}")
                rpc.inject(data, "acme", SENDER, [f"r{n}@{domain}"])
                self.expected[verify.message_id(data)] = verify.digest(data)

    def finish(self, seconds=60):
        wait_until("finished", lambda: self.call("stats")["messages"]["queued"] == 0, seconds)
        result = verify.Comparison(self.expected, verify.from_maildir_log(self.log))
        expect(result.exact(), str(result))

    def records(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def states(self):
        return {a["address"]: a["state"] for a in self.call("addresses.list")["addresses"]}

    def wait_for(self, address, state, seconds=20):
        wait_until(f"{address} is {state}", lambda: self.states().get(address) == state, seconds)

    def lane_of(self, source, after):
        with self.lab.rpc() as rpc:
            return {e["lane"] for e in rpc.history(["delivered"], after) if e["source"] == source}

    def cursor(self):
        return self.call("events", follow=False)["cursor"]

    def restart(self):
        self.lab.process.send_signal(signal.SIGTERM)
        self.lab.process.wait(60)
        self.lab.start()


class Flow:
    """Mail that keeps flowing beside the test."""

    def __init__(self, site):
        self.site, self.on = site, True
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while self.on:
            self.site.inject(5)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.on = False
        self.thread.join()


def a_drained_address_finishes_says_quit_and_gets_nothing_new_within_a_second(work, args):
    capture = work / "wire.pcap"
    with Netns() as netns:
        tcpdump = netns.start(["tcpdump", "-i", "net0", "-w", capture, "-U", "-s", "200", "-B", "65536", "-Z", "root",
                               "tcp port 25 and host 192.0.2.10"], work / "tcpdump.log")
        wait_until("tcpdump", lambda: capture.exists() and capture.stat().st_size >= 24)
        site = Site(netns, work, args)
        with Flow(site):
            wait_until("mail from 192.0.2.10", lambda: site.log.exists() and any(r["peer"] == "192.0.2.10" for r in site.records()))
            site.call("addresses.drain", addresses="192.0.2.10")
            drained = time.time()
            site.wait_for("192.0.2.10", "drained", 10)
            wait_until("two seconds more of mail", lambda: site.records()[-1]["at"] > drained + 2)
            late = [r["at"] - drained for r in site.records() if r["peer"] == "192.0.2.10" and r["at"] > drained + 1]
            expect_equal("accepted from it more than a second later", late, [])
            tcpdump.terminate()
            tcpdump.wait(20)
            now = len(site.records())
            site.call("addresses.undrain", addresses=["192.0.2.10"])
            wait_until("it is used again", lambda: any(r["peer"] == "192.0.2.10" for r in site.records()[now:]))
        site.finish()
        with site.lab.rpc() as rpc:
            actions = [e["action"] for e in rpc.history(["address"]) if e["address"] == "192.0.2.10"]
        expect_equal("events", actions, ["draining", "drained", "undrained"])
    wire = capture.read_bytes()
    expect(b"QUIT\r\n" in wire, "it says QUIT")
    expect_equal("resets", verify.capture_faults(capture)["resets"], 0)


def an_address_moves_to_another_queue_while_mail_flows(work, args):
    if os.cpu_count() < 2:
        return
    with Netns() as netns:
        site = Site(netns, work, args)
        with Flow(site):
            for lane in (1, 0, 1):
                site.call("addresses.move", addresses="192.0.2.10", queue=lane)
                wait_until("it has moved", lambda: site.states()["192.0.2.10"] == "up")
                after = site.cursor()
                wait_until("mail from it", lambda: site.lane_of("192.0.2.10", after))
                expect_equal("its lane", site.lane_of("192.0.2.10", after), {lane})
        site.finish()
        expect_equal("addresses of the lanes", [lane["addresses"] for lane in site.call("lanes")["lanes"]], [1, 3])


def addresses_come_and_go_and_are_what_they_were_after_restarts_and_crashes(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        expect_equal("added", site.call("addresses.add", addresses=["192.0.2.30-192.0.2.39", "2001:db8:7::30"], pool="acme", queue=0),
                     {"addresses": 11})
        site.call("addresses.add", addresses="192.0.2.40", pool="acme", queue=1, ehlo="mail.acme.example")
        site.wait_for("2001:db8:7::30", "up")
        site.wait_for("192.0.2.40", "up")
        site.call("addresses.drain", addresses="192.0.2.10-192.0.2.21")
        site.inject(60)
        site.inject(10, "six.example")
        site.finish()
        expect_equal("sources of IPv6", {r["peer"] for r in site.records() if ":" in r["peer"]}, {"2001:db8:7::30"})
        sources = {r["peer"] for r in site.records()}
        expect(not sources & {"192.0.2.10", "192.0.2.11", "192.0.2.20", "192.0.2.21"}, f"drained ones are not used: {sources}")
        expect("192.0.2.40" in sources and "192.0.2.39" in sources, f"added ones are used: {sources}")
        expect_equal("EHLO name", {r["ehlo"] for r in site.records() if r["peer"] == "192.0.2.40"}, {"mail.acme.example"})
        expect_equal("EHLO name by number", {r["ehlo"] for r in site.records() if r["peer"] == "192.0.2.30"}, {"out-5.acme.example"})
        site.call("addresses.drain", addresses=["192.0.2.30-192.0.2.33", "192.0.2.11"])
        for address in ("192.0.2.30", "192.0.2.33", "192.0.2.11"):
            site.wait_for(address, "drained")
        site.call("addresses.remove", addresses=["192.0.2.30-192.0.2.33", "192.0.2.11"])
        before = site.call("addresses.list")
        keys = ("address", "pool", "queue", "ehlo", "added")
        wanted = [[a[key] for key in keys] for a in before["addresses"]]
        expect_equal("there are", len(wanted), 4 + 12 - 5)
        site.restart()
        expect_equal("after a restart", [[a[key] for key in keys] for a in site.call("addresses.list")["addresses"]], wanted)
        for pid in site.lab.daemon_pids("wirepost-dataplane"):
            os.kill(pid, signal.SIGKILL)
        wait_until("the data plane is down", lambda: not site.lab.lanes_running())
        wait_until("it runs again", site.lab.lanes_running, 60)
        site.wait_for("192.0.2.40", "up")
        site.wait_for("192.0.2.10", "drained")
        expect("192.0.2.30" not in site.states(), "removed ones stay away")
        site.inject(20)
        site.finish()


def a_daemon_that_comes_back_takes_the_running_lanes_with_their_addresses(work, args):
    """kill -9 of wirepostd while an address is on its way: what was decided is done by the next one."""
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject(40)
        site.finish()
        pids = site.lab.daemon_pids("wirepost-dataplane")
        site.call("addresses.move", addresses="192.0.2.10", queue=1)
        site.call("addresses.drain", addresses="192.0.2.20")
        for pid in site.lab.daemon_pids("wirepostd"):
            os.kill(pid, signal.SIGKILL)
        site.lab.process.wait(20)
        site.lab.start()
        site.wait_for("192.0.2.10", "up")
        site.wait_for("192.0.2.20", "drained")
        expect_equal("the data plane is the same", site.lab.daemon_pids("wirepost-dataplane"), pids)
        expect_equal("queue", [a["queue"] for a in site.call("addresses.list", addresses="192.0.2.10")["addresses"]], [1])
        site.inject(40)
        site.finish()


def a_pool_is_made_given_to_a_sender_and_removed(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.call("pool.add", name="late", ehlo="{ip}.late.example")
        site.call("addresses.add", addresses="192.0.2.50-192.0.2.52", pool="late", queue=0)
        site.wait_for("192.0.2.50", "up")
        site.call("pool.assign", sender="acme", pool="late")
        for _ in range(2):
            before = len(site.records()) if site.log.exists() else 0
            site.inject(30)
            site.finish()
            expect_equal("sources", {r["peer"] for r in site.records()[before:]}, {f"192.0.2.{n}" for n in (50, 51, 52)})
            expect("192-0-2-50.late.example" in {r["ehlo"] for r in site.records()[before:]}, "EHLO by address")
            site.restart()
        site.call("pool.assign", sender="acme", pool="acme")
        for error in ("has addresses",):
            expect_refused(site, error, "pool.remove", name="late")
        site.call("addresses.remove", pool="late")
        site.call("pool.remove", name="late")
        expect_equal("pools", [p["name"] for p in site.call("pool.list")["pools"]], ["acme"])


def expect_refused(site, words, method, **params):
    try:
        answer = site.call(method, **params)
    except RpcError as error:
        expect(words in str(error), f"{method} {params}: {error}")
        return
    raise AssertionError(f"{method} {params} was not refused: {answer}")


REFUSED = [
    ("no address", "addresses.drain", {"addresses": "mail"}),
    ("name \"addresses\" or a \"pool\"", "addresses.drain", {}),
    ("there are no such addresses", "addresses.drain", {"addresses": "192.0.2.99"}),
    ("no pool", "addresses.drain", {"pool": "nobody"}),
    ("no such queue", "addresses.move", {"addresses": "192.0.2.10", "queue": 7}),
    ("is there already", "addresses.add", {"addresses": "192.0.2.9-192.0.2.10", "pool": "acme", "queue": 0}),
    ("outside of the port's prefix", "addresses.add", {"addresses": "198.51.100.7", "pool": "acme", "queue": 0}),
    ("gateway", "addresses.add", {"addresses": "192.0.2.1", "pool": "acme", "queue": 0}),
    ("has room for", "addresses.add", {"addresses": "2001:db8:7::1:0-2001:db8:7::2:0", "pool": "acme", "queue": 0}),
    ("for one address", "addresses.add", {"addresses": "192.0.2.60-192.0.2.61", "pool": "acme", "queue": 0, "ehlo": "a.example"}),
    ("full host name", "addresses.add", {"addresses": "192.0.2.60", "pool": "acme", "queue": 0, "ehlo": "a"}),
    ("already", "pool.add", {"name": "acme", "ehlo": "a.example"}),
    ("full host name", "pool.add", {"name": "new", "ehlo": "{x}"}),
    ("configuration file", "pool.remove", {"name": "acme"}),
    ("no sender", "pool.assign", {"sender": "nobody", "pool": "acme"}),
]


def what_cannot_be_is_refused_with_a_word_and_changes_nothing(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        for address in ("192.0.2.10", "192.0.2.21"):
            site.wait_for(address, "up")
        before = site.call("addresses.list")
        for words, method, params in REFUSED:
            expect_refused(site, words, method, **params)
        expect_equal("addresses", site.call("addresses.list"), before)
        site.inject(10)
        wait_until("a connection stays open", lambda: any(a["connections"] for a in site.call("addresses.list")["addresses"]))
        used = [a["address"] for a in site.call("addresses.list")["addresses"] if a["connections"]]
        expect_refused(site, "drain it first", "addresses.remove", addresses=used)
        site.finish()


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([a_drained_address_finishes_says_quit_and_gets_nothing_new_within_a_second,
             an_address_moves_to_another_queue_while_mail_flows,
             addresses_come_and_go_and_are_what_they_were_after_restarts_and_crashes,
             a_daemon_that_comes_back_takes_the_running_lanes_with_their_addresses,
             a_pool_is_made_given_to_a_sender_and_removed,
             what_cannot_be_is_refused_with_a_word_and_changes_nothing], args, args)


if __name__ == "__main__":
    main()
