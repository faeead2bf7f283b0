"""Compares what arrived with what was injected, byte for byte, and reads captures with tshark."""
import hashlib
import json
import re
import subprocess
from collections import Counter
from pathlib import Path

_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(?:\r?\n[ \t]+)?(<[^>\r\n]+>)", re.I | re.M)
_RECEIVED_BY_SINK = re.compile(rb"\AX-Client-Addr:.*?\nReceived: from .*?\n\tby smtp-sink .*?\n\t[^\n]*\n", re.S)


def message_id(data):
    found = _MESSAGE_ID.search(data)
    return found.group(1).decode() if found else None


def digest(data):
    return hashlib.sha256(data).hexdigest()


def from_maildir_log(log):
    """(Message-ID, digest of the bytes, source address, recipients) of each message in the log."""
    log = Path(log)
    if not log.exists():
        return
    for line in log.read_text().splitlines():
        record = json.loads(line)
        data = Path(record["path"]).read_bytes()
        yield message_id(data), digest(data), record["peer"], record["rcpt_to"]


def from_sink(folder):
    """The same of smtp-sink's dumps, which hold LF line ends and a blank line at the end."""
    for path in Path(folder).iterdir():
        data = path.read_bytes()
        head = _RECEIVED_BY_SINK.match(data)
        if not head or not data.endswith(b"\n\n"):
            yield f"incomplete dump {path.name}", "", "", []
            continue
        content = data[head.end():-1].replace(b"\n", b"\r\n")
        peer = re.search(rb"X-Client-Addr: (\S+)", head.group(0)).group(1).decode()
        recipients = re.findall(rb"X-Rcpt-Args: <([^>]*)>", head.group(0))
        yield message_id(content), digest(content), peer, [r.decode() for r in recipients]


class Comparison:
    """Expected {Message-ID: digest} against what arrived."""

    def __init__(self, expected, arrived):
        arrived = list(arrived)
        counts = Counter(ident for ident, *_ in arrived)
        self.missing = sorted(set(expected) - set(counts))
        self.twice = sorted(ident for ident, n in counts.items() if n > 1 and ident in expected)
        self.unknown = sorted(str(ident) for ident in counts if ident not in expected)
        self.differ = sorted({ident for ident, sum_, *_ in arrived
                              if ident in expected and expected[ident] != sum_})
        self.by_source = Counter(peer for _, _, peer, _ in arrived)
        self.arrived = len(arrived)

    def exact(self):
        return not (self.missing or self.twice or self.unknown or self.differ)

    def __str__(self):
        return (f"{self.arrived} arrived: {len(self.missing)} missing, {len(self.twice)} more than "
                f"once, {len(self.differ)} with other bytes, {len(self.unknown)} unknown")


# What an independent reader must not find. Checksums are verified, not assumed.
_TSHARK = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
CAPTURE_FAULTS = {
    "malformed packets": "_ws.malformed",
    "bad IPv4 checksums": "ip.checksum.status == 0",
    "bad TCP checksums": "tcp.checksum.status == 0",
    "retransmissions": "tcp.analysis.retransmission || tcp.analysis.fast_retransmission"
                       " || tcp.analysis.spurious_retransmission",
    "retransmissions by receivers": "tcp.analysis.retransmission",
    "resets": "tcp.flags.reset == 1",
}
CAPTURE_NOTES = ("retransmissions by receivers", "resets")


def capture_faults(path):
    """{fault: packets} of a capture, by tshark in one pass. The receivers' kernel probes for a lost tail (RFC 8985 7) when
    a lane waits a few milliseconds for its CPU; that is theirs, and counted apart from what we send again."""
    fields = ["ip.src", "ipv6.src", "_ws.malformed", "ip.checksum.status", "tcp.checksum.status",
              "tcp.analysis.retransmission", "tcp.analysis.fast_retransmission",
              "tcp.analysis.spurious_retransmission", "tcp.flags.reset", "tcp.checksum"]
    argv = ["tshark", "-r", str(path), *_TSHARK, "-T", "fields", "-E", "separator=|"]
    for field in fields:
        argv += ["-e", field]
    argv += ["-Y", " || ".join(f"({rule})" for rule in CAPTURE_FAULTS.values())]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"tshark: {result.stderr.strip()}")
    faults = Counter()
    for line in result.stdout.splitlines():
        source4, source6, malformed, ip_sum, tcp_sum, *retransmitted, reset, checksum = line.split("|")
        faults["malformed packets"] += bool(malformed)
        faults["bad IPv4 checksums"] += "0" in ip_sum.split(",")
        # Linux writes 0xffff where the sum is 0; in ones' complement that is the same (RFC 1071).
        faults["bad TCP checksums"] += "0" in tcp_sum.split(",") and checksum != "0xffff"
        ours = source4.startswith("192.0.2.") or source6.startswith("2001:db8:7:")
        faults["retransmissions" if ours else "retransmissions by receivers"] += any(retransmitted)
        faults["resets"] += reset in ("1", "True")
    return {name: faults[name] for name in CAPTURE_FAULTS}


def capture_allowed(name, packets):
    """How many of a fault are nobody's: a receiver that gets no CPU for longer than our probe timeout is probed (RFC 8985 7)."""
    return packets // 100 if name == "retransmissions" else 0


def capture_packets(path):
    argv = ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.number"]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return len(result.stdout.splitlines())
