"""Replication policies with real daemons: what is changed is in force within seconds, without a restart and without a synchronisation.

usage: policy_test.py --binaries DIR

* the policy "failback" is there; what cannot be a policy is refused with its problem
* the interval of a policy, seen in the times of the points that are made, from one an hour to one every five seconds
* the same when the configuration server is killed right after the change
* application-consistent points, how long and in how much room points are kept, the threshold of the alert
* what is said for one machine alone, and another policy
"""
import argparse
import os
import pathlib
import shutil
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import HANG_SECONDS, Cluster, Refused, scratch, seconds_of  # noqa: E402
from nbd import Nbd  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 64 * MIB
# By when a change must be seen in points: the interval, and what a slow machine needs beside it.
SOON_SECONDS = 60

REFUSALS = (
    (4, "POLICY_UNKNOWN", ("policies", "show", "gold")),
    (4, "POLICY_UNKNOWN", ("policies", "change", "gold", "--point-interval", "10s")),
    (4, "POLICY_UNKNOWN", ("policies", "delete", "gold")),
    (4, "POLICY_UNKNOWN", ("machines", "protect", "web", "--policy", "gold")),
    (4, "POLICY_UNKNOWN", ("machines", "set-policy", "web", "gold")),
    (4, "NOT_IN_DATABASE", ("machines", "set-policy", "nobody", "failback")),
    (3, "NOT_PROTECTED", ("machines", "set-policy", "web", "failback", "--point-interval", "10s")),
    (3, "POLICY_EXISTS", ("policies", "create", "failback")),
    (3, "POLICY_BUILT_IN", ("policies", "delete", "failback")),
    (3, "cannot be a policy's name", ("policies", "create", "two words")),
    (3, "POLICY_INTERVAL_UNSUITABLE", ("policies", "create", "gold", "--point-interval", "4s")),
    (3, "POLICY_INTERVAL_UNSUITABLE", ("policies", "create", "gold", "--app-point-interval", "1m")),
    (3, "POLICY_INTERVAL_UNSUITABLE", ("policies", "create", "gold", "--rpo-threshold", "1m")),
    (3, "POLICY_INTERVAL_UNSUITABLE", ("machines", "protect", "web", "--point-interval", "900ms")),
    (3, "POLICY_RETENTION_UNSUITABLE", ("policies", "change", "failback", "--retention", "1m")),
    (3, "POLICY_RETENTION_UNSUITABLE", ("policies", "change", "failback", "--retention-bytes", "24")),
    (2, "--point-interval", ("policies", "create", "gold", "--point-interval", "often")),
)


