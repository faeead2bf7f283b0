"""AWS Signature Version 4, the verifier's side, from the raw request: written from Amazon's description, shares nothing with our
code or with libcurl. test_sigv4.py holds it against the vectors that Amazon publishes.
"""
import calendar
import hashlib
import hmac
import re
import time
import urllib.parse

ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    r"^AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request,\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$")


class Refused(Exception):
    """(type, message) as the service would say it."""


class Request:
    """A request as it came: method, target, headers as a list of (name, value) with the bytes' own spelling, body."""

    def __init__(self, method, target, headers, body=b""):
        self.method, self.target, self.headers, self.body = method, target, headers, body

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name, otherwise=None):
        values = self.all(name)
        return values[0] if values else otherwise


def _encode(text, safe="-_.~"):
    return urllib.parse.quote(text, safe=safe)


def canonical_path(path):
    """Dots and double slashes removed, each segment encoded a second time (all services but S3)."""
    kept = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(_encode(segment))
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def canonical_query(query):
    pairs = [part.partition("=") for part in query.split("&") if part]
    return "&".join(f"{name}={value}" for name, value in sorted(
        (_encode(urllib.parse.unquote(name)), _encode(urllib.parse.unquote(value))) for name, _, value in pairs))


def canonical_value(value):
    return re.sub(r" +", " ", value.strip())


def canonical_request(request, signed, payload_hash):
    path, _, query = request.target.partition("?")
    lines = [request.method, canonical_path(path), canonical_query(query)]
    for name in signed:
        lines.append(f"{name}:{','.join(canonical_value(value) for value in request.all(name))}")
    return "\n".join([*lines, "", ";".join(signed), payload_hash])


def signing_key(secret, day, region, service):
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def signature(request, signed, secret, day, region, service):
    canonical = canonical_request(request, signed, hashlib.sha256(request.body).hexdigest())
    text = "\n".join([ALGORITHM, request.get("x-amz-date"), f"{day}/{region}/{service}/aws4_request",
                      hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.new(signing_key(secret, day, region, service), text.encode(), hashlib.sha256).hexdigest()


def _check_headers(request, signed):
    """What Amazon demands of the list: sorted, each present, host and every x-amz-* among them."""
    present = {name.lower() for name, _ in request.headers}
    absent = [name for name in signed if name not in present]
    if absent:
        raise Refused("IncompleteSignatureException", f"'{absent[0]}' is named as a SignedHeader, but it does not exist in the HTTP request.")
    wanted = {"host"} | {name for name in present if name.startswith("x-amz-")}
    if signed != sorted(signed) or not wanted <= set(signed):
        raise Refused("IncompleteSignatureException", f"SignedHeaders must be sorted and name {sorted(wanted)}")
    for name in signed:
        if name.startswith("x-amz-") and len(request.all(name)) != 1:
            raise Refused("IncompleteSignatureException", f"{name} stands in the request more than once")


def verify(request, secret_of, region, service, now):
    """The access key of a request that is signed right. secret_of(key id, session token or None) gives the secret or raises Refused."""
    found = _AUTHORIZATION.match(request.get("authorization", ""))
    if not found:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    key_id, day, key_region, key_service, names, given = found.groups()
    signed = names.split(";")
    _check_headers(request, signed)
    date = request.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", date) or not date.startswith(day):
        raise Refused("IncompleteSignatureException", "X-Amz-Date is not the date of the credential scope")
    if (key_region, key_service) != (region, service):
        raise Refused("InvalidSignatureException", f"Credential should be scoped to a valid region and service: {region}/{service}")
    secret = secret_of(key_id, request.get("x-amz-security-token"))
    stated = request.get("x-amz-content-sha256")
    if stated is not None and stated != hashlib.sha256(request.body).hexdigest():
        raise Refused("InvalidSignatureException", "x-amz-content-sha256 is not the hash of the body")
    if not hmac.compare_digest(given, signature(request, signed, secret, day, region, service)):
        raise Refused("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. "
                      "Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
    if abs(calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")) - now) > 300:
        raise Refused("InvalidSignatureException", f"Signature expired: {date} is now earlier than the time that is allowed")
    return key_id
