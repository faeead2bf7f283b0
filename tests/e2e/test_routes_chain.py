"""Chains of routes, "shared": ["main", "ses"]: what fails is left at once, what comes back is used again, nothing is lost and every move
is explained; a custom sender never uses one of them."""
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("ses", "lab")]
import appliance  # noqa: E402
import ses_lab  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from ses_lab import Site  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

MAIN, OWN = "203.0.113.25", "203.0.113.26"


class Chain(Site):
    """The stand-in, and aiosmtpd as the relay "main" and as the provider of a custom sender."""

    def __init__(self, netns, work, args, shared, main=None, **more):
        self.folders, self.processes = {}, {}
        routes = {"main": {"type": "smtp", "url": f"smtp://{MAIN}", "idle_ms": 500, "connections": 20} | (main or {}),
                  "own": {"type": "smtp", "url": f"smtp://{OWN}", "idle_ms": 500}}
        super().__init__(netns, work, args, shared=shared, routes=routes, zones={"main.relay": MAIN}, **more)

    def relay(self, name, address, *flags):
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        before = len(self.netns.processes)
        self.folders[name] = appliance.start_maildir_server(self.netns, folder, address, *flags)[1]
        self.processes[name] = self.netns.processes[before]

    def stop_relay(self, name):
        self.processes[name].terminate()
        self.processes[name].wait()

    def by(self, name):
        return self.ses.arrived() if name == "ses" else list(verify.from_maildir_log(self.folders[name]))

    def all(self):
        return [found for name in ("ses", *self.folders) for found in self.by(name)]

    def why(self, ident):
        with self.lab.rpc() as rpc:
            return rpc.call("message.why", id=ident)


def main_fails_ses_takes_over_and_main_comes_back(work, args):
    with Netns() as netns:
        site = Chain(netns, work, args, ("main", "ses"))
        site.relay("main", MAIN)
        site.inject(50)
        site.finish()
        expect_equal("by main", len(site.by("main")), 50)
        site.stop_relay("main")
        begin = ses_lab.now()
        site.inject(50)
        wait_until("the first by ses", lambda: site.ses.received(), 20, step=0.02)
        print(f"# ses takes over after {ses_lab.now() - begin:.2f} s")
        site.finish()
        expect_equal("by ses", len(site.by("ses")), 50)
        moved = [e for e in site.events("delivered") if e["route"] == "ses"]
        expect({e["reason"] for e in moved} <= {"R_RELAY_DOWN", "R_BOUNCE_SURGE", "V_BEST"}, str({e["reason"] for e in moved}))
        expect(any(e["reason"] == "R_RELAY_DOWN" for e in moved), "nothing says why mail went by ses")
        expect(any("main is out of order" in line for line in site.why(moved[-1]["id"])["lines"]), str(site.why(moved[-1]["id"])))
        site.relay("main", MAIN)
        wait_until("main is used again", lambda: site.inject(1) or len(site.by("main")) > 55, 60, step=0.2)
        site.finish()
        site.exact(site.all())
        expect_equal("bounced, doubtful", site.events("bounced", "doubtful"), [])


def an_account_that_is_paused_or_out_of_quota_is_left_at_once(work, args):
    with Netns() as netns:
        site = Site(netns, work, args, shared=("ses", "ses2"))

        def by(key):
            return sum(r["key"] == key for r in site.ses.received())
        for what in ("paused", "no-set", "quota"):
            first = by(ses_lab.KEY)
            site.inject(10)
            site.finish()
            expect(by(ses_lab.KEY) > first, f"nothing by ses before {what}")
            site.ses.fail(what, key=ses_lab.KEY)
            begin, second = ses_lab.now(), by(ses_lab.KEY_2)
            site.inject(20)
            site.finish()
            seconds = ses_lab.now() - begin
            print(f"# {what}: 20 messages within {seconds:.2f} s, {len(site.events('deferred'))} deferrals so far")
            expect(by(ses_lab.KEY_2) - second >= 20 and seconds < 10, f"{what}: {by(ses_lab.KEY_2) - second} by ses2 in {seconds:.1f} s")
            site.ses.heal()
            site.wait_state("up", "probing")
        site.exact()
        expect_equal("bounced, doubtful", site.events("bounced", "doubtful"), [])