class Policies:
    def __init__(self, cluster, directory):
        self.cluster, self.directory = cluster, directory
        self.failures = 0
        self.stopping = threading.Event()

    def check(self, what, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}{'' if holds else f': {detail}'}", flush=True)

    def seen(self):
        return self.cluster.try_json("machines", "show", "web")

    def points(self):
        return self.cluster.try_json("points", "list", "web").get("points", [])

    def change(self, *settings):
        return self.cluster.json("policies", "change", "slow", *settings)

    def start_machine(self):
        image = self.directory / "web.raw"
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
        hook = self.directory / "hook"
        hook.write_text("#!/bin/sh\nexit 0\n")
        hook.chmod(0o755)
        self.tap = str(self.directory / "web.tap")
        self.cluster.add_agent("web", f'disks {{ path: "{image}" nbd_socket: "{self.tap}" }}\n'
                                      f'hooks {{ pre_freeze: "{hook}" post_thaw: "{hook}" }}\n').start()
        self.cluster.await_("the agent registers", lambda: self.seen().get("agent_connected"))

    def refusals(self):
        for code, says, command in REFUSALS:
            try:
                self.cluster.cli(*command)
                self.check(f"{' '.join(command)} ends with {code}", False, "it was done")
            except Refused as refused:
                self.check(f"{' '.join(command)} ends with {code}: {says}", refused.code == code and says in refused.text,
                           f"{refused.code}: {refused.text}")

    def failback(self):
        there = self.cluster.json("policies", "list")["policies"]
        self.check("failback is there: 15 min, 5 min, 60 min, 24 h", [
            (one["name"], *(one["policy"][field] for field in ("rpo_threshold", "point_interval", "app_point_interval", "retention_age")))
            for one in there] == [("failback", "900s", "300s", "3600s", "86400s")], there)
        self.check("and the machine follows it", there[0]["machines"] == ["web"] and "failback" in self.cluster.cli("policies", "list"), there)

    def await_rate(self, least, most):
        """Two points in a row that are so far apart, made from now on. Seconds until they were."""
        began, wall = time.monotonic(), time.time()

        def made():
            late = [seconds_of(point["time"]) for point in self.points() if seconds_of(point["time"]) > wall]
            return len(late) > 2 and all(least <= later - earlier <= most for earlier, later in zip(late[-3:], late[-2:]))
        self.cluster.await_(f"points {least} to {most} s apart", made, SOON_SECONDS)
        return time.monotonic() - began

    def intervals(self):
        self.cluster.cli("policies", "create", "slow", "--point-interval", "1h", "--rpo-threshold", "2h")
        self.cluster.cli("machines", "protect", "web", "--policy", "slow", "--wait")
        self.before = self.seen()
        self.check("with a point every hour there is one", len(self.points()) == 1, self.points())
        shown = self.change("--point-interval", "5s")
        self.check("the answer has what is in force", shown["policy"]["point_interval"] == "5s" and shown["machines"] == ["web"], shown)
        self.check(f"points every 5 s: seen {self.await_rate(4.5, 9):.1f} s after the change", True)

    def killed(self):
        server = self.cluster.daemons["config_server"]
        self.change("--point-interval", "10s")
        server.kill()
        server.start()
        self.check(f"a server that was killed right after a change: every 10 s, seen {self.await_rate(9.5, 14):.1f} s after it began again", True)
        self.change("--point-interval", "10s")
        self.check("the same change again is no change", self.seen()["policy"]["point_interval"] == "10s")

    def app_points(self):
        self.change("--point-interval", "5s", "--app-point-interval", "5s")
        before = time.time()
        self.cluster.await_("application-consistent points", lambda: len([
            one for one in self.points() if one["kind"] == "APP_CONSISTENT" and seconds_of(one["time"]) > before]) > 1, SOON_SECONDS)
        self.change("--app-point-interval", "0")
        self.cluster.await_("only others", lambda: [one["kind"] for one in self.points()[-3:]] == 3 * ["CRASH_CONSISTENT"], SOON_SECONDS)
        self.check("application-consistent points come and go with the policy", True)

    def write(self):
        """What is in its way is overwritten, so that points take room."""
        tap = Nbd(self.tap)
        at = 0
        while not self.stopping.wait(0.05):
            tap.write(at % 32 * MIB, os.urandom(64 << 10))
            at += 1
        tap.close()

    def kept(self):
        self.change("--retention", "20s")
        self.cluster.await_("points are kept for 20 s", lambda: len(self.points()) > 1 and all(
            time.time() - seconds_of(one["time"]) < 40 for one in self.points()), SOON_SECONDS)
        self.check("points that are too old by a policy that was changed are gone", True)
        self.change("--retention", "24h")
        writer = threading.Thread(target=self.write, daemon=True)
        writer.start()
        room = 24 * MIB
        self.cluster.await_("points take room", lambda: int(self.seen().get("journal_bytes", 0)) > room, 2 * SOON_SECONDS)
        self.change("--retention-bytes", str(room // 2))

        def bounded():
            return 0 < int(self.seen().get("journal_bytes", 0)) <= room // 2
        self.cluster.await_("points have as much room as they may", bounded, SOON_SECONDS)
        points = self.points()
        self.check(f"points take {int(self.seen()['journal_bytes']) / MIB:.1f} MiB of {room // 2 / MIB:.0f}; the newest of them is new",
                   points and time.time() - seconds_of(points[-1]["time"]) < SOON_SECONDS, points)
        self.stopping.set()
        writer.join()
        self.change("--retention-bytes", "0")

    def threshold(self):
        def alert():
            return [error["problem"]["message"] for error in self.seen().get("health_errors", [])
                    if error["problem"]["id"] == "RPO_THRESHOLD"]
        self.check("no alert before", not alert(), alert())
        self.cluster.daemons["process_server"].kill()
        newest = self.points()[-1]["id"]
        self.change("--rpo-threshold", "6s")
        self.cluster.await_("the alert", alert, SOON_SECONDS)
        self.check("a newest point that is older than the policy's threshold is an alert that names the policy",
                   "policy slow allows 6s" in alert()[0], alert())
        self.change("--rpo-threshold", "2h")
        self.check("and none with another threshold", not alert(), alert())
        self.cluster.daemons["process_server"].start()
        self.cluster.await_("it goes on", lambda: self.points()[-1]["id"] != newest, HANG_SECONDS)

    def one_machine(self):
        shown = self.cluster.json("machines", "set-policy", "web", "slow", "--point-interval", "1s")
        self.check("what is said for one machine alone is shown", shown["own_policy"]["point_interval"] == "1s" and
                   "app_point_interval" not in shown["own_policy"] and "for this machine alone" in self.cluster.cli("machines", "show", "web"), shown)
        self.check(f"its own points every second: seen {self.await_rate(0.9, 3):.1f} s after it was said", True)
        self.change("--point-interval", "1m")
        self.check("a change of the policy leaves it", self.seen()["policy"]["point_interval"] == "1s")
        try:
            self.cluster.cli("policies", "delete", "slow")
            said = "it was deleted"
        except Refused as refused:
            said = refused.text
        self.check("a policy that is followed is not deleted", "POLICY_IN_USE" in said and "web" in said, said)
        self.cluster.cli("machines", "set-policy", "web", "failback")
        self.check("another policy, with nothing of its own", self.seen()["policy"]["point_interval"] == "300s" and
                   "own_policy" not in self.seen(), self.seen())
        self.cluster.cli("policies", "delete", "slow")
        self.check("a policy that nobody follows is deleted", len(self.cluster.json("policies", "list")["policies"]) == 1)

    def undisturbed(self):
        """Nothing of all that was anything else than a change of policy."""
        now = self.seen()
        same = {field: (self.before[field], now[field]) for field in ("generation", "protection_state", "disk_paths")
                if self.before[field] != now[field]}
        self.check("the replica and its generation are the same", not same, same)
        log = self.cluster.daemons["web"].log()
        self.check("no disk was synchronised again", log.count("protection.began") == 1 and "protection.resync" not in log, log)
        opened = self.cluster.daemons["master_target"].log().count("replica.opened")
        self.check("and the replica was opened once", opened == 1, opened)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    arguments = parser.parse_args()
    directory = scratch("policy")
    cluster = Cluster(arguments.binaries, directory)
    policies = None
    try:
        cluster.start_config_server()
        (directory / "datastore").mkdir()
        cluster.add_process_server().start()
        cluster.add_master_target(datastores=[directory / "datastore"]).start()
        cluster.await_servers(2)
        policies = Policies(cluster, directory)
        policies.start_machine()
        policies.failback()
        policies.refusals()
        policies.intervals()
        policies.killed()
        policies.app_points()
        policies.kept()
        policies.threshold()
        policies.one_machine()
        policies.undisturbed()
    except (TimeoutError, Refused, OSError) as error:
        print(f"FAILED: {error} {getattr(error, 'text', '')}", flush=True)
        print(cluster.told())
        policies = None
    finally:
        if policies is not None:
            policies.stopping.set()
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if policies is not None and policies.failures == 0 else 1)


if __name__ == "__main__":
    main()
