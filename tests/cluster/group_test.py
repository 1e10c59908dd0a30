"""A replication group with real daemons: at a common point no effect appears without its cause, whichever member it is on.

usage: group_test.py --binaries DIR [--points N]

A program writes each number to the disk of one machine, and when it is on the disk there, to the disk of the next, and so on. Each
machine has an agent and a file system of its own. The group takes common points meanwhile. Then all machines come home to each common
point in turn: no machine may have a number that the one before it has not, and none may be behind by more than the one under way.

* the same at points of each machine's own, which are not taken together: there it does not hold, so the test can tell
* scripts at all members make a common point application-consistent; one that fails makes it crash-consistent for all
* who is asked is asked for what a group is: one type of system, a member of one group, an interval that can be kept
* a member that does not answer: the others' own points go on, the group says who missed, and common points come again by themselves
* the configuration server killed while common points are taken: no machine stays still, and they come again
Needs root and loop devices; without them it says so and ends.
"""
import argparse
import os
import pathlib
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
sys.path.insert(0, str(ROOT / "tests" / "cluster"))
from cluster import Cluster, Refused, scratch, seconds_of  # noqa: E402
from disks import can_use_loop_devices, run, unmount  # noqa: E402
from still_test import leave_mount_namespace  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 64 * MIB
MACHINES = ("first", "second", "third")
MARK = os.urandom(16)
BLOCK = 4096
LIMIT = 180  # seconds; there only to end a hang
# A machine that would stay still is seen by its writer. What a slow test machine needs is in it.
STILL_SECONDS_MAX = 30


class Writer(threading.Thread):
    """Numbers from one disk to the next."""

    def __init__(self, files):
        super().__init__(daemon=True)
        self.files = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC) for path in files]
        self.number, self.longest, self.stopping = 0, 0.0, False

    def run(self):
        while not self.stopping:
            self.number += 1
            block = (MARK + struct.pack("<Q", self.number)).ljust(BLOCK, b"\0")
            for file in self.files:
                began = time.monotonic()
                os.pwrite(file, block, 0)
                self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(0.001)

    def stop(self):
        self.stopping = True
        self.join()
        for file in self.files:
            os.close(file)


