"""TLS policies from DNS and HTTPS to the wire: DANE in signed zones, MTA-STS with an authority of the lab's own."""
import json
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
from netns import RECEIVERS, Netns, require_root, wait_until  # noqa: E402
from pki import Authority  # noqa: E402
from signed_dns import SignedDns, require_tools, tlsa  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

SENDER = "news@acme.example"
GOOD, STRANGER, CLEAR, HTTPS = RECEIVERS  # a certificate of the lab's authority, another, no TLS at all, policies
STS = ["enforced", "mismatch", "badcert", "noclear", "testing", "fallen", "redirect", "html", "badserver", "huge"]


def policy(mode, *hosts, max_age=86400):
    return "version: STSv1\r\nmode: " + mode + "\r\n" + "".join(f"mx: {host}\r\n" for host in hosts) + f"max_age: {max_age}\r\n"


class Lab:
    def __init__(self, netns, work, args, trust=True, **delivery):
        self.netns, self.work = netns, work
        self.folder = work / "policies"
        self.folder.mkdir()
        authority = Authority(work)
        good = authority.leaf("good", "mx.enforced.plain.example", "mx.noclear.plain.example", "mx.verify.plain.example", "mx.lost.plain.example")
        (work / "elsewhere").mkdir()
        stranger = Authority(work / "elsewhere").leaf("stranger", "mx.badcert.plain.example", "*.dane.example")
        web = authority.leaf("web", *[f"mta-sts.{name}.plain.example" for name in STS + ["lost"] if name != "badserver"])
        signed = [f"good MX 10 mx.good", f"mx.good A {STRANGER}", f"_25._tcp.mx.good TLSA {tlsa(stranger[0])}",
                  f"wrong MX 10 mx.wrong", f"mx.wrong A {STRANGER}", f"_25._tcp.mx.wrong TLSA {tlsa(good[0])}",
                  f"second MX 10 mx.wrong", f"second MX 20 mx.good", "onlyfails MX 10 mx.fails",
                  f"mx.fails A {STRANGER}", f"_25._tcp.mx.fails TLSA {tlsa(stranger[0])}", f"clear MX 10 mx.clear", f"mx.clear A {CLEAR}",
                  f"_25._tcp.mx.clear TLSA {tlsa(stranger[0])}", f"none MX 10 mx.none", f"mx.none A {STRANGER}",
                  f"usage1 MX 10 mx.usage1", f"mx.usage1 A {STRANGER}", f"_25._tcp.mx.usage1 TLSA {tlsa(good[0], usage=1)}"]
        hosts = {"badcert": STRANGER, "noclear": CLEAR, "testing": STRANGER, "fallen": STRANGER, "plain": CLEAR, "other": STRANGER,
                 "redirect": STRANGER, "html": STRANGER, "badserver": STRANGER, "huge": STRANGER}
        self.plain = [f"{name} MX 10 mx.{name}\nmx.{name} A {hosts.get(name, GOOD)}" for name in STS + ["lost", "verify", "plain", "other"]]
        self.plain += [f'mta-sts.{name} A {HTTPS}\n_mta-sts.{name} TXT "v=STSv1; id=1;"' for name in STS + ["lost"]]
        self.dns = SignedDns(netns, work, {"dane.example": signed, "plain.example": self.plain, "bogus.example": [f"@ MX 10 mx", f"mx A {GOOD}"]},
                             expired=["bogus.example"], unsigned=["plain.example"], fail=["_25._tcp.mx.fails.dane.example TLSA"])
        _, self.log = appliance.start_maildir_server(netns, work, GOOD, "--cert", good[0], "--key", good[1])
        for address, flags in ((STRANGER, ["--cert", stranger[0], "--key", stranger[1]]), (CLEAR, [])):
            folder = work / f"at-{address}"
            folder.mkdir()
            appliance.start_maildir_server(netns, folder, address, *flags)
        self.policies()
        self.web = netns.start([sys.executable, HERE.parent / "lab" / "policy_server.py", HTTPS, *web, self.folder], work / "web.log")
        wait_until("policy server", lambda: "ready" in (work / "web.log").read_text())
        self.config = appliance.configuration(work, tls={"ca_file": str(authority.cert)},
                                              delivery={"retry_s": [600], "retry_jitter": 0, "idle_ms": 0} | delivery)
        self.config["dns"] |= {"trust_anchor_file": str(self.dns.anchor) if trust else "", "timeout_ms": 4000}
        self.lab = appliance.Appliance(netns, args.build, work, self.config).start()
        self.sent = 0

    def say(self, name, body, **other):
        (self.folder / f"mta-sts.{name}.plain.example.json").write_text(json.dumps({"body": body, **other}))

    def policies(self):
        for name in ("enforced", "badcert", "noclear", "lost"):
            self.say(name, policy("enforce", f"mx.{name}.plain.example"))
        self.say("mismatch", policy("enforce", "*.elsewhere.example"))
        self.say("testing", policy("testing", "*.testing.plain.example"))
        self.say("fallen", policy("none"))
        self.say("redirect", "", status=302, location="https://mta-sts.enforced.plain.example/.well-known/mta-sts.txt")
        self.say("html", policy("enforce", "elsewhere.example"), type="text/html")
        self.say("badserver", policy("enforce", "elsewhere.example"))
        self.say("huge", policy("enforce", "elsewhere.example") + "x: y\r\n" * 20000)

    def outcomes(self, domains, sender=SENDER):
        """{domain: the event of its first attempt}, all sent at once."""
        with self.lab.rpc() as rpc:
            ids = {}
            for domain in domains:
                self.sent += 1
                data = corpus.make(self.sent, "policy", sender, f"r@{domain}")
                ids[domain] = rpc.inject(data, sender.split("@")[1].split(".")[0], sender, [f"r@{domain}"])["id"]

            def events():
                seen = {}
                for event in rpc.history(["delivered", "deferred", "bounced", "doubtful"]):
                    seen.setdefault(event["id"], event)
                return {domain: seen[ident] for domain, ident in ids.items()} if all(i in seen for i in ids.values()) else None
            return wait_until("outcomes", events, 60)

    def check(self, table):
        """table: {domain: (kind, words in tls fields or text)}."""
        events = self.outcomes(table)
        for domain, (kind, *words) in table.items():
            event = events[domain]
            told = [event["type"], event.get("tls_policy"), event.get("tls"), event.get("tls_verified"),
                    event.get("tls_failure"), event["text"]]
            expect_equal(f"{domain}: {told}", told[0], kind)
            for word in words:
                expect(any(word is part or (isinstance(part, str) and isinstance(word, str) and word in part) for part in told),
                       f"{domain}: {word!r} is not in {told}")
        return events

    def end(self):
        expect_equal("exit status", (self.lab.process.terminate(), self.lab.process.wait(60))[1], 0)


