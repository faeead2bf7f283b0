"""Starts the appliance and real receivers in a lab network (netns.py)."""
import json
import os
import socket
import sys
from pathlib import Path

from netns import DNS, GATEWAY, RECEIVERS, LabError, wait_until
from rpc import Rpc

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"  # Debian's, which has python3-aiosmtpd

# Two lanes of four source addresses each, as README explains pools per NIC queue.
LANES = {0: "192.0.2.10-192.0.2.13", 1: "192.0.2.20-192.0.2.23"}
SOURCES = [f"192.0.2.{n}" for n in (10, 11, 12, 13, 20, 21, 22, 23)]

# domain -> the address of its only MX host, or several with commas between
ZONES = {"alpha.example": RECEIVERS[0], "beta.example": RECEIVERS[1], "odd.example": RECEIVERS[2]}


def configuration(work, lanes=None, **changes):
    """The smallest configuration of a lab appliance; `changes` replace top-level keys."""
    work = Path(work)
    queues = [{"queue": queue, "lcore": queue % os.cpu_count(), "addresses": {"acme": [addresses]}}
              for queue, addresses in (lanes or LANES).items()]
    config = {
        "hostname": "mta1.acme.example",
        "run_dir": str(work / "run"),
        "spool": {"path": str(work / "spool")},
        "control": {"socket": str(work / "run" / "control.sock")},
        "dns": {"servers": [DNS]},
        "dataplane": {
            "ports": [{
                "name": "wan0",
                "device": f"net_af_packet0,iface=dp0,qpairs={len(queues)},blocksz=65536,"
                          "framesz=2048,framecnt=2048",
                "mtu": 1500,
                "ipv4": {"prefix": "192.0.2.0/24", "gateway": GATEWAY},
                "queues": queues,
            }],
        },
        "pools": {"acme": {"ehlo": "out-{n}.acme.example"}},
        "senders": {"acme": {"domains": ["acme.example"], "strategy": "dedicated", "pool": "acme"}},
    }
    config.update(changes)
    return config


class Appliance:
    """wirepostd (which starts wirepost-dataplane) with its files below `work`."""

    def __init__(self, netns, build, work, config=None, env=None):
        self.netns = netns
        self.build = Path(build).resolve()
        self.work = Path(work)
        self.config = config or configuration(work)
        self.socket = Path(self.config["control"]["socket"])
        self.log = self.work / "wirepostd.log"
        self.env = env
        self.process = None

    def write_config(self):
        path = self.work / "wirepost.json"
        path.write_text(json.dumps(self.config, indent=2) + "\n")
        return path

    def binary(self, name):
        folders = {"wirepostd": "control", "wirepost-dataplane": "dataplane", "wirepostctl": "tools"}
        return self.build / folders[name] / name

    def start(self, lanes_up=True, seconds=60):
        (self.work / "run").mkdir(parents=True, exist_ok=True)
        self.config.setdefault("dataplane", {}).setdefault(
            "binary", str(self.binary("wirepost-dataplane")))
        self.process = self.netns.start(
            [self.binary("wirepostd"), "--config", self.write_config()], self.log, env=self.env)
        wait_until("control socket", self._answers, seconds)
        if lanes_up:
            wait_until("all lanes running", self.lanes_running, seconds)
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise LabError(f"wirepostd ended with {self.process.returncode}:\n{self.log_tail()}")
        try:
            with self.rpc() as rpc:
                return rpc.call("version")
        except (FileNotFoundError, ConnectionError, socket.timeout):
            return None

    def lanes_running(self):
        try:
            with self.rpc() as rpc:
                lanes = rpc.call("lanes")["lanes"]
        except (ConnectionError, FileNotFoundError):
            return False
        return bool(lanes) and all(lane["state"] == "running" for lane in lanes)

    def rpc(self, timeout=60):
        return Rpc(self.socket, timeout)

    def log_tail(self, lines=30):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def daemon_pids(self, name):
        """Pids of our own wirepostd or wirepost-dataplane in this namespace."""
        found = []
        for pid in self.netns.pids():
            try:
                exe = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if exe == str(self.binary(name)):
                found.append(pid)
        return found


def start_dns(netns, work, zones=None, hosts=None, texts=None):
    """dnsmasq as the only DNS server of the lab, with MX and A records for each zone, an A record for each host, TXT for each text."""
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
            f"--listen-address={DNS}", "--bind-interfaces", "--port=53", "--user=root",
            f"--pid-file={work}/dnsmasq.pid", "--local=/example/"]
    for domain, address in (zones or ZONES).items():
        argv += [f"--mx-host={domain},mx.{domain},10", f"--host-record=mx.{domain},{address}"]
    argv += [f"--host-record={name},{address}" for name, address in (hosts or {}).items()]
    for name, text in (texts or {}).items():
        argv += [f"--txt-record={name}," + ",".join(text[at:at + 250] for at in range(0, len(text), 250))]
    process = netns.start(argv, Path(work) / "dnsmasq.log")
    return process


def start_maildir_server(netns, work, address=ZONES["alpha.example"], *flags, port=25):
    """aiosmtpd writing Maildirs; returns (maildir, log of what was accepted)."""
    work = Path(work)
    maildir, log, output = work / "maildir", work / "received.jsonl", work / "aiosmtpd.log"
    netns.start([PYTHON, HERE / "receiver.py", "--listen", f"{address}:{port}", "--maildir", maildir,
                 "--log", log, *flags], output)
    wait_until("aiosmtpd", lambda: output.exists() and "ready" in output.read_text())
    return maildir, log


def start_smtp_sink(netns, work, sink, address=ZONES["beta.example"]):
    """postfix's smtp-sink, which dumps every message into a file of its own; returns the folder."""
    folder = Path(work) / "sink"
    folder.mkdir(parents=True, exist_ok=True)
    libraries = Path(sink).parents[1] / "lib" / "postfix"
    netns.start([sink, "-u", "root", "-d", f"{folder}/%H%M%S.", f"{address}:25", "512"],
                Path(work) / "smtp-sink.log", env={"LD_LIBRARY_PATH": str(libraries)})
    wait_until("smtp-sink", lambda: f"{address}:25" in netns.exec("ss", "-ltnH").stdout)
    return folder


def find_smtp_sink(build):
    """Where tools/lib/deps.sh unpacked smtp-sink; None when it did not."""
    for place in (os.environ.get("WIREPOST_SMTP_SINK"), Path(build) / "postfix/usr/sbin/smtp-sink",
                  "/usr/sbin/smtp-sink"):
        if place and os.access(place, os.X_OK):
            return str(place)
    return None


def say(text):
    print(text, flush=True, file=sys.stderr)
