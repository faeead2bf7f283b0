"""TLS and AUTH with relays, against aiosmtpd: verified, opportunistic, from the beginning, and broken."""
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import corpus  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

ADDRESS, HOST, PASSWORD = "203.0.113.27", "mx.alpha.example", "corréct horse"
SENDER = "news@small.example"


def certificate(work, name):
    """A self-signed certificate, which is its own authority: (certificate, key)."""
    cert, key = work / f"{name}.pem", work / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=DNS:{name}", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


class Site:
    def __init__(self, netns, work, args, route, *flags, cert=HOST, trusted=HOST, port=25):
        made = {name: certificate(work, name) for name in {cert, trusted} if name}
        appliance.start_dns(netns, work, {"alpha.example": ADDRESS})
        server = list(flags) + (["--cert", made[cert][0], "--key", made[cert][1]] if cert else [])
        _, self.log = appliance.start_maildir_server(netns, work, ADDRESS, *server, port=port)
        (work / "secret").touch(mode=0o600)
        (work / "secret").write_text(PASSWORD + "\n")
        config = appliance.configuration(
            work, delivery={"retry_s": [1], "retry_jitter": 0}, tls={"ca_file": str(made[trusted][0])},
            routes={"relay": {"type": "smtp", "idle_ms": 500} | route},
            senders={"small": {"domains": ["small.example"], "strategy": "shared", "shared": ["relay"]}})
        self.lab = appliance.Appliance(netns, args.build, work, config).start(lanes_up=False)
        self.expected = {}

    def inject(self, count):
        with self.lab.rpc() as rpc:
            for n in range(count):
                data = corpus.make(49 if n == 0 else n, f"tls{len(self.expected)}", SENDER, f"r{n}@alpha.example")
                rpc.inject(data, "small", SENDER, [f"r{n}@alpha.example"])
                self.expected[verify.message_id(data)] = verify.digest(data)

    def records(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def all_arrive(self, tls, login=None):
        wait_until("all arrive", lambda: len(self.records()) >= len(self.expected), 60)
        result = verify.Comparison(self.expected, verify.from_maildir_log(self.log))
        expect(result.exact(), str(result))
        expect_equal("TLS and login", {(r["tls"], r["login"]) for r in self.records()}, {(tls, login)})

    def nothing_arrives(self, words):
        def told():
            with self.lab.rpc() as rpc:
                return [e for e in rpc.history(["deferred", "held"])]
        event = wait_until("told", told, 30)[0]
        expect(any(words in text for text in (event.get("text", ""), self.lab.rpc().call("routes.list")["routes"][0]["last"])), str(event))
        expect_equal("arrived", self.records(), [])


def over_starttls_with_a_verified_name_the_password_is_said_and_mail_arrives(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, {"url": f"smtp://{HOST}", "tls": "verify", "username": "small", "password_file": str(work / "secret")},
                    "--password", PASSWORD, "--require", cert=HOST, trusted=HOST)
        site.inject(40)
        site.all_arrive(True, "small")
        shown = json.dumps(site.lab.rpc().call("config.get")) + json.dumps(site.lab.rpc().call("routes.list")) + site.lab.log.read_text()
        expect(PASSWORD not in shown and json.dumps(PASSWORD)[1:-1] not in shown, "the password is shown somewhere")


def auth_cram_md5_is_used_where_nothing_else_is_offered(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, {"url": f"smtp://{HOST}", "tls": "verify", "username": "small", "password_file": str(work / "secret")},
                    "--password", PASSWORD, "--require", "--mechanism", "CRAM-MD5")
        site.inject(10)
        site.all_arrive(True, "small")


def xoauth2_takes_a_long_token_from_a_file_that_is_read_anew(work, args):
    with Netns() as netns:
        (work / "token").touch(mode=0o600)
        (work / "token").write_text("t" * 2600 + "\n")
        (work / "right").write_text("t" * 2600 + "\n")
        site = Site(netns, work, args, {"url": f"smtp://{HOST}", "tls": "verify", "username": "small", "token_file": str(work / "token"), "messages_per_connection": 5},
                    "--password", work / "right", "--require", "--mechanism", "XOAUTH2")
        site.inject(10)
        site.all_arrive(True, "small")
        for file in ("right", "token"):
            (work / file).write_text("u" * 1800 + "\n")
        wait_until("connections have ended", lambda: site.lab.rpc().call("routes.list")["routes"][0]["connections"] == 0, 20)
        site.inject(7)
        site.all_arrive(True, "small")
        (work / "token").chmod(0o644)
        with site.lab.rpc() as rpc:
            test = rpc.call("routes.test", name="relay")
            expect(not test["ok"] and "chmod 600" in test["text"], str(test))
        (work / "token").chmod(0o600)
        (work / "right").write_text("another\n")
        with site.lab.rpc() as rpc:
            test = rpc.call("routes.test", name="relay")
            expect(not test["ok"] and "535" in test["text"], str(test))
        expect("t" * 20 not in site.lab.log.read_text(), "a token is logged")


def smtps_is_tls_from_the_beginning(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, {"url": f"smtps://{HOST}:465"}, "--implicit", cert=HOST,
                    trusted=HOST, port=465)
        site.inject(20)
        site.all_arrive(True)


def a_certificate_of_another_name_or_authority_stops_verified_mail_and_nothing_leaves_in_clear(work, args):
    for number, (cert, trusted, words) in enumerate((("other.example", "other.example", "host-mismatch"),
                                                     (HOST, "other.example", "not-trusted"))):
        folder = work / str(number)
        folder.mkdir()
        with Netns() as netns:
            site = Site(netns, folder, args, {"url": f"smtp://{HOST}", "tls": "verify"}, cert=cert, trusted=trusted)
            site.inject(3)
            site.nothing_arrives(words)


def must_without_starttls_at_the_relay_sends_nothing(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, {"url": f"smtp://{HOST}", "tls": "must"}, cert=None)
        site.inject(3)
        site.nothing_arrives("STARTTLS")


def may_takes_any_certificate_and_goes_on_without_tls_where_there_is_none_or_it_is_broken(work, args):
    for number, (flags, cert, tls) in enumerate((((), "other.example", True), ((), None, False), (("--tls-old",), "other.example", False))):
        folder = work / str(number)
        folder.mkdir()
        with Netns() as netns:
            site = Site(netns, folder, args, {"url": f"smtp://{HOST}"}, *flags, cert=cert)
            site.inject(10)
            site.all_arrive(tls)
            broken = site.lab.rpc().call("routes.list")["routes"][0]["tls_broken"]
            expect_equal("broken handshakes counted", broken > 0, bool(flags))


def a_wrong_password_is_a_failure_of_the_relay_and_not_of_the_mail(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, {"url": f"smtp://{HOST}", "tls": "verify", "username": "small", "password_file": str(work / "secret")},
                    "--password", "another", cert=HOST, trusted=HOST)
        site.inject(3)
        site.nothing_arrives("535")
        with site.lab.rpc() as rpc:
            expect_equal("bounces", rpc.history(["bounced"]), [])


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([over_starttls_with_a_verified_name_the_password_is_said_and_mail_arrives,
             auth_cram_md5_is_used_where_nothing_else_is_offered,
             xoauth2_takes_a_long_token_from_a_file_that_is_read_anew,
             smtps_is_tls_from_the_beginning,
             a_certificate_of_another_name_or_authority_stops_verified_mail_and_nothing_leaves_in_clear,
             must_without_starttls_at_the_relay_sends_nothing,
             may_takes_any_certificate_and_goes_on_without_tls_where_there_is_none_or_it_is_broken,
             a_wrong_password_is_a_failure_of_the_relay_and_not_of_the_mail], args, args)


if __name__ == "__main__":
    main()
