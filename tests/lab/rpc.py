"""A client of the control socket for tests: JSON-RPC 2.0 lines (control/API.md)."""
import json
import socket


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(error.get("message"))
        self.code = error.get("code")
        self.reason = (error.get("data") or {}).get("reason")
        self.error = error


class Rpc:
    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        self.serial = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, method, params=None, raw=b""):
        self.serial += 1
        request = {"jsonrpc": "2.0", "id": self.serial, "method": method, "params": params or {}}
        self.socket.sendall(json.dumps(request).encode() + b"\n" + raw)
        return self.serial

    def receive(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the daemon closed the control connection")
        return json.loads(line)

    def call(self, method, raw=b"", **params):
        serial = self.send(method, params, raw)
        while True:
            answer = self.receive()
            if answer.get("id") == serial:
                break
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    def history(self, types=(), after=0):
        """Events that are recorded now; the answer comes after the last of them."""
        serial = self.send("events", {"after": after, "follow": False, "types": list(types)})
        events = []
        while True:
            line = self.receive()
            if line.get("id") == serial:
                if "error" in line:
                    raise RpcError(line["error"])
                return events
            events.append(line["params"])

    def inject(self, data, sender, mail_from, rcpt_to, stream="transactional"):
        return self.call("inject", raw=data, sender=sender, mail_from=mail_from,
                         rcpt_to=list(rcpt_to), stream=stream, size=len(data))
