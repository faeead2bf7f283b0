"""DKIM signatures of ours, verified by dkimpy and by opendkim; any byte that is changed breaks them."""
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import dkim  # noqa: E402
from dkim.canonicalization import Relaxed  # noqa: E402
import tap  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

HEAD = (b"From: Acme <news@acme.example>\r\nTo: you@alpha.example\r\nSubject: hello\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        b"Message-ID: <1@acme.example>\r\n")
BODIES = {
    "empty": b"", "one line": b"hello\r\n", "blank lines at the end": b"hello\r\n\r\n\r\n\r\n", "only blank lines": b"\r\n\r\n",
    "white space at ends": b"hello  \t \r\n  indented \t twice\r\n \t \r\n", "a dot": b".\r\n..\r\n.hidden\r\n",
    "8 bit": "Grüße\r\n".encode(), "long": b"x" * 990 + b"\r\n", "many": b"line of text \t with  spaces\r\n" * 5000, "space lines": b" \r\n\t\r\nx\r\n \r\n",
}
HEADS = {
    "plain": HEAD,
    "folded": HEAD.replace(b"Subject: hello", b"Subject:  a very\r\n\t long   subject\r\n  indeed \t"),
    "no subject": HEAD.replace(b"Subject: hello\r\n", b""),
    "empty subject": HEAD.replace(b"Subject: hello", b"Subject:"),
    "two To": HEAD + b"To: other@beta.example\r\n",
    "odd case": HEAD.replace(b"From:", b"fROM:").replace(b"Date:", b"DATE:"),
    "MIME": HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary=\"x y\"\r\nContent-Transfer-Encoding: 8bit\r\n",
    "list": HEAD + b"List-Unsubscribe: <https://acme.example/u?a=b>,\r\n <mailto:u@acme.example>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
    "8 bit": HEAD.replace(b"hello", "Grüße".encode()),
    "received": b"Received: from a by b;\r\n Mon, 23 Nov 2026 10:00:00 +0000\r\n" + HEAD,
}


class Lab:
    def __init__(self, work, tool):
        self.work, self.tool, self.records = work, tool, {}
        self.keys = []
        for name, options in (("rsa", ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]), ("ed", ["ED25519"])):
            self.keys += [("acme.example", name, self.make_key(name, *options))]

    def make_key(self, name, *options):
        path = self.work / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", *options, "-out", path], check=True, stderr=subprocess.DEVNULL)
        path.chmod(0o600)
        return str(path)

    def run(self, *argv, data=b""):
        return subprocess.run([self.tool, *argv], input=data, capture_output=True, check=False)

    def sign(self, message, keys=None, profile="all", at=None, expire=0, identity="", ok=True):
        words = [word for key in keys or self.keys for word in key]
        done = self.run("sign", profile, str(at or int(time.time())), str(expire), identity, *words, data=message)
        expect_equal(f"status: {done.stderr.decode()}", done.returncode == 0, ok)
        for key, record in zip(keys or self.keys, done.stderr.splitlines()):
            self.records[f"{key[1]}._domainkey.{key[0]}.".encode()] = record
        return done.stdout if ok else done.stderr.decode()

    def txt(self, name, timeout=5):
        return self.records.get(name)

    def verify(self, message, number):
        return dkim.DKIM(message, timeout=5).verify(idx=number, dnsfunc=self.txt)

    def opendkim(self, messages):
        """How many signatures of each message opendkim's filter finds good: one run for all of them."""
        names = []
        for n, message in enumerate(messages):
            names.append(self.work / f"m{n}.eml")
            names[-1].write_bytes(message)
        keys = self.work / "keys.txt"
        keys.write_bytes(b"".join(name.rstrip(b".") + b" " + text + b"\n" for name, text in self.records.items()))
        conf = self.work / "opendkim.conf"
        conf.write_text(f"TestPublicKeys {keys}\nMode v\nSyslog no\n")
        done = subprocess.run(["opendkim", "-t", ",".join(map(str, names)), "-x", conf, "-vv"], capture_output=True, check=False)
        parts = done.stdout.decode().split("### INSHEADER")[1:]
        expect_equal("messages that opendkim looked at", len(parts), len(messages))
        return [part.count("dkim=pass") for part in parts]


