"""The resolver against dnsmasq, and against a DNS server that says odd things, in a namespace."""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
import tap  # noqa: E402
from netns import DNS, LabError, Netns, require_root, wait_until  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

OTHER = "203.0.113.27"  # a second address where a DNS server may be, or nobody
PYTHON = sys.executable or "python3"
MANY = [f"many{n}.example" for n in range(1000)]
RECORDS = [
    "--host-record=a.example,192.0.2.1,2001:db8::1", "--host-record=b.example,192.0.2.2",
    "--host-record=c.example,192.0.2.3", "--host-record=six.example,2001:db8::6",
    "--host-record=inside.example,10.0.0.25", "--host-record=loop.example,127.0.0.1",
    "--cname=hostalias.example,b.example", "--cname=alias.example,order.example",
    "--mx-host=order.example,c.example,30", "--mx-host=order.example,a.example,10",
    "--mx-host=order.example,b.example,20",
    "--mx-host=equal.example,a.example,10", "--mx-host=equal.example,b.example,10",
    "--mx-host=like.example,b.example,7", "--mx-host=like.example,a.example,7",
    "--mx-host=unlike.example,b.example,7", "--mx-host=unlike.example,a.example,8",
    "--mx-host=toalias.example,hostalias.example,10",
    "--mx-host=private.example,inside.example,10", "--mx-host=private.example,loop.example,20",
    "--mx-host=mixed.example,inside.example,10", "--mx-host=mixed.example,b.example,20",
    "--mx-host=empty.example,nowhere.example,10", "--mx-host=sixonly.example,six.example,10",
    "--dns-rr=nullmx.example,15,000000", "--host-record=nullmx.example,192.0.2.9",
    *[f"--mx-host={name},b.example,10" for name in MANY],
]


def start_dnsmasq(netns, work, address=DNS):
    process = netns.start(
        ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
         f"--listen-address={address}", "--bind-interfaces", "--port=53", "--user=root", "--pid-file=",
         "--local=/example/", "--log-queries", "--log-facility=-", *RECORDS], work / "dnsmasq.log")
    wait_until("dnsmasq", lambda: f"{address}:53" in netns.exec("ss", "-lunH").stdout)
    return process


def stop(process):
    process.terminate()
    process.wait()


def start_odd(netns, work, zone, address=DNS):
    path, log = work / "zone.json", work / "odd_dns.log"
    path.write_text(json.dumps(zone))
    process = netns.start([PYTHON, HERE / "odd_dns.py", address, path], log)
    wait_until("odd_dns", lambda: "ready" in log.read_text())
    return process