def getaccount_alone_says_that_the_account_is_shut_down(work, args):
    with Netns() as netns:
        site = Site(netns, work, args)
        site.ses.tell(account={"EnforcementStatus": "SHUTDOWN"})
        site.wait_state("down")
        expect("paused or shut down" in site.route()["last"], str(site.route()))
        site.inject(20)
        held = wait_until("held", lambda: site.events("held"), 20)[0]
        expect_equal("reason", held["reason"], "R_RELAY_DOWN")
        expect_equal("attempts", len(site.ses.requests()), 0)
        site.ses.tell(account={})
        site.finish()
        site.exact()


def a_custom_sender_never_uses_main_or_ses_whatever_fails(work, args):
    with Netns() as netns:
        senders = {"newco": {"domains": ["newco.example"], "strategy": "custom", "pool": "acme", "custom": "own"}}
        site = Chain(netns, work, args, ("main", "ses"), senders=senders)
        site.relay("main", MAIN)
        direct = appliance.start_maildir_server(netns, site.work, appliance.ZONES["alpha.example"])[1]
        site.inject(30, sender="newco", origin="news@newco.example")  # its provider is not even up
        site.finish()
        site.relay("own", OWN)
        site.inject(30, sender="newco", origin="news@newco.example")
        site.finish()
        expect_equal("shared", (len(site.by("main")), len(site.by("ses"))), (0, 0))
        site.exact(site.by("own") + list(verify.from_maildir_log(direct)))


def a_route_with_a_pace_keeps_to_it(work, args):
    with Netns() as netns:
        site = Chain(netns, work, args, ("main",), main={"max_per_s": 20})
        site.relay("main", MAIN)
        begin = ses_lab.now()
        site.inject(80)
        site.finish()
        seconds = ses_lab.now() - begin
        print(f"# 80 messages at 20 a second: {seconds:.1f} s")
        expect(3.5 <= seconds < 12, f"{seconds:.1f} s")
        site.exact(site.by("main"))


def a_slow_relay_delays_no_other_however_many_transfers_wait_for_it(work, args):
    """WIREPOST_PARALLEL=1000 makes it a measurement."""
    parallel, delay = int(os.environ.get("WIREPOST_PARALLEL", "150")), 8
    with Netns() as netns:
        senders = {"quick": {"domains": ["quick.example"], "strategy": "shared", "shared": ["own"]}}
        site = Chain(netns, work, args, ("main",), main={"connections": parallel}, senders=senders, jobs=4096)
        site.relay("main", MAIN, "--delay", str(delay * max(1, parallel // 150)))
        site.relay("own", OWN)
        site.inject(parallel)
        wait_until("all are under way", lambda: site.route("main")["connections"] >= parallel, 60)
        begin = ses_lab.now()
        site.inject(100, "beta.example", sender="quick", origin="news@quick.example")  # its own domain: delivery.in_flight_per_site
        wait_until("the others", lambda: len(site.by("own")) == 100, 60, step=0.02)
        seconds = ses_lab.now() - begin
        print(f"# {parallel} transfers wait for a slow relay; 100 messages by another took {seconds:.2f} s")
        expect_equal("slow ones done", len(site.by("main")), 0)
        site.finish(120)
        site.exact(site.all())


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([main_fails_ses_takes_over_and_main_comes_back,
             an_account_that_is_paused_or_out_of_quota_is_left_at_once,
             getaccount_alone_says_that_the_account_is_shut_down,
             a_custom_sender_never_uses_main_or_ses_whatever_fails,
             a_route_with_a_pace_keeps_to_it,
             a_slow_relay_delays_no_other_however_many_transfers_wait_for_it], args, args)


if __name__ == "__main__":
    main()
