"""A DNS server that says what it is told to say, also what no sane server says (RFC 1035 4.1).

    odd_dns.py ADDRESS ZONE.json

The zone maps "NAME TYPE" to {"rcode", "records": [[type, hex of rdata, ttl]], "silent"}; names that
are not there do not exist; {"*": {"silent": true}} is a server that never answers. Over UDP an answer above 1,200 bytes is cut short (TC), over TCP it is
whole. Each question is a line on standard output.
"""
import json
import socketserver
import struct
import sys
import threading

TYPES = {"A": 1, "CNAME": 5, "MX": 15, "AAAA": 28, "SOA": 6}
NAMES = {number: name for name, number in TYPES.items()}
NOERROR, NXDOMAIN = 0, 3


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def parse_question(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack("!H", query[at + 1:at + 3])[0], query[12:at + 5]


def record(name, kind, rdata, ttl):
    return wire_name(name) + struct.pack("!HHIH", TYPES[kind], 1, ttl, len(rdata)) + rdata


def answer_to(query, zone, limit):
    """The whole answer; None: silence."""
    name, number, question = parse_question(query)
    print(NAMES.get(number, number), name, flush=True)
    names = {key.split()[0] for key in zone}
    entry = zone.get(f"{name} {NAMES.get(number)}") or zone.get(f"{name} CNAME") or zone.get("*")
    if entry and entry.get("silent"):
        return None
    rcode = entry.get("rcode", NOERROR) if entry else NOERROR if name in names else NXDOMAIN
    answers = [record(name, kind, bytes.fromhex(data), ttl)
               for kind, data, ttl in (entry or {}).get("records", [])]
    soa = [] if answers or rcode not in (NOERROR, NXDOMAIN) else [
        record("example", "SOA", wire_name("ns.example") * 2 + struct.pack("!5I", 1, 60, 60, 60, 60), 60)]
    flags, body = 0x8180 | rcode, question + b"".join(answers + soa)
    if limit and len(body) > limit:
        flags, body, answers, soa = flags | 0x0200, question, [], []
    return query[:2] + struct.pack("!5H", flags, 1, len(answers), len(soa), 0) + body


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        query, sock = self.request
        answer = answer_to(query, self.server.zone, 1200)
        if answer:
            sock.sendto(answer, self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(2):
            query = self.rfile.read(struct.unpack("!H", head)[0])
            answer = answer_to(query, self.server.zone, None)
            if answer:
                self.wfile.write(struct.pack("!H", len(answer)) + answer)


class UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


def main():
    with open(sys.argv[2], encoding="ascii") as file:
        zone = json.load(file)
    servers = [UdpServer((sys.argv[1], 53), Udp), TcpServer((sys.argv[1], 53), Tcp)]
    for server in servers:
        server.zone = zone
        threading.Thread(target=server.serve_forever, daemon=server is servers[0]).start()
    print("ready", flush=True)


if __name__ == "__main__":
    main()
