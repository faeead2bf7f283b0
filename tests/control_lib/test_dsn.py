#!/usr/bin/python3
"""test_dsn.py - bounces as Python's email package reads them: test_dsn.py DSN_PRINT."""

import email
import email.policy
import subprocess
import sys

PLAIN, NASTY, UTF8, EIGHT_BIT, RAW, NO_ORIGINAL = range(6)


def parse(printer, number):
    raw = subprocess.run([printer, str(number)], check=True, stdout=subprocess.PIPE).stdout
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for part in message.walk():
        assert not part.defects, part.defects
    assert message.get_content_type() == "multipart/report", message.get_content_type()
    assert message["Auto-Submitted"] == "auto-replied"
    return message


def the_parts_are_those_of_a_report(printer):
    message = parse(printer, PLAIN)
    parts = [part.get_content_type() for part in message.get_payload()]
    assert parts == ["text/plain", "message/delivery-status", "text/rfc822-headers"], parts
    assert message.get_param("report-type") == "delivery-status"
    assert message["To"].addresses[0].addr_spec == "bounces@acme.example"
    assert message["Date"].datetime.isoformat() == "2026-11-23T19:07:00+00:00"


def each_recipient_has_its_block(printer):
    blocks = parse(printer, PLAIN).get_payload()[1].get_payload()
    assert len(blocks) == 5, len(blocks)
    assert blocks[0]["Reporting-MTA"] == "dns; mta1.example.net"
    fields = [(b["Final-Recipient"], b["Status"], b["Remote-MTA"]) for b in blocks[1:]]
    assert fields == [
        ("rfc822; nobody@example.net", "5.1.1", "dns; mx1.example.net"),
        ("rfc822; late@example.org", "5.4.7", None),
        ("rfc822; odd@[192.0.2.1]", "5.0.0", "dns; [192.0.2.1]"),
        ("rfc822; six@example.org", "5.2.2", "dns; [IPv6:2001:db8::25]"),
    ], fields
    assert all(b["Action"] == "failed" for b in blocks[1:])
    assert blocks[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert blocks[4]["Diagnostic-Code"].endswith("kkkk llll mmmm nnnn"), blocks[4]["Diagnostic-Code"]


def the_header_of_the_original_comes_back(printer):
    headers = email.message_from_bytes(parse(printer, PLAIN).get_payload()[2].get_payload(decode=True))
    assert headers["From"] == "a@acme.example" and headers["Subject"].split() == ["folded", "subject"]
    raw = parse(printer, EIGHT_BIT).get_payload()[2].get_payload(decode=True)
    assert raw.startswith(b"Subject: =\xc3\xa9 \r\nX: y\r\n"), raw
    raw = parse(printer, RAW).get_payload()[2].get_payload(decode=True)
    assert raw.startswith(b"Subject: \xe9\xff\r\n"), raw
    assert len(parse(printer, NO_ORIGINAL).get_payload()) == 2


def nasty_text_changes_no_shape(printer):
    message = parse(printer, NASTY)
    assert message["Bcc"] is None and message["X"] is None
    assert len(message.get_payload()) == 3
    blocks = message.get_payload()[1].get_payload()
    assert len(blocks) == 6, len(blocks)
    shapes = [sorted(set(b.keys()) - {"Original-Recipient"}) for b in blocks[1:]]
    assert all(shape == shapes[0] for shape in shapes), shapes
    assert blocks[1]["Original-Recipient"] == "x??y; z??" and blocks[4]["Original-Recipient"] == r"utf-8; \x{7528}@x"
    assert blocks[4]["Final-Recipient"] == r"utf-8; \x{7528}\x{5C}\x{2B}\x{3D}@example.org"


def the_international_one_is_a_report_too(printer):
    message = parse(printer, UTF8)
    parts = [part.get_content_type() for part in message.get_payload()]
    assert parts == ["text/plain", "message/global-delivery-status", "message/global-headers"], parts
    assert message.get_param("report-type") == "global-delivery-status"
    assert message["Content-Transfer-Encoding"] == "8bit"


def main():
    tests = [
        the_parts_are_those_of_a_report,
        each_recipient_has_its_block,
        the_header_of_the_original_comes_back,
        nasty_text_changes_no_shape,
        the_international_one_is_a_report_too,
    ]
    failed = 0
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        try:
            test(sys.argv[1])
            print(f"ok {number} - {test.__name__}")
        except Exception as error:  # whatever it is, it is this test's
            failed += 1
            text = repr(error).replace("\n", " ")
            print(f"not ok {number} - {test.__name__}\n# {text}")
    return 1 if failed else 0


sys.exit(main())
