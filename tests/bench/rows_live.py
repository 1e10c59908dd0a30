"""Rows about a machine that works while it is replicated, and about its points."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

import disks
from cluster import die_with_parent
from row import MIB, Cannot, Row, make_source, run


def fio(*arguments):
    """Runs one job; its figures."""
    done = subprocess.run(["fio", "--name=w", "--output-format=json", "--randseed=7", *map(str, arguments)],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]


class OnLoopDevice(Row):
    """A machine whose disk is a loop device with an ext4, tracked by BPF."""

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        if not disks.can_use_loop_devices():
            raise Cannot("loop devices need root")
        self.image = directory / "disk.raw"
        # The first run gives it its blocks; a median does not see that one.
        with open(self.image, "wb") as file:
            file.truncate(max(512, arguments.megabytes // 2) * MIB)

    @contextlib.contextmanager
    def mounted(self):
        run("mkfs.ext4", "-q", "-F", self.image)
        loop = disks.Loop(self.image)
        try:
            loop.mount(loop.device, self.directory / "mnt")
            yield loop.device
        finally:
            loop.close()


class TrackingIops(OnLoopDevice):
    name, unit, target = "tracking_iops", "writes/s", 0.97
    says = "4 KiB random direct writes to a loop device, depth 16, while the agent tracks it; beside the same without an agent"

    def fio(self, device):
        return fio(f"--filename={device}", "--ioengine=libaio", "--direct=1", "--rw=randwrite", "--bs=4k", "--iodepth=16",
                   f"--runtime={self.arguments.seconds}", "--time_based")["write"]["iops"]

    def ours(self):
        loop = disks.Loop(self.image)
        try:
            with self.homeward(loop.device, tap=False):
                return self.fio(loop.device)
        finally:
            loop.close()

    def peer(self):
        loop = disks.Loop(self.image)
        try:
            return self.fio(loop.device)
        finally:
            loop.close()


class TapIops(Row):
    name, unit, target = "tap_iops", "writes/s", 1.0
    says = "4 KiB random writes, depth 16, through the agent's tap; beside qemu-nbd --aio=io_uring on the same file"

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.image = directory / "image.raw"
        make_source(self.image, min(arguments.megabytes, 1024))

    def fio(self, socket):
        return fio("--ioengine=nbd", f"--uri=nbd+unix:///?socket={socket}", "--rw=randwrite", "--bs=4k", "--iodepth=16",
                   f"--runtime={self.arguments.seconds}", "--time_based", f"--size={self.image.stat().st_size}")["write"]["iops"]

    def ours(self):
        with self.homeward(self.image):
            return self.fio(self.directory / "ours" / "tap")

    def peer(self):
        socket = self.directory / "qemu"
        server = subprocess.Popen(["qemu-nbd", "--format=raw", "--cache=writeback", "--aio=io_uring", "--persistent",
                                   f"--socket={socket}", str(self.image)], preexec_fn=die_with_parent)
        try:
            for _attempt in range(100):
                time.sleep(0.05)
                if socket.exists():
                    break
            return self.fio(socket)
        finally:
            server.kill()
            server.wait()
            socket.unlink(missing_ok=True)


class ForegroundP99(OnLoopDevice):
    name, unit, target, at_least = "foreground_p99", "ms", 1.5, False
    says = ("p99 of durable 16 KiB writes at 10 MiB/s to an ext4, while it is replicated with a point every 5 s, to a master target on "
            "another device; beside without")

    def fio(self):
        figures = fio(f"--directory={self.directory}/mnt", "--ioengine=psync", "--rw=randwrite", "--bs=16k", "--size=128m",
                      "--sync=dsync", "--rate=10m", f"--runtime={self.arguments.seconds}", "--time_based")
        return figures["write"]["clat_ns"]["percentile"]["99.000000"] / 1e6

    def ours(self):
        with self.mounted() as device, self.homeward(device, tap=False, apart=True) as cluster:
            cluster.cli("machines", "protect", "bench", "--point-interval", "5s", "--wait", limit=3600)
            return self.fio()

    def peer(self):
        with self.mounted():
            return self.fio()


class Rpo(OnLoopDevice):
    name, unit, target, at_least, has_peer = "rpo", "s", 5, False, False
    says = "p95 of the newest durable point's age at 20 MiB/s of random 64 KiB overwrites of an ext4, a point every 2 s"

    taken = []  # two rows are of the same runs

    def measure(self):
        """Ages of the newest point, and what the agent says of its freezes."""
        with self.mounted() as device, self.homeward(device, tap=False) as cluster:
            cluster.cli("machines", "protect", "bench", "--point-interval", "2s", "--wait", limit=3600)
            load = subprocess.Popen(
                ["fio", "--name=w", f"--directory={self.directory}/mnt", "--ioengine=psync", "--rw=randwrite", "--bs=64k",
                 "--size=256m", "--rate=20m", f"--runtime={max(self.arguments.seconds, 4)}", "--time_based"],
                stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
            time.sleep(2)
            ages = []
            while load.poll() is None:
                seen = cluster.try_json("machines", "show", "bench")
                ages.append(seen.get("rpo_seconds", 99))
                freeze = seen.get("freeze", {})
                time.sleep(0.2)
            return sorted(ages), freeze

    def ours(self):
        ages, _freeze = self.shared(Rpo.taken, self.measure)
        return ages[len(ages) * 95 // 100]


class Freeze(Rpo):
    name, unit, target = "freeze", "ms", 75
    says = "the longest of all freezes, freeze to thaw, at that load (stricter than the p99)"

    def ours(self):
        _ages, freeze = self.shared(Rpo.taken, self.measure)
        return float(freeze["max"].rstrip("s")) * 1000


class FailbackOlder(Row):
    name, unit, target = "failback_older", "MiB/s", 0.4
    says = "rewinding half the size in reverse deltas, from the command to the disk at that point; beside dd of as much, direct, synced"

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.image = directory / "disk.raw"
        self.amount = arguments.megabytes // 2
        make_source(self.image, self.amount)

    def ours(self):
        with self.homeward(self.image) as cluster:
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            cluster.cli("points", "create", "bench", "--wait")
            older = cluster.json("points", "list", "bench")["points"][-1]["id"]
            fio("--ioengine=nbd", f"--uri=nbd+unix:///?socket={self.directory}/ours/tap", "--rw=write", "--bs=1m",
                "--iodepth=4", f"--size={self.amount}m", "--end_fsync=1")
            cluster.cli("points", "create", "bench", "--wait", limit=3600)
            cluster.await_("all of it is in reverse deltas", lambda: int(
                cluster.try_json("machines", "show", "bench").get("journal_bytes", 0)) > self.amount * MIB, 600)
            began = time.monotonic()
            cluster.cli("machines", "failback", "bench", "--point", older, "--wait", limit=3600)
            return self.amount / (time.monotonic() - began)

    def peer(self):
        copy = self.directory / "copy.raw"
        began = time.monotonic()
        run("dd", f"if={self.image}", f"of={copy}", "bs=1M", f"count={self.amount}", "iflag=direct", "oflag=direct",
            "conv=fsync")
        seconds = time.monotonic() - began
        copy.unlink()
        return self.amount / seconds


class KeeperOverwrite(Row):
    name, unit, target = "keeper_overwrite", "MiB/s", 0.35
    says = "random 64 KiB overwrites of a VMDK with its journal beside it, a point every 2 s; beside fio, direct, synced as often"

    def ours(self):
        shutil.rmtree(self.directory / "keeper", ignore_errors=True)
        program = pathlib.Path(self.arguments.binaries) / "homeward-bench-keeper"
        done = subprocess.run([program, self.directory / "keeper", str(self.arguments.megabytes // 2),
                               str(self.arguments.seconds)], check=True, capture_output=True, text=True)
        figures = json.loads(done.stdout)
        self.group = figures["group_bytes"]
        self.written = figures["written_per_received"]
        self.note(f"{self.written:.2f} bytes written per byte received (at most 2.1)")
        return figures["mib_per_s"]

    def peer(self):
        path = self.directory / "fio.raw"
        size = self.arguments.megabytes // 2 * MIB
        run("fallocate", "-l", str(size), path)
        with open(path, "r+b") as file:  # Allocated and written, as the replica is.
            for _at in range(0, size, MIB):
                file.write(os.urandom(MIB))
            os.fsync(file.fileno())
        job = fio(f"--filename={path}", "--ioengine=libaio", "--direct=1", "--rw=randwrite", "--bs=64k", "--iodepth=16",
                  f"--fdatasync={self.group // 65536}", f"--runtime={self.arguments.seconds}", "--time_based")
        path.unlink()
        return job["write"]["bw_bytes"] / MIB

    def holds(self, ratio):
        return super().holds(ratio) and self.written <= 2.1


class IdleFleet(Row):
    name, unit, target = "idle_fleet", "us", 1.5
    at_least = False
    says = "a step of the configuration server with 10,000 machines that do nothing and one job that waits; beside 10 machines"

    def step(self, machines):
        program = pathlib.Path(self.arguments.binaries) / "homeward-bench-brain"
        done = subprocess.run([program, str(machines), "2000"], check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])["step_us"]

    def ours(self):
        return self.step(10000)

    def peer(self):
        return self.step(10)
