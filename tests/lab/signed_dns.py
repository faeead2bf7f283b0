"""DNSSEC in the lab: zones signed by ldns, served by nsd, behind a server that can be told to fail.

    resolver under test ──> DNS:53 dns_front.py ──> 127.0.0.1:5300 nsd

Each zone is signed with a key of its own, and trusted by the file `anchor`; unsigned zones are
insecure. A zone that is signed with dates long gone is bogus.
"""
import re
import shutil
import subprocess
import sys
from pathlib import Path

from netns import DNS, skip, wait_until

HERE = Path(__file__).resolve().parent
PYTHON = sys.executable or "python3"


def require_tools():
    for tool in ("nsd", "ldns-signzone", "ldns-keygen"):
        if not shutil.which(tool):
            skip(f"needs {tool} (packages nsd, ldnsutils)")


def tlsa(cert, usage=3, selector=1):
    """Rdata of a TLSA record with SHA-256 of a certificate (PEM file), or of its key."""
    der = subprocess.run(["openssl", "x509", "-in", cert, "-outform", "DER"] if selector == 0 else
                         ["sh", "-c", f"openssl x509 -in {cert} -pubkey -noout | openssl pkey -pubin -outform DER"],
                         check=True, capture_output=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der, check=True, capture_output=True).stdout
    return f"{usage} {selector} 1 {digest.split()[0].decode()}"


class SignedDns:
    """zones: {name: [lines of a zone file, names relative]}; `expired` and `unsigned` are names of them.
    `fail` are "NAME TYPE" that are answered with SERVFAIL; it may be changed: write_rules()."""

    def __init__(self, netns, work, zones, expired=(), unsigned=(), fail=()):
        self.netns, self.work, self.fail = netns, Path(work), list(fail)
        self.folder = self.work / "zones"
        self.folder.mkdir()
        self.anchor = self.work / "anchor.ds"
        self.anchor.write_text("")
        config = [f'server:\n  ip-address: 127.0.0.1@5300\n  username: ""\n  zonesdir: "{self.folder}"\n  database: ""\n'
                  f'  pidfile: "{self.work}/nsd.pid"\n  zonelistfile: "{self.folder}/zone.list"\n'
                  f'  xfrdfile: ""\n  logfile: "{self.work}/nsd.log"\nremote-control:\n  control-enable: no\n']
        for name, lines in zones.items():
            config.append(f'zone:\n  name: "{name}"\n  zonefile: "{self._zone(name, lines, name in expired, name in unsigned)}"\n')
        (self.work / "nsd.conf").write_text("".join(config))
        self.rules = self.work / "dns_rules"
        self.write_rules()
        netns.start(["nsd", "-d", "-c", self.work / "nsd.conf"], self.work / "nsd-out.log")
        wait_until("nsd", lambda: "127.0.0.1:5300" in netns.exec("ss", "-lunH").stdout)
        netns.start([PYTHON, HERE / "dns_front.py", DNS, "127.0.0.1", "5300", self.rules], self.work / "dns_front.log")
        wait_until("dns_front", lambda: f"{DNS}:53" in netns.exec("ss", "-lunH").stdout)

    def write_rules(self):
        self.rules.write_text("".join(f"{rule}\n" for rule in self.fail))

    def asked(self):
        """Questions so far, as "NAME TYPE"."""
        return (self.work / "dns_front.log").read_text().splitlines()

    def _zone(self, name, lines, expired, unsigned):
        path = self.folder / f"{name}.zone"
        head = [f"$ORIGIN {name}.", "$TTL 300", "@ SOA ns hostmaster 1 3600 600 86400 60", "@ NS ns", "ns A 198.51.100.53"]
        path.write_text("\n".join(head + list(lines)) + "\n")
        if unsigned:
            return path.name
        run = lambda *argv: subprocess.run(argv, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()
        key = run("ldns-keygen", "-k", "-a", "ECDSAP256SHA256", name)
        dates = ["-i", "20200101000000", "-e", "20200201000000"] if expired else []
        run("ldns-signzone", *dates, path.name, key)
        signed = self.folder / f"{path.name}.signed"  # ldns writes a record without data so that nobody can read it
        signed.write_text(re.sub(r"TLSA\t(\d) (\d) (\d) *$", r"TYPE52\t\\# 3 0\g<1>0\g<2>0\g<3>", signed.read_text(), flags=re.M))
        with open(self.anchor, "a", encoding="ascii") as anchors:
            anchors.write((self.folder / f"{key}.ds").read_text())
        return f"{path.name}.signed"
