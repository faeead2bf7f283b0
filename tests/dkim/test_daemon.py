"""DKIM in wirepostd: its configuration, who is refused at injection, and what protects the keys."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "control"))
import daemon  # noqa: E402
import tap  # noqa: E402
from daemon import SENDER, Daemon, configuration, message  # noqa: E402
from rpc import RpcError  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

NOBODY = 65534
TO = ["you@alpha.example"]


def make_key(path, *options):
    subprocess.run(["openssl", "genpkey", "-algorithm", *(options or ["ED25519"]), "-out", path], check=True, stderr=subprocess.DEVNULL)
    path.chmod(0o600)
    return str(path)


def with_keys(work, *entries):
    config = configuration(work)
    config["senders"]["acme"]["dkim"] = list(entries)
    return config


def entry(file, **changes):
    return {"domain": "acme.example", "selector": "s1", "key_file": file} | changes


def what_is_wrong_with_a_key_is_said_with_its_place(work, args):
    good = make_key(work / "good.pem")
    ec = make_key(work / "ec.pem", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    huge = work / "huge.pem"
    huge.write_text("x" * 20000)
    huge.chmod(0o600)
    shared = work / "shared.pem"
    shared.write_bytes(Path(good).read_bytes())
    shared.chmod(0o644)
    locked = work / "locked.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-aes256", "-pass", "pass:x", "-out", locked], check=True, stderr=subprocess.DEVNULL)
    locked.chmod(0o600)
    cases = [
        (entry(str(work / "none.pem")), "key_file", "No such file"), (entry(str(shared)), "key_file", "mode 0644"), (entry(ec), "key_file", "neither an RSA nor"),
        (entry(str(huge)), "key_file", "at most 16384 bytes"), (entry(str(locked)), "key_file", "passphrase"), (entry(str(work)), "key_file", "no plain file"),
        (entry(good, domain="no domain"), "domain", "must be a domain"), (entry(good, domain="[192.0.2.1]"), "domain", "must be a domain"),
        (entry(good, selector="a b"), "selector", "before ._domainkey"), (entry(good, selector="-a"), "selector", "before ._domainkey"),
        (entry(good, identity="@other.example"), "identity", "below it"), (entry(good, identity="@notacme.example"), "identity", "below it"),
        (entry(good, identity="a;b@acme.example"), "identity", "below it"), (entry(good, expire_s=60), "expire_s", ""), (entry(good, expires=1), "expires", ""),
    ]
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        for wrong, key, text in cases:
            errors = rpc.call("config.check", config=with_keys(work, wrong))["errors"]
            expect_equal(f"{wrong}", [e["path"] for e in errors], [f"/senders/acme/dkim/0/{key}"])
            expect(text in errors[0]["message"], errors[0]["message"])
        for right in (entry(good), entry(good, identity="@acme.example"), entry(good, identity="me@mail.acme.example"), entry(good, expire_s=1_000_000)):
            expect_equal(f"{right}", rpc.call("config.check", config=with_keys(work, right))["errors"], [])


def a_weak_rsa_key_is_warned_of_and_a_weaker_one_refused(work, args):
    small = make_key(work / "small.pem", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
    tiny = work / "tiny.pem"
    subprocess.run(["openssl", "genrsa", "-out", tiny, "768"], check=True, stderr=subprocess.DEVNULL)
    tiny.chmod(0o600)
    with Daemon(args.build, work, with_keys(work, entry(small))) as d, d.rpc() as rpc:
        expect("bits=1024" in d.text(), d.text())
        errors = rpc.call("config.check", config=with_keys(work, entry(str(tiny))))["errors"]
        expect("768 bits" in errors[0]["message"] and "RFC 8301" in errors[0]["message"], str(errors))


def what_cannot_be_signed_is_refused_and_names_the_domain(work, args):
    key = make_key(work / "key.pem")
    config = with_keys(work, entry(key))
    config["senders"]["plain"] = config["senders"]["acme"] | {"domains": ["plain.example"]}
    del config["senders"]["plain"]["dkim"]
    with Daemon(args.build, work, config) as d, d.rpc() as rpc:
        for text, said in ((b"From: a@other.example\r\n\r\nx", "other.example"), (b"From: a@notacme.example\r\n\r\nx", "notacme.example"),
                           (b"Subject: x\r\n\r\nx", "no From field"), (b"From: a@acme.example\r\nFrom: b@acme.example\r\n\r\nx", "more than one From"),
                           (b"From: nobody\r\n\r\nx", "no address"), (b"From: a@acme.example\r\n" + b"To: x@y.example\r\n" * 300 + b"\r\nx", "256 header fields")):
            try:
                rpc.inject(text, "acme", SENDER, TO)
                raise AssertionError(f"{text!r} was accepted")
            except RpcError as error:
                expect_equal(f"{text!r}", error.reason, "cannot_sign")
                expect(said in str(error), str(error))
            rpc.inject(text, "plain", SENDER, TO)
        for text in (message(), b"From: Us <a@mail.acme.example>\r\n\r\nx"):
            rpc.inject(text, "acme", SENDER, TO)
        expect_equal("signed", [k["signed"] for k in rpc.call("dkim.list")["keys"]], [2])
        expect_equal("queued", rpc.call("queue.list")["total"], 8)


def hundreds_of_messages_at_once_are_signed_and_kept(work, args):
    config = with_keys(work, entry(make_key(work / "rsa.pem", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")), entry(make_key(work / "ed.pem"), selector="s2"))
    with Daemon(args.build, work, config) as d:
        with d.rpc() as rpc:
            for n in range(300):
                rpc.send("inject", {"sender": "acme", "mail_from": SENDER, "rcpt_to": TO, "size": len(message())}, message())
                if n % 60 == 59:
                    answers = [rpc.receive() for _ in range(60)]
                    expect(all("result" in a for a in answers), str(answers))
        d.kill()
        d.start()
        with d.rpc() as rpc:
            expect_equal("after a kill", rpc.call("queue.list")["total"], 300)


def a_daemon_with_keys_is_not_dumpable_and_locks_their_memory(work, args):
    def facts(d):
        pid = d.process.pid
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        maps = Path(f"/proc/{pid}/smaps").read_text()
        kept_out = any(line.startswith("VmFlags:") and " dd" in line and " lo" in line for line in maps.splitlines())
        return int(lines["VmLck"].split()[0]) > 0, kept_out
    with Daemon(args.build, work) as d:
        expect_equal("without keys", facts(d), (False, False))
    with Daemon(args.build, work, with_keys(work, entry(make_key(work / "key.pem")))) as d:
        expect_equal("locked, and kept out of dumps", facts(d), (True, True))
    if os.geteuid() != 0:
        return
    for dumpable in (True, False):  # the files in /proc of a process that is not belong to root (proc(5))
        folder = work / str(dumpable)
        folder.mkdir()
        config = configuration(folder) if dumpable else with_keys(folder, entry(make_key(folder / "key.pem")))
        shutil.copy(Path(args.build).resolve() / "control" / "wirepostd", folder / "wirepostd")
        for path in (work, folder, *folder.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        d = Daemon(args.build, folder, config, wrapper=("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"))
        d.binary = folder / "wirepostd"
        with d:
            expect_equal(f"dumpable: {dumpable}", Path(f"/proc/{d.process.pid}/environ").stat().st_uid == NOBODY, dumpable)


def an_unknown_kind_of_signature_of_a_route_is_refused(work, args):
    with Daemon(args.build, work) as d, d.rpc() as rpc:
        def check(**route):
            config = configuration(work, routes={"r": {"type": "smtp", "url": "smtp://relay.example"} | route})
            answer = rpc.call("config.check", config=config)
            return [e["path"] for e in answer["errors"]]
        expect_equal("odd", check(dkim="some"), ["/routes/r/dkim"])
        for good in ("all", "stable", "none"):
            expect_equal(good, check(dkim=good), [])


def main():
    args = tap.arguments(__doc__)
    tap.run([what_is_wrong_with_a_key_is_said_with_its_place, a_weak_rsa_key_is_warned_of_and_a_weaker_one_refused,
             what_cannot_be_signed_is_refused_and_names_the_domain, hundreds_of_messages_at_once_are_signed_and_kept,
             a_daemon_with_keys_is_not_dumpable_and_locks_their_memory, an_unknown_kind_of_signature_of_a_route_is_refused], args, args)


if __name__ == "__main__":
    main()
