#!/usr/bin/python3
"""A real SMTP server (aiosmtpd) that writes Maildirs byte for byte, one below --maildir per domain.

Each message accepted is one line of JSON on --log, written after the file is on disk and before the
250: {"at", "peer", "mail_from", "rcpt_to", "path", "bytes", "ehlo", "tls", "login"}. Run inside the test's namespace.
With --cert it offers STARTTLS (or speaks TLS at once: --implicit), with --password it wants AUTH (XOAUTH2: the file of the token).
"""
import argparse
import asyncio
import base64
import hmac
import itertools
import json
import os
import signal
import ssl
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class MaildirHandler:
    """Keeps the exact bytes between DATA and the final dot, after removing dot-stuffing."""

    def __init__(self, maildir, log, delay):
        self.maildir, self.delay = Path(maildir), delay
        self.log = open(log, "a", encoding="utf-8", buffering=1)
        self.serial = itertools.count()

    def _folder(self, recipient):
        domain = recipient.rpartition("@")[2].lower()
        folder = self.maildir / domain
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        return folder

    async def handle_DATA(self, _server, session, envelope):
        await asyncio.sleep(self.delay)
        folder = self._folder(envelope.rcpt_tos[0])
        name = f"{time.time():.6f}.{os.getpid()}_{next(self.serial)}.wirepost"
        content = envelope.original_content
        (folder / "tmp" / name).write_bytes(content)
        path = folder / "new" / name
        os.rename(folder / "tmp" / name, path)
        record = {"at": time.time(), "peer": session.peer[0], "mail_from": envelope.mail_from,
                  "rcpt_to": envelope.rcpt_tos, "path": str(path), "bytes": len(content), "ehlo": session.host_name,
                  "tls": _server.transport.get_extra_info("sslcontext") is not None,
                  "login": session.auth_data.login.decode() if session.auth_data else None}
        self.log.write(json.dumps(record) + "\n")
        return "250 2.0.0 kept"


def tls_context(args):
    if not args.cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.cert, args.key)
    if args.tls_old:  # no client of today takes it: the handshake breaks
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    return context


class Server(SMTP):
    """AUTH may have 12288 bytes (RFC 4954 4)."""
    line_length_limit = 12290

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.command_size_limits["AUTH"] = self.line_length_limit


class Mechanisms:
    """CRAM-MD5 (RFC 2195) and XOAUTH2, which aiosmtpd leaves to its users; --mechanism says which alone is offered."""

    def __init__(self, password):
        self.password = password

    async def auth_CRAM__MD5(self, server, _args):
        challenge = f"<{os.getpid()}.{time.time_ns()}@mx.receiver.example>".encode()
        answer = await server.challenge_auth(challenge)
        if not isinstance(answer, bytes):
            return AuthResult(success=False)
        user, _, mac = answer.partition(b" ")
        good = hmac.compare_digest(mac.decode(), hmac.new(self.password.encode(), challenge, "md5").hexdigest())
        return AuthResult(success=good, handled=False, auth_data=LoginPassword(user, b""))

    async def auth_XOAUTH2(self, server, args):
        parts = base64.b64decode(args[1], validate=True).split(b"\x01")
        good = parts[1:] == [b"auth=Bearer " + Path(self.password).read_bytes().strip(), b"", b""]
        if not good:
            await server.challenge_auth(b'{"status":"400"}')
        return AuthResult(success=good, handled=False, auth_data=LoginPassword(parts[0].removeprefix(b"user="), b""))


def authenticator(password):
    def check(_server, _session, _envelope, _mechanism, data):
        good = isinstance(data, LoginPassword) and data.password.decode() == password
        return AuthResult(success=good, handled=False, auth_data=data)
    return check if password else None


async def serve(args):
    loop = asyncio.get_running_loop()
    handler = MaildirHandler(args.maildir, args.log, args.delay)
    excluded = ()
    if args.mechanism:
        name = "auth_" + args.mechanism.replace("-", "__")
        setattr(handler, name, getattr(Mechanisms(args.password), name))
        excluded = ("LOGIN", "PLAIN")
    servers = []
    context = tls_context(args)
    for listen in args.listen:
        host, _, port = listen.rpartition(":")
        servers.append(await loop.create_server(
            lambda: Server(handler, hostname="mx.receiver.example", enable_SMTPUTF8=True,
                         data_size_limit=args.size, loop=loop, timeout=300,
                         tls_context=None if args.implicit else context,
                         require_starttls=bool(args.require and context),
                         auth_exclude_mechanism=excluded, command_call_limit=None,
                         authenticator=authenticator(args.password), auth_required=bool(args.password),
                         auth_require_tls=not args.implicit),
            host, int(port), backlog=512, ssl=context if args.implicit else None))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print("ready", flush=True)
    await stop.wait()
    for server in servers:
        server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", action="append", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--maildir", required=True)
    parser.add_argument("--log", required=True)
    for name in ("--cert", "--key", "--password", "--mechanism"):
        parser.add_argument(name)
    for name in ("--implicit", "--require", "--tls-old"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--delay", type=float, default=0, help="seconds before the reply to a message")
    parser.add_argument("--size", type=int, default=64 << 20)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
