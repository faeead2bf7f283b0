"""DANE (RFC 7672): which TLSA records hold, with zones signed here, in a namespace."""
import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
import tap  # noqa: E402
from netns import DNS, Netns, require_root  # noqa: E402
from signed_dns import SignedDns, require_tools  # noqa: E402
from tap import expect, expect_equal  # noqa: E402
from test_dns import Client  # noqa: E402

A, B = "ab" * 32, "cd" * 32
SIGNED = [
    "good MX 10 mx.good", "mx.good A 192.0.2.1", f"_25._tcp.mx.good TLSA 3 1 1 {A}", f"_25._tcp.mx.good TLSA 2 0 1 {B}",
    "none MX 10 mx.none", "mx.none A 192.0.2.2",
    "fails MX 10 mx.fails", "mx.fails A 192.0.2.3", f"_25._tcp.mx.fails TLSA 3 1 1 {A}",
    "two MX 10 mx.good", "two MX 20 mx.fails", "two MX 30 mx.none",
    "outside MX 10 mx.plain.example.",
    "alias MX 10 other", "other CNAME mx.good", f"_25._tcp.other TLSA 3 1 1 {B}",
    "alias2 MX 10 other2", "other2 CNAME mx.none", f"_25._tcp.other2 TLSA 3 1 1 {B}",
    "alias3 MX 10 other3", "other3 CNAME mx.plain.example.", f"_25._tcp.other3 TLSA 3 1 1 {B}",
    "short MX 10 mx.short", "mx.short A 192.0.2.4", "_25._tcp.mx.short TYPE52 \\# 3 030101",
    "implicit A 192.0.2.5", f"_25._tcp.implicit TLSA 3 1 1 {A}",
    'txt TXT "v=STSv1; " "id=1;"', 'txt TXT "other"',
]
PLAIN = ["@ MX 10 mx.dane.example.", "mx A 192.0.2.9", f"_25._tcp.mx TLSA 3 1 1 {A}", "in MX 10 mx"]
BOGUS = ["@ MX 10 mx", "mx A 192.0.2.8", f"_25._tcp.mx TLSA 3 1 1 {A}"]
MIXED = ["@ MX 10 mx.bogus.example.", "@ MX 20 mx.good.dane.example."]


class Lab:
    def __init__(self, netns, work, args, anchored=True):
        self.dns = SignedDns(netns, work, {"dane.example": SIGNED + ["mx A 192.0.2.7", f"_25._tcp.mx TLSA 3 1 1 {A}"],
                                           "plain.example": PLAIN, "bogus.example": BOGUS, "mixed.example": MIXED},
                             expired=["bogus.example"], unsigned=["plain.example"], fail=["_25._tcp.mx.fails.dane.example TLSA"])
        prefix = ["env", f"WIREPOST_TRUST_ANCHOR={self.dns.anchor}"] if anchored else ()
        self.client = Client(netns, args, work, timeout_ms=8000, prefix=prefix)

    def tlsa(self, domain):
        answer = self.client.ask(domain)
        expect_equal(domain, answer["status"], "ok")
        return answer["tlsa"]


def records_hold_where_dnssec_vouches_for_all_of_the_way(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args)
        good = ["mx.good.dane.example", {f"3 1 1 {A}", f"2 0 1 {B}"}]
        base, text = lab.tlsa("good.dane.example")["mx.good.dane.example"]
        expect_equal("records", [base, set(text.split(";"))], good)
        expect_equal("no records", lab.tlsa("none.dane.example"), {"mx.none.dane.example": "none"})
        expect_equal("implicit", lab.tlsa("implicit.dane.example"), {"implicit.dane.example": ["implicit.dane.example", f"3 1 1 {A}"]})
        expect_equal("insecure MX of a secure host", lab.tlsa("plain.example"), {"mx.dane.example": "none"})
        expect_equal("secure MX of an insecure host", lab.tlsa("outside.dane.example"), {"mx.plain.example": "none"})
        asked = lab.dns.asked()
        expect("_25._tcp.mx.plain.example TLSA" not in asked, "an insecure host was asked for TLSA (RFC 7672 2.1.2)")
        lab.client.end()


def an_alias_has_the_records_of_its_expansion_else_its_own(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args)
        expect_equal("expansion", lab.tlsa("alias.dane.example")["other.dane.example"][0], "mx.good.dane.example")
        expect_equal("own", lab.tlsa("alias2.dane.example")["other2.dane.example"], ["other2.dane.example", f"3 1 1 {B}"])
        expect_equal("into unsigned", lab.tlsa("alias3.dane.example")["other3.dane.example"], ["other3.dane.example", f"3 1 1 {B}"])
        lab.client.end()


def what_cannot_be_told_is_not_taken_for_no_dane(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args)
        expect_equal("SERVFAIL for TLSA only", lab.tlsa("fails.dane.example"), {"mx.fails.dane.example": "failed"})
        two = lab.tlsa("two.dane.example")
        expect_equal("each host for itself", (two["mx.good.dane.example"][0], two["mx.fails.dane.example"], two["mx.none.dane.example"]),
                     ("mx.good.dane.example", "failed", "none"))
        answer = lab.client.ask("bogus.example")
        expect_equal("a bogus domain", (answer["status"], answer["enhanced"]), ("defer", "4.4.3"))
        answer = lab.client.ask("mixed.example")
        expect_equal("a bogus host", [host for _, host, _ in answer["targets"]], ["mx.good.dane.example"])
        expect_equal("records that are none", lab.tlsa("short.dane.example"), {"mx.short.dane.example": ["mx.short.dane.example", ""]})
        lab.client.end()


def without_a_trust_anchor_nothing_of_it_is_asked(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args, anchored=False)
        expect_equal("good", lab.tlsa("good.dane.example"), {"mx.good.dane.example": "none"})
        expect(not any(line.endswith(("TLSA", "DNSKEY")) for line in lab.dns.asked()), "DNSSEC was asked for")
        lab.client.end()


def strings_of_text_records_are_joined(work, args):
    with Netns() as netns:
        lab = Lab(netns, work, args)
        lab.client.say("txt txt.dane.example")
        answer = lab.client.hear()
        expect_equal("records", (answer["found"], sorted(answer["txt"])), (True, ["other", "v=STSv1; id=1;"]))
        lab.client.say("txt nowhere.dane.example")
        expect_equal("none", lab.client.hear(), {"found": True, "txt": []})
        lab.client.say("txt mx.bogus.example")
        expect_equal("bogus", lab.client.hear()["found"], False)
        lab.client.say("txt a.dane.example", "txt b.dane.example")
        lab.client.end()  # while they are asked


def a_trust_anchor_that_is_not_there_is_refused(work, args):
    ended = subprocess.run([args.client, "1000", "public", DNS], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           env={**os.environ, "WIREPOST_TRUST_ANCHOR": f"{work}/none.key"})
    expect_equal("exit status", ended.returncode, 1)
    expect("trust_anchor_file" in ended.stderr, ended.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", type=os.path.abspath)
    parser.add_argument("--keep", action="store_true", help="keep the folders of logs")
    parser.add_argument("only", nargs="*", help="names of tests to run")
    args = parser.parse_args()
    require_root()
    require_tools()
    tap.run([records_hold_where_dnssec_vouches_for_all_of_the_way,
             an_alias_has_the_records_of_its_expansion_else_its_own,
             what_cannot_be_told_is_not_taken_for_no_dane,
             without_a_trust_anchor_nothing_of_it_is_asked,
             strings_of_text_records_are_joined,
             a_trust_anchor_that_is_not_there_is_refused], args, args)


if __name__ == "__main__":
    main()
