"""Signed by wirepostd, verified by dkimpy where it arrives: by a lane, by a relay, after kill -9."""
import os
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


def make_key(path, *options):
    subprocess.run(["openssl", "genpkey", "-algorithm", *options, "-out", path], check=True, stderr=subprocess.DEVNULL)
    path.chmod(0o600)
    return str(path)


class Site:
    """A sender with its own addresses and one with a relay; both sign with RSA and Ed25519, and one key more for a subdomain."""

    def __init__(self, netns, work, args):
        self.netns, self.work = netns, work
        rsa = make_key(work / "rsa.pem", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        ed = make_key(work / "ed.pem", "ED25519")

        def keys(domain):
            return [{"domain": domain, "selector": "r1", "key_file": rsa}, {"domain": domain, "selector": "e1", "key_file": ed}]
        senders = {
            "acme": {"domains": ["acme.example"], "strategy": "dedicated", "pool": "acme", "dkim": [*keys("acme.example"), *keys("sub.acme.example")]},
            "small": {"domains": ["small.example"], "strategy": "shared", "shared": ["main"], "dkim": keys("small.example")},
        }
        appliance.start_dns(netns, work)
        self.logs = [appliance.start_maildir_server(netns, self.folder("direct"))[1],
                     appliance.start_maildir_server(netns, self.folder("relay"), RELAY)[1]]
        config = appliance.configuration(work, senders=senders, routes={"main": {"type": "smtp", "url": f"smtp://{RELAY}"}},
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
            expect_equal("reason", error.reason, "bad_message")
            expect("no domain" in str(error), str(error))


def a_message_keeps_its_signature_over_a_restart(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.call("drain", on=True)
        site.inject("acme", "news@acme.example", 20)
        for pid in site.lab.daemon_pids("wirepostd"):
            os.kill(pid, signal.SIGKILL)
        site.lab.process.wait()
        site.lab.start(lanes_up=False)
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


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([mail_of_every_kind_is_signed_and_verified_by_lanes_and_relays,
             the_key_of_the_longest_domain_signs_and_other_domains_are_refused,
             a_message_keeps_its_signature_over_a_restart, fields_of_unsubscription_are_signed, dns_is_compared_with_the_keys], args, args)


if __name__ == "__main__":
    main()
