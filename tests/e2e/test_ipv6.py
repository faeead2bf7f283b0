"""Own addresses of IPv6: delivery over both versions from one pool, what may not be reached, the wire seen by tshark."""
import ipaddress
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import GATEWAY6, RECEIVERS, RECEIVERS6, Netns, require_root, wait_until  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

SENDER = "news@acme.example"
ZONES = {
    "four.example": RECEIVERS[0],
    "six.example": RECEIVERS6[0],
    "both.example": f"{RECEIVERS[1]},{RECEIVERS6[1]}",
}
POOLS = [
    ["192.0.2.10", "2001:db8:7::10-2001:db8:7::11"],
    ["192.0.2.20", "2001:db8:7::2:0/126"],
]
SOURCES6 = {"2001:db8:7::10", "2001:db8:7::11", "2001:db8:7::2:1", "2001:db8:7::2:2", "2001:db8:7::2:3"}


class Site:
    """The appliance and one receiver that listens at all addresses of the zones."""

    def __init__(self, netns, work, args, pools, ipv6=True):
        netns.add_ipv6()
        appliance.start_dns(netns, work, ZONES)
        more = [f"--listen={address}:25" for address in (RECEIVERS[1], *RECEIVERS6)]
        self.log = appliance.start_maildir_server(netns, work, RECEIVERS[0], *more)[1]
        config = appliance.configuration(work, delivery={"retry_s": [1], "retry_jitter": 0, "idle_ms": 500})
        port = config["dataplane"]["ports"][0]
        for queue, addresses in zip(port["queues"], pools):
            queue["addresses"] = {"acme": addresses}
        if ipv6:
            port["ipv6"] = {"prefix": "2001:db8:7::/64", "gateway": GATEWAY6}
        if ipv6 == "only":
            del port["ipv4"]
        self.lab = appliance.Appliance(netns, args.build, work, config).start()
        self.expected = {}

    def inject(self, count, *domains):
        with self.lab.rpc() as rpc:
            for n in range(count):
                domain = domains[n % len(domains)]
                data = corpus.make(n, f"six{len(self.expected)}", SENDER, f"r{n}@{domain}")
                rpc.inject(data, "acme", SENDER, [f"r{n}@{domain}"])
                self.expected[verify.message_id(data)] = verify.digest(data)

    def queued(self):
        with self.lab.rpc() as rpc:
            return rpc.call("stats")["messages"]["queued"]

    def records(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def expect_exact(self):
        result = verify.Comparison(self.expected, verify.from_maildir_log(self.log))
        expect(result.exact(), str(result))


def version(address):
    return ipaddress.ip_address(address).version


def mail_goes_out_over_the_version_that_the_destination_has_from_all_addresses(work, args):
    capture = work / "wire.pcap"
    with Netns() as netns:
        tcpdump = netns.start(["tcpdump", "-i", "net0", "-w", capture, "-U", "-s", "0", "-B", "65536", "-Z", "root"],
                              work / "tcpdump.log")
        wait_until("tcpdump", lambda: capture.exists() and capture.stat().st_size >= 24)
        site = Site(netns, work, args, POOLS)
        site.inject(300, "four.example", "six.example", "both.example")
        wait_until("finished", lambda: site.queued() == 0, 90)
        site.expect_exact()
        peers = {}
        for record in site.records():
            domain = record["rcpt_to"][0].partition("@")[2]
            peers.setdefault(domain, set()).add(record["peer"])
        expect_equal("sources to the domain with A", peers["four.example"], {"192.0.2.10", "192.0.2.20"})
        expect_equal("sources to the domain with AAAA", peers["six.example"], SOURCES6)
        expect_equal("versions to the one with both", {version(peer) for peer in peers["both.example"]}, {4, 6})
        with site.lab.rpc() as rpc:
            for event in rpc.history(["delivered"]):
                expect_equal("version of source and peer", version(event["source"]), version(event["peer"]))
        expect_equal("exit status", (site.lab.process.terminate(), site.lab.process.wait(60))[1], 0)
        tcpdump.terminate()
        tcpdump.wait(20)
    if shutil.which("tshark"):
        faults = {name: n for name, n in verify.capture_faults(capture).items()
                  if n > verify.capture_allowed(name, verify.capture_packets(capture)) and name not in verify.CAPTURE_NOTES}
        expect_equal("faults that tshark sees", faults, {})


def a_port_may_have_ipv6_alone(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, [["2001:db8:7::10"], ["2001:db8:7::20"]], ipv6="only")
        site.inject(40, "six.example", "both.example")
        wait_until("finished", lambda: site.queued() == 0, 60)
        site.expect_exact()
        expect_equal("sources", {r["peer"] for r in site.records()}, {"2001:db8:7::10", "2001:db8:7::20"})


def what_no_address_of_the_pool_can_reach_is_held_and_keeps_nobody_else_up(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, [["192.0.2.10"], ["192.0.2.20"]], ipv6=False)
        site.inject(3, "six.example")
        unreachable, site.expected = set(site.expected), {}
        with site.lab.rpc() as rpc:
            wait_until("held", lambda: len(rpc.history(["held"])) == 3)
            for event in rpc.history(["held"]):
                expect("IPv6 only" in event["evidence"], event["evidence"])
        site.inject(40, "four.example", "both.example")
        wait_until("only the unreachable are queued", lambda: site.queued() == len(unreachable), 60)
        site.expect_exact()


def an_address_that_another_host_has_is_not_used(work, args):
    """Duplicate address detection (RFC 4862 5.4) on the wire: the router has taken one of ours."""
    with Netns() as netns:
        netns.add_ipv6()
        netns.ip("addr", "add", "2001:db8:7::10/64", "dev", "net0", "nodad")
        site = Site(netns, work, args, [["2001:db8:7::10"], ["2001:db8:7::20"]], ipv6="only")
        with site.lab.rpc() as rpc:
            wait_until("the duplicate is seen", lambda: sum(
                lane["tcp"]["address_duplicates"] for lane in rpc.call("lanes")["lanes"]) == 1)
        site.inject(20, "six.example")
        wait_until("finished", lambda: site.queued() == 0, 60)
        site.expect_exact()
        expect_equal("sources", {r["peer"] for r in site.records()}, {"2001:db8:7::20"})


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([mail_goes_out_over_the_version_that_the_destination_has_from_all_addresses,
             a_port_may_have_ipv6_alone,
             what_no_address_of_the_pool_can_reach_is_held_and_keeps_nobody_else_up,
             an_address_that_another_host_has_is_not_used], args, args)


if __name__ == "__main__":
    main()
