#!/usr/bin/python3
"""wirepost-dataplane as a process, driven by chan_driver, against aiosmtpd in a network namespace."""
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import tap  # noqa: E402
from appliance import start_maildir_server  # noqa: E402
from netns import GATEWAY, RECEIVERS, Netns, require_root, wait_until  # noqa: E402

VETH = ("net_af_packet0,iface=dp0,qpairs=2,blocksz=65536,framesz=2048,framecnt=2048")
TAP = "net_tap0,iface=wp0"
SOURCES = {f"192.0.2.{n}" for n in (10, 11, 12, 13, 20, 21, 22, 23)}
NOBODY = "203.0.113.200"  # routed to the gateway, which drops it


def configuration(device=VETH, lcores=(0, 1), **changes):
    lists = ["192.0.2.10-192.0.2.13", "192.0.2.20-192.0.2.23"]
    cpus = os.cpu_count()
    queues = [{"queue": n, "lcore": lcore, "addresses": {"acme": [lists[n]]}}
              for n, lcore in enumerate(lcores[:cpus])]
    return {
        "dataplane": {"jobs": 256, "arena_mb": 4, "sessions": 256, "ports": [
            {"name": "wan0", "device": device,
             "ipv4": {"prefix": "192.0.2.0/24", "gateway": GATEWAY}, "queues": queues}], **changes},
        "pools": {"acme": {"ehlo": "out-{n}.acme.example"}},
    }


class Lab:
    """The programs of one test in one namespace."""

    def __init__(self, netns, build, work, config=None):
        self.netns, self.build, self.work = netns, Path(build), Path(work)
        self.run_dir = self.work / "run"
        self.run_dir.mkdir()
        self.config = self.work / "dataplane.json"
        self.config.write_text(json.dumps(config or configuration()))
        self.serial = 0

    def dataplane(self, *more, log="dataplane.log"):
        binary = self.build / "dataplane" / "wirepost-dataplane"
        return self.netns.start([binary, "--config", self.config, "--run-dir", self.run_dir,
                                 "--control", self.run_dir / "dataplane.sock", *more],
                                self.work / log)

    def driver(self, target, *more):
        """Starts chan_driver and waits until it listens; its log tells the outcomes."""
        self.serial += 1
        log = self.work / f"driver{self.serial}.log"
        binary = self.build / "tests" / "dataplane" / "chan_driver"
        (self.run_dir / "dataplane.sock").unlink(missing_ok=True)
        process = self.netns.start([binary, "--run-dir", self.run_dir, "--config", self.config,
                                    "--target", target, *map(str, more)], log)
        process.log = log
        wait_until("chan_driver", lambda: (self.run_dir / "dataplane.sock").exists()
                   or process.poll() is not None)
        return process

    def text(self, log="dataplane.log"):
        return (self.work / log).read_text()


def finish(process, status, seconds=60):
    tap.expect_equal("exit status", process.wait(seconds), status)


def totals(driver):
    line = [line for line in driver.log.read_text().splitlines() if line.startswith("total ")][-1]
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)(?= |$)", line)}


