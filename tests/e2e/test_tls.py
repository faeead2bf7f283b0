"""TLS from the lanes, over our own TCP, with aiosmtpd: opportunistic, resumed, broken, and refused by the operator."""
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

SENDER = "news@acme.example"


class Site:
    def __init__(self, netns, work, args, *flags, **delivery):
        cert, key = work / "cert.pem", work / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=anybody.example",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        appliance.start_dns(netns, work)
        _, self.log = appliance.start_maildir_server(netns, work, appliance.ZONES["alpha.example"], "--cert", cert, "--key", key, *flags)
        config = appliance.configuration(work, delivery={"retry_s": [1], "retry_jitter": 0, "idle_ms": 500} | delivery)
        self.lab = appliance.Appliance(netns, args.build, work, config).start()
        self.expected = {}

    def deliver(self, count):
        with self.lab.rpc() as rpc:
            for n in range(count):
                data = corpus.make(n, "tls", SENDER, f"r{n}@alpha.example")
                rpc.inject(data, "acme", SENDER, [f"r{n}@alpha.example"])
                self.expected[verify.message_id(data)] = verify.digest(data)
            wait_until("finished", lambda: rpc.call("stats")["messages"]["queued"] == 0, 90)
        result = verify.Comparison(self.expected, verify.from_maildir_log(self.log))
        expect(result.exact(), str(result))

    def tls_of_arrived(self):
        return {json.loads(line)["tls"] for line in self.log.read_text().splitlines()}

    def counters(self):
        with self.lab.rpc() as rpc:
            return [lane["counters"] for lane in rpc.call("lanes")["lanes"]]

    def told(self):
        with self.lab.rpc() as rpc:
            return {e["tls"] for e in rpc.history(["delivered"])}


def where_starttls_is_offered_mail_of_every_kind_is_encrypted_and_exact(work, args):
    capture = work / "wire.pcap"
    with Netns() as netns:
        tcpdump = netns.start(["tcpdump", "-i", "net0", "-w", capture, "-U", "-s", "0", "-B", "65536", "-Z", "root"], work / "tcpdump.log")
        wait_until("tcpdump", lambda: capture.exists() and capture.stat().st_size >= 24)
        site = Site(netns, work, args, "--require")
        site.deliver(200)
        expect_equal("TLS at the server", site.tls_of_arrived(), {True})
        expect_equal("told", site.told(), {"1.3"})
        expect(all(c["tls"] > 0 and c["tls_broken"] == 0 for c in site.counters()), str(site.counters()))
        expect_equal("exit status", (site.lab.process.terminate(), site.lab.process.wait(60))[1], 0)
        tcpdump.terminate()
        tcpdump.wait(20)
    wire = capture.read_bytes()
    expect(b"RCPT TO:" not in wire and b"Subject:" not in wire, "something of the mail can be read on the wire")


def a_broken_handshake_goes_on_in_clear_on_a_new_connection_and_is_counted(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, "--tls-old")
        site.deliver(20)
        expect_equal("TLS at the server", site.tls_of_arrived(), {False})
        expect_equal("told", site.told(), {""})
        expect(sum(c["tls_broken"] for c in site.counters()) > 0, str(site.counters()))


def the_operator_may_leave_tls_out(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, tls="none")
        site.deliver(20)
        expect_equal("TLS at the server", site.tls_of_arrived(), {False})
        expect_equal("handshakes", [c["tls"] for c in site.counters()], [0, 0])


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([where_starttls_is_offered_mail_of_every_kind_is_encrypted_and_exact,
             a_broken_handshake_goes_on_in_clear_on_a_new_connection_and_is_counted,
             the_operator_may_leave_tls_out], args, args)


if __name__ == "__main__":
    main()