class Client:
    """dns_client in the namespace."""

    def __init__(self, netns, args, work, *servers, timeout_ms=3000, private=False, prefix=()):
        self.errors = open(work / "client.log", "ab")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", netns.name, *prefix, args.client, str(timeout_ms),
             "private" if private else "public", *(servers or [DNS])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        netns.processes.append(self.process)

    def say(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise LabError(f"dns_client ended with {self.process.wait()}: see client.log")
        return json.loads(line)

    def ask(self, domain):
        self.say(f"ask {domain}")
        return self.hear()

    def stats(self):
        self.say("stats")
        return self.hear()

    def end(self):
        """Its exit status, which ASan and LeakSanitizer decide too."""
        self.process.stdin.close()
        rest = self.process.stdout.read()
        status = self.process.wait(20)
        self.errors.close()
        expect_equal("exit status of dns_client", status, 0)
        return rest


def addresses(answer):
    return [address for address, _, _ in answer["targets"]]


def expect_end(answer, status, code, enhanced, words):
    expect_equal(answer["domain"], (answer["status"], answer["code"], answer["enhanced"]),
                 (status, code, enhanced))
    expect(words in answer["text"], f"{answer['domain']}: {answer['text']!r}")
    expect_equal("targets", answer["targets"], [])


def each_kind_of_domain_has_its_answer(work, args):
    targets = {
        "order.example": [["192.0.2.1", "a.example", 0], ["2001:db8::1", "a.example", 0],
                          ["192.0.2.2", "b.example", 1], ["192.0.2.3", "c.example", 2]],
        "b.example": [["192.0.2.2", "b.example", 0]],
        "toalias.example": [["192.0.2.2", "hostalias.example", 0]],
        "mixed.example": [["192.0.2.2", "b.example", 0]],
        "sixonly.example": [["2001:db8::6", "six.example", 0]],
        "=inside.example": [["10.0.0.25", "inside.example", 0]],
        "[192.0.2.77]": [["192.0.2.77", "[192.0.2.77]", 0]],
        "=[10.0.0.77]": [["10.0.0.77", "[10.0.0.77]", 0]],
    }
    targets["alias.example"] = targets["order.example"]
    bounces = {
        "nowhere.example": (550, "5.1.2", "no such domain"),
        "nullmx.example": (556, "5.1.10", "null MX"),
        "empty.example": (550, "5.4.4", "no address"),
        "private.example": (550, "5.4.6", "private"),
        "[127.0.0.1]": (550, "5.4.6", "private"),
        "=nowhere.example": (550, "5.1.2", "neither"),
        "not..a.domain": (550, "5.1.2", "not the name"),
        "x" * 64 + ".example": (550, "5.1.2", "not the name"),
        "x." * 127 + "example": (550, "5.1.2", "not the name"),
    }
    with Netns() as netns:
        start_dnsmasq(netns, work)
        client = Client(netns, args, work)
        for domain, want in targets.items():
            answer = client.ask(domain)
            expect_equal(domain, (answer["status"], answer["targets"]), ("ok", want))
            expect(answer["site"] != 0, domain)
        for domain, want in bounces.items():
            expect_end(client.ask(domain), "bounce", *want)
        for domain in ("order.example", "nowhere.example", "private.example", "=inside.example"):
            client.say(f"get {domain}")
            expect_equal(f"{domain} from the cache", client.hear()["targets"],
                         targets.get(domain, []))
        client.say("get never.example")
        expect_equal("one that was never asked for", client.hear()["status"], "none")
        client.end()
        client = Client(netns, args, work, private=True)
        expect_equal("where private ones are permitted", addresses(client.ask("private.example")),
                     ["10.0.0.25", "127.0.0.1"])
        client.end()


def hosts_of_one_preference_share_the_load_and_make_one_site(work, args):
    with Netns() as netns:
        start_dnsmasq(netns, work)
        client = Client(netns, args, work)
        site = client.ask("equal.example")["site"]
        expect_equal("the same hosts", client.ask("like.example")["site"], site)
        expect(client.ask("unlike.example")["site"] != site, "the same hosts in another order")
        expect(client.ask("b.example")["site"] != site, "other hosts")
        first = []
        for _ in range(60):
            client.say("get equal.example")
            answer = client.hear()
            first.append(answer["targets"][0][1])
            expect_equal("targets", sorted(addresses(answer)), ["192.0.2.1", "192.0.2.2", "2001:db8::1"])
            expect_equal("site", answer["site"], site)
        expect(15 <= first.count("a.example") <= 45, f"a.example first {first.count('a.example')} of 60")
        client.end()


def a_domain_that_many_ask_for_is_looked_up_once(work, args):
    with Netns() as netns:
        start_dnsmasq(netns, work)
        client = Client(netns, args, work)
        client.say(*["ask order.example"] * 50)
        answers = [client.hear() for _ in range(50)]
        expect_equal("answers", {answer["domain"] for answer in answers}, {"order.example"})
        expect_equal("lookups", client.stats()["lookups"], 1)
        asked = (work / "dnsmasq.log").read_text().count("query[MX] order.example")
        expect_equal("questions that dnsmasq saw", asked, 1)
        client.say("again b.example")
        expect_equal("again from the callback", [client.hear()["status"] for _ in range(2)], ["ok"] * 2)
        expect_equal("lookups", client.stats()["lookups"], 3)
        client.end()


def a_thousand_domains_at_once_are_all_answered(work, args):
    with Netns() as netns:
        start_dnsmasq(netns, work)
        client = Client(netns, args, work, timeout_ms=20000)
        client.say(*[f"ask {name}" for name in MANY], "stats")
        heard = [client.hear() for _ in range(len(MANY) + 1)]
        at_once = [line["under_way"] for line in heard if "under_way" in line]
        expect(0 < at_once[0] <= 256, f"under way at once: {at_once}")
        answers = [line for line in heard if "domain" in line]
        expect_equal("domains", {answer["domain"] for answer in answers}, set(MANY))
        expect_equal("targets", {tuple(addresses(answer)) for answer in answers}, {("192.0.2.2",)})
        expect_equal("sites", len({answer["site"] for answer in answers}), 1)
        stats = client.stats()
        expect_equal("at the end", (stats["under_way"], stats["failures"], stats["cached"]),
                     (0, 0, len(MANY)))
        client.end()


def a_server_that_is_away_defers_in_time_and_is_asked_again_when_it_is_back(work, args):
    with Netns() as netns:
        server = start_dnsmasq(netns, work)
        client = Client(netns, args, work, timeout_ms=700)
        expect_equal("before", client.ask("order.example")["status"], "ok")
        for away in (None, {"*": {"silent": True}}):  # the port is closed; questions are swallowed
            stop(server)
            silent = start_odd(netns, work, away) if away else None
            since = time.monotonic()
            while time.monotonic() - since < 12:  # so that libunbound takes it for dead
                answer = client.ask("b.example")
                expect_end(answer, "defer", 0, "4.4.3", "not resolved")
                expect(answer["ms"] < 1500, f"deferred after {answer['ms']} ms")
            client.say("get b.example")
            expect_equal("the failure is kept", client.hear()["status"], "defer")
            if silent:
                stop(silent)
            server = start_dnsmasq(netns, work)
            back = time.monotonic()
            wait_until("an answer", lambda: client.ask("b.example")["status"] == "ok", 40)
            print(f"# asked again {time.monotonic() - back:.1f} s after it was back")
        client.end()


def a_second_server_takes_over(work, args):
    with Netns() as netns:
        start_dnsmasq(netns, work)
        client = Client(netns, args, work, OTHER, DNS, timeout_ms=5000)  # nobody is at OTHER
        for domain in ("order.example", "b.example", *MANY[:20]):
            expect_equal(domain, client.ask(domain)["status"], "ok")
        client.end()


def failures_of_every_kind_defer_and_say_why(work, args):
    mx = {"records": [["MX", "000a" + "0161076578616d706c6500", 60]]}  # 10 a.example.
    zone = {
        "servfail.example MX": {"rcode": 2}, "refused.example MX": {"rcode": 5},
        "notimp.example MX": {"rcode": 4}, "silent.example MX": {"silent": True},
        "ring.example CNAME": {"records": [["CNAME", "0472696e67076578616d706c6500", 60]]},
        "short.example MX": {"records": [["MX", "000a", 60]]},
        "empty.example MX": {"records": [["MX", "", 60]]},
        "pointer.example MX": {"records": [["MX", "000ac0ff", 60]]},
        "cut.example MX": {"records": [["MX", "000a056d61", 60]]},
        "badhost.example MX": {"records": [["MX", "000a0162076578616d706c6500", 60]]},
        "b.example A": {"records": [["A", "c00002", 60]]},
        "nohost.example MX": mx, "a.example A": {"rcode": 2}, "a.example AAAA": {"rcode": 2},
    }
    with Netns() as netns:
        start_odd(netns, work, zone)
        client = Client(netns, args, work, timeout_ms=1500)
        for name in zone:
            domain = name.split()[0]
            if domain not in ("a.example", "b.example"):
                expect_end(client.ask(domain), "defer", 0, "4.4.3", f"{domain}: not resolved: ")
        expect(client.stats()["failures"] > 0, "failures are counted")
        client.end()


def one_host_that_cannot_be_resolved_does_not_hold_up_the_others(work, args):
    def host(letter):
        return ["MX", "000a01" + letter.encode().hex() + "076578616d706c6500", 60]

    zone = {
        "two.example MX": {"records": [host("a"), host("b")]},
        "a.example A": {"silent": True}, "a.example AAAA": {"silent": True},
        "b.example A": {"records": [["A", "c0000202", 60]]}, "b.example AAAA": {"silent": True},
    }
    with Netns() as netns:
        start_odd(netns, work, zone)
        client = Client(netns, args, work, timeout_ms=800)
        answer = client.ask("two.example")
        expect_equal("targets", answer["targets"], [["192.0.2.2", "b.example", 0]])
        expect(answer["ms"] < 2000, f"after {answer['ms']} ms")
        client.end()


def very_many_mail_hosts_are_cut_to_the_best(work, args):
    records, zone = [], {}
    for number in range(300):
        label = f"m{number}"
        rdata = bytes([number // 256, number % 256, len(label)]) + label.encode() + b"\x07example\0"
        records.append(["MX", rdata.hex(), 60])
        zone[f"{label}.example A"] = {"records": [["A", f"c000{number // 256 + 2:02x}{number % 256:02x}", 60]]}
    zone["huge.example MX"] = {"records": records[::-1]}
    with Netns() as netns:
        start_odd(netns, work, zone)
        client = Client(netns, args, work)
        answer = client.ask("huge.example")
        expect_equal(f"targets: {answer['text']}", len(answer["targets"]), 8)
        expect_equal("preferences rise", [rank for _, _, rank in answer["targets"]], list(range(8)))
        client.end()


def it_may_be_closed_at_any_time(work, args):
    with Netns() as netns:
        start_dnsmasq(netns, work)
        client = Client(netns, args, work)
        client.say(*[f"ask {name}" for name in MANY])
        client.end()  # while they are asked
        client = Client(netns, args, work)
        client.say("close", *[f"ask {name}" for name in MANY], *["ask b.example"] * 3)
        expect_equal("the one that closes", client.hear()["status"], "ok")
        expect_equal("nobody is told after that", client.end(), "")
        client = Client(netns, args, work, OTHER)  # nobody answers
        client.say(*[f"ask {name}" for name in MANY])
        client.end()


def the_systems_servers_are_used_but_not_its_hosts_and_search_list(work, args):
    (work / "resolv.conf").write_text(f"search example\nnameserver {DNS}\n")
    (work / "hosts").write_text("192.0.2.99 nowhere.example b.example\n")
    prefix = ["unshare", "--mount", "sh", "-c",
              f"mount --bind {work}/resolv.conf /etc/resolv.conf && "
              f"mount --bind {work}/hosts /etc/hosts && exec \"$1\" \"$2\" \"$3\"", "sh"]
    with Netns() as netns:
        start_dnsmasq(netns, work)
        client = Client(netns, args, work, "unused", prefix=prefix)
        expect_equal("a mail domain", addresses(client.ask("b.example")), ["192.0.2.2"])
        expect_end(client.ask("nowhere.example"), "bounce", 550, "5.1.2", "no such domain")
        expect(client.ask("order")["status"] != "ok", "a search list was used")
        client.end()


def a_server_that_is_no_address_is_refused(work, args):
    ended = subprocess.run([args.client, "1000", "public", DNS, "dns.example"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
    expect_equal("exit status", ended.returncode, 1)
    expect_equal("words", ended.stderr.strip(), "dns: dns.example: syntax error")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", type=os.path.abspath)
    parser.add_argument("--keep", action="store_true", help="keep the folders of logs")
    parser.add_argument("only", nargs="*", help="names of tests to run")
    args = parser.parse_args()
    require_root()
    tap.run([each_kind_of_domain_has_its_answer,
             hosts_of_one_preference_share_the_load_and_make_one_site,
             a_domain_that_many_ask_for_is_looked_up_once,
             a_thousand_domains_at_once_are_all_answered,
             a_server_that_is_away_defers_in_time_and_is_asked_again_when_it_is_back,
             a_second_server_takes_over,
             failures_of_every_kind_defer_and_say_why,
             one_host_that_cannot_be_resolved_does_not_hold_up_the_others,
             very_many_mail_hosts_are_cut_to_the_best,
             it_may_be_closed_at_any_time,
             the_systems_servers_are_used_but_not_its_hosts_and_search_list,
             a_server_that_is_no_address_is_refused], args, args)


if __name__ == "__main__":
    main()
