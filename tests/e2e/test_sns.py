"""What SES tells later of mail comes by SNS: signatures, subscriptions, and events that find their message and route."""
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("ses", "lab")]
import ses_lab  # noqa: E402
import sns  # noqa: E402
import tap  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

LISTEN = "127.0.0.1:8025"
BASE = f"https://{ses_lab.HOST}:{ses_lab.PORT}"


class Site(ses_lab.Site):
    def __init__(self, netns, work, args, **http):
        super().__init__(netns, work, args, route={"configuration_set": "events"},
                         http={"listen": LISTEN, "sns_topics": [sns.TOPIC], "sns_endpoint": BASE} | http)
        self.sns = sns.Sns(self.work, self.ses.folder, BASE)

    def post(self, text, path="/v1/sns", *flags):
        """(status, words) of the answer."""
        (self.work / "post").write_text(text)
        done = self.netns.exec("curl", "-s", "-m", "20", "-w", "\n%{http_code}", "--data-binary", f"@{self.work}/post", *flags, f"http://{LISTEN}{path}")
        words, _, status = done.stdout.rpartition("\n")
        return int(status), words.strip()

    def feedback(self):
        return [(e["kind"], e["id"], e["recipient"], e["path"]) for e in self.events("feedback")]


def events_of_ses_find_their_message_and_route_and_count_once(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject(5)
        site.finish()
        by_id = {e["id"]: e for e in site.events("delivered")}
        wanted = []
        for ident, kind in zip(site.ids, ("Bounce", "Complaint", "Delivery", "Open", "Click")):
            e = by_id[ident]
            for version in ("1", "2"):
                text = site.sns.message(message=sns.event(kind, ident, e["ses_id"], e["recipient"]), version=version)
                expect_equal(f"{kind}, version {version}", site.post(text)[0], 200)
                expect_equal("the same again", site.post(text)[0], 200)
                wanted.append((kind.lower(), ident, e["recipient"], "ses"))
        wait_until("recorded", lambda: len(site.feedback()) >= 10, 10)
        expect_equal("feedback", sorted(site.feedback()), sorted(wanted))
        expect_equal("certificate fetched", len(site.ses.requests("/sns/sns.pem")), 1)
        expect_equal("Send", site.post(site.sns.message(message=sns.event("Send", site.ids[0], "x", "a@b.example")))[0], 200)
        expect_equal("of somebody else", site.post(site.sns.message(message=json.dumps({"eventType": "Bounce", "mail": {}})))[0], 200)
        expect_equal("no more", len(site.feedback()), 10)


def a_subscription_is_confirmed_when_its_topic_is_configured(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        expect_equal("answer", site.post(site.sns.message("SubscriptionConfirmation", "You have chosen to subscribe")), (200, "confirmed"))
        confirmed = site.ses._lines("requests.jsonl")
        expect_equal("visited", [r["path"].partition("?")[0] for r in confirmed if r["type"] == "confirmed"], ["/sns/confirm"])
        other = site.sns.message("SubscriptionConfirmation", "x", changes={"TopicArn": sns.TOPIC + "2"})
        expect_equal("another topic", site.post(other), (403, "the topic is not configured"))
        elsewhere = site.sns.message("SubscriptionConfirmation", "x", changes={"SubscribeURL": "https://evil.example/?Action=ConfirmSubscription"})
        expect_equal("another host", site.post(elsewhere)[0], 403)


def what_is_not_signed_by_sns_is_refused(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject(1)
        site.finish()
        e = site.events("delivered")[0]
        event = sns.event("Complaint", site.ids[0], e["ses_id"], e["recipient"])
        table = [
            ("changed message", {"Message": event + " "}, 403), ("changed time", {"Timestamp": "2026-11-24T00:00:00.000Z"}, 403),
            ("a subject that was not there", {"Subject": "x"}, 403), ("another version", {"SignatureVersion": "1"}, 403),
            ("version 3", {"SignatureVersion": "3"}, 400), ("no signature", {"Signature": None}, 400), ("nonsense", {"Signature": "AAAA"}, 403),
            ("a certificate from elsewhere", {"SigningCertURL": "https://evil.example/sns/sns.pem"}, 403),
            ("in clear", {"SigningCertURL": f"http://{ses_lab.HOST}/sns/sns.pem"}, 403),
            ("a host that only begins so", {"SigningCertURL": BASE + ".evil.example/sns.pem"}, 403),
            ("no certificate", {"SigningCertURL": BASE + "/sns/confirm.txt"}, 403),
            ("one that is not there", {"SigningCertURL": BASE + "/sns/none.pem"}, 503)]
        for what, change, status in table:
            expect_equal(what, site.post(site.sns.message(message=event, unsigned=change))[0], status)
        expect_equal("not JSON", site.post("hello")[0], 400)
        expect_equal("booked", site.feedback(), [])
        expect_equal("and the right one", site.post(site.sns.message(message=event))[0], 200)


def the_listener_has_limits_and_is_off_unless_configured(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        expect_equal("elsewhere", site.post("x", "/")[0], 404)
        expect_equal("GET", site.post("", "/v1/sns", "-X", "GET")[0], 405)
        expect_equal("too large", site.post("x" * 600_000)[0], 413)
        expect_equal("stop", (site.lab.process.terminate(), site.lab.process.wait(30))[1], 0)
        del site.lab.config["http"]
        site.lab.start(lanes_up=False)
        expect("8025" not in netns.exec("ss", "-ltnH").stdout, "it listens without being configured")


def a_request_that_waits_when_the_daemon_stops_is_told_to_come_again(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        (work / "post").write_text(site.sns.message(message="{}", unsigned={"SigningCertURL": BASE + "/sns/slow.pem"}))
        out = work / "curl.out"
        client = netns.start(["curl", "-s", "-m", "20", "-w", "%{http_code}", "--data-binary", f"@{work}/post", f"http://{LISTEN}/v1/sns"], out)
        wait_until("the certificate is asked for", lambda: "127.0.0.1:8025" in netns.exec("ss", "-tnH").stdout, 10)
        time.sleep(0.3)
        expect_equal("stop", (site.lab.process.terminate(), site.lab.process.wait(30))[1], 0)
        client.wait(10)
        expect(out.read_text().endswith(("503", "000")), out.read_text())


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([events_of_ses_find_their_message_and_route_and_count_once, a_subscription_is_confirmed_when_its_topic_is_configured,
             what_is_not_signed_by_sns_is_refused, the_listener_has_limits_and_is_off_unless_configured,
             a_request_that_waits_when_the_daemon_stops_is_told_to_come_again], args, args)


if __name__ == "__main__":
    main()