def records(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


# ---- delivery -----------------------------------------------------------------------------------

def both_queues_of_a_veth_port_deliver_from_all_their_addresses(work, build):
    with Netns() as netns:
        lab = Lab(netns, build, work)
        _, log = start_maildir_server(netns, work)
        driver = lab.driver(RECEIVERS[0], "--count", 400, "--bytes", 3000)
        dataplane = lab.dataplane("--orphan-s", "1")
        finish(driver, 0)
        tap.expect_equal("delivered", totals(driver)["delivered"], 400)
        got = records(log)
        tap.expect_equal("messages at the receiver", len(got), 400)
        if os.cpu_count() > 1:
            tap.expect_equal("source addresses", {record["peer"] for record in got}, SOURCES)
        finish(dataplane, 0)  # after a second without control
        tap.expect("control did not come back" in lab.text(), "it says why it ended")


def a_large_message_goes_through_unchanged(work, build):
    with Netns() as netns:
        lab = Lab(netns, build, work)
        _, log = start_maildir_server(netns, work)
        driver = lab.driver(RECEIVERS[0], "--count", 4, "--bytes", 900000)
        lab.dataplane("--orphan-s", "1")
        finish(driver, 0)
        for record in records(log):
            content = Path(record["path"]).read_bytes()
            body = content.partition(b"\r\n\r\n")[2]
            letters = body.replace(b"\r", b"").replace(b"\n", b"")
            tap.expect_equal("bytes of the body", len(body), 900000)
            tap.expect(letters.isalpha(), "the body is letters and line ends only")


def a_tap_port_delivers(work, build):
    with Netns() as netns:
        lab = Lab(netns, build, work, configuration(TAP))
        _, log = start_maildir_server(netns, work)
        driver = lab.driver(RECEIVERS[0], "--count", 200)
        lab.dataplane("--orphan-s", "1")
        wait_until("wp0", lambda: netns.exec("ip", "link", "show", "wp0", check=False).returncode == 0)
        netns.ip("addr", "del", f"{GATEWAY}/24", "dev", "net0")
        netns.ip("addr", "add", f"{GATEWAY}/24", "dev", "wp0")
        netns.ip("link", "set", "wp0", "up")
        finish(driver, 0)
        tap.expect_equal("messages at the receiver", len(records(log)), 200)


# ---- life cycle ---------------------------------------------------------------------------------

def a_new_control_process_takes_over_what_runs(work, build):
    with Netns() as netns:
        lab = Lab(netns, build, work)
        _, log = start_maildir_server(netns, work)
        first = lab.driver(RECEIVERS[0], "--count", 3000, "--die-after", 300, "--connections", 4)
        dataplane = lab.dataplane("--orphan-s", "30")
        finish(first, 9)
        wait_until("orphaned", lambda: "control is lost" in lab.text())
        second = lab.driver(RECEIVERS[0], "--count", 1000, "--adopt", "--connections", 4)
        finish(second, 0)
        tap.expect("control is back" in lab.text(), "the data plane has attached again")
        sums = totals(second)
        tap.expect_equal("doubtful", sums["doubtful"], 0)
        tap.expect_equal("messages at the receiver", len(records(log)), 300 + sums["delivered"])
        dataplane.send_signal(signal.SIGTERM)
        finish(dataplane, 0)


def sigterm_hands_back_what_has_not_started(work, build):
    with Netns() as netns:
        lab = Lab(netns, build, work)
        netns.exec("ip", "route", "add", "blackhole", f"{NOBODY}/32")
        driver = lab.driver(NOBODY, "--count", 100)
        dataplane = lab.dataplane()
        wait_until("attached", lambda: "attached" in driver.log.read_text())
        time.sleep(1)  # some connect by now, the others wait
        dataplane.send_signal(signal.SIGTERM)
        finish(driver, 0)
        tap.expect_equal("returned", totals(driver)["returned"], 100)
        finish(dataplane, 0)


def a_drained_lane_hands_jobs_back(work, build):
    with Netns() as netns:
        lab = Lab(netns, build, work)
        driver = lab.driver(RECEIVERS[0], "--count", 50, "--drain")
        lab.dataplane("--orphan-s", "1")
        finish(driver, 0)
        tap.expect_equal("returned", totals(driver)["returned"], 50)


def idle_lanes_sleep(work, build):
    with Netns() as netns:
        lab = Lab(netns, build, work)
        start_maildir_server(netns, work)
        driver = lab.driver(RECEIVERS[0])
        dataplane = lab.dataplane("--orphan-s", "60")
        finish(driver, 0)
        before, begin = cpu_seconds(dataplane.pid), time.monotonic()
        time.sleep(3)
        share = (cpu_seconds(dataplane.pid) - before) / (time.monotonic() - begin)
        tap.expect(share < 0.5, f"{share:.0%} of a CPU while idle")  # a lane that spins needs 100 %


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- errors -------------------------------------------------------------------------------------

def a_second_data_plane_is_refused(work, build):
    with Netns() as netns:
        lab = Lab(netns, build, work)
        start_maildir_server(netns, work)
        driver = lab.driver(RECEIVERS[0])
        lab.dataplane("--orphan-s", "60")
        finish(driver, 0)
        second = lab.dataplane(log="second.log")
        finish(second, 75)
        tap.expect("another data plane runs" in lab.text("second.log"), lab.text("second.log"))


def start_errors_name_place_and_remedy(work, build):
    cases = [
        ("cpu", configuration(lcores=(999,)), 78, "/dataplane/ports/0/queues/0/lcore: there is no"),
        ("jobs", configuration(jobs=7), 78, "/dataplane/jobs: must be"),
        ("empty", {"pools": {}}, 78, "/dataplane: names no ports"),
        ("device", configuration("net_af_packet0,iface=nosuch"), 71, "DPDK"),
        ("control", configuration(), 69, "No such file or directory"),
    ]
    with Netns() as netns:
        for name, config, status, text in cases:
            folder = work / name
            folder.mkdir()
            lab = Lab(netns, build, folder, config)
            finish(lab.dataplane(), status)
            tap.expect(text in lab.text(), f"{name}: {lab.text()}")
            tap.expect("wirepost-dataplane: " in lab.text().splitlines()[-1], lab.text())
        lab.config.write_text("{")
        finish(lab.dataplane(log="syntax.log"), 78)
        lab.config.unlink()
        finish(lab.dataplane(log="missing.log"), 66)


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([
        both_queues_of_a_veth_port_deliver_from_all_their_addresses,
        a_large_message_goes_through_unchanged,
        a_tap_port_delivers,
        a_new_control_process_takes_over_what_runs,
        sigterm_hands_back_what_has_not_started,
        a_drained_lane_hands_jobs_back,
        idle_lanes_sleep,
        a_second_data_plane_is_refused,
        start_errors_name_place_and_remedy,
    ], args, args.build)


if __name__ == "__main__":
    main()
