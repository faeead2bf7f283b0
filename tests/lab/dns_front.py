"""A DNS server that passes questions on, and answers SERVFAIL to those that a file lists.

    dns_front.py ADDRESS UPSTREAM PORT RULES

Each line of RULES is "NAME TYPE" (TYPE a number or a name below). Questions are lines on stdout.
"""
import socket
import socketserver
import struct
import sys
import threading

TYPES = {1: "A", 5: "CNAME", 15: "MX", 16: "TXT", 28: "AAAA", 43: "DS", 48: "DNSKEY", 52: "TLSA"}


def question_of(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    number = struct.unpack("!H", query[at + 1:at + 3])[0]
    return f"{'.'.join(labels)} {TYPES.get(number, number)}", query[12:at + 5]


def handle(query, rules):
    """An answer of our own, or None."""
    text, question = question_of(query)
    print(text, flush=True)
    with open(rules, encoding="ascii") as file:
        if text in file.read().splitlines():
            return query[:2] + struct.pack("!5H", 0x8182, 1, 0, 0, 0) + question
    return None


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        query, sock = self.request
        answer = handle(query, self.server.rules)
        if answer is None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
                upstream.settimeout(5)
                upstream.sendto(query, self.server.upstream)
                answer = upstream.recv(65535)
        # a resolver is what our askers think that they talk to: RA
        sock.sendto(answer[:3] + bytes([answer[3] | 0x80]) + answer[4:], self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(2):
            query = self.rfile.read(struct.unpack("!H", head)[0])
            answer = handle(query, self.server.rules)
            if answer is None:
                with socket.create_connection(self.server.upstream, 5) as upstream:
                    upstream.sendall(head + query)
                    stream = upstream.makefile("rb")
                    answer = stream.read(struct.unpack("!H", stream.read(2))[0])
            answer = answer[:3] + bytes([answer[3] | 0x80]) + answer[4:]
            self.wfile.write(struct.pack("!H", len(answer)) + answer)


class UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


def main():
    address, upstream, port, rules = sys.argv[1:]
    servers = [TcpServer((address, 53), Tcp), UdpServer((address, 53), Udp)]
    for server in servers:
        server.upstream, server.rules = (upstream, int(port)), rules
        threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main()
