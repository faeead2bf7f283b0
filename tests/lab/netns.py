"""A network of its own for one test: a namespace, a veth pair and processes, all cleaned up by id.

    +----------------------- namespace wp-PID-N ------------------------+
    |  wirepostd, wirepost-dataplane ==af_packet== dp0 ~~~ net0 (kernel) |
    |  receivers and DNS on lo: 198.51.100.0/24, 203.0.113.0/24          |
    +--------------------------------------------------------------------+

Nothing outside the namespace is touched: no address, route, sysctl or service of the host. Only
processes started here are ended, by their process ids.
"""
import atexit
import os
import signal
import subprocess
import sys
import time

GATEWAY = "192.0.2.1"
GATEWAY6 = "2001:db8:7::1"
DNS = "198.51.100.53"
RECEIVERS = ["198.51.100.25", "203.0.113.25", "203.0.113.26", "203.0.113.27"]
RECEIVERS6 = ["2001:db8:25::25", "2001:db8:25::26"]
_serial = 0


class LabError(Exception):
    """The lab could not be built; the text says what is missing."""


def run(*argv, check=True):
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if check and result.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {result.stderr.strip() or result.returncode}")
    return result


def skip(what):
    """Ends a test program as 'cannot run here' (meson: 77), saying what is missing."""
    print(f"SKIP: {what}")
    sys.exit(77)


def require_root():
    if os.geteuid() != 0:
        skip("needs root for network namespaces")
    probe = f"wp-probe-{os.getpid()}"
    try:
        run("ip", "netns", "add", probe)
        run("ip", "netns", "del", probe)
    except (LabError, FileNotFoundError) as error:
        skip(f"cannot make a network namespace: {error}")


class Netns:
    """The namespace and what runs in it. Use as a context manager."""

    def __init__(self, prefix="wp"):
        global _serial
        _serial += 1
        self.name = f"{prefix}-{os.getpid()}-{_serial}"
        self.processes = []
        self._made = False
        self._closed = False

    def __enter__(self):
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _raise_exit)
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _make(self):
        run("ip", "netns", "add", self.name)
        self._made = True
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "dp0", "type", "veth", "peer", "name", "net0")
        # The kernel must leave frames alone that an af_packet peer reads: whole checksums, no GSO.
        for device in ("dp0", "net0"):
            self.exec("ethtool", "-K", device, "tx", "off", "rx", "off", "tso", "off", "gso", "off",
                      "gro", "off")
            self.exec("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
            self.ip("link", "set", device, "txqueuelen", "10000")
        self.exec("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.rp_filter=0",
                  "net.ipv4.conf.dp0.rp_filter=0")
        self.ip("addr", "add", f"{GATEWAY}/24", "dev", "net0")
        for address in [DNS, *RECEIVERS]:
            self.ip("addr", "add", f"{address}/32", "dev", "lo")
        self.ip("link", "set", "dp0", "up")
        self.ip("link", "set", "net0", "up")

    def ip(self, *argv):
        return run("ip", "-n", self.name, *argv)

    def exec(self, *argv, check=True):
        return run("ip", "netns", "exec", self.name, *argv, check=check)

    def start(self, argv, log, env=None, cwd=None):
        """Starts a program in the namespace, its output appended to `log`; ended by close()."""
        with open(log, "ab") as out:
            process = subprocess.Popen(["ip", "netns", "exec", self.name, *map(str, argv)],
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                       env={**os.environ, **(env or {})}, cwd=cwd,
                                       start_new_session=True)
        self.processes.append(process)
        return process

    def add_ipv6(self):
        """net0 is the router of 2001:db8:7::/64 too, and the receivers have addresses behind it."""
        self.exec("sysctl", "-qw", "net.ipv6.conf.net0.disable_ipv6=0", "net.ipv6.conf.all.forwarding=1",
                  "net.ipv6.conf.lo.disable_ipv6=0")
        self.ip("addr", "replace", f"{GATEWAY6}/64", "dev", "net0", "nodad")
        for address in RECEIVERS6:
            self.ip("addr", "replace", f"{address}/128", "dev", "lo")

    def pids(self):
        """Processes that live in the namespace: all of them were started by this test."""
        text = run("ip", "netns", "pids", self.name, check=False).stdout
        return [int(pid) for pid in text.split()]

    def close(self):
        if self._closed:
            return
        self._closed = True
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + 10
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._made:
            self._end_leftovers()
            run("ip", "netns", "del", self.name, check=False)

    def _end_leftovers(self):
        """What our processes started themselves and left (a data plane that waits for its control)."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 3
            while self.pids() and time.monotonic() < deadline:
                for pid in self.pids():
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        pass
                time.sleep(0.1)


def _raise_exit(number, _frame):
    sys.exit(128 + number)


def wait_until(what, condition, seconds=20.0, step=0.05):
    """Polls until condition() is true and returns its value; LabError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(step)
