"""DKIM signatures of ours, verified by dkimpy; any byte that is changed breaks them."""
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import dkim  # noqa: E402
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
            path = work / f"{name}.pem"
            subprocess.run(["openssl", "genpkey", "-algorithm", *options, "-out", path], check=True, stderr=subprocess.DEVNULL)
            path.chmod(0o600)
            self.keys += [("acme.example", name, str(path))]

    def sign(self, message, keys=None, *flags, ok=True):
        argv = [self.tool, *flags, "1795460820", *[word for key in keys or self.keys for word in key]]
        done = subprocess.run(argv, input=message, capture_output=True, check=False)
        expect_equal(f"status: {done.stderr.decode()}", done.returncode == 0, ok)
        for key, record in zip(keys or self.keys, done.stderr.splitlines()):
            self.records[f"{key[1]}._domainkey.{key[0]}.".encode()] = record
        return done.stdout if ok else done.stderr.decode()

    def txt(self, name, timeout=5):
        return self.records.get(name)

    def verify(self, message, number):
        return dkim.DKIM(message, timeout=5).verify(idx=number, dnsfunc=self.txt)


def every_kind_of_message_is_verified_by_dkimpy(work, args):
    lab = Lab(work, args.tool)
    for head_name, head in HEADS.items():
        for body_name, body in BODIES.items():
            signed = lab.sign(head + b"\r\n" + body)
            for number, algorithm in enumerate(("rsa", "ed25519")):
                expect(lab.verify(signed, number), f"{algorithm}: {head_name}, {body_name}")
            lines = signed[:len(signed) - len(head) - 2 - len(body)].split(b"\r\n")
            expect(max(map(len, lines)) <= 80, f"a line of {max(map(len, lines))} bytes")


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
    signed = lab.sign(HEAD + b"\r\nhello\r\n", None, "--dates-change")
    changed = signed.replace(b"Mon, 23 Nov 2026 10:00:00", b"Tue, 24 Nov 2026 11:11:11").replace(b"<1@acme.example>", b"<other@ses.example>")
    expect(lab.verify(changed, 0) and lab.verify(changed, 1), "a new Date and Message-ID break it")


def the_domain_of_from_is_found_in_odd_places(work, args):
    cases = {
        b"news@acme.example": "acme.example", b"<news@ACME.Example>": "acme.example", b'"a@b.example" <news@acme.example>': "acme.example",
        b"(c@d.example) news@acme.example": "acme.example", b'"quo\\"ted@x" (com(me)nt@y) <n@acme.example> (z@w)': "acme.example",
        b"Name\r\n <news@acme.example>": "acme.example", b'"x@y"@acme.example': "acme.example", b"nobody": None, b"": None, b"x@": None, b'"open@x.example': None,
    }
    for value, want in cases.items():
        done = subprocess.run([args.tool, "--from"], input=b"From: " + value + b"\r\n\r\n", capture_output=True, check=False)
        expect_equal(repr(value), done.stdout.decode().strip() or None, want)
    done = subprocess.run([args.tool, "--from"], input=b"From: a@b.c\r\nFrom: d@e.f\r\n\r\n", capture_output=True, check=False)
    expect_equal("two From", done.stdout, b"")


def keys_that_are_no_secret_or_too_weak_are_refused(work, args):
    lab = Lab(work, args.tool)
    message = HEAD + b"\r\nhello\r\n"
    domain, selector, path = lab.keys[0]
    Path(path).chmod(0o640)
    expect("chmod 600" in lab.sign(message, lab.keys[:1], ok=False), "a key that the group may read")
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
    tap.run([every_kind_of_message_is_verified_by_dkimpy, a_header_without_a_body_is_signed, each_byte_that_is_changed_breaks_the_signature,
             nobody_can_add_another_from_or_subject, where_dates_change_on_the_way_they_are_not_signed,
             the_domain_of_from_is_found_in_odd_places, keys_that_are_no_secret_or_too_weak_are_refused], args, args)


if __name__ == "__main__":
    main()