def every_kind_of_message_is_verified_by_dkimpy_and_opendkim(work, args):
    lab = Lab(work, args.tool)
    mail = {f"{h}, {b}": HEADS[h] + b"\r\n" + BODIES[b] for h in HEADS for b in BODIES}
    signed = {name: lab.sign(message) for name, message in mail.items()}
    for name, message in signed.items():
        for number, algorithm in enumerate(("rsa", "ed25519")):
            expect(lab.verify(message, number), f"{algorithm}: {name}")
        lines = message[:len(message) - len(mail[name])].split(b"\r\n")
        expect(max(map(len, lines)) <= 78, f"a line of {max(map(len, lines))} bytes")
        expect(all(line[:1] == b"\t" or line[:15] == b"DKIM-Signature:" for line in lines[:-1]), f"folding: {lines}")
    for name, good in zip(signed, lab.opendkim(signed.values())):
        expect_equal(f"opendkim: {name}", good, 2)
    changed = [message.replace(b"news@acme", b"mews@acme").replace(b"Acme <", b"Acne <") for message in signed.values()]
    expect_equal("opendkim and changed ones", sum(lab.opendkim(changed)), 0)


def bodies_become_what_dkimpy_makes_of_them_however_they_are_cut(work, args):
    lab = Lab(work, args.tool)
    rng = random.Random(20261124)
    parts = [b" ", b"\t", b"\r\n", b"a", b"word", b".", b"x" * 64, b"y" * 63 + b" ", b"one two three four five six seven eight nine ten eleven twelve\r\n"]
    for size in (0, 1, 2, 3, 5, 10, 50, 400) * 6:
        body = b"".join(rng.choice(parts) for _ in range(size))
        body += b"" if not body or body.endswith(b"\r\n") else b"\r\n"
        want = Relaxed.canonicalize_body(body)
        for piece in (1, 7, 64, 65, 1 << 30):
            expect_equal(f"{body!r} by {piece}", lab.run("canon", str(piece), data=body).stdout, want)


def a_signature_may_say_who_and_until_when(work, args):
    lab = Lab(work, args.tool)
    now = int(time.time())
    signed = lab.sign(HEAD + b"\r\nhello\r\n", at=now, expire=600, identity="@mail.acme.example")
    field = b"".join(signed.split(b"From: Acme")[0].split())
    expect(f"t={now};x={now + 600};".encode() in field and b"i=@mail.acme.example;" in field, str(field))
    expect(lab.verify(signed, 0) and lab.verify(signed, 1), "it is not good")
    old = lab.sign(HEAD + b"\r\nhello\r\n", at=now - 900000, expire=600)
    try:
        good = lab.verify(old, 0)
    except dkim.DKIMException:
        good = False
    expect(not good, "one that has expired is good")
    expect_equal("the same again", lab.sign(HEAD + b"\r\nhello\r\n", at=5), lab.sign(HEAD + b"\r\nhello\r\n", at=5))


def records_are_judged_as_receivers_read_them(work, args):
    lab = Lab(work, args.tool)
    lab.sign(HEAD + b"\r\nx\r\n")
    rsa, ed = lab.records[b"rsa._domainkey.acme.example."].decode(), lab.records[b"ed._domainkey.acme.example."].decode()
    p = rsa.split("p=")[1]
    cases = [
        ("rsa", [rsa], "ok"), ("ed", [ed], "ok"), ("rsa", [], "missing"), ("rsa", [rsa, rsa], "several"), ("rsa", [ed], "unusable"),
        ("ed", [rsa], "unusable"), ("rsa", [f"p={p}"], "ok"), ("rsa", [f" v = DKIM1 ; p = {p[:50]} {p[50:]} ; n=note ;"], "ok"),
        ("rsa", ["v=DKIM1; p="], "revoked"), ("rsa", [f"v=DKIM1; p={p[:-8]}AAAAAAAA"], "other"), ("rsa", [f"v=DKIM2; p={p}"], "unusable"),
        ("rsa", [f"h=sha1; p={p}"], "unusable"), ("rsa", [f"h=sha1:sha256; p={p}"], "ok"), ("rsa", [f"s=tlsrpt; p={p}"], "unusable"),
        ("rsa", [f"s=tlsrpt:email; p={p}"], "ok"), ("rsa", [f"s=*; p={p}"], "ok"), ("rsa", [f"t=y; p={p}"], "ok testing"),
        ("rsa", [f"p={p}; p={p}"], "unusable"), ("rsa", ["v=spf1 -all"], "unusable"), ("rsa", [""], "unusable"), ("rsa", ["no tag"], "unusable"),
    ]
    for key, records, want in cases:
        got = lab.run("judge", "acme.example", "", str(work / f"{key}.pem"), *records)
        expect_equal(f"{key} {records}", got.stdout.decode().strip(), want)
    for identity, want in (("@acme.example", "ok"), ("@mail.acme.example", "unusable")):
        got = lab.run("judge", "acme.example", identity, str(work / "rsa.pem"), f"t=s; p={p}")
        expect_equal(f"t=s and {identity}", got.stdout.decode().strip(), want)


def a_header_without_a_body_is_signed(work, args):
    lab = Lab(work, args.tool)
    expect(lab.verify(lab.sign(HEAD), 0), "header alone")


