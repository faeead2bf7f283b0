"""Start, stop, a second daemon, a spool that cannot be written, a full disk, who may connect."""
import grp
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import daemon  # noqa: E402
import tap  # noqa: E402
from daemon import SENDER, Daemon, configuration, drop_to, message  # noqa: E402
from netns import require_root  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

TO = ["you@alpha.example"]
NOBODY = 65534


def queued_ids(rpc):
    ids, after = [], {}
    while True:
        page = rpc.call("queue.list", limit=1000, **after)
        ids += [m["id"] for m in page["messages"]]
        if page["next"] is None:
            return ids
        after = {"after": page["next"]}


def what_was_accepted_is_there_after_a_stop_and_after_a_kill(work, args):
    with Daemon(args.build, work) as d:
        with d.rpc() as rpc:
            ids = [rpc.inject(message(), "acme", SENDER, TO)["id"] for _ in range(20)]
        expect_equal("exit status", d.stop(), 0)
        expect(not d.socket.exists(), "the socket file is left behind")
        d.start()
        with d.rpc() as rpc:
            expect_equal("after a stop", queued_ids(rpc), ids)
            ids += [rpc.inject(message(), "acme", SENDER, TO)["id"] for _ in range(20)]
        d.kill()
        d.start()
        with d.rpc() as rpc:
            expect_equal("after a kill", queued_ids(rpc), ids)
            expect_equal("ids ascend", ids, sorted(set(ids)))


def a_second_daemon_on_the_same_spool_is_refused_with_the_pid_of_the_first(work, args):
    with Daemon(args.build, work) as first:
        (work / "second").mkdir()
        config = configuration(work / "second")
        config["spool"] = first.config["spool"]
        status, said = Daemon(args.build, work / "second", config).fails()
        expect_equal("exit status", status, 75)
        expect(f"pid {first.process.pid}" in said and "spool" in said, said)
        with first.rpc() as rpc:
            rpc.inject(message(), "acme", SENDER, TO)


def a_second_daemon_on_the_same_socket_is_refused(work, args):
    with Daemon(args.build, work) as first:
        (work / "second").mkdir()
        config = configuration(work / "second")
        config["control"] = first.config["control"]
        status, said = Daemon(args.build, work / "second", config).fails()
        expect_equal("exit status", status, 69)
        expect("another daemon" in said, said)
        with first.rpc() as rpc:
            rpc.call("version")


def a_spool_that_cannot_be_used_is_told_with_its_path(work, args):
    (work / "file").write_text("x")
    (work / "bad").mkdir()
    (work / "bad" / "data.mdb").write_bytes(b"\x17" * 65536)
    for path, word in ((work / "file", "not a directory"), (work / "no" / "parent", "cannot be made"),
                       (Path("/proc/wirepost"), "cannot be made"), (Path("/sys"), "not writable"),
                       (work / "bad", "damaged")):
        folder = work / f"try-{path.name}"
        folder.mkdir()
        config = configuration(folder)
        config["spool"] = {"path": str(path)}
        status, said = Daemon(args.build, folder, config).fails()
        expect_equal(f"exit status for {path}: {said}", status, 73)
        expect(str(path) in said and word in said, said)


def a_spool_that_was_cut_short_is_refused_instead_of_read(work, args):
    with Daemon(args.build, work) as d:
        with d.rpc() as rpc:
            for _ in range(50):
                rpc.inject(message(b"x" * 900 + b"\r\n"), "acme", SENDER, TO)
        d.stop()
        os.truncate(Path(d.config["spool"]["path"]) / "data.mdb", 8192)
        status, said = d.fails()
        expect_equal("exit status", status, 73)
        expect("damaged or cut short" in said, said)


def fill(rpc, rounds):
    """Injects messages of all sizes until they are refused; (ids, reasons)."""
    ids, reasons = [], set()
    body = (b"x" * 76 + b"\r\n") * 3000
    for n in range(rounds):
        try:
            ids.append(rpc.inject(message(body[:78 * (n * 37 % 3000 + 1)], str(n)), "acme", SENDER, TO)["id"])
        except RpcError as error:
            reasons.add(error.reason)
    return ids, reasons


def a_full_disk_refuses_and_loses_nothing(work, args):
    place = work / "small"
    place.mkdir()
    config = configuration(work)
    config["spool"] = {"path": str(place / "spool"), "min_free_mb": 2}
    mount = ["unshare", "--mount", "sh", "-c",
             'mount -t tmpfs -o size=24m wirepost-test "$0" && exec "$@"', place]
    if subprocess.run([*mount, "true"], capture_output=True).returncode != 0:
        print("# skipped: no tmpfs can be mounted here")
        return
    with Daemon(args.build, work, config, mount) as d:
        with d.rpc() as rpc:
            ids, reasons = fill(rpc, 400)
            expect_equal("reasons", reasons, {"spool_full"})
            expect_equal("kept", queued_ids(rpc), ids)


