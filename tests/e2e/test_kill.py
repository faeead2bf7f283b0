"""kill -9 of either daemon at random moments: nothing that was accepted is lost.

A recorder outside the appliance knows what was accepted (answers of `inject`) and what arrived (the
receiver's log). Duplicates may only be messages that the appliance itself has named doubtful.
"""
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import appliance  # noqa: E402
import tap  # noqa: E402
import verify  # noqa: E402
from netns import Netns, require_root, wait_until  # noqa: E402
from rpc import Rpc  # noqa: E402
from tap import expect, expect_equal  # noqa: E402

SENDER = "news@acme.example"
DOMAIN = "alpha.example"
DELIVERY = {"retry_s": [1, 2], "retry_jitter": 0, "doubtful_retry_s": 2, "idle_ms": 1000}
MESSAGES = 10_000
KILLS = 10


def message(index):
    return (f"From: {SENDER}\r\nTo: r{index}@{DOMAIN}\r\nSubject: message {index}\r\n"
            f"Date: Mon, 23 Nov 2026 19:07:00 +0000\r\nMessage-ID: <kill.{index}@acme.example>\r\n"
            f"\r\n.line {index}\r\n" + f"{index}\r\n" * (index % 300)).encode()


class Recorder(threading.Thread):
    """Injects numbered messages, over and over connecting anew; keeps what got a yes."""

    def __init__(self, path, count):
        super().__init__(daemon=True)
        self.path, self.count, self.index = path, count, 0
        self.accepted = {}
        self.unanswered = set()
        self.failure = None

    def run(self):
        try:
            while self.index < self.count:
                try:
                    with Rpc(self.path, 30) as rpc:
                        self._inject(rpc)
                except OSError:
                    time.sleep(0.1)
        except Exception as error:  # shown by the test, which waits for this thread
            self.failure = error

    def _inject(self, rpc):
        """Up to 16 unanswered; an answer lost with the connection leaves its message unanswered."""
        pending = {}
        try:
            while self.index < self.count or pending:
                while self.index < self.count and len(pending) < 16:
                    data = message(self.index)
                    params = {"sender": "acme", "mail_from": SENDER, "size": len(data),
                              "rcpt_to": [f"r{self.index}@{DOMAIN}"]}
                    pending[rpc.serial + 1] = self.index
                    self.index += 1  # each is injected once, whatever becomes of the connection
                    rpc.send("inject", params, data)
                answer = rpc.receive()
                number = pending.pop(answer["id"])
                if "error" in answer:
                    raise RuntimeError(f"inject refused: {answer['error']}")
                self.accepted[f"<kill.{number}@acme.example>"] = verify.digest(message(number))
        finally:
            self.unanswered |= {f"<kill.{number}@acme.example>" for number in pending.values()}


def kill_one(lab, rng, victims):
    name = rng.choice(victims)
    for pid in lab.daemon_pids(name):
        os.kill(pid, signal.SIGKILL)
    if name == "wirepostd":
        lab.process.wait()
        lab.start(lanes_up=False)
    return name


def doubtful_ids(lab):
    """Ids of messages that the event log names doubtful."""
    with lab.rpc(120) as rpc:
        return {event["id"] for event in rpc.history(["doubtful"])}


def ids_of_recipients(lab):
    """{recipient: id}: every message has a recipient of its own."""
    with lab.rpc(120) as rpc:
        return {event["recipient"]: event["id"]
                for event in rpc.history(["delivered", "doubtful", "bounced"])}


def storm(work, args, victims, seed):
    rng = random.Random(seed)
    with Netns() as netns:
        appliance.start_dns(netns, work)
        _, log = appliance.start_maildir_server(netns, work)
        config = appliance.configuration(work, delivery=DELIVERY)
        config["spool"]["event_keep"] = 200_000
        lab = appliance.Appliance(netns, args.build, work, config).start()
        recorder = Recorder(lab.socket, MESSAGES)
        recorder.start()
        killed = Counter()
        for number in range(KILLS):
            goal = MESSAGES * (number + rng.random()) / KILLS
            while recorder.is_alive() and len(recorder.accepted) < goal:
                time.sleep(0.02)
            time.sleep(rng.random() * 0.2)
            killed[kill_one(lab, rng, victims)] += 1
        recorder.join(300)
        expect(recorder.failure is None and not recorder.is_alive(), f"injector: {recorder.failure}")

        def finished():
            try:
                with lab.rpc() as rpc:
                    return rpc.call("stats")["spool"]["messages"] == 0
            except OSError:
                return False
        wait_until("queue empty", finished, 300, step=0.5)
        doubtful, ids = doubtful_ids(lab), ids_of_recipients(lab)
        lab.process.terminate()
        expect_equal("exit status", lab.process.wait(60), 0)
    judge(recorder, list(verify.from_maildir_log(log)), doubtful, ids)
    print(f"# {dict(killed)} killed, {len(recorder.accepted)} accepted, {len(doubtful)} doubtful, "
          f"{len(recorder.unanswered)} unanswered injections")


def judge(recorder, arrived, doubtful, ids):
    counts = Counter(ident for ident, *_ in arrived)
    known = recorder.accepted.keys() | recorder.unanswered
    lost = recorder.accepted.keys() - counts.keys()
    expect_equal(f"lost (of {len(recorder.accepted)})", sorted(lost)[:5], [])
    expect_equal("never injected", sorted(counts.keys() - known)[:5], [])
    wrong = [ident for ident, digest, *_ in arrived
             if ident in recorder.accepted and digest != recorder.accepted[ident]]
    expect_equal("other bytes", wrong[:5], [])
    recipient_of = {ident: rcpt[0] for ident, _, _, rcpt in arrived}
    unexplained = [ident for ident, n in counts.items()
                   if n > 1 and ids.get(recipient_of[ident]) not in doubtful]
    expect_equal("arrived twice without being named doubtful", unexplained[:5], [])


def the_data_plane_killed_ten_times_loses_nothing(work, args):
    storm(work, args, ["wirepost-dataplane"], "dataplane")


def the_control_plane_killed_ten_times_loses_nothing(work, args):
    storm(work, args, ["wirepostd"], "control")


def either_killed_at_random_loses_nothing(work, args):
    storm(work, args, ["wirepost-dataplane", "wirepostd"], "either")


def main():
    args = tap.arguments(__doc__)
    require_root()
    tap.run([the_data_plane_killed_ten_times_loses_nothing,
             the_control_plane_killed_ten_times_loses_nothing,
             either_killed_at_random_loses_nothing], args, args)


if __name__ == "__main__":
    main()
