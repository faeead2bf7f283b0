"""Messages as Amazon SNS sends them, signed with a key of our own; openssl's command does the RSA."""
import base64
import itertools
import json
import subprocess
import time

TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
_FIELDS = {"Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
           "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")}
_serial = itertools.count(1)


class Sns:
    def __init__(self, work, folder, base):
        """The certificate becomes a file of `folder`, which `base` + "/sns/" serves."""
        self.key, self.base = work / "sns.key", base
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=sns.amazonaws.com",
                        "-keyout", self.key, "-out", folder / "sns.pem"], check=True, capture_output=True)

    def _sign(self, text, digest):
        done = subprocess.run(["openssl", "dgst", f"-{digest}", "-sign", self.key], input=text.encode(), capture_output=True, check=True)
        return base64.b64encode(done.stdout).decode()

    def message(self, kind="Notification", message="", version="2", changes=None, unsigned=None):
        """The JSON of one; `changes` are signed with it, `unsigned` ones are made afterwards."""
        fields = {"Type": kind, "MessageId": f"00000000-0000-0000-0000-{next(_serial):012d}", "TopicArn": TOPIC, "Message": message,
                  "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "SignatureVersion": version,
                  "SigningCertURL": f"{self.base}/sns/sns.pem"}
        if kind == "SubscriptionConfirmation":
            fields |= {"Token": "t" * 64, "SubscribeURL": f"{self.base}/sns/confirm?Action=ConfirmSubscription&Token=" + "t" * 64}
        fields |= changes or {}
        text = "".join(f"{name}\n{fields[name]}\n" for name in _FIELDS[kind] if name in fields)
        fields["Signature"] = self._sign(text, "sha256" if version == "2" else "sha1")
        return json.dumps(fields | (unsigned or {}))


def event(kind, ident, ses_id, recipient, **part):
    """An event of SES for a message that was tagged with our id."""
    body = {"Bounce": {"bouncedRecipients": [{"emailAddress": recipient, "action": "failed", "status": "5.1.1", **part}],
                       "bounceType": "Permanent", "bounceSubType": "General"},
            "Complaint": {"complainedRecipients": [{"emailAddress": recipient}], "complaintFeedbackType": "abuse"},
            "Delivery": {"recipients": [recipient], "smtpResponse": "250 ok", "processingTimeMillis": 700},
            "Open": {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0"},
            "Click": {"link": "https://acme.example/"}, "Send": {}}[kind]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 60))
    return json.dumps({"eventType": kind, kind.lower(): body | {"timestamp": stamp},
                       "mail": {"messageId": ses_id, "destination": [recipient], "tags": {"ses:source-ip": ["192.0.2.9"], "wirepost-id": [ident]}}})
