"""A recovery point is one instant: no later write without an earlier one that had been acknowledged.

usage: still_test.py --binaries DIR [--points N] [--only ARRANGEMENT ...] [--no-hanging-mount]

A program writes numbered blocks, each on the disk before the next is issued (ordered_writer.c). Meanwhile the agent
makes N points; then the machine comes home to each of them in turn, and the disk is looked through for the newest
number of every place. With n the highest of all, each place must hold its newest number up to n. Arrangements:

* a file system on the disk, on two loop devices stacked on it, in another mount namespace, under another mount, btrfs
* the device itself, without a file system: as fast as it goes, with pauses, and by a service that is paused
* beside each of them a mount whose server hangs

No point may be called consistent that is not; where a file system is mounted, or the service is paused, 95 % are.
Needs root, loop devices, gcc, e2fsprogs and btrfs-progs; without root it says so and ends.
"""
import argparse
import ctypes
import mmap
import os
import pathlib
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import Cluster, Refused, scratch  # noqa: E402
from disks import can_use_loop_devices, run  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 128 * MIB
PLACES, STEP, BLOCK = 512, 197, 4096
LIMIT = 600  # seconds; there only to end a hang
SLOW_POINTS = 2  # of those that take the agent its whole patience
CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 0x40000, 2
LIBC = ctypes.CDLL(None, use_errno=True)


