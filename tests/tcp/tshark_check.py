#!/usr/bin/python3
"""An independent reader: what the stack and Linux said to each other, through tshark.

usage: tshark_check.py TAP_LINUX     runs it with --pcap, then asks tshark for malformed packets,
wrong checksums of ours and segments that acknowledge what was not seen. Skipped without tshark or without
a TAP device (TAP says so; meson wants status 0 with it).
"""
import shutil
import subprocess
import sys
import tempfile

OUR_MAC = "02:00:5e:10:00:01"
# Frames of Linux come with partial checksums; only ours are complete.
FILTERS = {
    "malformed": "_ws.malformed",
    "wrong checksum": f"eth.src == {OUR_MAC} and (ip.checksum.status == 0 or "
                      "tcp.checksum.status == 0 or icmpv6.checksum.status == 0)",
    "acknowledges what was not seen": "tcp.analysis.ack_lost_segment",
}


def skip(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def count(capture, expression):
    checks = [f"-o{p}.check_checksum:TRUE" for p in ("ip", "tcp")]
    out = subprocess.run(["tshark", "-r", capture, *checks, "-Y", expression], check=True,
                         capture_output=True, text=True).stdout
    return out.splitlines()


def main():
    if shutil.which("tshark") is None:
        skip("needs tshark")
    with tempfile.NamedTemporaryFile(suffix=".pcap") as capture:
        run = subprocess.run([sys.argv[1], "--pcap", capture.name], capture_output=True, text=True)
        if "# SKIP" in run.stdout:
            skip("needs root and a TAP device")
        print(f"1..{len(FILTERS) + 2}")
        failed = run.returncode != 0
        print("not ok 1 - the capture is made" if failed else "ok 1 - the capture is made")
        for i, (name, expression) in enumerate(FILTERS.items(), 2):
            lines = count(capture.name, expression)
            failed = failed or bool(lines)
            print(f"{'not ok' if lines else 'ok'} {i} - no packet is: {name}")
            for line in lines[:5]:
                print(f"# {line}")
        good = len(count(capture.name, f"eth.src == {OUR_MAC} and tcp.checksum.status == 1"))
        failed = failed or good < 1000
        print(f"{'ok' if good >= 1000 else 'not ok'} {len(FILTERS) + 2} - tshark has seen our checksums")
    sys.exit(1 if failed else 0)


main()
