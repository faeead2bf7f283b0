#!/usr/bin/python3
"""google/packetdrill itself against the stack, where it is installed.

usage: run_packetdrill.py SHARED_OBJECT [SCRIPT...]     default: all scripts beside this file

A script may name flags for the stack in a comment: "// so_flags: mtu=1280". PACKETDRILL names the
program when it is not in the PATH. Skipped without it; the scripts of tests/tcp/packetdrill, which
our own runner knows, are run in any case.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def run(program, shared_object, script):
    flags = re.search(r"so_flags: (\S+)", script.read_text())
    command = [program, f"--so_filename={shared_object}", "--ip_version=ipv4"]
    if flags:
        command.append(f"--so_flags={flags[1]}")
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, timeout=60)
    return None if done.returncode == 0 else (done.stderr or done.stdout).strip()


def main():
    program = os.environ.get("PACKETDRILL") or shutil.which("packetdrill")
    if not program:
        print("1..0 # SKIP needs google/packetdrill in the PATH, or PACKETDRILL naming it")
        return
    shared_object = Path(sys.argv[1]).resolve()
    scripts = [Path(a) for a in sys.argv[2:]] or sorted(Path(__file__).parent.glob("*.pkt"))
    print(f"1..{len(scripts)}")
    failed = False
    for i, script in enumerate(scripts, 1):
        why = run(program, shared_object, script)
        failed = failed or why is not None
        print(f"{'ok' if why is None else 'not ok'} {i} - {script.stem}")
        for line in (why or "").splitlines():
            print(f"# {line}")
    sys.exit(1 if failed else 0)


main()