def check_call(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def leave_mount_namespace():
    """What is mounted from here on goes with this process, also when it is killed."""
    check_call(LIBC.unshare(CLONE_NEWNS), "unshare")
    check_call(LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")


class Arrangement:
    """One way in which a program's writes reach the disk."""

    def __init__(self, name, mkfs="", stacked=False, private=False, covered=False, paused=False, pause_us=0,
                 options="rw",
                 consistent=True):
        self.options = options  # of the mount
        self.name, self.mkfs, self.stacked, self.private, self.covered = name, mkfs, stacked, private, covered
        self.paused, self.pause_us = paused, pause_us
        self.consistent = consistent  # its points are, but for one in twenty


ARRANGEMENTS = [
    Arrangement("ext4", "mkfs.ext4 -q -F -b 4096"),
    Arrangement("stacked", "mkfs.ext4 -q -F -b 4096", stacked=True),
    Arrangement("namespace", "mkfs.ext4 -q -F -b 4096", private=True),
    Arrangement("covered", "mkfs.ext4 -q -F -b 4096", covered=True),
    Arrangement("btrfs", "mkfs.btrfs -q -f", options="nodatacow", pause_us=10000),
    Arrangement("device", consistent=False),
    Arrangement("device-pauses", pause_us=5000, consistent=False),
    Arrangement("service", paused=True),
]


class Story:
    def __init__(self, cluster, directory, arrangement, writer):
        self.cluster, self.directory, self.arrangement = cluster, directory / arrangement.name, arrangement
        self.writer, self.run = writer, secrets.token_hex(8)
        self.directory.mkdir()
        self.mount = self.directory / "mnt"
        self.mount.mkdir()
        self.held, self.mounts, self.process, self.group = [], [], None, None

    def loop(self, below):
        """A loop device that goes away with this process, also when that is killed."""
        device = run("losetup", "--find", "--show", below)
        self.held.insert(0, os.open(device, os.O_RDONLY))
        run("losetup", "-d", device)  # Takes effect when the last user closes it.
        return device

    def mount_at(self, what, *where):
        run("mount", *what, *where)
        self.mounts.insert(0, str(where[-1]))

    def control_group(self):
        for root in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup"):
            if os.path.exists(root + "/cgroup.procs"):
                for left in pathlib.Path(root).glob("homeward-still-*"):  # of runs that were killed
                    if not os.path.exists(f"/proc/{left.name.rpartition('-')[2]}"):
                        left.rmdir()
                group = pathlib.Path(root, f"homeward-still-{os.getpid()}")
                group.mkdir()
                return group
        raise OSError("this machine has no control groups that can be frozen")

    def set_up(self):
        """The disk with the program that writes to it. The device that is protected."""
        # In memory: the faster the writer, the more it does while the disk is read.
        with tempfile.NamedTemporaryFile(prefix="homeward-still-", dir="/dev/shm") as image:
            image.truncate(DISK_BYTES)
            disk = self.loop(image.name)
        top = self.loop(self.loop(disk)) if self.arrangement.stacked else disk
        path, base, before = str(self.mount / "file"), 0, []
        if not self.arrangement.mkfs:
            path, base = top, 16 * MIB
        else:
            run(*self.arrangement.mkfs.split(), top)
            if self.arrangement.private:
                before = ["unshare", "--mount", "--", "sh", "-c",
                          f'mount "{top}" "{self.mount}" && exec "$@"', "sh"]
            else:
                self.mount_at(["-o", self.arrangement.options, top], self.mount)
        if self.arrangement.paused:
            self.group = self.control_group()
        command = [*before, str(self.writer), path, str(base), self.run, str(self.arrangement.pause_us)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(self.process.pid))
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("the writer has failed")
        if self.arrangement.covered:
            self.mount_at(["-t", "tmpfs", "cover"], self.mount)
        return disk

    def protect(self, disk):
        name = f"still-{self.arrangement.name}"
        config = f'disks {{ path: "{disk}" }}\n'
        if self.group is not None:
            config += f'pause_services: "{self.group}"\n'
        self.cluster.add_agent(name, config).start()
        self.cluster.await_(f"{name} registers", lambda: self.seen(name).get("agent_connected"), LIMIT)
        self.cluster.cli("machines", "protect", name, "--point-interval", "1s", "--wait")
        return name

    def seen(self, name):
        return self.cluster.try_json("machines", "show", name)

    def points(self, name):
        return self.cluster.try_json("points", "list", name).get("points", [])

    def end_writer(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def wrong(self, flat):
        """How many places of the disk do not hold what they held when its newest write was made; and its number."""
        newest = [0] * PLACES
        mark = self.run.encode()
        with open(flat, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as disk:
            at = disk.find(mark)
            while at >= 0:
                if at % BLOCK == 0:
                    number, place = struct.unpack_from("<QI", disk, at + len(mark))
                    newest[place] = max(newest[place], number)
                at = disk.find(mark, at - at % BLOCK + BLOCK)
        last = max(newest)
        want = [0] * PLACES
        for number in range(max(1, last - PLACES + 1), last + 1):
            want[number * STEP % PLACES] = number
        return sum(1 for found, due in zip(newest, want) if found != due), last

    def tell(self, count):
        """(points, points that are called consistent, those of them that are not)"""
        name = self.protect(self.set_up())
        if self.arrangement.name == "device":
            count = min(count, SLOW_POINTS)
        self.cluster.await_(f"{count} points of {name}", lambda: len(self.points(name)) > count, LIMIT)
        self.cluster.daemons[name].kill()
        self.end_writer()
        points = self.points(name)[1:][-count:]  # The first is the synchronisation's end.
        consistent = lies = 0
        for point in reversed(points):
            said = point.get("consistency", "CONSISTENCY_UNSPECIFIED") != "NOT_ONE_INSTANT"
            insist = [] if said else ["--accept-not-one-instant"]
            self.cluster.cli("machines", "failback", name, "--point", point["id"], "--source-lost", *insist, "--wait")
            flat = self.seen(name)["disk_paths"][0].replace(".vmdk", "-flat.vmdk")
            wrong, last = self.wrong(flat)
            if last <= PLACES:
                raise RuntimeError(f"{name}: the point of {point['time']} holds {last} writes")
            consistent += said
            lies += said and wrong > 0
            note = f" (write {last})" if wrong == 0 else f": {wrong} places do not hold what they held at write {last}"
            print(f"     {name} {point['id']} {point.get('consistency', '?')} {point.get('how', '')}{note}", flush=True)
        return len(points), consistent, lies

    def tear_down(self):
        self.end_writer()
        for where in self.mounts:
            subprocess.run(["umount", where], capture_output=True, check=False)
        for held in self.held:
            os.close(held)
        if self.group is not None:
            self.group.rmdir()


class HangingMount:
    """A FUSE file system that nobody answers for: whoever opens it waits."""

    def __init__(self, where):
        where.mkdir()
        self.where = where
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0"
        check_call(LIBC.mount(b"hangs", bytes(where), b"fuse", 0, options.encode()), "mount fuse")

    def end(self):
        os.close(self.device)
        LIBC.umount2(bytes(self.where), MNT_DETACH)


def story(cluster, directory, arguments):
    writer = directory / "ordered_writer"
    run("gcc", "-O2", "-o", writer, pathlib.Path(__file__).with_name("ordered_writer.c"))
    cluster.start_config_server()
    cluster.add_process_server().start()
    (directory / "ds").mkdir()
    cluster.add_master_target(datastores=[directory / "ds"]).start()
    cluster.await_servers(2)
    failures = 0
    for arrangement in ARRANGEMENTS:
        if arguments.only and arrangement.name not in arguments.only:
            continue
        told = Story(cluster, directory, arrangement, writer)
        try:
            count, consistent, lies = told.tell(arguments.points)
        finally:
            told.tear_down()
        enough = not arrangement.consistent or consistent >= 0.95 * count
        failures += lies > 0 or not enough
        print(f"{'ok  ' if lies == 0 and enough else 'FAIL'} {arrangement.name}: of {count} points {consistent} are "
              f"called consistent, {lies} of them are not", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--points", type=int, default=6)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--no-hanging-mount", action="store_true")
    arguments = parser.parse_args()
    if not can_use_loop_devices():
        print("not root, or no loop devices: nothing is tried")
        return 0
    leave_mount_namespace()
    directory = scratch("still")
    cluster = Cluster(arguments.binaries, directory)
    hanging = None
    failures = 1
    try:
        if not arguments.no_hanging_mount:
            hanging = HangingMount(directory / "hangs")
        failures = story(cluster, directory, arguments)
    except (TimeoutError, Refused, OSError, RuntimeError) as error:
        print(f"FAILED: {error} {getattr(error, 'text', '')}", flush=True)
        print(cluster.told())
    finally:
        cluster.stop()
        if hanging is not None:
            hanging.end()
        shutil.rmtree(directory, ignore_errors=True)
    return 0 if failures == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
