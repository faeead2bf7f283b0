#!/usr/bin/python3
"""A stand-in for Amazon SES (API v2: SendEmail, GetAccount) over HTTPS, and for the instance metadata service (IMDSv2).

    stand_in.py --listen ADDRESS:PORT --cert PEM --key PEM --folder DIR [--metadata ADDRESS:PORT]

Signatures are verified from the bytes of the request (sigv4.py); quota, rate, sandbox and verified identities are enforced. What
it is to do is told by DIR/say.json, read before each request:

    {"account": {"Max24HourSend", "MaxSendRate", "ProductionAccessEnabled", "SendingEnabled", "EnforcementStatus"},
     "keys": {"AKID": "secret"}, "verified": ["acme.example", "user@elsewhere.example"] or null for all,
     "fail": [{"what": NAME of FAULTS, "times": N, "serial": any number that makes it a new order, "key": for this AKID only}], "metadata_life_s": 3600}

Each message that is accepted is a file below DIR/mail and a line of DIR/received.jsonl as lab/receiver.py has it, with "ses_id", "key", "tags",
"configuration_set"; each request is a line of DIR/requests.jsonl: {"at", "path", "status", "type", "key", "n"}.
"""
import argparse
import base64
import email
import email.policy
import itertools
import json
import re
import secrets
import socketserver
import ssl
import threading
import time
from collections import deque
from pathlib import Path

import sigv4

REGION = "eu-west-1"
ACCOUNT = {"Max24HourSend": 50000.0, "MaxSendRate": 500.0, "ProductionAccessEnabled": True, "SendingEnabled": True,
           "EnforcementStatus": "HEALTHY"}
