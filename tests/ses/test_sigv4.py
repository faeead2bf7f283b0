"""The stand-in's verifier against the vectors of Amazon's published SigV4 test suite (AKIDEXAMPLE, 2015-08-30, us-east-1, "service")
and the worked example of its documentation; then everything that it must refuse."""
import calendar
import hashlib
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "lab")]
import sigv4  # noqa: E402
import tap  # noqa: E402
from tap import expect_equal  # noqa: E402

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
BASE = [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")]
TOKEN = ("AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/"
         "qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7Z"
         "D0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==")
# name, method, target, further headers, body, signature
VECTORS = [
    ("get-vanilla", "GET", "/", [], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("post-vanilla", "POST", "/", [], b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", [], b"",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ("get-vanilla-empty-query-key", "GET", "/?Param1=value1", [], b"",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
    ("get-utf8", "GET", "/\u1234", [], b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ("get-header-value-trim", "GET", "/", [("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')], b"",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
    ("post-header-key-sort", "POST", "/", [("My-Header1", "value1")], b"",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
    ("post-x-www-form-urlencoded", "POST", "/", [("Content-Type", "application/x-www-form-urlencoded")], b"Param1=value1",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ("post-sts-header-before", "POST", "/", [("X-Amz-Security-Token", TOKEN)], b"",
     "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
]


def sign(request, secret=SECRET, service="service"):
    signed = sorted({name.lower() for name, _ in request.headers})
    given = sigv4.signature(request, signed, secret, "20150830", "us-east-1", service)
    request.headers.append(("Authorization", f"{sigv4.ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, "
                            f"SignedHeaders={';'.join(signed)}, Signature={given}"))
    return request


def the_key_derivation_is_that_of_the_documentation(_work):
    key = sigv4.signing_key(SECRET, "20150830", "us-east-1", "iam")
    expect_equal("key", key.hex(), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9")


def the_worked_example_of_the_documentation_has_its_signature(_work):
    headers = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"), ("Host", "iam.amazonaws.com"),
               ("X-Amz-Date", "20150830T123600Z")]
    request = sigv4.Request("GET", "/?Action=ListUsers&Version=2010-05-08", headers)
    expect_equal("signature", sigv4.signature(request, ["content-type", "host", "x-amz-date"], SECRET, "20150830", "us-east-1", "iam"),
                 "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")


def each_published_vector_has_its_signature(_work):
    for name, method, target, more, body, wanted in VECTORS:
        request = sigv4.Request(method, target, BASE + more, body)
        signed = sorted({key.lower() for key, _ in request.headers})
        expect_equal(name, sigv4.signature(request, signed, SECRET, "20150830", "us-east-1", "service"), wanted)


def what_is_signed_right_is_let_in_and_every_change_is_refused(_work):
    now = calendar.timegm(time.strptime("20150830T123600Z", "%Y%m%dT%H%M%SZ"))

    def outcome(change=lambda r: None, at=now, secret=SECRET):
        request = sign(sigv4.Request("POST", "/v2/email/outbound-emails", [*BASE, ("X-Amz-Content-Sha256", hashlib.sha256(b"{}").hexdigest())], b"{}"), secret)
        change(request)
        try:
            return sigv4.verify(request, lambda key, token: SECRET, "us-east-1", "service", at)
        except sigv4.Refused as refused:
            return refused.args[0]

    def swap(name, value):
        def change(request):
            request.headers = [(key, value if key == name else old) for key, old in request.headers]
        return change
    expect_equal("right", outcome(), "AKIDEXAMPLE")
    expect_equal("another secret", outcome(secret="other"), "InvalidSignatureException")
    expect_equal("another body", outcome(lambda r: setattr(r, "body", b"{ }")), "InvalidSignatureException")
    expect_equal("another path", outcome(lambda r: setattr(r, "target", "/v2/email/account")), "InvalidSignatureException")
    expect_equal("another host", outcome(swap("Host", "elsewhere.example")), "InvalidSignatureException")
    expect_equal("an unsigned x-amz header", outcome(lambda r: r.headers.append(("X-Amz-Security-Token", "t"))), "IncompleteSignatureException")
    expect_equal("a signed header that is not there", outcome(lambda r: r.headers.pop(0)), "IncompleteSignatureException")
    expect_equal("nothing", outcome(lambda r: r.headers.pop()), "MissingAuthenticationTokenException")
    expect_equal("six minutes late", outcome(at=now + 360), "InvalidSignatureException")


def main():
    args = tap.arguments(__doc__)
    tap.run([the_key_derivation_is_that_of_the_documentation, the_worked_example_of_the_documentation_has_its_signature,
             each_published_vector_has_its_signature, what_is_signed_right_is_let_in_and_every_change_is_refused], args)


if __name__ == "__main__":
    main()
