"""Signed by wirepostd, verified by dkimpy where it arrives: by a lane, by a relay, after kill -9."""
import base64
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import dkim  # noqa: E402
import tap  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

RELAY = "203.0.113.27"
RSA = ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")


def make_key(path, *options):
    subprocess.run(["openssl", "genpkey", "-algorithm", *options, "-out", path], check=True, stderr=subprocess.DEVNULL)
    path.chmod(0o600)
    return str(path)


def record(key_file):
    """What openssl makes the public half of a key."""
    der = subprocess.run(["openssl", "pkey", "-in", key_file, "-pubout", "-outform", "DER"], check=True, stdout=subprocess.PIPE).stdout
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode()


class Site:
    """A sender with its own addresses and one with a relay; both sign with RSA and Ed25519, and one key more for a subdomain."""

    def __init__(self, netns, work, args):
        self.netns, self.work = netns, work
        rsa = make_key(work / "rsa.pem", *RSA)
        self.new = [make_key(work / name, *RSA) for name in ("new.pem", "unpublished.pem")]
        ed = make_key(work / "ed.pem", "ED25519")

        def keys(domain):
            return [{"domain": domain, "selector": "r1", "key_file": rsa}, {"domain": domain, "selector": "e1", "key_file": ed}]
        senders = {
            "acme": {"domains": ["acme.example"], "strategy": "dedicated", "pool": "acme", "dkim": [*keys("acme.example"), *keys("sub.acme.example")]},
            "cloud": {"domains": ["cloud.example"], "strategy": "shared", "shared": ["rewriter"], "dkim": keys("cloud.example")},
            "small": {"domains": ["small.example"], "strategy": "shared", "shared": ["main"], "dkim": keys("small.example")},
        }
        appliance.start_dns(netns, work, texts={"r2._domainkey.acme.example": record(self.new[0])})
        self.logs = [appliance.start_maildir_server(netns, self.folder("direct"))[1],
                     appliance.start_maildir_server(netns, self.folder("relay"), RELAY)[1]]
        config = appliance.configuration(work, senders=senders, routes={"main": {"type": "smtp", "url": f"smtp://{RELAY}"},
                                                                             "rewriter": {"type": "smtp", "url": f"smtp://{RELAY}", "dkim": "stable"}},
                                         delivery={"retry_s": [1, 2], "retry_jitter": 0, "doubtful_retry_s": 1})
        self.lab = appliance.Appliance(netns, args.build, work, config).start()

    def folder(self, name):
        (self.work / name).mkdir()
        return self.work / name

    def call(self, method, **params):
        with self.lab.rpc() as rpc:
            return rpc.call(method, **params)

    def inject(self, sender, origin, count, domain="alpha.example", first=0):
        with self.lab.rpc() as rpc:
            for n in range(first, first + count):
                rpc.inject(corpus.make(n, f"{sender}.{n}", origin, f"r{n}@{domain}"), sender, origin, [f"r{n}@{domain}"])

    def kill(self):
        for pid in self.lab.daemon_pids("wirepostd"):
            os.kill(pid, signal.SIGKILL)
        self.lab.process.wait()
        self.lab.start(lanes_up=False)

    def wait(self):
        wait_until("finished", lambda: self.call("stats")["messages"]["queued"] == 0, 60, step=0.1)

    def arrived(self, which):
        import json
        return [Path(json.loads(line)["path"]).read_bytes() for line in self.logs[which].read_text().splitlines()]

    def check(self, messages, domain):
        records = {f"{key['name']}.".encode(): key["record"].encode() for key in self.call("dkim.list")["keys"]}
        for message in messages:
            mail = dkim.DKIM(message)
            for number, algorithm in enumerate(("rsa", "ed25519")):
                expect(mail.verify(idx=number, dnsfunc=lambda name, timeout=5: records.get(name)), f"{algorithm}: {message[:300]!r}")
                expect_equal("signed by", mail.domain, domain.encode())


