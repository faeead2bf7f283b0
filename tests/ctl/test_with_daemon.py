"""wirepostctl with wirepostd: each command is understood by the daemon that it was made for."""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("control", "lab")]
import tap  # noqa: E402
from ctl import Ctl  # noqa: E402
from daemon import SENDER, Daemon, configuration, message  # noqa: E402
from tap import expect, expect_equal  # noqa: E402


def inject(ctl, work, d, *argv):
    (work / "mail.eml").write_bytes(message())
    status, out, err = ctl.run(d.socket, "inject", *argv, work / "mail.eml")
    expect_equal(f"inject {argv}: {err}", status, 0)
    return out.split()[0]


def every_command_works_for_people_and_for_machines(work, ctl, build):
    with Daemon(build, work) as d:
        ident = inject(ctl, work, d, "--sender", "acme", "--to", "you@alpha.example")
        for command, word in ((["queue", "list"], ident), (["queue", "show", ident], "you@alpha.example"), (["stats"], "QUEUED"), (["lanes"], "wan0/0"),
                              (["queue", "list", "--sender", "acme", "--domain", "alpha.example", "--state", "queued", "--limit", "1", "--after", "0" * 15 + "1"], "1 queued"),
                              (["why", ident], "accepted from sender acme"), (["config", "get", "/limits"], "message_bytes"), (["version"], "protocol 1"),
                              (["events", "--after", "0", "--no-follow"], "accepted"), (["events", "--after", "0", "--type", "accepted", "--no-follow"], ident),
                              (["drain"], "draining"), (["drain", "--off"], "not draining"), (["drain", "--wait"], "recipients in flight: 0"),
                              (["config", "check", work / "wirepost.json"], "no error")):
            status, out, err = ctl.run(d.socket, *command)
            expect_equal(f"{command}: {err}", (status, err), (0, ""))
            expect(word in out, f"{command}: {word!r} is not in {out!r}")
            status, out, err = ctl.run(d.socket, "--json", *command)
            expect_equal(f"--json {command}: {err}", (status, err), (0, ""))
            for line in out.splitlines():
                json.loads(line)


def columns_stand_under_their_heads_with_real_values(work, ctl, build):
    with Daemon(build, work) as d:
        for to in ("short@a.example", "jürgen-with-a-long-name@alpha.example"):
            inject(ctl, work, d, "--sender", "acme", "--to", to)
        lines = ctl.run(d.socket, "queue", "list")[1].splitlines()
        at = lines[0].index("RETURN PATH")
        expect_equal("column", [line[at:at + len(SENDER) + 2] for line in lines[1:3]], [f"<{SENDER}>"] * 2)
        shown = ctl.run(d.socket, "queue", "show", lines[2].split()[0])[1]
        expect("jürgen-with-a-long-name@alpha.example  queued" in shown, shown)


def refusals_of_the_daemon_have_the_exit_status_of_the_contract(work, ctl, build):
    (work / "mail.eml").write_bytes(message())
    (work / "bad.eml").write_bytes(b"From: <news@acme.example>\n\nbare \r here\n")
    with Daemon(build, work) as d:
        cases = ((["why", "f" * 16], 66), (["queue", "show", "f" * 16], 66), (["why", "nonsense"], 64), (["config", "get", "/no/such"], 64),
                 (["queue", "list", "--state", "asleep"], 64), (["queue", "list", "--limit", "10001"], 64),
                 (["inject", "--sender", "nobody", "--to", "you@alpha.example", work / "mail.eml"], 67),
                 (["inject", "--from", "a@elsewhere.example", "--to", "you@alpha.example", work / "mail.eml"], 67),
                 (["inject", "--to", "no address", work / "mail.eml"], 65), (["inject", "--to", "you@alpha.example", work / "bad.eml"], 65))
        for command, want in cases:
            status, _, err = ctl.run(d.socket, *command)
            expect_equal(f"{command}: {err}", status, want)
            expect(err.startswith("wirepostctl: "), err)


def a_configuration_with_errors_is_told_by_name(work, ctl, build):
    config = configuration(work)
    config["sendrs"] = {}
    (work / "bad.json").write_text(json.dumps(config))
    with Daemon(build, work) as d:
        status, out, err = ctl.run(d.socket, "config", "check", work / "bad.json")
        expect_equal(f"status: {err}", status, 78)
        expect("/sendrs" in out, out)


def a_folder_is_accepted_whole_and_in_order(work, ctl, build):
    folder = work / "outbox"
    folder.mkdir()
    for n in range(200):
        (folder / f"{n:03}.eml").write_bytes(message(b"x" * n * 500 + b"\r\n").replace(b"\r\n", b"\n").replace(b"x" * 900, b"x" * 899 + b"\n"))
    with Daemon(build, work) as d:
        status, out, err = ctl.run(d.socket, "inject", "-t", folder)
        expect_equal("status", (status, err), (0, "200 accepted, 0 refused\n"))
        rows = sorted(line.split("  ") for line in out.splitlines())
        expect_equal("ids in the order of the files", [row[1] for row in rows], [f"{folder}/{n:03}.eml" for n in range(200)])
        total = json.loads(ctl.run(d.socket, "--json", "queue", "list", "--limit", "1")[1])["total"]
        expect_equal("queued", total, 200)


def main():
    args = tap.arguments(__doc__)
    tap.run([every_command_works_for_people_and_for_machines, columns_stand_under_their_heads_with_real_values,
             refusals_of_the_daemon_have_the_exit_status_of_the_contract, a_configuration_with_errors_is_told_by_name,
             a_folder_is_accepted_whole_and_in_order], args, Ctl(args.build), args.build)


if __name__ == "__main__":
    main()