def each_byte_that_is_changed_breaks_the_signature(work, args):
    lab = Lab(work, args.tool)
    message = HEAD + b"\r\nhello world\r\n"
    signed = lab.sign(message, lab.keys[:1])
    start = len(signed) - len(message)
    for at in [start + n for n, byte in enumerate(message) if chr(byte).isalnum()]:
        broken = signed[:at] + (b"X" if signed[at:at + 1] != b"X" else b"Y") + signed[at + 1:]
        try:
            good = lab.verify(broken, 0)
        except dkim.DKIMException:
            good = False
        expect(not good, f"byte {at - start} of {message!r} may be changed")


def nobody_can_add_another_from_or_subject(work, args):
    lab = Lab(work, args.tool)
    signed = lab.sign(HEAD + b"\r\nhello\r\n")
    for field in (b"From: evil@evil.example\r\n", b"Subject: pay\r\n", b"To: x@y\r\n", b"Content-Type: text/html\r\n", b"Reply-To: evil@evil.example\r\n"):
        expect(not lab.verify(field + signed, 0), f"{field!r} may be put in front")
        at = signed.index(b"\r\n\r\n") + 2
        expect(not lab.verify(signed[:at] + field + signed[at:], 0), f"{field!r} may be added at the end")


def where_dates_change_on_the_way_they_are_not_signed(work, args):
    lab = Lab(work, args.tool)
    signed = lab.sign(HEAD + b"\r\nhello\r\n", None, "stable")
    changed = signed.replace(b"Mon, 23 Nov 2026 10:00:00", b"Tue, 24 Nov 2026 11:11:11").replace(b"<1@acme.example>", b"<other@ses.example>")
    expect(lab.verify(changed, 0) and lab.verify(changed, 1), "a new Date and Message-ID break it")


def the_domain_of_from_is_found_in_odd_places(work, args):
    cases = {
        b"news@acme.example": "acme.example", b"<news@ACME.Example>": "acme.example", b'"a@b.example" <news@acme.example>': "acme.example",
        b"(c@d.example) news@acme.example": "acme.example", b'"quo\\"ted@x" (com(me)nt@y) <n@acme.example> (z@w)': "acme.example",
        b"Name\r\n <news@acme.example>": "acme.example",
        b"evil@b.example <news@acme.example>": "acme.example", b"Us: a@acme.example, b@b.example;": "acme.example", b", a@acme.example": "acme.example",
        "x@gr\u00fc\u00dfe.example".encode(): "xn--gre-6ka8l.example", b"a@[192.0.2.1]": None, b"<@r.example:a@acme.example>": None, b"(open a@b.example": None, b'"x@y"@acme.example': "acme.example", b"nobody": None, b"": None, b"x@": None, b'"open@x.example': None,
    }
    for value, want in cases.items():
        done = subprocess.run([args.tool, "from"], input=b"From: " + value + b"\r\n\r\n", capture_output=True, check=False)
        expect_equal(repr(value), done.stdout.decode().strip() or None, want)
    done = subprocess.run([args.tool, "from"], input=b"From: a@b.c\r\nFrom: d@e.f\r\n\r\n", capture_output=True, check=False)
    expect_equal("two From", done.stdout, b"")


def keys_that_are_no_secret_or_too_weak_are_refused(work, args):
    lab = Lab(work, args.tool)
    message = HEAD + b"\r\nhello\r\n"
    domain, selector, path = lab.keys[0]
    Path(path).chmod(0o640)
    expect("chmod 0600" in lab.sign(message, lab.keys[:1], ok=False), "a key that the group may read")
    weak = work / "weak.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:512", "-out", weak], check=False, stderr=subprocess.DEVNULL)
    other = work / "ec.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other], check=True, stderr=subprocess.DEVNULL)
    text = work / "text.pem"
    text.write_text("no key\n")
    for file in (f for f in (weak, other, text) if f.exists()):
        file.chmod(0o600)
        error = lab.sign(message, [(domain, selector, str(file))], ok=False)
        expect(str(file) in error, error)
    expect("No such file" in lab.sign(message, [(domain, selector, str(work / "none.pem"))], ok=False), "no file")


def main():
    args = tap.arguments(__doc__)
    args.tool = str(Path(args.build) / "tests/dkim/dkim_tool")
    tap.run([every_kind_of_message_is_verified_by_dkimpy_and_opendkim, bodies_become_what_dkimpy_makes_of_them_however_they_are_cut,
             a_signature_may_say_who_and_until_when, records_are_judged_as_receivers_read_them, a_header_without_a_body_is_signed, each_byte_that_is_changed_breaks_the_signature,
             nobody_can_add_another_from_or_subject, where_dates_change_on_the_way_they_are_not_signed,
             the_domain_of_from_is_found_in_odd_places, keys_that_are_no_secret_or_too_weak_are_refused], args, args)


if __name__ == "__main__":
    main()