def mail_of_every_kind_is_signed_and_verified_by_lanes_and_relays(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("acme", "news@acme.example", 60)
        site.inject("small", "news@small.example", 60)
        site.wait()
        expect_equal("arrived", [len(site.arrived(0)), len(site.arrived(1))], [60, 60])
        site.check(site.arrived(0), "acme.example")
        site.check(site.arrived(1), "small.example")


def the_key_of_the_longest_domain_signs_and_other_domains_are_refused(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("acme", "news@mail.sub.acme.example", 3)
        site.wait()
        site.check(site.arrived(0), "sub.acme.example")
        try:
            site.inject("acme", "news@other.example", 1)
            raise AssertionError("a From of another domain was accepted")
        except RpcError as error:
            expect_equal("reason", error.reason, "cannot_sign")
            expect("other.example" in str(error), str(error))


def a_message_keeps_its_signature_over_a_restart(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.call("drain", on=True)
        site.inject("acme", "news@acme.example", 20)
        site.kill()
        site.wait()
        expect_equal("arrived", len(site.arrived(0)), 20)
        site.check(site.arrived(0), "acme.example")


def fields_of_unsubscription_are_signed(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        with site.lab.rpc() as rpc:
            import base64
            data = corpus.make(0, "u", "news@acme.example", "r0@alpha.example")
            rpc.call("inject", sender="acme", mail_from="news@acme.example", rcpt_to=["r0@alpha.example"], message=base64.b64encode(data).decode(),
                     list_unsubscribe={"url": "https://acme.example/u?id=1", "mailto": "mailto:leave@acme.example"})
        site.wait()
        arrived = site.arrived(0)
        site.check(arrived, "acme.example")
        expect(b"\r\nList-Unsubscribe: <https://acme.example/u?id=1>,\r\n <mailto:leave@acme.example>\r\n"
               b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in arrived[0], str(arrived[0][:1500]))
        broken = arrived[0].replace(b"u?id=1", b"u?id=2")
        expect(not dkim.DKIM(broken).verify(dnsfunc=lambda name, timeout=5: {
            f"{key['name']}.".encode(): key["record"].encode() for key in site.call("dkim.list")["keys"]}.get(name)), "it is not signed")


def dns_is_compared_with_the_keys(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        states = {k["state"] for k in site.call("dkim.check", sender="acme")["keys"]}
        expect_equal("nothing is published", states, {"missing"})
        listed = site.call("dkim.list")["keys"]
        expect_equal("keys", sorted({(k["algorithm"], k["bits"]) for k in listed}), [("ed25519-sha256", 256), ("rsa-sha256", 2048)])
        expect(not any("PRIVATE" in str(k) for k in listed), "a private key is shown")


def a_route_that_writes_dates_anew_gets_a_signature_without_them(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject("cloud", "news@cloud.example", 10)
        site.inject("small", "news@small.example", 1)
        site.wait()

        def rewritten(message):
            message = re.sub(rb"(?mi)^Date:.*?\r\n(?![ \t])", b"Date: Tue, 24 Nov 2026 11:11:11 +0000\r\n", message, count=1, flags=re.S)
            return re.sub(rb"(?mi)^Message-ID:.*?\r\n(?![ \t])", b"Message-ID: <0100@email.example>\r\n", message, count=1, flags=re.S)
        of = {name: [m for m in site.arrived(1) if b"d=" + name in m] for name in (b"cloud.example", b"small.example")}
        expect_equal("arrived", [len(m) for m in of.values()], [10, 1])
        site.check([rewritten(m) for m in of[b"cloud.example"]], "cloud.example")
        try:
            site.check([rewritten(m) for m in of[b"small.example"]], "small.example")
        except AssertionError:
            return
        raise AssertionError("a signature of all fields survives other dates")


def another_key_signs_from_the_moment_that_dns_has_it(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        name = {"sender": "acme", "domain": "acme.example"}
        site.call("drain", on=True)
        site.inject("acme", "news@acme.example", 5)
        for selector, file, reason in (("r3", site.new[1], "not_possible"), ("r9", None, "not_found"), ("r2", site.new[0], None)):
            try:
                site.call("dkim.rotate", **name, selector=selector, **({"key_file": file} if file else {}))
                expect_equal("rotated to", selector, "r2")
            except RpcError as error:
                expect_equal(f"{selector}: {error}", error.reason, reason)
        active = {(k["domain"], k["algorithm"]): k["selector"] for k in site.call("dkim.list", sender="acme")["keys"] if k["active"]}
        expect_equal("active", (active["acme.example", "rsa-sha256"], active["acme.example", "ed25519-sha256"], active["sub.acme.example", "rsa-sha256"]),
                     ("r2", "e1", "r1"))
        states = {k["selector"]: k["state"] for k in site.call("dkim.check", sender="acme")["keys"] if k["domain"] == "acme.example"}
        expect_equal("DNS", states, {"r1": "missing", "e1": "missing", "r2": "ok"})
        site.kill()
        site.inject("acme", "news@acme.example", 5, first=5)
        site.wait()
        signers = sorted(re.search(rb"s=(r\d)", m).group(1) for m in site.arrived(0))
        expect_equal("signed with", signers, [b"r1"] * 5 + [b"r2"] * 5)
        site.check(site.arrived(0), "acme.example")
        site.call("dkim.rotate", **name, selector="r1", force=True)
        site.kill()
        active = {k["selector"] for k in site.call("dkim.list", sender="acme")["keys"] if k["active"]}
        expect_equal("back to what is configured", active, {"r1", "e1"})
        with site.lab.rpc() as rpc:
            rotated = [(e["old"], e["selector"]) for e in rpc.history(["dkim"])]
        expect_equal("events", rotated, [("r1", "r2"), ("r2", "r1")])


def keys_are_read_again_and_a_bad_file_changes_nothing(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        before = {k["record"] for k in site.call("dkim.list", sender="small")["keys"]}
        (work / "rsa.pem").write_bytes((work / "new.pem").read_bytes())
        (work / "ed.pem").write_text("damaged\n")
        keys = {k["algorithm"]: k for k in site.call("dkim.reload", sender="small")["keys"]}
        expect_equal("changed", (keys["rsa-sha256"]["changed"], keys["ed25519-sha256"]["changed"]), (True, False))
        expect(keys["rsa-sha256"]["error"] is None and "not a private key" in keys["ed25519-sha256"]["error"], str(keys))
        expect_equal("record", keys["rsa-sha256"]["record"], record(site.new[0]))
        expect(keys["ed25519-sha256"]["record"] in before, "the old key is gone")
        site.inject("small", "news@small.example", 2)
        site.wait()
        site.check(site.arrived(1), "small.example")
        text = (work / "new.pem").read_text().splitlines()[1]
        expect(text not in site.lab.log.read_text(), "a private key is in the log")


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([mail_of_every_kind_is_signed_and_verified_by_lanes_and_relays,
             the_key_of_the_longest_domain_signs_and_other_domains_are_refused,
             a_message_keeps_its_signature_over_a_restart, fields_of_unsubscription_are_signed, dns_is_compared_with_the_keys,
             a_route_that_writes_dates_anew_gets_a_signature_without_them, another_key_signs_from_the_moment_that_dns_has_it,
             keys_are_read_again_and_a_bad_file_changes_nothing], args, args)


if __name__ == "__main__":
    main()
