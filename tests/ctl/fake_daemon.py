"""A daemon that answers what a test tells it to: late, in pieces, in another order, nonsense, escape sequences, nothing."""
import json
import socket
import threading

HANG_UP = None


class FakeDaemon:
    """`script(request, raw)` yields the bytes to answer with, or HANG_UP. `greeting` is said before anything is read, and is the end."""

    def __init__(self, path, script=lambda request, raw: (), greeting=None):
        self.path, self.script, self.greeting = str(path), script, greeting
        self.lines, self.requests, self.raws, self.faults = [], [], [], []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.listener.close()
        if self.faults and kind is None:
            raise self.faults[0]

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        try:
            with client:
                if self.greeting is not None:
                    client.sendall(self.greeting)
                    return
                with client.makefile("rb") as lines:
                    for line in lines:
                        if not self._answer(client, line, lines):
                            return
        except (BrokenPipeError, ConnectionResetError):
            pass  # the program had enough
        except Exception as fault:  # a test looks at this: it must not be lost in a thread
            self.faults.append(fault)

    def _answer(self, client, line, lines):
        request = json.loads(line)
        raw = lines.read(request["params"].get("size", 0))
        self.lines.append(line)
        self.requests.append(request)
        self.raws.append(raw)
        for answer in self.script(request, raw):
            if answer is HANG_UP:
                return False
            client.sendall(answer)
        return True


def line(value):
    """As the daemon writes it: compact, and not in ASCII."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def result(request, value):
    return line({"jsonrpc": "2.0", "id": request["id"], "result": value})


def error(request, code, reason=None, message="refused"):
    data = {"reason": reason} if reason else {}
    return line({"jsonrpc": "2.0", "id": request["id"] if request else None,
                 "error": {"code": code, "message": message, "data": data}})


def event(params):
    return line({"jsonrpc": "2.0", "method": "event", "params": params})