class Group:
    def __init__(self, cluster, directory):
        self.cluster, self.directory = cluster, directory
        self.failures, self.held, self.mounts, self.writer = 0, [], [], None

    def check(self, what, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}{'' if holds else f': {detail}'}", flush=True)

    def loop(self):
        """A loop device that goes away with this process."""
        with tempfile.NamedTemporaryFile(prefix="homeward-group-", dir="/dev/shm") as image:
            image.truncate(DISK_BYTES)
            device = run("losetup", "--find", "--show", image.name)
            self.held.append(os.open(device, os.O_RDONLY))
            run("losetup", "-d", device)
        return device

    def set_up(self):
        files = []
        for name in MACHINES:
            device, where = self.loop(), self.directory / f"{name}-mnt"
            run("mkfs.ext4", "-q", "-F", "-b", "4096", device)
            where.mkdir()
            run("mount", device, where)
            self.mounts.append(where)
            files.append(where / "number")
            (self.directory / f"{name}-scripts").mkdir(mode=0o755)
            self.cluster.add_agent(name, f'disks {{ path: "{device}" }}\n'
                                         f'consistency {{ scripts_directory: "{self.directory}/{name}-scripts" }}\n').start()
        for name in MACHINES:
            self.cluster.await_(f"{name} registers", lambda: self.machine(name).get("agent_connected"))
        self.writer = Writer(files)
        self.writer.start()

    def machine(self, name):
        return self.cluster.try_json("machines", "show", name)

    def group(self):
        return self.cluster.try_json("groups", "show", "shop")

    def common(self):
        return [point["id"] for point in self.group().get("common_points", [])]

    def refused(self, says, *command):
        try:
            self.cluster.cli(*command)
            self.check(f"{' '.join(command)}: {says}", False, "it was done")
        except Refused as refused:
            self.check(f"{' '.join(command)}: {says}", says in refused.text, refused.text)

    def make(self):
        create = ("groups", "create", "shop")
        self.refused("GROUP_UNKNOWN", "groups", "show", "shop")
        self.refused("NOT_IN_DATABASE", *create, "--machine", "nobody")
        self.refused("GROUP_INTERVAL_UNSUITABLE", *create, "--point-interval", "1s")
        members = [word for name in MACHINES[:2] for word in ("--machine", name)]
        made = self.cluster.json(*create, *members, "--point-interval", "5s", "--app-point-interval", "0")
        self.check("a group of two", [one["name"] for one in made["members"]] and not made.get("common_points"), made)
        self.refused("GROUP_EXISTS", *create)
        self.refused("MACHINE_IN_ANOTHER_GROUP", "groups", "create", "other", "--machine", "first")
        self.refused("COMMON_POINT_MISSED", "groups", "create-point", "shop")
        self.check("who cannot take part is told", "Unprotected" in self.cluster.cli("groups", "show", "shop"), self.group())
        for name in MACHINES:
            self.cluster.cli("machines", "protect", name, "--point-interval", "1s")
        for name in MACHINES:
            self.cluster.await_(f"{name} is protected", lambda: self.machine(name).get("protection_state") == "Protected" and
                                not self.machine(name).get("job_id"), LIMIT)
        members += ["--machine", "third"]
        made = self.cluster.json("groups", "change", "shop", *members)
        self.check("a third member", len(made["members"]) == 3, made)

    def take(self, count):
        began = time.monotonic()
        self.cluster.await_(f"{count} common points", lambda: len(self.common()) >= count, LIMIT)
        print(f"     {count} common points after {time.monotonic() - began:.1f} s; a write waited for {self.writer.longest:.3f} s "
              f"at the most; freezes: {[self.machine(name).get('freeze', {}).get('max') for name in MACHINES]}", flush=True)

    def script(self, name, does):
        path = self.directory / f"{name}-scripts" / "app"
        path.write_text(f"#!/bin/sh\necho $1 >> {self.directory}/{name}-told\n{does}\n")
        path.chmod(0o755)

    def app_point(self):
        """The kind of a common point that scripts were run for."""
        asked = self.cluster.json("groups", "create-point", "shop", "--app-consistent")["last_attempt"]["point_id"]
        return self.cluster.await_("a common point with scripts", lambda: [
            point["kind"] for point in self.group().get("common_points", []) if point["id"] == asked], LIMIT)[0]

    def scripts(self):
        for name in MACHINES:
            self.script(name, "true")
        self.check("scripts at all members: the common point is application-consistent", self.app_point() == "APP_CONSISTENT")
        told = [(self.directory / f"{name}-told") for name in MACHINES]
        self.cluster.await_("the thaws", lambda: all(one.read_text() == "freeze\nthaw\n" for one in told), LIMIT)
        self.script("second", '[ "$1" = thaw ] || exit 1')
        self.check("one that fails: it is crash-consistent for all", self.app_point() == "CRASH_CONSISTENT")
        self.cluster.await_("the thaws", lambda: all(one.read_text() == "freeze\nthaw\n" * 2 for one in told), LIMIT)
        self.check("and all were thawed", True)

    def missed(self):
        agent = self.cluster.daemons["second"]
        os.kill(agent.process.pid, signal.SIGSTOP)
        try:
            before, wall = len(self.common()), time.time()
            missed = self.cluster.await_("the attempt that it missed", lambda: self.group().get("last_ended", {}).get("missed"), LIMIT)
            self.check("a member that stands: it is named", [one["machine"] for one in missed] == ["second"], missed)

            def newest(name):
                points = self.cluster.try_json("points", "list", name).get("points", [])
                return seconds_of(points[-1]["time"]) if points else 0
            self.cluster.await_("points of the others' own", lambda: all(newest(name) > wall + 3 for name in ("first", "third")), LIMIT)
            self.check("and the others go on with points of their own", len(self.common()) <= before + 1)
        finally:
            os.kill(agent.process.pid, signal.SIGCONT)
        before = self.common()
        self.cluster.await_("common points come again", lambda: set(self.common()) - set(before), LIMIT)
        self.check("when it answers again, common points come by themselves", True)
        events = self.cluster.json("events", "--count", "500")["events"]
        told = [one for one in events if one["name"] == "group.point_missed" and "second" in one["text"]]
        self.check("an event says so, and not again at each attempt", 1 <= len(told) <= 3, told)
        self.writer.longest = 0  # what stood still as its agent was stopped was thawed with it, or by the guard

    def killed(self):
        server = self.cluster.daemons["config_server"]
        for number in range(5):
            # At another moment of the attempt each time.
            self.cluster.cli("groups", "create-point", "shop")
            time.sleep(0.02 * number)
            server.kill()
            server.start()
            self.cluster.await_("all are connected", lambda: all(self.machine(name).get("agent_connected") for name in MACHINES), LIMIT)
            self.cluster.await_("all take part", lambda: self.group().get("members") and
                                not any(one.get("misses") for one in self.group()["members"]), LIMIT)
        before = self.common()
        self.cluster.await_("common points come again", lambda: set(self.common()) - set(before), LIMIT)
        self.check("a server that is killed while they are taken: common points come again", True)
        self.check(f"and no machine stood still for long: {self.writer.longest:.2f} s at the most", self.writer.longest < STILL_SECONDS_MAX)

    def number_at(self, name, point):
        self.cluster.cli("machines", "failback", name, "--point", point, "--source-lost", "--wait")
        flat = self.machine(name)["disk_paths"][0].replace(".vmdk", "-flat.vmdk")
        data = pathlib.Path(flat).read_bytes()
        at, newest = data.find(MARK), 0
        while at >= 0:
            if at % BLOCK == 0:
                newest = max(newest, struct.unpack_from("<Q", data, at + len(MARK))[0])
            at = data.find(MARK, at + 1)
        return newest

    def come_home(self, count):
        common = self.common()[-count:]
        self.check("they are what each member has, too", all(
            set(common) <= {one["id"] for one in self.cluster.json("points", "list", name)["points"]} for name in MACHINES))
        own = {name: self.cluster.json("points", "list", name)["points"] for name in MACHINES}
        for name in MACHINES:
            self.cluster.daemons[name].kill()
        self.writer.stop()
        wrong = 0
        for point in reversed(common):
            first, second, third = (self.number_at(name, point) for name in MACHINES)
            holds = first >= second >= third >= first - 1 > 0
            wrong += not holds
            print(f"     {point}: {first}, {second}, {third}{'' if holds else ': not one instant of all'}", flush=True)
        self.check(f"at {len(common)} common points no effect is without its cause", wrong == 0 and len(common) == count, wrong)
        # Points of their own, as close together as there are: the last machine's newest, and the first one's before that.
        late = [one["id"] for one in own["third"] if not one["id"].startswith("common-")][-1]
        early = [one["id"] for one in own["first"] if not one["id"].startswith("common-") and
                 seconds_of(one["time"]) < seconds_of(own["third"][-1]["time"]) - 1.5][-1]
        first, third = self.number_at("first", early), self.number_at("third", late)
        self.check(f"which is not so at points of each machine's own: {third} is on the third, the first ends with {first}", third > first)

    def tell(self, count):
        self.cluster.start_config_server()
        self.cluster.add_process_server().start()
        (self.directory / "ds").mkdir()
        self.cluster.add_master_target(datastores=[self.directory / "ds"]).start()
        self.cluster.await_servers(2)
        self.set_up()
        self.make()
        self.take(2)
        self.scripts()
        self.missed()
        self.killed()
        self.take(len(self.common()) + 2)
        self.come_home(count)

    def tear_down(self):
        if self.writer is not None and not self.writer.stopping:
            self.writer.stop()
        for where in self.mounts:
            unmount(where)
        for held in self.held:
            os.close(held)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--points", type=int, default=4)
    arguments = parser.parse_args()
    if not can_use_loop_devices():
        print("not root, or no loop devices: nothing is tried")
        return 0
    leave_mount_namespace()
    directory = scratch("group")
    cluster = Cluster(arguments.binaries, directory)
    group = Group(cluster, directory)
    try:
        group.tell(arguments.points)
    except (TimeoutError, Refused, OSError, RuntimeError) as error:
        group.check("the story goes to its end", False, f"{error} {getattr(error, 'text', '')}")
        print(cluster.told())
    finally:
        cluster.stop()
        group.tear_down()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{group.failures} failed")
    return 0 if group.failures == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
