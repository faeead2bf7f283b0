"""wirepostd alone, without a data plane, for tests of its socket, spool and configuration."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
from rpc import Rpc  # noqa: E402

SENDER = "news@acme.example"


def configuration(work, **changes):
    """Lanes are configured, but nobody starts a data plane: mail stays queued."""
    config = appliance.configuration(work, **changes)
    config["dataplane"]["spawn"] = False
    config["dataplane"]["jobs"] = 64
    config["limits"] = {"message_bytes": 1_000_000, "recipients": 50} | config.get("limits", {})
    config["dns"] = {"servers": ["127.0.0.1@9"], "timeout_ms": 200}
    return config


class Daemon:
    def __init__(self, build, work, config=None, wrapper=()):
        self.binary = Path(build).resolve() / "control" / "wirepostd"
        self.work = Path(work)
        self.config = config or configuration(work)
        self.socket = Path(self.config["control"]["socket"])
        self.log = self.work / "wirepostd.log"
        self.wrapper = list(wrapper)
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def spawn(self):
        path = self.work / "wirepost.json"
        path.write_text(json.dumps(self.config))
        self.process = subprocess.Popen([*self.wrapper, self.binary, "--config", path],
                                        stdin=subprocess.DEVNULL, stderr=self.log.open("ab"))
        return self.process

    def start(self):
        self.spawn()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"wirepostd ended with {self.process.returncode}: {self.text()}")
            try:
                with self.rpc() as rpc:
                    rpc.call("version")
                return self
            except (FileNotFoundError, ConnectionError):
                time.sleep(0.02)
        raise AssertionError(f"wirepostd does not answer: {self.text()}")

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def fails(self):
        """Starts, and must end by itself: (exit status, what it said)."""
        self.spawn()
        status = self.process.wait(30)
        return status, self.text()

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def rpc(self, timeout=30):
        return Rpc(self.socket, timeout)

    def raw(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(30)
        client.connect(str(self.socket))
        return client


def message(text=b"hello\r\n", subject="test"):
    return (f"From: <{SENDER}>\r\nTo: <you@alpha.example>\r\nSubject: {subject}\r\n\r\n").encode() + text


def drop_to(uid, gid, groups, code, *argv):
    """Runs Python `code` as another user; its output."""
    def preexec():
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
    return subprocess.run(["/usr/bin/python3", "-c", code, *map(str, argv)], preexec_fn=preexec, cwd="/",
                          capture_output=True, text=True, timeout=60)
