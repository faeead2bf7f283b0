"""The main job, end to end, on real input.

A network namespace holds dnsmasq (MX records of two domains), aiosmtpd writing Maildirs and postfix's
smtp-sink. The data plane drives one af_packet port with two lanes of four source addresses each.
1,000 RFC 5322 messages are injected through the control socket and delivered by the dedicated
addresses; then every message is compared byte for byte, and tshark reads the capture.

Needs no hugepages, no spare NIC and no configuration, and leaves nothing behind but its folder of
results. Exit status 0 only when everything held.
"""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import verify  # noqa: E402
from netns import LabError, Netns, wait_until  # noqa: E402

SENDER = "news@acme.example"
DOMAINS = ("alpha.example", "beta.example")


class Progress:
    """A bar on a terminal; a line now and then elsewhere."""

    def __init__(self, total):
        self.total = total
        self.started = time.monotonic()
        self.tty = sys.stdout.isatty()
        self.next_line = 0.0

    def show(self, injected, done, final=False):
        seconds = time.monotonic() - self.started
        width = 32
        filled = int(width * done / self.total)
        text = (f"[{'█' * filled}{'░' * (width - filled)}] {done:>5}/{self.total} delivered, "
                f"{injected} injected, {seconds:5.1f} s")
        if self.tty:
            print(f"\r{text}", end="\n" if final else "", flush=True)
        elif final or seconds >= self.next_line:
            self.next_line = seconds + 2
            print(text, flush=True)


def inject_all(lab, messages, counter, errors):
    """Injects over one control connection, up to 32 requests unanswered."""
    try:
        with lab.rpc() as rpc:
            waiting = 0
            for recipient, data in messages:
                rpc.send("inject", {"sender": "acme", "mail_from": SENDER, "rcpt_to": [recipient],
                                    "stream": "bulk:demo", "size": len(data)}, data)
                waiting += 1
                while waiting >= 32:
                    waiting -= take_answer(rpc, counter, errors)
            while waiting:
                waiting -= take_answer(rpc, counter, errors)
    except (OSError, LabError) as error:
        errors.append(str(error))


def take_answer(rpc, counter, errors):
    answer = rpc.receive()
    if "error" in answer:
        errors.append(answer["error"]["message"])
    else:
        counter["injected"] += 1
    return 1


def make_messages(count, seed):
    """[(recipient, bytes)], half to each domain."""
    messages = []
    for index in range(count):
        recipient = f"reader{index}@{DOMAINS[(index // len(corpus.KINDS)) % len(DOMAINS)]}"
        messages.append((recipient, corpus.make(index, seed, SENDER, recipient)))
    return messages


def deliver(lab, messages, seconds):
    """Injects and waits until every message is finished; returns (errors, seconds used)."""
    progress, counter, errors = Progress(len(messages)), {"injected": 0}, []
    injector = threading.Thread(target=inject_all, args=(lab, messages, counter, errors), daemon=True)
    injector.start()
    deadline = time.monotonic() + seconds
    with lab.rpc() as rpc:
        while True:
            stats = rpc.call("stats")["messages"]
            done = stats["delivered"]
            over = not injector.is_alive() and stats["queued"] == 0
            late = time.monotonic() > deadline
            progress.show(counter["injected"], done, final=over or late)
            if over or late:
                break
            time.sleep(0.2)
    if late:
        errors.append(f"not finished within {seconds} s")
    return errors, time.monotonic() - progress.started


def show_table(paths):
    """One row for each source address and destination, and a total."""
    head = ("source address", "destination", "sent", "delivered", "deferred", "bounced", "bytes",
            "messages/s")
    rows = []
    for path in sorted(paths, key=lambda p: (tuple(map(int, p["source"].split("."))), p["site"])):
        seconds = max(path["last_at"] - path["first_at"], 0.001)
        rows.append((path["source"], path["site"], path["sent"], path["delivered"],
                     path["deferred"], path["bounced"], path["bytes"], path["delivered"] / seconds))
    first = min((p["first_at"] for p in paths), default=0)
    last = max((p["last_at"] for p in paths), default=0)
    delivered = sum(row[3] for row in rows)
    rows.append(("total", "", *(sum(row[i] for row in rows) for i in range(2, 7)),
                 delivered / max(last - first, 0.001)))
    text = [tuple(f"{v:.1f}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else v
                  for v in row) for row in rows]
    widths = [max(len(row[i]) for row in [head, *text]) for i in range(len(head))]
    print()
    for number, row in enumerate([head, *text]):
        if number in (1, len(text)):
            print("  ".join("─" * width for width in widths))
        print("  ".join(cell.ljust(w) if i < 2 else cell.rjust(w)
                        for i, (cell, w) in enumerate(zip(row, widths))))
    print()


def check(held, text):
    print(f"  {'ok  ' if held else 'FAIL'}  {text}", flush=True)
    return held


