"""The stand-in (stand_in.py) in a lab network, and an appliance with a route to it."""
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lab")]
import appliance  # noqa: E402
import corpus  # noqa: E402
import pki  # noqa: E402
import verify  # noqa: E402
from netns import wait_until  # noqa: E402
from tap import expect  # noqa: E402

ADDRESS, HOST, PORT = "203.0.113.40", "mx.ses.example", 8443
METADATA = "169.254.169.254"
KEY, KEY_2, SECRET = "AKIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ORIGIN = "news@small.example"
DELIVERY = {"retry_s": [1, 2], "retry_jitter": 0, "doubtful_retry_s": 2, "idle_ms": 500}


class StandIn:
    def __init__(self, netns, work):
        self.netns, self.folder, self.serial = netns, Path(work) / "ses", 0
        self.folder.mkdir()
        self.authority = pki.Authority(Path(work))
        self.cert, self.key = self.authority.leaf("ses", HOST)
        self.told = {"keys": {KEY: SECRET, KEY_2: SECRET}}
        self.tell()
        self.process = None

    def tell(self, **changes):
        self.told |= changes
        new = self.folder / "say.new"
        new.write_text(json.dumps(self.told))
        new.rename(self.folder / "say.json")

    def fail(self, what, times=1 << 30, key=None):
        self.serial += 1
        self.tell(fail=[{"what": what, "times": times, "serial": self.serial, "key": key}])

    def heal(self):
        self.tell(fail=[])

    def start(self):
        for address in (ADDRESS, METADATA):
            self.netns.ip("addr", "replace", f"{address}/32", "dev", "lo")
        before, output = len(self.netns.processes), self.folder / "stand_in.log"
        output.unlink(missing_ok=True)
        self.netns.start([appliance.PYTHON, HERE / "stand_in.py", "--listen", f"{ADDRESS}:{PORT}", "--cert", self.cert, "--key", self.key,
                          "--folder", self.folder, "--metadata", f"{METADATA}:80"], output)
        self.process = self.netns.processes[before]
        wait_until("the stand-in", lambda: output.exists() and "ready" in output.read_text())
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def _lines(self, name):
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def received(self):
        return self._lines("received.jsonl")

    def requests(self, path="/v2/email/outbound-emails"):
        return [line for line in self._lines("requests.jsonl") if line["path"] == path]

    def arrived(self):
        return list(verify.from_maildir_log(self.folder / "received.jsonl"))


class Site:
    """wirepostd whose sender "small" has the stand-in as its only route, unless told otherwise."""

    def __init__(self, netns, work, args, shared=("ses",), routes=None, run=True, env=None, zones=None, senders=None, route=None, arena_mb=None, jobs=None, **changes):
        self.netns, self.work = netns, Path(work)
        self.ses = StandIn(netns, work)
        if run:
            self.ses.start()
        appliance.start_dns(netns, work, {**appliance.ZONES, "ses.example": ADDRESS, **(zones or {})})
        secret, second = (self.secret_file(name, key) for name, key in (("ses.secret", KEY), ("ses2.secret", KEY_2)))
        route = {"type": "ses", "region": "eu-west-1", "endpoint": f"https://{HOST}:{PORT}", "credentials_file": str(secret),
                 "account_poll_s": 1, "timeout_s": 2} | (route or {})
        route = {key: value for key, value in route.items() if value is not None}
        other = {key: value for key, value in route.items() if key != "credentials"} | {"credentials_file": str(second)}
        config = appliance.configuration(
            work, delivery=DELIVERY, routes={"ses": route, "ses2": other} | (routes or {}), tls={"ca_file": str(self.ses.authority.cert)},
            senders={"small": {"domains": ["small.example"], "strategy": "shared", "shared": list(shared)}} | (senders or {}), **changes)
        config["dataplane"] |= {key: value for key, value in (("arena_mb", arena_mb), ("jobs", jobs)) if value}
        self.lab = appliance.Appliance(netns, args.build, work, config, env=env).start(lanes_up=bool(senders))
        self.expected, self.ids = {}, []

    def secret_file(self, name, key):
        path = self.work / name
        path.touch(mode=0o600)
        path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n")
        return path

    def inject(self, count, domain="alpha.example", recipients=1, sender="small", origin=ORIGIN):
        with self.lab.rpc() as rpc:
            for _ in range(count):
                n = len(self.expected)
                to = [f"r{n}-{k}@{domain}" for k in range(recipients)]
                data = corpus.make(n, f"{sender}.ses", origin, to[0])
                self.ids.append(rpc.inject(data, sender, origin, to)["id"])
                self.expected[verify.message_id(data)] = verify.digest(data)

    def inject_large(self, size, seconds=120):
        """A message of so many bytes, in lines of 78."""
        number, line = len(self.expected), b"x" * 76 + b"\r\n"
        data = (f"From: <{ORIGIN}>\r\nTo: <a@alpha.example>\r\nDate: Mon, 23 Nov 2026 19:07:00 +0000\r\n"
                f"Message-ID: <large{number}@small.example>\r\n\r\n").encode()
        data += line * ((size - len(data)) // len(line))
        with self.lab.rpc(timeout=seconds) as rpc:
            self.ids.append(rpc.inject(data, "small", ORIGIN, ["a@alpha.example"])["id"])
        self.expected[verify.message_id(data)] = verify.digest(data)

    def finish(self, seconds=60):
        def finished():
            with self.lab.rpc() as rpc:
                return rpc.call("stats")["messages"]["queued"] == 0
        wait_until("every message finished", finished, seconds, step=0.1)

    def events(self, *types):
        with self.lab.rpc() as rpc:
            return rpc.history(types)

    def route(self, name="ses"):
        with self.lab.rpc() as rpc:
            return {r["name"]: r for r in rpc.call("routes.list")["routes"]}[name]

    def wait_state(self, *states, name="ses", seconds=20):
        wait_until(f"{name} is {states}", lambda: self.route(name)["state"] in states, seconds, step=0.05)

    def exact(self, arrived=None):
        result = verify.Comparison(self.expected, self.ses.arrived() if arrived is None else arrived)
        expect(result.exact(), str(result))

    def nowhere(self, *secrets):
        """No secret stands in what the appliance shows or logs."""
        with self.lab.rpc() as rpc:
            shown = json.dumps([rpc.call("config.get"), rpc.call("routes.list"), rpc.history()]) + self.lab.log.read_text()
        for secret in secrets:
            expect(secret not in shown, "a secret is shown")


def now():
    return time.monotonic()