MESSAGE_BYTES = 40 << 20
# what: (HTTP status, type, message), as the service documents them; a string is something that is done instead.
FAULTS = {
    "signature": (403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."),
    "expired-token": (403, "ExpiredTokenException", "The security token included in the request is expired"),
    "denied": (403, "AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized to perform: ses:SendEmail"),
    "clock": (403, "InvalidSignatureException", "Signature expired: 20261124T000000Z is now earlier than 20261124T001000Z"),
    "throttle": (429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    "throttle-old": (400, "ThrottlingException", "Maximum sending rate exceeded."),
    "quota": (429, "TooManyRequestsException", "Daily message quota exceeded."),
    "limit": (400, "LimitExceededException", "The account has too many of this."),
    "paused": (400, "SendingPausedException", "Sending paused for this account. For more information, please check the inbox of the email address associated with your AWS account."),
    "suspended": (400, "AccountSuspendedException", "Your account's ability to send email has been permanently restricted."),
    "mail-from": (400, "MailFromDomainNotVerifiedException", "The MAIL FROM domain bounce.acme.example is not verified."),
    "no-set": (404, "NotFoundException", "Configuration set <events> does not exist."),
    "rejected": (400, "MessageRejected", "Transaction failed: the message contained a virus."),
    "bad": (400, "BadRequestException", "Duplicate header 'Subject'."),
    "bad-address": (400, "BadRequestException", "Missing final '@domain'"),
    "internal": (500, "InternalFailure", "The request processing has failed because of an unknown error."),
    "unavailable": (503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."),
    "gateway": (504, "", ""),
    "garbage": "garbage", "no-id": "no-id", "slow": "slow", "silent": "silent",
    "cut-before-body": "cut-before-body", "cut-in-body": "cut-in-body", "cut-after-body": "cut-after-body", "cut-after-accept": "cut-after-accept",
}


class State:
    """What the service remembers; one lock for all."""

    def __init__(self, folder):
        self.folder, self.lock, self.serial = Path(folder), threading.Lock(), itertools.count(1)
        (self.folder / "mail").mkdir(parents=True, exist_ok=True)
        self.sent, self.issued, self.metadata_tokens, self.done = deque(), {}, {}, {}

    def say(self):
        try:
            return json.loads((self.folder / "say.json").read_text())
        except FileNotFoundError:
            return {}

    def account(self):
        return ACCOUNT | self.say().get("account", {})

    def log(self, name, record):
        with open(self.folder / name, "a", encoding="utf-8") as out:
            out.write(json.dumps({"at": time.time(), **record}) + "\n")

    def secret_of(self, key_id, token):
        issued = self.issued.get(key_id)
        if issued:
            secret, its_token, until = issued
            if token != its_token:
                raise sigv4.Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
            if time.time() > until:
                raise sigv4.Refused(*FAULTS["expired-token"][1:])
            return secret
        if token or key_id not in self.say().get("keys", {}):
            raise sigv4.Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
        return self.say()["keys"][key_id]

    def next_fault(self, authorization):
        """The first order that is not used up."""
        for order in self.say().get("fail", []):
            if f"={order.get('key') or ''}" not in authorization:
                continue
            name = (order["what"], order.get("serial", 0))
            with self.lock:
                if self.done.get(name, 0) < order.get("times", 1 << 30):
                    self.done[name] = self.done.get(name, 0) + 1
                    return order["what"]
        return None

    def limit(self, n):
        """Rate (emails to one recipient each, in any second) and quota; None, or what is exceeded."""
        now, account = time.time(), self.account()
        with self.lock:
            while self.sent and self.sent[0][0] < now - 86400:
                self.sent.popleft()
            if account["Max24HourSend"] >= 0 and sum(k for _, k in self.sent) + n > account["Max24HourSend"]:
                return "quota"
            if sum(k for at, k in self.sent if at > now - 1) >= account["MaxSendRate"]:
                return "throttle"
            self.sent.append((now, n))
        return None


class Handler(socketserver.StreamRequestHandler):
    """HTTP/1.1 with persistent connections; requests are kept as they came."""

    def read_head(self):
        line = self.rfile.readline(65537).decode("latin-1").rstrip("\r\n")
        if not line:
            return None
        method, target, _ = line.split(" ")
        headers = []
        while (line := self.rfile.readline(65537).decode("latin-1").rstrip("\r\n")):
            name, _, value = line.partition(":")
            headers.append((name, value))
        return sigv4.Request(method, target, [(name, value.strip(" ")) for name, value in headers])

    def handle(self):
        try:
            while (request := self.read_head()) is not None:
                if not self.one(request):
                    return
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass

    def answer(self, status, body, type_=None, content="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = [f"HTTP/1.1 {status} X", f"Content-Type: {content}", f"Content-Length: {len(data)}", f"x-amzn-RequestId: {secrets.token_hex(8)}"]
        if type_:
            head.append(f"x-amzn-ErrorType: {type_}")
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + data)
        return True


class Ses(Handler):
    def body(self, request, most=1 << 40):
        if (request.get("expect") or "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.body = self.rfile.read(min(most, int(request.get("content-length", "0"))))

    def sns(self, request):
        """The host of SNS: its certificate, and where a subscription is confirmed."""
        if request.target.startswith("/sns/confirm?"):
            self.note(request, 200, "confirmed")
            return self.answer(200, b"<ConfirmSubscriptionResponse/>", content="text/xml")
        if "slow" in request.target:
            time.sleep(5)
        path = self.server.state.folder / request.target.rpartition("/")[2]
        self.note(request, 200, "certificate")
        return self.answer(200, path.read_bytes(), content="application/x-pem") if path.exists() else self.answer(404, b"")

    def one(self, request):
        if request.method == "GET" and request.target.startswith("/sns/"):
            return self.sns(request)
        send = request.method == "POST" and request.target == "/v2/email/outbound-emails"
        fault = FAULTS.get(self.server.state.next_fault(request.get("authorization", ""))) if send else None
        if fault in ("cut-before-body", "cut-in-body"):
            if fault == "cut-in-body":
                self.body(request, 100_000)
            self.note(request, 0, fault)
            return False
        self.body(request)
        try:
            key = sigv4.verify(request, self.server.state.secret_of, REGION, "ses", time.time())
        except sigv4.Refused as refused:
            return self.refuse(request, 403, *refused.args)
        if send:
            return self.faulty(request, fault, key) if fault else self.send(request, key)
        if request.method == "GET" and request.target == "/v2/email/account":
            return self.account(request, key)
        return self.refuse(request, 404, "UnknownOperationException", "")

    def note(self, request, status, type_, key="", n=0):
        self.server.state.log("requests.jsonl", {"path": request.target, "status": status, "type": type_, "key": key, "n": n})

    def refuse(self, request, status, type_, message, key=""):
        self.note(request, status, type_, key)
        return self.answer(status, {"message": message}, type_)

    def faulty(self, request, fault, key):
        if not isinstance(fault, str):
            return self.refuse(request, *fault, key)
        if fault in ("slow", "silent"):
            time.sleep(3 if fault == "slow" else 3600)
            return self.send(request, key)
        if fault == "cut-after-accept":
            self.accept(request, key)
            return False
        self.note(request, 200 if fault in ("garbage", "no-id") else 0, fault, key)
        if fault == "cut-after-body":
            return False
        return self.answer(200, b"<html>\xff{" if fault == "garbage" else {})

    def account(self, request, key):
        account = self.server.state.account()
        self.note(request, 200, "", key)
        sent = sum(n for _, n in list(self.server.state.sent))
        return self.answer(200, {
            "SendQuota": {"Max24HourSend": account["Max24HourSend"], "MaxSendRate": account["MaxSendRate"], "SentLast24Hours": float(sent)},
            **{name: account[name] for name in ("EnforcementStatus", "SendingEnabled", "ProductionAccessEnabled")}})

    def identity_fault(self, addresses):
        verified = self.server.state.say().get("verified")
        bad = [] if verified is None else [a for a in addresses if a not in verified and a.rpartition("@")[2] not in verified]
        return f"Email address is not verified. The following identities failed the check in region {REGION.upper()}: {', '.join(bad)}" if bad else None

    def send(self, request, key):
        state, account = self.server.state, self.server.state.account()
        if not account["SendingEnabled"] or account["EnforcementStatus"] == "SHUTDOWN":
            return self.refuse(request, *FAULTS["paused"], key)
        wrong = self.wrong_with(request)
        if wrong:
            return self.refuse(request, 400, *wrong, key)
        limit = state.limit(len(json.loads(request.body)["Destination"]["ToAddresses"]))
        if limit:
            return self.refuse(request, *FAULTS[limit], key)
        return self.answer(200, {"MessageId": self.accept(request, key)})

    def wrong_with(self, request):
        """(type, message) of what is wrong with the request itself."""
        try:
            call = json.loads(request.body)
            to, raw = call["Destination"]["ToAddresses"], call["Content"]["Raw"]["Data"]
            data = base64.b64decode(raw, validate=True)
        except (ValueError, KeyError, TypeError) as error:
            return "BadRequestException", f"not a SendEmail request: {error}"
        if len(raw) > MESSAGE_BYTES:
            return "BadRequestException", f"Message length is more than {MESSAGE_BYTES} bytes long: '{len(raw)}'."
        if not 1 <= len(to) <= 50:
            return "BadRequestException", "Recipient count exceeds 50."
        bad = [a for a in to if not re.fullmatch(r"[!-~]+@[!-~]+", a)]
        if bad:
            return "BadRequestException", f"Illegal address: {bad[0]!r}"
        tags = call.get("EmailTags", [])
        if len(tags) > 50 or any(not re.fullmatch(r"[A-Za-z0-9_.@-]{1,256}", tag[k]) for tag in tags for k in ("Name", "Value")):
            return "BadRequestException", "Invalid tag."
        if max(map(len, data.split(b"\r\n"))) > 998:
            return "BadRequestException", "Line too long."
        header_from = email.message_from_bytes(data, policy=email.policy.compat32)["From"] or ""
        sandbox = to if not self.server.state.account()["ProductionAccessEnabled"] else []
        text = self.identity_fault([call.get("FromEmailAddress") or email.utils.parseaddr(header_from)[1], *sandbox])
        return ("MessageRejected", text) if text else None

    def accept(self, request, key):
        state, call = self.server.state, json.loads(request.body)
        with state.lock:
            number = next(state.serial)
        ident = f"0102{number:012x}-{secrets.token_hex(4)}-000000"
        path = state.folder / "mail" / ident
        path.write_bytes(base64.b64decode(call["Content"]["Raw"]["Data"]))
        to = call["Destination"]["ToAddresses"]
        state.log("received.jsonl", {
            "peer": self.client_address[0], "mail_from": call.get("FromEmailAddress", ""), "rcpt_to": to, "path": str(path), "bytes": path.stat().st_size,
            "ses_id": ident, "key": key, "tags": {tag["Name"]: tag["Value"] for tag in call.get("EmailTags", [])}, "configuration_set": call.get("ConfigurationSetName")})
        self.note(request, 200, "", key, len(to))
        return ident


class Metadata(Handler):
    """IMDSv2 only: a GET without a token that a PUT has given is refused."""
    BASE = "/latest/meta-data/iam/security-credentials/"

    def one(self, request):
        state = self.server.state
        if request.method == "PUT" and request.target == "/latest/api/token":
            life = int(request.get("x-aws-ec2-metadata-token-ttl-seconds", "0"))
            if not 1 <= life <= 21600:
                return self.answer(400, b"", content="text/plain")
            token = secrets.token_urlsafe(40)
            state.metadata_tokens[token] = time.time() + life
            return self.answer(200, token.encode(), content="text/plain")
        if state.metadata_tokens.get(request.get("x-aws-ec2-metadata-token"), 0) < time.time():
            return self.answer(401, b"", content="text/plain")
        if request.target == self.BASE:
            return self.answer(200, b"wirepost-sender", content="text/plain")
        if request.target == self.BASE + "wirepost-sender":
            return self.answer(200, self.issue(), content="text/plain")
        return self.answer(404, b"", content="text/plain")

    def issue(self):
        state, life = self.server.state, self.server.state.say().get("metadata_life_s", 3600)
        key, secret, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30), base64.b64encode(secrets.token_bytes(300)).decode()
        state.issued[key] = (secret, token, time.time() + life)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + life))
        return {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": when}


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 512
    tls = None

    def get_request(self):  # the handshake belongs to the connection's own thread
        sock, peer = self.socket.accept()
        sock.settimeout(120)
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, peer

    def handle_error(self, _request, _address):
        pass


def serve(listen, handler, state, tls=None):
    host, _, port = listen.rpartition(":")
    server = Server((host, int(port)), handler)
    server.state, server.tls = state, tls
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--listen", "--cert", "--key", "--folder"):
        parser.add_argument(name, required=True)
    parser.add_argument("--metadata")
    args = parser.parse_args()
    state, tls = State(args.folder), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(args.cert, args.key)
    serve(args.listen, Ses, state, tls)
    if args.metadata:
        serve(args.metadata, Metadata, state)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
