"""Amazon SES, by a stand-in of our own that verifies every signature: mail arrives byte for byte, each documented failure has its consequence,
nothing is lost, nothing doubtful goes unnamed."""
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("ses", "lab")]
import ses_lab  # noqa: E402
import tap  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from ses_lab import SECRET, Site  # noqa: E402
from tap import expect, expect_equal  # noqa: E402


def mail_arrives_byte_for_byte_with_its_tags_and_the_id_is_kept(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, route={"configuration_set": "events", "tags": {"product": "shop"}})
        site.inject(100)
        site.finish()
        site.exact()
        received = site.ses.received()
        expect_equal("return path and set", {(r["mail_from"], r["configuration_set"]) for r in received}, {(ses_lab.ORIGIN, "events")})
        expect_equal("tags", sorted(r["tags"]["wirepost-id"] for r in received), sorted(site.ids))
        expect_equal("own tag", {r["tags"]["product"] for r in received}, {"shop"})
        delivered = site.events("delivered")
        expect_equal("ids", {(e["id"], e["ses_id"]) for e in delivered}, {(r["tags"]["wirepost-id"], r["ses_id"]) for r in received})
        expect_equal("path", {(e["route"], e["tls"], e["tls_verified"], e["peer"]) for e in delivered}, {("ses", "1.3", True, ses_lab.ADDRESS)})
        route = site.route()
        expect_equal("account", (route["type"], route["state"], route["ses"]["production"], route["ses"]["max_24h"]), ("ses", "up", True, 50000.0))
        site.nowhere(SECRET)


