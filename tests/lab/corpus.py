"""Real RFC 5322 messages of every kind that matters to transport, from a seed.

Each message has a unique Message-ID, Date and CRLF line ends, so that a faithful sender delivers
exactly these bytes.
"""
import email.policy
import email.utils
import random
from email.message import EmailMessage
from email.mime.base import MIMEBase

_WORDS = ("invoice order parcel ticket morning report balance garden harbour receipt window summer "
          "train signal paper engine meadow kitchen winter letter").split()
_UTF8 = "Größe: 10 µm — naïve café, Ελληνικά, русский, 日本語 ✓"
KINDS = ("plain", "html", "dots", "utf8", "attachment", "large")


def _sentence(rng, words):
    return " ".join(rng.choice(_WORDS) for _ in range(words)).capitalize() + "."


def _paragraphs(rng, count):
    return "\n".join(_sentence(rng, rng.randint(5, 12)) for _ in range(count)) + "\n"


def _plain(rng, message):
    message.set_content(_paragraphs(rng, rng.randint(1, 40)))


def _html(rng, message):
    message.set_content(_paragraphs(rng, 5))
    rows = "".join(f"<tr><td>{_sentence(rng, 4)}</td></tr>\n" for _ in range(rng.randint(5, 60)))
    message.add_alternative(f"<html><body><table>\n{rows}</table></body></html>\n", subtype="html")


def _dots(rng, message):
    lines = [".", "..", "...", ".leading dot", "inner . dot", "", ".", "ends with a dot."]
    rng.shuffle(lines)
    message.set_content("\n".join(lines * rng.randint(1, 30)) + "\n.\n", cte="7bit")


def _utf8(rng, message):
    body = "\n".join(f"{_UTF8} {rng.random():.6f}" for _ in range(rng.randint(1, 50)))
    message.set_content(body + "\n", cte="8bit")


def _attachment(rng, message, low=1_000, high=60_000):
    message.set_content(_paragraphs(rng, 3))
    message.add_attachment(rng.randbytes(rng.randint(low, high)), maintype="application",
                           subtype="octet-stream", filename="data.bin")


def _large(rng, message):
    _attachment(rng, message, 200_000, 740_000)  # base64 makes it up to 1 MB


_BUILDERS = {"plain": _plain, "html": _html, "dots": _dots, "utf8": _utf8,
             "attachment": _attachment, "large": _large}


def kind_of(index):
    """Mostly small mail, every kind often, 2 % large."""
    if index % 50 == 49:
        return "large"
    return KINDS[index % 5]


def make(index, seed, mail_from, rcpt_to):
    """Message number `index` as bytes on the wire; the same arguments give the same bytes."""
    rng = random.Random(f"{seed}/{index}")
    message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
    message["From"] = f"Sender <{mail_from}>"
    message["To"] = rcpt_to
    message["Subject"] = _sentence(rng, 4)
    message["Date"] = email.utils.formatdate(1_780_000_000 + index)
    message["Message-ID"] = f"<{seed}.{index}@{mail_from.split('@')[1]}>"
    _BUILDERS[kind_of(index)](rng, message)
    if rng.random() < 0.1:  # an epilogue of lines that tempt a careless sender to stop early
        return message.as_bytes() + b"\r\n.\r\n..\r\nQUIT\r\n"
    return message.as_bytes()
