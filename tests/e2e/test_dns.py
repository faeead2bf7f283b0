"""Where mail goes, asked of dnsmasq: MX order, implicit MX, null MX, no domain, private hosts, and DNS that is away."""
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import DNS, RECEIVERS, Netns, require_root, wait_until  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

SENDER = "news@acme.example"
ALIVE, SILENT = RECEIVERS[0], RECEIVERS[1]  # nobody listens at the second
DELIVERY = {"retry_s": [1], "retry_jitter": 0, "idle_ms": 500}
MANY = [f"many{n}.example" for n in range(300)]
RECORDS = [
    "--host-record=alive.example,alive6.example,%s" % ALIVE, "--host-record=silent.example,%s" % SILENT,
    "--host-record=implicit.example,%s" % ALIVE,
    "--mx-host=order.example,silent.example,10", "--mx-host=order.example,alive.example,20",
    "--dns-rr=nullmx.example,15,000000",
    "--host-record=inside.example,10.0.0.25", "--mx-host=private.example,inside.example,10",
    "--mx-host=empty.example,nohost.example,10",
    "--mx-host=inside.test,alive.example,10",
    "--cname=alias.example,order.example",
    *[f"--mx-host={name},alive.example,10" for name in MANY],
]


def start_dns(netns, work):
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", f"--listen-address={DNS}",
            "--bind-interfaces", "--user=root", f"--pid-file={work}/dnsmasq.pid", "--local=/example/", "--local=/test/", "--log-queries", "--log-facility=-", *RECORDS]
    return netns.start(argv, work / "dnsmasq.log")


class Site:
    def __init__(self, netns, work, args, **dns):
        self.netns, self.work = netns, work
        self.dnsmasq = start_dns(netns, work)
        _, self.log = appliance.start_maildir_server(netns, work, ALIVE)
        config = appliance.configuration(work, delivery=DELIVERY, dns={"servers": [DNS], "timeout_ms": 3000} | dns)
        self.lab = appliance.Appliance(netns, args.build, work, config).start()

    def inject(self, *recipients, sender=""):
        with self.lab.rpc() as rpc:
            return rpc.inject(corpus.make(0, recipients[0], SENDER, recipients[0]), "acme", sender, list(recipients))["id"]

    def outcome(self, ident, types=("delivered", "bounced", "deferred"), seconds=30):
        """The first outcome of a message."""
        def found():
            with self.lab.rpc() as rpc:
                return [e for e in rpc.history(types) if e["id"] == ident]
        return wait_until("outcome", found, seconds, step=0.1)[0]


def each_kind_of_domain_gets_what_the_standard_says(work, args):
    cases = {"implicit.example": ("delivered", "dot", "", ""), "order.example": ("delivered", "dot", "", ""), "alias.example": ("delivered", "dot", "", ""),
             "nullmx.example": ("bounced", "resolve", "5.1.10", "null MX"), "nowhere.example": ("bounced", "resolve", "5.1.2", "no such domain"),
             "private.example": ("bounced", "resolve", "5.4.6", "private"), "empty.example": ("bounced", "resolve", "5.4.4", "no address"),
             "inside.test": ("delivered", "dot", "", ""), "outside.refused": ("deferred", "resolve", "4.4.3", "not resolved"), f"[{ALIVE}]": ("delivered", "dot", "", ""),
             "[127.0.0.1]": ("bounced", "resolve", "5.4.6", "private")}
    with Netns() as netns:
        site = Site(netns, work, args)
        for domain, (kind, stage, enhanced, words) in cases.items():
            event = site.outcome(site.inject(f"x@{domain}"))
            expect_equal(f"{domain}: {event['text']}", (event["type"], event["stage"]), (kind, stage))
            expect(words in event["text"], f"{domain}: {event['text']}")
            if kind != "delivered":
                expect_equal(domain, event["enhanced"], enhanced)
        hosts = {e["recipient"]: e["host"] for e in site.lab.rpc().history(["delivered"])}
        expect_equal("host after the first was silent", hosts["x@order.example"], "alive.example")
        expect_equal("the domain itself", hosts["x@implicit.example"], "implicit.example")


def dns_that_is_away_defers_and_mail_goes_when_it_is_back(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.dnsmasq.terminate()
        site.dnsmasq.wait()
        ident = site.inject("x@implicit.example")
        event = site.outcome(ident)
        expect_equal("while it is away", (event["type"], event["enhanced"]), ("deferred", "4.4.3"))
        start_dns(netns, work)
        site.outcome(ident, ["delivered"], 60)
        with site.lab.rpc() as rpc:
            expect_equal("bounces", rpc.history(["bounced"]), [])


def hundreds_of_domains_at_once_are_asked_once_each(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        with site.lab.rpc() as rpc:
            for n in range(2):
                for name in MANY:
                    rpc.inject(corpus.make(n, name, SENDER, f"x@{name}"), "acme", SENDER, [f"x@{name}"])
        wait_until("all delivered", lambda: site.lab.rpc().call("stats")["messages"]["delivered"] == 600, 60)
        asked = Counter(line.split("query[MX] ")[1].split()[0] for line in (work / "dnsmasq.log").read_text().splitlines()
                        if "query[MX]" in line)
        expect_equal("domains asked for", len(asked), 300)
        expect_equal("times", max(asked.values()), 1)
        expect_equal("arrived", len(list(verify.from_maildir_log(site.log))), 600)


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([each_kind_of_domain_gets_what_the_standard_says,
             dns_that_is_away_defers_and_mail_goes_when_it_is_back,
             hundreds_of_domains_at_once_are_asked_once_each], args, args)


if __name__ == "__main__":
    main()