def several_recipients_share_a_call_and_one_bad_address_takes_no_other_with_it(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject(5, recipients=30)
        site.finish()
        expect_equal("calls", Counter(r["n"] for r in site.ses.requests()), Counter({30: 5}))
        expect_equal("outcomes", len(site.events("delivered")), 150)
        site.ses.tell(account={"ProductionAccessEnabled": False}, verified=["small.example", "r5-0@alpha.example", "r5-2@alpha.example"])
        wait_until("the sandbox is known", lambda: not site.route()["ses"]["production"], 10)
        site.inject(1, recipients=3)
        wait_until("two of three", lambda: len(site.events("delivered")) == 152, 20)
        refused = wait_until("the third", lambda: site.events("deferred"), 20)[0]
        expect("not verified" in refused["text"] and refused["recipient"].startswith("r5-1@"), str(refused))
        expect_equal("class", (refused["class"], refused["code"]), ("RELAY_FAIL", 454))


def each_way_to_refuse_has_its_consequence(work, args):
    """what -> (event, words in its text, class, code)"""
    table = {
        "rejected": ("bounced", "MessageRejected: Transaction failed", "CONTENT", 554),
        "bad": ("bounced", "BadRequestException: Duplicate header", "PROTO", 554),
        "mail-from": ("deferred", "MailFromDomainNotVerifiedException", "AUTH", 451),
        "internal": ("deferred", "InternalFailure", "RELAY_FAIL", 451),
        "unavailable": ("deferred", "ServiceUnavailable", "RELAY_FAIL", 451),
        "expired-token": ("deferred", "ExpiredTokenException", "", 535),
        "denied": ("deferred", "AccessDeniedException", "", 535),
        "clock": ("deferred", "Signature expired", "", 535),
        "gateway": ("doubtful", "HTTP 504", "", 0),
        "garbage": ("doubtful", "the answer has no MessageId", "", 0),
        "no-id": ("doubtful", "the answer has no MessageId", "", 0),
        "cut-after-body": ("doubtful", "no answer after the whole message", "", 0),
        "silent": ("doubtful", "no answer after the whole message", "", 0),
    }
    with Netns() as netns:
        site = Site(netns, work, args)
        for what, (kind, words, class_, code) in table.items():
            site.ses.fail(what, 1)
            site.inject(1)
            ident = site.ids[-1]
            found = wait_until(what, lambda: [e for e in site.events(kind) if e["id"] == ident], 20)[0]
            expect_equal(what, (words in found["text"], found["class"], found["code"]), (True, class_, code))
            site.finish()
            site.ses.heal()
        expect_equal("bounced", len(site.events("bounced")), 2)
        expect_equal("delivered in the end", len({e["id"] for e in site.events("delivered")} & set(site.ids)), len(table) - 2)
        counts = Counter(tags["wirepost-id"] for tags in (r["tags"] for r in site.ses.received()))
        twice = {ident for ident, n in counts.items() if n > 1}
        expect(twice <= {e["id"] for e in site.events("doubtful")}, f"twice without doubt: {twice}")


def a_connection_that_ends_before_the_last_byte_is_never_doubtful(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject(3)  # connections are kept open, on which libcurl tries again by itself
        site.finish()
        for what, size in (("cut-before-body", 3_000_000), ("cut-in-body", 20_000_000)):
            site.ses.fail(what, 2)
            site.inject_large(size)
            site.finish()
        expect_equal("cut", Counter(r["type"] for r in site.ses.requests() if r["status"] == 0), Counter({"cut-before-body": 2, "cut-in-body": 2}))
        site.exact()
        expect_equal("doubtful", site.events("doubtful"), [])


def a_cut_after_the_message_was_taken_is_doubtful_and_not_sent_again_unseen(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.inject(1)
        site.finish()
        site.ses.fail("cut-after-accept", 1)  # on a connection that was kept open: libcurl would send it once more
        site.inject(1)
        site.finish()
        expect_equal("doubtful", [e["id"] for e in site.events("doubtful")], [site.ids[1]])
        expect_equal("sent", Counter(r["tags"]["wirepost-id"] for r in site.ses.received())[site.ids[1]], 2)


def a_rate_and_a_quota_are_kept_to(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.ses.tell(account={"MaxSendRate": 20.0, "Max24HourSend": 110.0})
        wait_until("the rate is known", lambda: site.route()["ses"].get("rate_per_s") == 20, 10)
        begin = ses_lab.now()
        site.inject(100)
        site.finish()
        seconds = ses_lab.now() - begin
        site.exact()
        refused = sum(r["status"] == 429 for r in site.ses.requests())
        print(f"# 100 messages at 20 a second: {seconds:.1f} s, {refused} refused")
        expect(4.5 <= seconds < 12 and refused <= 3, f"{seconds:.1f} s, {refused} refused")
        site.inject(20)
        site.wait_state("down", "probing")
        expect("quota" in site.route()["last"], str(site.route()))
        wait_until("the ten that fit", lambda: len(site.ses.received()) == 110, 20)
        expect_equal("bounced", site.events("bounced"), [])


def throttling_slows_down_and_loses_nothing(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        for what in ("throttle", "throttle-old"):
            site.ses.fail(what, 5)
            site.inject(30)
            site.finish()
        site.exact()
        route = site.route()
        expect(route["ses"]["throttled"] >= 10 and route["state"] == "up", str(route))
        expect_equal("outcomes but deliveries", site.events("deferred", "bounced", "doubtful"), [])


def credentials_of_the_instance_are_fetched_by_imdsv2_and_again_before_they_expire(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, route={"credentials_file": None, "credentials": "instance"})
        site.ses.tell(metadata_life_s=4)
        for _ in range(3):
            site.inject(2)
            time.sleep(0.8)
        site.finish()
        site.exact()
        first = {r["key"] for r in site.ses.requests()}
        site.lab.process.terminate()
        site.lab.process.wait(60)
        site.lab.start(lanes_up=False)
        for _ in range(10):
            site.inject(2)
            time.sleep(0.6)
        site.finish()
        site.exact()
        keys = {r["key"] for r in site.ses.requests()} - first
        expect(len(keys) >= 2 and all(key.startswith("ASIA") for key in keys), f"keys: {keys}")
        expect_equal("refused", {r["type"] for r in site.ses.requests()}, {""})


def credentials_come_from_the_environment_too(work, args):
    with Netns() as netns:
        env = os.environ | {"AWS_ACCESS_KEY_ID": ses_lab.KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        site = Site(netns, work, args, route={"credentials_file": None, "credentials": "environment"}, env=env)
        site.inject(3)
        site.finish()
        site.exact()
        site.nowhere(SECRET)


def a_wrong_key_is_a_failure_of_the_route_and_a_new_file_is_taken_without_a_restart(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        good = (site.work / "ses.secret").read_text()
        (site.work / "ses.secret").write_text(good.replace(SECRET, "wrong"))
        site.inject(3)
        site.wait_state("down", "probing")
        expect("InvalidSignatureException" in site.route()["last"], str(site.route()))
        with site.lab.rpc() as rpc:
            test = rpc.call("routes.test", name="ses")
            expect(not test["ok"] and "InvalidSignature" in test["text"], str(test))
        (site.work / "ses.secret").write_text(good)
        with site.lab.rpc() as rpc:
            test = rpc.call("routes.test", name="ses")
            expect(test["ok"] and "production access" in test["text"], str(test))
        site.finish()
        site.exact()
        expect_equal("bounced", site.events("bounced"), [])
        os.chmod(site.work / "ses.secret", 0o644)
        (site.work / "ses.secret").write_text(good + "\n")
        with site.lab.rpc() as rpc:
            test = rpc.call("routes.test", name="ses")
            expect(not test["ok"] and "chmod 600" in test["text"], str(test))


def a_message_that_is_too_large_for_ses_is_refused_with_a_reason(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, limits={"message_bytes": 60_000_000}, arena_mb=96, route={"timeout_s": 20})
        site.inject_large(31_000_000)
        site.inject_large(32_000_000)
        site.finish()
        expect(site.ids[0] in {e["id"] for e in site.events("delivered")}, "31 MB, 41 in base64, did not arrive")
        bounced = site.events("bounced")
        expect_equal("bounced", [e["id"] for e in bounced], site.ids[1:])
        expect("SES takes 41943040" in bounced[0]["text"] and bounced[0]["enhanced"] == "5.3.4", str(bounced))


def killed_while_ses_works_nothing_is_lost_and_what_arrives_twice_is_named(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        for round_ in range(4):
            site.inject(150)
            time.sleep(0.03 * round_)
            for pid in site.lab.daemon_pids("wirepostd"):
                os.kill(pid, signal.SIGKILL)
            site.lab.process.wait()
            site.lab.start(lanes_up=False)
        site.finish(90)
        doubtful = {e["id"] for e in site.events("doubtful")}
        counts = Counter(r["tags"]["wirepost-id"] for r in site.ses.received())
        expect_equal("lost", sorted(set(site.ids) - counts.keys()), [])
        twice = {ident for ident, n in counts.items() if n > 1}
        expect(twice <= doubtful, f"{len(twice - doubtful)} arrived twice and are not named doubtful")
        print(f"# {len(site.ids)} injected, {len(doubtful)} doubtful, {len(twice)} twice")
        expect_equal("exit status", (site.lab.process.terminate(), site.lab.process.wait(60))[1], 0)


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([mail_arrives_byte_for_byte_with_its_tags_and_the_id_is_kept,
             several_recipients_share_a_call_and_one_bad_address_takes_no_other_with_it,
             each_way_to_refuse_has_its_consequence,
             a_connection_that_ends_before_the_last_byte_is_never_doubtful,
             a_cut_after_the_message_was_taken_is_doubtful_and_not_sent_again_unseen,
             a_rate_and_a_quota_are_kept_to,
             throttling_slows_down_and_loses_nothing,
             credentials_of_the_instance_are_fetched_by_imdsv2_and_again_before_they_expire,
             credentials_come_from_the_environment_too,
             a_wrong_key_is_a_failure_of_the_route_and_a_new_file_is_taken_without_a_restart,
             a_message_that_is_too_large_for_ses_is_refused_with_a_reason,
             killed_while_ses_works_nothing_is_lost_and_what_arrives_twice_is_named], args, args)


if __name__ == "__main__":
    main()
