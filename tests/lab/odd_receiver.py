#!/usr/bin/python3
"""An SMTP server that misbehaves as the recipient's local part asks, up to the first '-' or digit.

    ok        250
    bounce    550 5.1.1 to RCPT                refuse    554 5.7.1 to the final dot
    defer     450 4.2.0 to the first RCPT of this address, 250 later
    busy      421 4.3.2 to RCPT and close (once for each address: later 250)
    closercpt closes at RCPT (once)            closebody  closes in the middle of the body (once)
    closedot  takes the body, then closes without a word (once)
    resetdot  the same with RST (once)         garbage    answers RCPT with what is no reply (once)
    dribble   sends each reply byte by byte    nopipe     (server-wide with --no-extensions)

--blocks FILE: a JSON object {source address: reply}, read anew for each MAIL: the reply is given instead of 250, after
--block-seconds. Every MAIL is then logged to FILE.mails as {"at", "peer", "blocked"}.

Kept messages are JSON lines on --log: {"at", "peer", "mail_from", "rcpt_to", "sha256", "bytes",
"message_id", "answered"}. `answered` is false for a message taken without a reply.
"""
import argparse
import asyncio
import hashlib
import json
import re
import socket
import struct
import time
from pathlib import Path

_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(<[^>\r\n]+>)", re.I | re.M)


class Hangup(Exception):
    """Close the connection now; reset=True sends RST."""

    def __init__(self, reset=False):
        super().__init__()
        self.reset = reset


class Server:
    def __init__(self, args):
        self.extensions = not args.no_extensions
        self.log = open(args.log, "a", encoding="utf-8", buffering=1)
        self.seen = set()
        self.connections, self.max_connections = 0, args.max_connections
        self.blocks, self.block_seconds = args.blocks, args.block_seconds

    def block(self, peer):
        """The reply to MAIL from this address while it is blocked, else None."""
        if not self.blocks:
            return None
        reply = json.loads(self.blocks.read_text()).get(peer)
        with open(f"{self.blocks}.mails", "a", encoding="utf-8") as out:
            print(json.dumps({"at": time.time(), "peer": peer, "blocked": reply is not None}), file=out)
        return reply

    def first_time(self, kind, address):
        if (kind, address) in self.seen:
            return False
        self.seen.add((kind, address))
        return True

    async def handle(self, reader, writer):
        self.connections += 1
        try:
            if self.max_connections and self.connections > self.max_connections:
                writer.write(b"421 4.7.0 too many concurrent SMTP connections from this IP address\r\n")
                await writer.drain()
                writer.close()
            else:
                await self.serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            self.connections -= 1

    async def serve(self, reader, writer):
        session = Session(self, reader, writer)
        try:
            await session.run()
        except Hangup as hangup:
            if hangup.reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Session:
    def __init__(self, server, reader, writer):
        self.server, self.reader, self.writer = server, reader, writer
        self.mail_from, self.rcpt_to = "", []

    async def say(self, text):
        data = text.encode() + b"\r\n"
        if any(self.kind(address) == "dribble" for address in self.rcpt_to):
            for byte in data:
                self.writer.write(bytes([byte]))
                await self.writer.drain()
                await asyncio.sleep(0.002)
        else:
            self.writer.write(data)
            await self.writer.drain()

    @staticmethod
    def kind(address):
        return re.match(r"[a-z]*", address).group(0)

    async def run(self):
        await self.say("220-odd.example at your service\r\n220 go on")
        while line := await self.reader.readline():
            verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            command = getattr(self, "do_" + verb.lower(), None)
            if command is None:
                await self.say("502 5.5.1 what?")
            else:
                await command(rest)

    async def do_ehlo(self, _):
        if self.server.extensions:
            await self.say("250-odd.example\r\n250-pipelining\r\n250-8bitmime\r\n250 SIZE 70000000")
        else:
            await self.say("502 5.5.1 only HELO here")

    async def do_helo(self, _):
        await self.say("250 odd.example")

    async def do_mail(self, rest):
        self.mail_from, self.rcpt_to = re.search(r"<([^>]*)>", rest).group(1), []
        blocked = self.server.block(self.writer.get_extra_info("peername")[0])
        if blocked:
            self.mail_from = None
            await asyncio.sleep(self.server.block_seconds)
        await self.say(blocked or "250 2.1.0 ok")

    async def do_rcpt(self, rest):
        address = re.search(r"<([^>]*)>", rest).group(1)
        kind = self.kind(address)
        if self.mail_from is None:
            return await self.say("503 5.5.1 MAIL first")
        if kind == "bounce":
            return await self.say("550-5.1.1 no such\r\n550 5.1.1 mailbox here")
        if kind == "defer" and self.server.first_time(kind, address):
            return await self.say("450 4.2.0 greylisted, come back")
        if kind == "busy" and self.server.first_time(kind, address):
            await self.say("421 4.3.2 shutting down")
            raise Hangup()
        if kind == "garbage" and self.server.first_time(kind, address):
            await self.say("this is no reply")
            return None
        if kind == "closercpt" and self.server.first_time(kind, address):
            raise Hangup()
        self.rcpt_to.append(address)
        return await self.say("250 2.1.5 ok")

    async def do_data(self, _):
        if not self.rcpt_to:
            return await self.say("554 5.5.1 no valid recipients")
        await self.say("354 go ahead")
        kinds = {self.kind(address): address for address in self.rcpt_to}
        if "closebody" in kinds and self.server.first_time("closebody", kinds["closebody"]):
            await self.reader.readexactly(200)
            raise Hangup()
        raw = await self._body()
        for kind in ("closedot", "resetdot"):
            if kind in kinds and self.server.first_time(kind, kinds[kind]):
                self.keep(raw, False)
                raise Hangup(reset=kind == "resetdot")
        if "refuse" in kinds:
            return await self.say("554 5.7.1 we do not want this")
        self.keep(raw, True)
        return await self.say("250 2.0.0 kept")

    async def _body(self):
        lines = []
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise Hangup()
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def keep(self, raw, answered):
        found = _MESSAGE_ID.search(raw)
        self.server.log.write(json.dumps({
            "at": time.time(), "peer": self.writer.get_extra_info("peername")[0],
            "mail_from": self.mail_from, "rcpt_to": self.rcpt_to, "bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(), "answered": answered,
            "message_id": found.group(1).decode() if found else None}) + "\n")

    async def do_rset(self, _):
        self.mail_from, self.rcpt_to = "", []
        await self.say("250 2.0.0 ok")

    async def do_quit(self, _):
        await self.say("221 2.0.0 bye")
        raise Hangup()


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--log", required=True)
    parser.add_argument("--no-extensions", action="store_true")
    parser.add_argument("--blocks", type=Path, metavar="FILE")
    parser.add_argument("--max-connections", type=int, default=0, metavar="N", help="more are told 421; 0: any number")
    parser.add_argument("--block-seconds", type=float, default=0, metavar="SECONDS", help="before such a reply")
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")
    server = await asyncio.start_server(Server(args).handle, host, int(port), limit=1 << 20)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
