"""The least of a test runner that speaks TAP: each test is a function named as a sentence."""
import argparse
import shutil
import sys
import tempfile
import traceback
from pathlib import Path


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default="build", help="meson build folder")
    parser.add_argument("--keep", action="store_true", help="keep the folders of logs")
    parser.add_argument("only", nargs="*", help="names of tests to run")
    return parser.parse_args()


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def expect_equal(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def run(tests, args, *shared):
    """Runs each test(work, *shared) and exits with 1 when one failed. Output is TAP."""
    chosen = [test for test in tests if not args.only or test.__name__ in args.only]
    print(f"1..{len(chosen)}", flush=True)
    failures = 0
    for number, test in enumerate(chosen, 1):
        work = Path(tempfile.mkdtemp(prefix=f"wp-{test.__name__[:24]}-"))
        try:
            test(work, *shared)
            print(f"ok {number} - {test.__name__}", flush=True)
            if not args.keep:
                shutil.rmtree(work, ignore_errors=True)
        except Exception:
            failures += 1
            print(f"not ok {number} - {test.__name__}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
            print(f"# logs: {work}", flush=True)
            _show_logs(work)
    sys.exit(1 if failures else 0)


def _show_logs(work):
    for path in sorted(work.glob("*.log")):
        for line in path.read_text(errors="replace").splitlines()[-25:]:
            print(f"# {path.name}: {line}", flush=True)