def check_arrival(messages, maildir_log, sink_folder):
    expected = {domain: {} for domain in DOMAINS}
    for recipient, data in messages:
        expected[recipient.partition("@")[2]][verify.message_id(data)] = verify.digest(data)
    held = True
    sources = set()
    for domain, server, arrived in (
            (DOMAINS[0], "aiosmtpd", verify.from_maildir_log(maildir_log)),
            (DOMAINS[1], "smtp-sink", verify.from_sink(sink_folder))):
        result = verify.Comparison(expected[domain], arrived)
        held &= check(result.exact(), f"{domain} ({server}): every message exactly once and byte "
                                      f"for byte: {result}")
        sources |= set(result.by_source)
    held &= check(sources == set(appliance.SOURCES),
                  f"all {len(appliance.SOURCES)} source addresses were used, and no other")
    return held


def check_capture(capture):
    faults, packets = verify.capture_faults(capture), verify.capture_packets(capture)
    held = True
    for name, count in faults.items():
        if name in verify.CAPTURE_NOTES:
            print(f"        capture: {count} {name}")
        else:
            held &= check(count <= verify.capture_allowed(name, packets), f"capture: {count} {name} in {packets} packets")
    return held


def stop_capture(tcpdump):
    tcpdump.send_signal(signal.SIGINT)
    tcpdump.wait(20)


def run_demo(args, work):
    print(f"making {args.messages} messages (seed {args.seed})")
    messages = make_messages(args.messages, args.seed)
    capture = work / "demo.pcap"
    with Netns("wp-demo") as netns:
        appliance.start_dns(netns, work)
        _, maildir_log = appliance.start_maildir_server(netns, work)
        sink_folder = appliance.start_smtp_sink(netns, work, args.smtp_sink)
        tcpdump = netns.start(["tcpdump", "-i", "net0", "-w", capture, "-U", "-s", "0", "-B", "65536",
                               "-Z", "root"], work / "tcpdump.log")
        wait_until("tcpdump", lambda: capture.exists() and capture.stat().st_size >= 24)
        print("starting wirepostd and its data plane: 2 lanes, 8 source addresses")
        lab = appliance.Appliance(netns, args.build, work).start()
        errors, seconds = deliver(lab, messages, args.seconds)
        with lab.rpc() as rpc:
            stats = rpc.call("stats")
        lab.process.terminate()
        stopped = lab.process.wait(45)
        stop_capture(tcpdump)
    total = sum(len(data) for _, data in messages)
    show_table(stats["paths"])
    print(f"{args.messages} messages, {total / 1e6:.1f} MB in {seconds:.1f} s: "
          f"{args.messages / seconds:.0f} messages/s from injection to the receiver's 250\n")
    held = check(not errors, f"every message was accepted and finished{': ' + errors[0] if errors else ''}")
    held &= check(stats["messages"]["delivered"] == args.messages,
                  f"{stats['messages']['delivered']} of {args.messages} delivered, "
                  f"{stats['messages']['bounced']} bounced, {stats['messages']['doubtful']} doubtful")
    held &= check_arrival(messages, maildir_log, sink_folder)
    held &= check_capture(capture)
    held &= check(stopped == 0, f"wirepostd stopped cleanly (exit status {stopped})")
    (work / "stats.json").write_text(json.dumps(stats, indent=2) + "\n")
    print(f"\npacket capture for Wireshark: {capture} ({capture.stat().st_size / 1e6:.1f} MB)")
    print(f"logs, Maildirs and figures:   {work}")
    return held


def keep_only_last(parent):
    """Results of former runs are removed, so that a demo a day does not fill the disk."""
    for old in parent.glob("wirepost-demo-*"):
        if old.is_dir() and not (old / "pid").exists():
            shutil.rmtree(old, ignore_errors=True)
        elif old.is_dir() and not pid_lives(old / "pid"):
            shutil.rmtree(old, ignore_errors=True)


def pid_lives(path):
    try:
        return Path(f"/proc/{int(path.read_text())}").exists()
    except (OSError, ValueError):
        return False


def main():
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", default="demo", help="seed of the messages (default: demo)")
    parser.add_argument("--seconds", type=int, default=300, help="give up after (default: 300)")
    parser.add_argument("--build", default="build-demo", help=argparse.SUPPRESS)
    parser.add_argument("--smtp-sink", help=argparse.SUPPRESS)
    args = parser.parse_args()

    parent = Path(tempfile.gettempdir())
    keep_only_last(parent)
    work = Path(tempfile.mkdtemp(prefix="wirepost-demo-", dir=parent))
    (work / "pid").write_text(f"{os.getpid()}\n")
    try:
        held = run_demo(args, work)
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started has been ended", file=sys.stderr)
        return 130
    except LabError as error:
        print(f"\ndemo failed: {error}\nlogs: {work}", file=sys.stderr)
        return 1
    print("\nthe demo held" if held else "\nthe demo FAILED", flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