def dane_decides_where_dnssec_vouches_for_it(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args)
        lab.check({
            "good.dane.example": ("delivered", "dane", "1.3", True),
            "wrong.dane.example": ("deferred", "dane", "certificate-not-trusted"),
            "second.dane.example": ("delivered", "dane", "1.3", True),
            "onlyfails.dane.example": ("deferred", "TLSA"),
            "clear.dane.example": ("deferred", "dane", "starttls-not-supported"),
            "none.dane.example": ("delivered", "may", "1.3", False),
            "usage1.dane.example": ("delivered", "dane", "1.3", False, "tlsa-invalid"),
            "bogus.example": ("deferred", "not resolved"),
            "other.plain.example": ("delivered", "may", "1.3", False),
            "plain.plain.example": ("delivered", "may", ""),
        })
        lab.dns.fail.clear()
        lab.dns.write_rules()
        lab.end()


def mta_sts_decides_where_a_domain_publishes_it(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args)
        lab.check({
            "enforced.plain.example": ("delivered", "verify", "1.3", True),
            "mismatch.plain.example": ("deferred", "does not name this host"),
            "badcert.plain.example": ("deferred", "verify", "certificate-not-trusted"),
            "noclear.plain.example": ("deferred", "verify", "starttls-not-supported"),
            "testing.plain.example": ("delivered", "sts-test", "1.3", False, "certificate-not-trusted"),
            "fallen.plain.example": ("delivered", "may", "1.3"),
            # whatever is no policy is none
            "redirect.plain.example": ("delivered", "may", "1.3"),
            "html.plain.example": ("delivered", "may", "1.3"),
            "badserver.plain.example": ("delivered", "may", "1.3"),
            "huge.plain.example": ("delivered", "may", "1.3"),
        })
        lab.end()


def an_enforced_policy_outlives_its_server_its_record_and_us(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args)
        lab.check({"badcert.plain.example": ("deferred", "verify")})
        lab.web.terminate()
        lab.web.wait(10)
        lab.dns.fail += ["_mta-sts.badcert.plain.example TXT", "mta-sts.badcert.plain.example A"]
        lab.dns.write_rules()
        lab.lab.process.send_signal(signal.SIGTERM)
        lab.lab.process.wait(60)
        lab.lab.start()
        lab.check({"badcert.plain.example": ("deferred", "verify", "certificate-not-trusted")})
        lab.end()


def the_configuration_sets_the_least(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args, tls="verify")
        lab.check({
            "verify.plain.example": ("delivered", "verify", "1.3", True),
            "other.plain.example": ("deferred", "verify", "certificate-not-trusted"),
            "good.dane.example": ("delivered", "dane", True),
            "plain.plain.example": ("deferred", "starttls-not-supported"),
        })
        lab.lab.process.terminate()
        lab.lab.process.wait(60)
        lab.config["delivery"]["tls"] = "encrypt"
        lab.config["senders"]["strict"] = {"domains": ["strict.example"], "strategy": "dedicated", "pool": "acme", "tls": "dane"}
        lab.config["senders"]["lax"] = {"domains": ["lax.example"], "strategy": "dedicated", "pool": "acme", "tls": "may"}
        lab.lab.start()
        lab.check({"other.plain.example": ("delivered", "encrypt", "1.3"), "plain.plain.example": ("deferred", "starttls-not-supported")})
        strict = lab.outcomes(["other.plain.example", "good.dane.example"], "x@strict.example")
        expect("DANE is required" in strict["other.plain.example"]["text"], str(strict))
        expect_equal("DANE", strict["good.dane.example"]["tls_verified"], True)
        lax = lab.outcomes(["mismatch.plain.example"], "x@lax.example")["mismatch.plain.example"]
        expect_equal("nothing is looked up for it", (lax["tls_policy"], lax["tls"]), ("may", "1.3"))
        lab.end()


def main():
    args = tap.arguments(__doc__)
    require_root()
    require_tools()
    tap.run([dane_decides_where_dnssec_vouches_for_it,
             mta_sts_decides_where_a_domain_publishes_it,
             an_enforced_policy_outlives_its_server_its_record_and_us,
             the_configuration_sets_the_least], args, args)


if __name__ == "__main__":
    main()