def a_disk_that_fills_up_beside_us_refuses_and_loses_nothing(work, args):
    """No watermark to save us: the write itself fails."""
    place = work / "small"
    place.mkdir()
    config = configuration(work)
    config["spool"] = {"path": str(place / "spool"), "max_mb": 256}
    fill_up = ('mount -t tmpfs -o size=16m wirepost-test "$0" && head -c 12M /dev/zero >"$0/ballast" && exec "$@"')
    mount = ["unshare", "--mount", "sh", "-c", fill_up, place]
    if subprocess.run([*mount, "true"], capture_output=True).returncode != 0:
        print("# skipped: no tmpfs can be mounted here")
        return
    with Daemon(args.build, work, config, mount) as d:
        with d.rpc() as rpc:
            ids, reasons = fill(rpc, 60)
            expect("spool_full" in reasons and reasons <= {"spool_full", "spool_error"}, f"reasons {reasons}")
            expect_equal("kept", queued_ids(rpc), ids)
            rpc.call("version")
        print(f"# {len(ids)} accepted, refused with {reasons}")


def the_limit_of_the_spool_itself_refuses(work, args):
    config = configuration(work)
    config["spool"] |= {"max_mb": 16}
    with Daemon(args.build, work, config) as d, d.rpc() as rpc:
        ids, reasons = fill(rpc, 300)
        expect_equal("reasons", reasons, {"spool_full"})
        expect_equal("kept", queued_ids(rpc), ids)


def only_root_and_ourselves_may_connect_and_a_group_may_read(work, args):
    os.chmod(work, 0o755)
    config = configuration(work)
    config["control"]["group"] = "users"
    code = """
import json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rb")
for method in ("version", "inject"):
    try:
        s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\\n")
        print(json.loads(f.readline() or b'{"error": "closed"}'))
    except OSError:
        print(f.readline())
"""
    users = grp.getgrnam("users").gr_gid
    with Daemon(args.build, work, config) as d:
        os.chmod(work / "run", 0o755)
        out = drop_to(NOBODY, NOBODY, [users], code, d.socket)
        lines = out.stdout.splitlines()
        expect("'protocol': 1" in lines[0] and "permission_denied" in lines[1], out.stdout + out.stderr)
        out = drop_to(NOBODY, NOBODY, [], code, d.socket)
        expect("PermissionError" in out.stderr, f"a stranger may connect: {out.stdout}")
        os.chmod(d.socket, 0o666)
        out = drop_to(NOBODY, NOBODY, [], code, d.socket)
        expect("permission_denied" in out.stdout and "protocol" not in out.stdout, out.stdout + out.stderr)


def too_many_connections_are_turned_away_with_a_word(work, args):
    config = configuration(work)
    config["control"] |= {"clients": 3}
    with Daemon(args.build, work, config) as d:
        kept = [d.rpc() for _ in range(3)]
        for rpc in kept:
            rpc.call("version")
        answer = json.loads(d.raw().makefile("rb").readline())
        expect_equal("reason", answer["error"]["data"]["reason"], "too_many_clients")
        kept.pop().close()
        kept[0].call("version")
        with d.rpc() as rpc:
            rpc.call("version")


