"""wirepost-bench lane in miniature: every way that it can send delivers all messages whole.

usage: test_bench.py WIREPOST_BENCH     How fast it is is never tested.
"""
import json
import os
import subprocess
import sys

RUNS = (
    ("connections are used again", []),
    ("a connection for each message", ["--new"]),
    ("TLS", ["--tls"]),
    ("messages that are no multiple of anything, from many addresses",
     ["--size", "7321", "--addresses", "40"]),
)
KEYS = {"messages_per_s", "gbit_per_s", "cycles_per_message", "idle_polls_sender",
        "idle_polls_sink", "kernel"}


def run(bench, options, cpus):
    command = [bench, "lane", "--json", "--seconds", "1", "--sessions", "20", "--cpus",
               ",".join(map(str, cpus)), "--kernel-messages", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    try:
        figures = json.loads(done.stdout)
    except ValueError:
        return f"status {done.returncode}, {done.stderr.strip()}"
    wrong = [done.returncode != 0 and done.stderr.strip(),
             not KEYS <= figures.keys() and "a figure is missing",
             figures["messages"] == 0 and "nothing was delivered",
             figures["failed"] > 0 and "messages failed",
             ("--new" in options) != (figures["connections"] > 20) and "connections are not as asked",
             figures["wrong_digests"] > 0 and "messages were damaged"]
    return next((why for why in wrong if why), None)


def main():
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        print("1..0 # SKIP needs two CPUs")
        return
    print(f"1..{len(RUNS)}")
    failed = False
    for i, (name, options) in enumerate(RUNS, 1):
        why = run(sys.argv[1], options, cpus)
        failed = failed or bool(why)
        print(f"{'not ok' if why else 'ok'} {i} - {name}" + (f"\n# {why}" if why else ""))
    sys.exit(1 if failed else 0)


main()
