"""The main job against aiosmtpd and smtp-sink: everything arrives once, byte for byte, and is told."""
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import Netns, require_root, skip, wait_until  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

SENDER = "news@acme.example"


class Site:
    """The appliance, DNS and both servers, for one test."""

    def __init__(self, netns, work, args, config=None):
        zones = {**appliance.ZONES, "acme.example": appliance.ZONES["alpha.example"]}
        appliance.start_dns(netns, work, zones)
        _, self.maildir_log = appliance.start_maildir_server(netns, work)
        self.sink = appliance.start_smtp_sink(netns, work, appliance.find_smtp_sink(args.build))
        self.lab = appliance.Appliance(netns, args.build, work, config).start()

    def wait_finished(self, seconds=120):
        def finished():
            with self.lab.rpc() as rpc:
                return rpc.call("stats")["messages"]["queued"] == 0
        wait_until("every message finished", finished, seconds, step=0.2)

    def ctl(self, *argv, stdin=None):
        command = [self.lab.binary("wirepostctl"), "--socket", self.lab.socket, *argv]
        return subprocess.run(list(map(str, command)), input=stdin, capture_output=True, timeout=120)


def inject(lab, count, domain, seed):
    expected = {}
    with lab.rpc() as rpc:
        for index in range(count):
            recipient = f"reader{index}@{domain}"
            data = corpus.make(index, f"{seed}.{domain}", SENDER, recipient)
            rpc.inject(data, "acme", SENDER, [recipient])
            expected[verify.message_id(data)] = verify.digest(data)
    return expected


def mail_of_every_kind_arrives_exactly_once_and_byte_for_byte(work, args):
    capture = work / "wire.pcap"
    with Netns() as netns:
        tcpdump = netns.start(["tcpdump", "-i", "net0", "-w", capture, "-U", "-s", "0", "-B", "65536",
                               "-Z", "root"], work / "tcpdump.log")
        wait_until("tcpdump", lambda: capture.exists() and capture.stat().st_size >= 24)
        site = Site(netns, work, args)
        alpha = inject(site.lab, 150, "alpha.example", "every-kind")
        beta = inject(site.lab, 150, "beta.example", "every-kind")
        site.wait_finished()
        site.lab.process.terminate()
        expect_equal("exit status of wirepostd", site.lab.process.wait(45), 0)
        tcpdump.terminate()
        tcpdump.wait(20)
    for name, expected, arrived in (("aiosmtpd", alpha, verify.from_maildir_log(site.maildir_log)),
                                    ("smtp-sink", beta, verify.from_sink(site.sink))):
        result = verify.Comparison(expected, arrived)
        expect(result.exact(), f"{name}: {result}")
        expect(set(result.by_source) <= set(appliance.SOURCES), f"sources: {result.by_source}")
        expect_equal(f"{name}: source addresses used", len(result.by_source), 8)
    faults = verify.capture_faults(capture)
    for name in ("malformed packets", "bad IPv4 checksums", "bad TCP checksums", "retransmissions"):
        allowed = verify.capture_allowed(name, verify.capture_packets(capture))
        expect(faults[name] <= allowed, f"capture: {faults[name]} {name}, {allowed} allowed")


