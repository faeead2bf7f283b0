"""Runs wirepostctl: on pipes, or on a terminal of its own."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path


class Ctl:
    def __init__(self, build):
        self.binary = str(Path(build).resolve() / "tools" / "wirepostctl")

    def command(self, socket, argv):
        return [self.binary, "--socket", str(socket), *(a if isinstance(a, bytes) else str(a) for a in argv)]

    @staticmethod
    def environment(more=None):
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")}
        return kept | (more or {})

    def run(self, socket, *argv, stdin=b"", env=None):
        """(exit status, stdout, stderr)"""
        done = subprocess.run(self.command(socket, argv), input=stdin, capture_output=True, timeout=60, env=self.environment(env))
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def start(self, socket, *argv, **more):
        return subprocess.Popen(self.command(socket, argv), env=self.environment(), **more)

    def on_terminal(self, socket, *argv, columns=100, env=None, seconds=20, until=None, stdout=None):
        """stdout and stderr on a terminal (stdout elsewhere when it is given): (exit status, everything that was shown)."""
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = subprocess.Popen(self.command(socket, argv), stdin=subprocess.DEVNULL, stdout=stdout or follower, stderr=follower,
                                   env=self.environment(env))
        os.close(follower)
        shown, deadline = b"", time.monotonic() + seconds
        while time.monotonic() < deadline and not (until and until(shown)):
            if not select.select([leader], [], [], 0.2)[0]:
                continue
            try:
                part = os.read(leader, 65536)
            except OSError:  # EIO: the other side is closed
                break
            if not part:
                break
            shown += part
        if until:
            process.terminate()
        status = process.wait(20)
        os.close(leader)
        return status, shown.decode()
