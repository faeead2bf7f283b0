"""A daemon that answers what a test tells it to: nonsense, too late, in another order, with escape sequences."""
import json
import socket
import threading


class FakeDaemon:
    """`script` is called with (request, raw bytes) and yields the bytes to answer with."""

    def __init__(self, path, script):
        self.path, self.script, self.requests = str(path), script, []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(4)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as lines:
                for line in lines:
                    request = json.loads(line)
                    raw = lines.read(request["params"].get("size", 0))
                    self.requests.append((request, raw))
                    try:
                        for answer in self.script(request, raw):
                            client.sendall(answer)
                    except (StopIteration, BrokenPipeError):
                        break
                    if getattr(self, "hang_up", False):
                        break


def result(request, value):
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode() + b"\n"


def error(request, code, reason=None, message="refused"):
    data = {"reason": reason} if reason else {}
    return json.dumps({"jsonrpc": "2.0", "id": request["id"],
                       "error": {"code": code, "message": message, "data": data}}).encode() + b"\n"
