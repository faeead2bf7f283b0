"""An HTTPS server for MTA-STS policies and TLS reports, told by a folder what to say.

    policy_server.py ADDRESS CERT KEY FOLDER

GET of https://HOST/.well-known/mta-sts.txt answers with FOLDER/HOST.json: {"status", "type", "body", "location"}.
POST of anything is written to FOLDER/posted-N, with its headers in FOLDER/posted-N.json. Requests are lines on stdout.
"""
import http.server
import itertools
import json
import ssl
import sys
from pathlib import Path

SERIAL = itertools.count()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.server.folder / f"{self.headers['Host']}.json"
        say = json.loads(path.read_text()) if path.exists() and self.path == "/.well-known/mta-sts.txt" else {"status": 404, "body": ""}
        body = say["body"].encode()
        self.send_response(say.get("status", 200))
        self.send_header("Content-Type", say.get("type", "text/plain"))
        self.send_header("Content-Length", str(len(body)))
        if "location" in say:
            self.send_header("Location", say["location"])
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        name = self.server.folder / f"posted-{next(SERIAL)}"
        name.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        name.with_suffix(".json").write_text(json.dumps({"path": self.path, **dict(self.headers)}))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, _format, *_args):
        print(self.command, self.headers["Host"], self.path, flush=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def get_request(self):  # the handshake belongs to the connection's own thread
        sock, peer = self.socket.accept()
        return self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), peer


def main():
    address, cert, key, folder = sys.argv[1:]
    server = Server((address, 443), Handler)
    server.folder = Path(folder)
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(cert, key)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
