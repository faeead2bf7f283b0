#!/usr/bin/python3
"""The SMTP and TLS engines (tls_deliver) against servers of others: openssl s_server, aiosmtpd."""
import hashlib
import json
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import tap  # noqa: E402

MESSAGE = b"Subject: over TLS\r\n\r\n.a line with a dot\r\nthe end\r\n"


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Pki:
    """A CA and the certificate of mx.example."""

    def __init__(self, work):
        self.ca, self.ca_key = work / "ca.pem", work / "ca.key"
        self.cert, self.key = work / "mx.pem", work / "mx.key"
        request, names = work / "mx.csr", work / "names"
        names.write_text("subjectAltName=DNS:mx.example\n")
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *new_key, "-keyout", self.ca_key, "-out", self.ca, "-days", 2,
                "-subj", "/CN=CA")
        openssl("req", *new_key, "-keyout", self.key, "-out", request, "-subj", "/CN=mx")
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key,
                "-CAcreateserial", "-out", self.cert, "-days", 1, "-extfile", names)

    def tlsa(self):
        """The record "3 0 1" of the server's certificate."""
        der = ssl.PEM_cert_to_DER_cert(self.cert.read_text())
        return "3 0 1 " + hashlib.sha256(der).hexdigest()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def relay(source, sink):
    """Bytes from one socket to the other until there are no more."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class SServer:
    """openssl s_server behind a STARTTLS dialogue; mail is answered by its standard input."""

    def __init__(self, pki, *options):
        inner = free_port()
        self.lines = []
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{inner}", "-cert", pki.cert,
             "-key", pki.key, "-quiet", "-crlf", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wait_for(inner)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(inner,), daemon=True).start()
        threading.Thread(target=self.answer, daemon=True).start()

    def accept(self, inner):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.sendall(b"220 mx\r\n")
            client.recv(1024)
            client.sendall(b"250-mx\r\n250 STARTTLS\r\n")
            client.recv(1024)
            client.sendall(b"220 go\r\n")
            server = socket.create_connection(("127.0.0.1", inner))
            for ends in ((client, server), (server, client)):
                threading.Thread(target=relay, args=ends, daemon=True).start()

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self):
        data = False
        for line in self.process.stdout:
            self.lines.append(line)
            verb = line[:4]
            if data:
                data = line != b".\r\n"
                if not data:
                    self.say("250 taken")
            elif verb == b"DATA":
                data = True
                self.say("354 go")
            else:
                self.say("221 bye" if verb == b"QUIT" else "250 ok")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.process.kill()
        self.process.wait()


def wait_for(port):
    """Until something listens there; does not connect, because s_server counts connections."""
    entry = f":{port:04X} 00000000:0000 0A"
    for _ in range(500):
        if entry in Path("/proc/net/tcp").read_text():
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"nothing listens on port {port}")


def deliver(args, pki, port, policy, count=1, tlsa=None):
    command = [Path(args.build) / "tests" / "tls" / "tls_deliver", port, policy, pki.ca, count]
    command += [tlsa] if tlsa else []
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True,
                          timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(outcome, **expected):
    tap.expect_equal("outcome", {key: outcome[key] for key in expected}, expected)


# ---- openssl s_server


def s_server_takes_mail_over_each_version(work, args):
    pki = Pki(work)
    for option, version in (("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")):
        with SServer(pki, option) as server:
            outcome, = deliver(args, pki, server.port, "verify")
            check(outcome, kind="delivered", text="taken", version=version, verified=True,
                  failure="none")
            tap.expect(b"..a line with a dot\r\n" in server.lines, "the message did not arrive")


def s_server_resumes_sessions(work, args):
    pki = Pki(work)
    for option in ("-tls1_3", "-tls1_2"):
        with SServer(pki, option) as server:
            outcomes = deliver(args, pki, server.port, "verify", count=4)
            tap.expect_equal("resumed", [o["resumed"] for o in outcomes],
                             [False, True, True, True])
            for outcome in outcomes:
                check(outcome, kind="delivered", verified=True)


def s_server_is_verified_by_dane(work, args):
    pki = Pki(work)
    with SServer(pki) as server:
        outcome, = deliver(args, pki, server.port, "dane", tlsa=pki.tlsa())
        check(outcome, kind="delivered", verified=True)
        outcome, = deliver(args, pki, server.port, "dane", tlsa="3 0 1 " + "ab" * 32)
        check(outcome, kind="deferred", stage="starttls", failure="certificate-not-trusted")
        outcome, = deliver(args, pki, server.port, "dane", tlsa="0 0 1 " + "ab" * 32)
        check(outcome, kind="delivered", verified=False, failure="tlsa-invalid")


def s_server_of_an_unknown_ca_is_refused(work, args):
    (work / "other").mkdir()
    pki, other = Pki(work), Pki(work / "other")
    with SServer(other) as server:
        outcome, = deliver(args, pki, server.port, "verify")
        check(outcome, kind="deferred", stage="starttls", failure="certificate-not-trusted")
        outcome, = deliver(args, pki, server.port, "encrypt")
        check(outcome, kind="delivered", verified=False)


def s_server_that_wants_our_certificate_defers(work, args):
    pki = Pki(work)
    with SServer(pki, "-Verify", "1", "-verify_return_error") as server:
        outcome, = deliver(args, pki, server.port, "verify")
        check(outcome, kind="deferred", stage="starttls", failure="validation-failure")


# ---- aiosmtpd


class Keep:
    """A handler that keeps what comes."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, server, session, envelope):
        self.messages.append((session.ssl is not None, envelope.original_content))
        return "250 taken"


class Aiosmtpd:
    def __init__(self, pki, **options):
        from aiosmtpd.controller import Controller
        self.handler = Keep()
        if pki:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pki.cert, pki.key)
            options["tls_context"] = context
        self.port = free_port()
        self.controller = Controller(self.handler, hostname="127.0.0.1", port=self.port, **options)

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, *_):
        self.controller.stop()


def aiosmtpd_takes_mail_over_tls(work, args):
    pki = Pki(work)
    with Aiosmtpd(pki, require_starttls=True) as server:
        for outcome in deliver(args, pki, server.port, "verify", count=3):
            check(outcome, kind="delivered", verified=True)
        tap.expect_equal("messages", server.handler.messages, [(True, MESSAGE)] * 3)


def aiosmtpd_without_tls_gets_mail_under_may_only(work, args):
    pki = Pki(work)
    with Aiosmtpd(None) as server:
        outcome, = deliver(args, pki, server.port, "may")
        check(outcome, kind="delivered", version="")
        outcome, = deliver(args, pki, server.port, "encrypt")
        check(outcome, kind="deferred", stage="starttls", code=0)
        tap.expect_equal("messages", server.handler.messages, [(False, MESSAGE)])


def main():
    args = tap.arguments(__doc__)
    tests = [
        s_server_takes_mail_over_each_version,
        s_server_resumes_sessions,
        s_server_is_verified_by_dane,
        s_server_of_an_unknown_ca_is_refused,
        s_server_that_wants_our_certificate_defers,
    ]
    try:
        import aiosmtpd  # noqa: F401
        tests += [aiosmtpd_takes_mail_over_tls, aiosmtpd_without_tls_gets_mail_under_may_only]
    except ImportError:
        print("# aiosmtpd is missing: its tests are left out", flush=True)
    tap.run(tests, args, args)


main()