def errors_of_the_configuration_name_their_place(work, args):
    cases = [({"hostname": "x"}, "/hostname"), ({"hostnam": "x"}, "/hostnam"), ({"spool": {"max_mb": 1}}, "/spool/max_mb"),
             ({"spool": []}, "/spool"), ({"spool": {"path": "relative"}}, "/spool/path"), ({"dns": {"servers": ["x"]}}, "/dns/servers/0"),
             ({"delivery": {"retry_s": []}}, "/delivery/retry_s"), ({"delivery": {"retry_s": [0]}}, "/delivery/retry_s/0"),
             ({"delivery": {"retries": 1}}, "/delivery/retries"), ({"senders": {}}, "/senders"),
             ({"senders": {"a": {"domains": ["x.example"], "pool": "none"}}}, "/senders/a/pool"),
             ({"senders": {"a": {"domains": [], "pool": "acme"}}}, "/senders/a/domains"),
             ({"senders": {"a": {"domains": ["a b"], "pool": "acme"}}}, "/senders/a/domains/0"),
             ({"senders": {"a": {"domains": ["x.example"], "pool": "acme", "strategy": "best"}}}, "/senders/a/strategy"),
             ({"senders": {"a": {"domains": ["x.example"], "strategy": "shared"}}}, "/senders/a/shared"),
             ({"senders": {"a": {"domains": ["x.example"], "strategy": "shared", "shared": ["r"]}}}, "/senders/a/shared/0"),
             ({"senders": {"a": {"domains": ["x.example"], "strategy": "custom", "pool": "acme"}}}, "/senders/a/custom"),
             ({"routes": {"r": {"type": "smtp", "url": "smtp://r.example"}}, "senders": {
                 "a": {"domains": ["x.example"], "strategy": "custom", "custom": "r"},
                 "b": {"domains": ["y.example"], "strategy": "shared", "shared": ["r"]}}}, "/senders/a/custom"),
             ({"routes": {"r": {"type": "smtp", "url": "http://r.example"}}}, "/routes/r/url"),
             ({"routes": {"r": {"type": "lmtp", "url": "smtp://r.example"}}}, "/routes/r/type"),
             ({"routes": {"dedicated": {"type": "smtp", "url": "smtp://r.example"}}}, "/routes/dedicated"),
             ({"run_dir": "/" + "x" * 100}, "/run_dir"), ({"limits": {"message_bytes": 1 << 29}}, "/dataplane/arena_mb"),
             ({"pools": {}}, "/dataplane/ports/0/queues/0/addresses/acme")]
    binary = Path(args.build).resolve() / "control" / "wirepostd"
    for change, pointer in cases:
        config = configuration(work)
        config.update(change)
        path = work / "c.json"
        path.write_text(json.dumps(config))
        done = subprocess.run([binary, "--check-config", path], capture_output=True, text=True, timeout=30)
        expect_equal(f"status for {change}: {done.stderr}", done.returncode, 78)
        expect(f": {pointer}: " in done.stderr, f"{change}: {done.stderr}")
    (work / "c.json").write_text('{"hostname": "a.example",\n  oops}')
    done = subprocess.run([binary, "--check-config", work / "c.json"], capture_output=True, text=True, timeout=30)
    expect("line 2" in done.stderr and done.returncode == 78, done.stderr)
    (work / "c.json").write_text(json.dumps(configuration(work)))
    done = subprocess.run([binary, "--check-config", work / "c.json"], capture_output=True, text=True, timeout=30)
    expect_equal("a good one", (done.returncode, "no error" in done.stdout), (0, True))


def the_schema_knows_every_key_that_is_in_force(work, args):
    """config.schema.json and the parser do not drift apart."""
    root = Path(__file__).resolve().parents[2]
    schema = json.loads((root / "control" / "config.schema.json").read_text())

    def walk(value, node, path):
        properties, more = node.get("properties", {}), node.get("additionalProperties", False)
        for key, inner in value.items():
            child = properties.get(key, more)
            expect(child is not False, f"{path}/{key} is not in the schema")
            if isinstance(inner, dict) and isinstance(child, dict):
                walk(inner, child, f"{path}/{key}")
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        walk(rpc.call("config.get")["config"], schema, "")
        for section in ("delivery", "limits", "spool", "dns", "control"):
            known = set(schema["properties"][section]["properties"])
            given = set(rpc.call("config.get", path=f"/{section}")["config"])
            expect(known - given <= {"group"}, f"the daemon does not know {known - given} of {section}")


def a_service_manager_is_told_when_it_is_ready_alive_and_stopping(work, args):
    for name in (str(work / "notify"), f"@wirepost-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name[1:] if name.startswith("@") else name)
            manager.settimeout(20)
            with Daemon(args.build, work, wrapper=["env", f"NOTIFY_SOCKET={name}", "WATCHDOG_USEC=200000"]) as d:
                expect_equal("first", manager.recv(100), b"READY=1")
                expect_equal("then", [manager.recv(100) for _ in range(3)], [b"WATCHDOG=1"] * 3)
                expect_equal("exit status", d.stop(), 0)
                rest = []
                manager.setblocking(False)
                try:
                    while True:
                        rest.append(manager.recv(100))
                except BlockingIOError:
                    pass
                expect(b"STOPPING=1" in rest, str(rest))


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([what_was_accepted_is_there_after_a_stop_and_after_a_kill,
             a_second_daemon_on_the_same_spool_is_refused_with_the_pid_of_the_first,
             a_second_daemon_on_the_same_socket_is_refused,
             a_spool_that_cannot_be_used_is_told_with_its_path,
             a_spool_that_was_cut_short_is_refused_instead_of_read,
             a_full_disk_refuses_and_loses_nothing,
             a_disk_that_fills_up_beside_us_refuses_and_loses_nothing,
             the_limit_of_the_spool_itself_refuses,
             only_root_and_ourselves_may_connect_and_a_group_may_read,
             too_many_connections_are_turned_away_with_a_word,
             errors_of_the_configuration_name_their_place,
             a_service_manager_is_told_when_it_is_ready_alive_and_stopping,
             the_schema_knows_every_key_that_is_in_force], args, args)


if __name__ == "__main__":
    main()