def several_recipients_of_one_site_share_one_transaction(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        recipients = [f"r{n}@alpha.example" for n in range(5)]
        data = corpus.make(1, "several", SENDER, recipients[0])
        with site.lab.rpc() as rpc:
            rpc.inject(data, "acme", SENDER, recipients)
        site.wait_finished()
        arrived = list(verify.from_maildir_log(site.maildir_log))
        expect_equal("transactions", len(arrived), 1)
        expect_equal("recipients", sorted(arrived[0][3]), recipients)


def every_step_of_a_message_is_told_by_events_and_why(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        data = corpus.make(1, "told", SENDER, "x@alpha.example")
        with site.lab.rpc() as rpc:
            ident = rpc.inject(data, "acme", SENDER, ["x@alpha.example"])["id"]
        site.wait_finished()
        with site.lab.rpc() as rpc:
            seen = rpc.history()
            why = rpc.call("message.why", id=ident)
        types = [event["type"] for event in seen if event.get("id") == ident]
        expect_equal("events", types, ["accepted", "delivered", "finished"])
        delivered = next(event for event in seen if event["type"] == "delivered")
        expect(delivered["source"] in appliance.SOURCES, f"source {delivered['source']}")
        expect_equal("peer", delivered["peer"], appliance.ZONES["alpha.example"])
        expect_equal("code", delivered["code"], 250)
        expect(any(delivered["source"] in line and "alpha.example" in line for line in why["lines"]),
               f"why: {why['lines']}")


def a_bounce_is_reported_to_the_return_path(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        data = corpus.make(1, "dsn", SENDER, "x@nowhere.example")
        with site.lab.rpc() as rpc:
            rpc.inject(data, "acme", SENDER, ["x@nowhere.example"])
        site.wait_finished()
        arrived = list(verify.from_maildir_log(site.maildir_log))
        expect_equal("messages at the return path", len(arrived), 1)
        record = json.loads(site.maildir_log.read_text().splitlines()[0])
        expect_equal("return path of the report", record["mail_from"], "<>")
        expect_equal("recipient of the report", record["rcpt_to"], [SENDER])
        report = Path(record["path"]).read_bytes()
        for field in (b"multipart/report", b"Final-Recipient: rfc822; x@nowhere.example",
                      b"Action: failed", b"Status: 5."):
            expect(field in report, f"{field!r} missing in the report:\n{report.decode()}")


def wirepostctl_injects_folders_and_shows_what_became_of_them(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        folder = work / "outbox"
        folder.mkdir()
        expected = {}
        for index in range(20):
            data = corpus.make(index, "ctl", SENDER, "x@alpha.example")
            (folder / f"{index}.eml").write_bytes(data.replace(b"\r\n", b"\n"))
            expected[verify.message_id(data)] = verify.digest(data)
        done = site.ctl("inject", "--sender", "acme", "--from", SENDER, "--to", "x@alpha.example", folder)
        expect_equal(f"inject: {done.stderr.decode()}", done.returncode, 0)
        site.wait_finished()
        result = verify.Comparison(expected, verify.from_maildir_log(site.maildir_log))
        expect(result.exact(), str(result))
        for command in (["stats"], ["lanes"], ["queue", "list"], ["version"], ["config", "get"]):
            shown = site.ctl("--json", *command)
            expect_equal(f"{command}: {shown.stderr.decode()}", shown.returncode, 0)
            json.loads(shown.stdout.splitlines()[0])
        table = site.ctl("stats").stdout.decode()
        expect("192.0.2.10" in table and "alpha.example" in table, table)


def sigterm_under_load_finishes_or_hands_back_and_the_next_start_delivers_the_rest(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        expected = inject(site.lab, 300, "alpha.example", "drain")
        site.lab.process.terminate()
        expect_equal("exit status", site.lab.process.wait(60), 0)
        expect_equal("data planes left", site.lab.daemon_pids("wirepost-dataplane"), [])
        site.lab.start()
        site.wait_finished()
        result = verify.Comparison(expected, verify.from_maildir_log(site.maildir_log))
        expect(result.exact(), str(result))


def main():
    args = tap.arguments(__doc__)
    require_root()
    if not appliance.find_smtp_sink(args.build):
        skip("needs postfix's smtp-sink: tools/test unpacks it")
    tap.run([mail_of_every_kind_arrives_exactly_once_and_byte_for_byte,
             several_recipients_of_one_site_share_one_transaction,
             every_step_of_a_message_is_told_by_events_and_why,
             a_bounce_is_reported_to_the_return_path,
             wirepostctl_injects_folders_and_shows_what_became_of_them,
             sigterm_under_load_finishes_or_hands_back_and_the_next_start_delivers_the_rest],
            args, args)


if __name__ == "__main__":
    main()
