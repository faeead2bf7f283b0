"""Each script of scripts/ played by wirepost-sink to the whole appliance, and the outcome that it names.

All are played at once, each at an address of its own, with one daemon. What a script expects stands in its first lines:
expect KIND [STAGE [CODE [ENHANCED]]], and text, end, arrival, tls, connections, sink (a part of some command that the sink
got), send (messages, one after the other; the last one counts), sender, size, chunked, dsn, requiretls.
"""
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
import appliance  # noqa: E402
import tap  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from pki import Authority  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

KINDS = ["delivered", "deferred", "bounced", "doubtful"]


class Scenario:
    def __init__(self, path, number):
        self.name, self.path = path.name, path
        self.address, self.domain = f"198.18.0.{number}", f"{path.name}.example"
        self.want, self.sink, self.kind, self.sent, self.event = {"send": "1", "sender": "acme"}, [], [], 0, None
        for line in path.read_text().splitlines():
            if not line.startswith("expect "):
                continue
            word, _, rest = line[7:].partition(" ")
            if word in KINDS:
                self.kind = [word, *rest.split()]
            elif word == "sink":
                self.sink.append(rest)
            else:
                self.want[word] = rest
        if "chunked" in self.want:
            self.want["sender"] = "acme"

    def inject(self, rpc):
        sender = self.want["sender"]
        pad = "x" * 70 + "\r\n"
        body = f"Subject: {self.name} {self.sent}\r\nFrom: a@{sender}.example\r\n\r\n" + pad * (int(self.want.get("size", "100")) // len(pad) + 1)
        params = {"sender": sender, "mail_from": f"a@{sender}.example", "rcpt_to": [f"r@{self.domain}"]}
        if "dsn" in self.want:
            params["rcpt_to"] = [{"address": f"r@{self.domain}", "orcpt": "rfc822;old+x@example.org"}]
            params["dsn"] = {"ret": "hdrs", "envid": "Q+1", "notify": ["success", "failure"]}
        if "requiretls" in self.want:
            params["require_tls"] = True
        self.sent += 1
        self.event = None
        self.id = rpc.call("inject", raw=body.encode(), size=len(body), **params)["id"]

    def check(self, log):
        event, want = self.event, self.want
        got = [event["type"], event["stage"], str(event["code"]), event["enhanced"]]
        expect_equal(f"{self.name}: {event['text']!r}", got[:len(self.kind)], self.kind)
        expect(want.get("text", "") in event["text"], f"{self.name}: {event['text']!r}")
        for key in ("end", "arrival"):
            if key in want:
                expect_equal(f"{self.name}: {key}", event[key], want[key])
        if "tls" in want:
            expect_equal(f"{self.name}: TLS", event["tls"] or "none", want["tls"])
        lines = [line for line in log if line.get("script") == self.name]
        if "connections" in want:
            expect_equal(f"{self.name}: connections", max(line["connection"] for line in lines), int(want["connections"]))
        for part in self.sink:
            expect(any(part in line["line"] for line in lines), f"{self.name}: the sink did not get {part!r}")
        kept = sum(line["event"] == "accepted" for line in lines)
        expect(kept > 0 or event["type"] != "delivered", f"{self.name}: delivered, and the sink has nothing")


class Lab:
    def __init__(self, netns, work, args, scenarios, **delivery):
        self.scenarios, self.netns = scenarios, netns
        authority = Authority(work)
        good = authority.leaf("good", *[f"mx.{s.domain}" for s in scenarios])
        (work / "elsewhere").mkdir()
        stranger = Authority(work / "elsewhere").leaf("stranger", "nobody.example")
        zones = {s.domain: s.address for s in scenarios}
        for address in zones.values():
            netns.ip("addr", "add", f"{address}/32", "dev", "lo")
        appliance.start_dns(netns, work, zones)
        self.log = work / "sink.jsonl"
        netns.start([args.sink, "--cert", f"good={good[0]},{good[1]}", "--cert", f"stranger={stranger[0]},{stranger[1]}",
                     *[f"{s.address}:25={s.path}" for s in scenarios]], self.log)
        wait_until("wirepost-sink", lambda: "ready" in self.log.read_text())
        config = appliance.configuration(work, tls={"ca_file": str(authority.cert)},
                                         delivery={"retry_s": [3600], "retry_jitter": 0, "idle_ms": 3000, "connections_per_address": 1} | delivery)
        config["dns"]["allow_private"] = True
        config["pools"]["acme"]["ehlo"] = "out-{n}.acme.example"
        config["senders"]["acme"]["tls"] = "may"
        config["senders"]["strict"] = {"domains": ["strict.example"], "strategy": "dedicated", "pool": "acme", "tls": "verify"}
        self.lab = appliance.Appliance(netns, args.build, work, config)
        # one source, so that the second message of a scenario meets the connection of the first
        for queue in config["dataplane"]["ports"][0]["queues"][1:]:
            config["dataplane"]["ports"][0]["queues"].remove(queue)
        config["dataplane"]["ports"][0]["queues"][0]["addresses"] = {"acme": ["192.0.2.10"]}
        config["dataplane"]["ports"][0]["device"] = config["dataplane"]["ports"][0]["device"].replace("qpairs=2", "qpairs=1")
        self.lab.start()

    def outcomes(self, rpc):
        """Notes the first outcome of each message that waits for one; true when none does."""
        events = {}
        for event in rpc.history(KINDS):
            events.setdefault(event["id"], event)
        for s in self.scenarios:
            s.event = s.event or events.get(s.id)
        return all(s.event for s in self.scenarios)

    def play(self):
        with self.lab.rpc() as rpc:
            for s in self.scenarios:
                s.inject(rpc)
            wait_until("outcomes", lambda: self.outcomes(rpc), 60)
            again = [s for s in self.scenarios if int(s.want["send"]) > 1]
            time.sleep(0.5 if again else 0)  # what the sink does to an idle connection is done by then
            for s in again:
                s.inject(rpc)
            wait_until("the second outcomes", lambda: self.outcomes(rpc), 60)

    def read_log(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def played(work, args, scenarios, **delivery):
    """The scenarios with their log; what went wrong with all of them is an error of each."""
    with Netns() as netns:
        lab = Lab(netns, work, args, scenarios, **delivery)
        lab.play()
        log = lab.read_log()
        expect_equal("exit status", (lab.lab.process.terminate(), lab.lab.process.wait(60))[1], 0)
        return log


def main():
    import argparse
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--sink", required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("scripts", nargs="*", help="names of scripts to play")
    args = parser.parse_args()
    args.sink, args.only = str(Path(args.sink).resolve()), []
    require_root()
    paths = [p for p in sorted((HERE / "scripts").iterdir()) if not args.scripts or p.name in args.scripts]
    scenarios = [Scenario(path, number) for number, path in enumerate(paths, 1)]
    logs = {}

    def log_of(group, work):
        if group not in logs:
            chosen = [s for s in scenarios if ("chunked" in s.want) == group]
            logs[group] = None
            logs[group] = played(work, args, chosen, **({"chunking": True} if group else {}))
        expect(logs[group] is not None, "the scenarios could not be played: see the first one")
        return logs[group]

    def test_of(scenario):
        def test(work):
            scenario.check(log_of("chunked" in scenario.want, work))
        test.__name__ = scenario.name
        return test
    tap.run([test_of(s) for s in scenarios], args)


if __name__ == "__main__":
    main()
