"""The demonstration behind deploy/demo. Shows what it does, ends in `RESULT {json}`."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import disks  # noqa: E402
from cluster import Cluster, Refused, die_with_parent, seconds_of  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 2048 * MIB
LEDGER_BYTES = 8 * MIB
TOO_SHORT_BYTES = 512 * MIB
CHURN_BYTES = 64 * MIB
POINT_INTERVAL = "2s"
WORK_PREFIX = "homeward-demo-"
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def clean_up_after_the_dead(base):
    """A demonstration that was killed could not take its mounts and loop devices down."""
    for left in base.glob(WORK_PREFIX + "*"):
        pid = left.name[len(WORK_PREFIX):]
        if pid.isdigit() and pathlib.Path(f"/proc/{pid}").exists():
            continue
        for line in reversed(pathlib.Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(left)):
                subprocess.run(["umount", line.split()[1]], capture_output=True)
        for line in subprocess.run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"],
                                   capture_output=True, text=True).stdout.splitlines():
            if str(left) in line:
                subprocess.run(["losetup", "-d", line.split()[0]], capture_output=True)
        shutil.rmtree(left, ignore_errors=True)


class Source:
    """The machine's disk, its file systems, and what writes to it."""

    def __init__(self, directory, image, capture):
        self.directory, self.capture = directory, capture
        self.image = directory / "source.raw"
        self.loop = self.writer = None
        self.acknowledged = directory / "acknowledged"
        self.acknowledged.write_text("")
        self.ledger_at = None  # (volume index, path in it), or ("raw", offset)
        self.digests = {}  # volume index -> path -> digest
        self.volume_count = 0
        if image is None:
            self.make()
        else:
            say(f"copying {image}")
            disks.run("cp", "--sparse=always", image, self.image)
        self.bytes = self.image.stat().st_size

    def make(self):
        say("making a 2 GiB disk with GPT and ext4, and filling it with real files")
        with open(self.image, "wb") as file:
            file.truncate(DISK_BYTES)
        # A last partition of 16 MiB without a file system: what an ordinary user writes its ledger to.
        disks.run("sgdisk", "--new=1:2048:-16M", "--typecode=1:8300", "--new=2:0:0", self.image)
        files = self.directory / "files"
        total = 0
        for top in ("/usr/bin", "/usr/lib", "/usr/share", "/usr/include"):
            for path in sorted(pathlib.Path(top).rglob("*")):
                if total > 1300 * MIB:
                    break
                try:
                    if path.is_symlink() or not path.is_file() or path.stat().st_size > 64 * MIB:
                        continue
                    copy = files / str(path)[1:]
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
                    total += path.stat().st_size
                except OSError:
                    continue
        start, sectors = self.partition(1)
        disks.run("mke2fs", "-q", "-F", "-t", "ext4", "-d", files, "-E", f"offset={start * 512}", self.image,
                  f"{sectors // 2}k")
        shutil.rmtree(files)

    def partition(self, number):
        """First sector and count of sectors."""
        out = disks.run("sgdisk", f"--info={number}", self.image)
        fields = dict(line.split(": ", 1) for line in out.splitlines() if ": " in line)
        return int(fields["First sector"].split()[0]), int(fields["Partition size"].split()[0])

    def attach(self):
        """Makes the disk usable: as a block device with its file systems mounted, or not at all when a tap serves it."""
        if self.capture != "bpf":
            return str(self.image)
        self.loop = disks.Loop(self.image)
        return self.loop.device

    def mount(self):
        if self.loop is None:
            self.ledger_at = ("raw", self.partition(2)[0] * 512)
            return
        for index, volume in enumerate(self.loop.volumes()):
            where = self.directory / f"mnt{index}"
            try:
                self.loop.mount(volume, where)
            except RuntimeError:
                continue
            self.volume_count += 1
            self.digests[index] = disks.digest_tree(where)
            room = os.statvfs(where)
            if self.ledger_at is None and room.f_bavail * room.f_frsize > LEDGER_BYTES:
                self.ledger_at = (index, disks.LEDGER_NAME)
                self.churn = min(CHURN_BYTES, room.f_bavail * room.f_frsize // 4)
        if self.ledger_at is None:
            say("no file system of this image can be written to: nothing writes while it is replicated")

    def start_writer(self, socket):
        if self.ledger_at is None:
            return
        if self.ledger_at[0] == "raw":
            self.writer = NbdWriter(socket, self.ledger_at[1], self.acknowledged)
            return
        target = self.directory / f"mnt{self.ledger_at[0]}" / disks.LEDGER_NAME
        self.writer = subprocess.Popen([sys.executable, disks.__file__, target, "0", str(LEDGER_BYTES),
                                        self.acknowledged, str(self.churn)], preexec_fn=die_with_parent)

    def quiesce_hook(self):
        """A program that stops what writes and takes the file systems down, as a shutdown does."""
        hook = self.directory / "quiesce"
        lines = ["#!/bin/sh"]
        if self.loop is not None:
            if self.writer is not None:
                lines += [f"kill {self.writer.pid} 2>/dev/null",
                          f"while [ -d /proc/{self.writer.pid} ] && ! grep -q 'State:.Z' /proc/{self.writer.pid}/status; "
                          "do sleep 0.02; done"]
            for where in reversed(self.loop.mounts):
                lines.append(f"if mountpoint -q {where}; then umount {where} || exit 1; fi")
            lines.append(f"blockdev --flushbufs {self.loop.device}")
        else:
            lines += [f"touch {self.directory}/stop-writing",
                      f"while [ ! -e {self.directory}/stopped-writing ]; do sleep 0.02; done"]
        hook.write_text("\n".join(lines) + "\n")
        hook.chmod(0o755)
        return hook

    def close(self):
        if isinstance(self.writer, NbdWriter):
            self.writer.stop()
        elif self.writer is not None:
            self.writer.kill()
            self.writer.wait()
        if self.loop is not None:
            self.loop.close()


class NbdWriter(threading.Thread):
    """Writes the ledger through the agent's tap, each record with FUA."""

    def __init__(self, socket, base, acknowledged):
        super().__init__(daemon=True)
        self.path, self.base, self.acknowledged = socket, base, acknowledged
        self.stopping = threading.Event()
        self.start()

    def run(self):
        from nbd import Nbd
        nbd = Nbd(self.path)
        stop = self.acknowledged.parent / "stop-writing"
        previous, sequence = "", 0
        with open(self.acknowledged, "a", buffering=1) as noted:
            while not self.stopping.is_set() and not stop.exists():
                record, previous = disks.ledger_record(sequence, previous)
                nbd.write(self.base + sequence * disks.RECORD_BYTES, record)
                noted.write(f"{sequence} {time.time()}\n")
                sequence += 1
                time.sleep(0.02)
        nbd.close()
        (self.acknowledged.parent / "stopped-writing").touch()

    def stop(self):
        self.stopping.set()
        self.join()


class Demo:
    def __init__(self, arguments, work):
        self.arguments, self.work = arguments, work
        self.capture = "bpf" if disks.can_use_loop_devices() else "nbd-tap"
        self.result = {"verified": False, "capture": self.capture}
        self.checks = {}
        self.rpo = []
        self.stop_sampling = threading.Event()
        self.cluster = self.source = self.home = None

    def check(self, name, holds, detail=""):
        self.checks[name] = bool(holds)
        say(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + detail if detail else ''}")

    # --- the steps -------------------------------------------------------------------------------

    def set_up(self):
        self.source = Source(self.work, self.arguments.source, self.capture)
        self.result["source_bytes"] = self.source.bytes
        path = self.source.attach()
        self.source.mount()
        self.cluster = Cluster(self.arguments.binaries, self.work)
        say(f"starting four daemons, mutual TLS between them; capture: {self.capture}")
        self.cluster.start_config_server()
        for name in ("datastore1", "datastore2"):
            (self.work / name).mkdir()
        self.cluster.add_process_server(cache_bytes=4 << 30).start()
        self.cluster.add_master_target(
            datastores=[self.work / "datastore1", self.work / "datastore2"]).start()
        self.socket = str(self.work / "tap.sock")
        disk = f'disks {{ path: "{path}" '
        disk += "}\n" if self.capture == "bpf" else f'nbd_socket: "{self.socket}" }}\n'
        boot = self.work / "boot1"
        boot.write_text("boot-of-the-source\n")
        self.agent = self.cluster.add_agent("demo", disk + f"""boot_id_file: "{boot}"
hardware_uuid: "source-hardware"
hooks {{ quiesce: "{self.work}/quiesce" }}
""")
        self.agent.start()
        self.cluster.await_servers(2)
        self.cluster.await_("the agent registers", lambda: self.machine().get("agent_connected"))
        self.source.start_writer(self.socket)
        self.source.quiesce_hook()

    def machine(self):
        return self.cluster.try_json("machines", "show", "demo")

    def points(self):
        return self.cluster.try_json("points", "list", "demo").get("points", [])

    def kill_process_server(self, when):
        server = self.cluster.daemons["process_server"]
        server.kill()
        say(f"killed the process server (-9) {when}; starting it again")
        server.start()

    def protect(self):
        say("protecting the machine")
        began = time.monotonic()
        # One command that waits: asking again and again would take processor time from what is measured.
        waiting = subprocess.Popen(
            self.cluster.command("machines", "protect", "demo", "--datastore", str(self.work / "datastore1"),
                                 "--point-interval", POINT_INTERVAL, "--wait"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        killed = False
        while not killed and waiting.poll() is None:
            time.sleep(0.4)
            seen = self.machine()
            done, total = int(seen.get("sync_done_bytes", 0)), max(1, int(seen.get("sync_total_bytes", 0)))
            if seen.get("syncing") and done > total * 0.3:
                killed = True
                say(f"first synchronisation: {done // MIB} of {total // MIB} MiB read")
                self.kill_process_server("during the first synchronisation")
        out, errors = waiting.communicate(timeout=1800)
        if waiting.returncode != 0:
            raise Refused(waiting.returncode, (errors + out).strip())
        took = time.monotonic() - began
        seen = self.machine()
        received = int(seen["received_bytes"])
        self.result["first_sync_seconds"] = round(took, 2)
        self.result["first_sync_mib_per_s"] = round(self.source.allocated / MIB / took, 1)
        self.result["first_sync_received_bytes"] = received
        if killed or self.source.allocated > TOO_SHORT_BYTES:
            self.check("the process server was killed during the first synchronisation", killed)
        else:
            say("the first synchronisation was too short to kill the process server during it")
        say(f"protected: {self.source.allocated // MIB} MiB of data in {took:.1f} s, "
            f"{self.result['first_sync_mib_per_s']} MiB/s")

    def sample_rpo(self):
        while not self.stop_sampling.wait(0.25):
            seen = self.machine()
            if seen.get("protection_state") == "Protected" and seen.get("rpo_seconds") is not None:
                self.rpo.append(seen["rpo_seconds"])

    def follow(self):
        seconds = self.arguments.seconds
        say(f"following the machine's writes for {seconds} s")
        sampler = threading.Thread(target=self.sample_rpo, daemon=True)
        sampler.start()
        end = time.monotonic() + seconds
        received = int(self.machine()["received_bytes"])
        killed = False
        while time.monotonic() < end:
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))
            if not killed and time.monotonic() > end - seconds / 2:
                killed = True
                self.kill_process_server("in steady state")
        self.cluster.await_("a point after the process server came back",
                            lambda: self.machine().get("pending_bytes") is not None and
                            (self.machine().get("rpo_seconds") or 99) < 5, 60)
        self.stop_sampling.set()
        sampler.join()
        self.result["delta_bytes"] = int(self.machine()["received_bytes"]) - received
        freeze = self.machine().get("freeze", {})
        self.result["freeze_ms_p50"] = milliseconds(freeze.get("p50", "0s"))
        self.result["freeze_ms_max"] = milliseconds(freeze.get("max", "0s"))
        self.rpo.sort()
        if self.rpo:
            self.result["rpo_seconds_p95"] = round(self.rpo[min(len(self.rpo) - 1, len(self.rpo) * 95 // 100)], 2)
            self.result["rpo_seconds_p50"] = round(statistics.median(self.rpo), 2)

    def check_points(self):
        points = self.points()
        self.result["points"] = len(points)
        gaps = [seconds_of(b["time"]) - seconds_of(a["time"]) for a, b in zip(points, points[1:])]
        if gaps:
            self.result["point_gap_seconds_max"] = round(max(gaps), 2)
        self.check("points at least every 5 s", gaps and max(gaps) <= 5.0,
                   f"{len(points)} points, longest gap {max(gaps or [0]):.1f} s")
        return points

    def fail_back(self, point, label):
        began = time.monotonic()
        self.cluster.cli("machines", "failback", "demo", "--point", point, "--wait")
        took = time.monotonic() - began
        self.result[f"failback_{label}_seconds"] = round(took, 2)
        say(f"failed back to {point} in {took:.1f} s")

    def verify(self, label, point_time):
        """Mounts a copy of the recovered disk, so that the disk itself stays as it was handed over."""
        descriptor = pathlib.Path(self.machine()["disk_paths"][0])
        disks.run("qemu-img", "info", descriptor)
        flat = descriptor.with_name(descriptor.stem + "-flat.vmdk")
        copy = self.work / f"{label}.raw"
        disks.run("cp", "--sparse=always", flat, copy)
        noted = [line.split() for line in self.source.acknowledged.read_text().splitlines()]
        must_have = sum(1 for _sequence, when in noted if float(when) < point_time)
        try:
            if self.capture == "bpf":
                ledger = self.verify_mounted(label, copy)
            else:
                ledger = self.verify_unmounted(label, copy)
            if self.source.ledger_at is None:
                return
            try:
                records = disks.read_ledger(ledger)
                self.check(f"{label}: the ledger is whole", len(records) >= must_have,
                           f"{len(records)} records, {must_have} were acknowledged before the point, "
                           f"{len(noted)} in all")
                if label == "latest":
                    self.check("latest: no acknowledged record is missing", len(records) >= len(noted))
                else:
                    self.check("older: it is older", len(records) < len(noted))
            except ValueError as error:
                self.check(f"{label}: the ledger is whole", False, str(error))
        finally:
            copy.unlink()

    def verify_mounted(self, label, copy):
        loop = disks.Loop(copy)
        ledger = b""
        try:
            good = 0
            for index, volume in enumerate(loop.volumes()):
                if index not in self.source.digests:
                    continue
                where = self.work / f"{label}{index}"
                loop.mount(volume, where)  # Replays its journal, as at a boot.
                same = disks.digest_tree(where) == self.source.digests[index]
                good += same
                if self.source.ledger_at is not None and self.source.ledger_at[0] == index:
                    ledger = (where / disks.LEDGER_NAME).read_bytes()
            self.check(f"{label}: every file of {self.source.volume_count} file systems is the same",
                       good == self.source.volume_count)
        finally:
            loop.close()
        return ledger

    def verify_unmounted(self, label, copy):
        start, sectors = self.source.partition(1)
        volume = self.work / f"{label}.ext4"
        disks.run("dd", f"if={copy}", f"of={volume}", "bs=1M", "conv=sparse", "iflag=skip_bytes,count_bytes",
                  f"skip={start * 512}", f"count={sectors * 512}")
        checked = subprocess.run(["e2fsck", "-fn", volume], capture_output=True, text=True)
        volume.unlink()
        self.check(f"{label}: the file system is clean", checked.returncode == 0, checked.stdout.strip()[-200:]
                   if checked.returncode else "")
        with open(copy, "rb") as file:
            file.seek(self.source.ledger_at[1])
            return file.read(LEDGER_BYTES)

    def failback_and_verify(self):
        points = self.check_points()
        older = points[len(points) // 2]
        say(f"failing back to an older point, {older['id']}")
        self.fail_back(older["id"], "older")
        self.verify("older", seconds_of(older["time"]))
        say("failing back to the latest point")
        self.fail_back("latest", "latest")
        newest = self.points()[-1]
        if self.arguments.sabotage:
            say("damaging one byte of the recovered disk, as asked")
            flat = pathlib.Path(self.machine()["disk_paths"][0].replace(".vmdk", "-flat.vmdk"))
            with open(flat, "r+b") as file:
                file.seek(self.source.bytes // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
        self.verify("latest", seconds_of(newest["time"]))
        descriptor = self.machine()["disk_paths"][0]
        compared = subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", descriptor, self.source.image],
                                  capture_output=True, text=True)
        self.check("latest: byte for byte the source", compared.returncode == 0, compared.stdout.strip())

    def reprotect(self):
        self.cluster.cli("machines", "commit", "demo", "--wait")
        say("committed; trying to reprotect before the agent has registered")
        self.agent.stop()
        began = time.monotonic()
        try:
            self.cluster.cli("machines", "reprotect", "demo", "--datastore", str(self.work / "datastore2"))
            self.check("reprotect is refused before the agent registers", False, "it was accepted")
        except Refused as refused:
            self.check("reprotect is refused before the agent registers", "AGENT_NOT_REGISTERED" in refused.text,
                       refused.text.splitlines()[0])
        self.result["reprotect_refused_seconds"] = round(time.monotonic() - began, 2)
        say("starting the machine at home: its agent, with the host id from its disk, registers after 3 s")
        descriptor = pathlib.Path(self.machine()["disk_paths"][0])
        flat = descriptor.with_name(descriptor.stem + "-flat.vmdk")
        shutil.copytree(self.work / "demo" / "state", self.work / "demo_home" / "state")
        boot = self.work / "boot2"
        boot.write_text("boot-at-home\n")
        if self.capture == "bpf":
            self.home = disks.Loop(flat)
            disk = f'disks {{ path: "{self.home.device}" }}\n'
        else:
            disk = f'disks {{ path: "{flat}" nbd_socket: "{self.work}/home.sock" }}\n'
        agent = self.cluster.add_agent("demo", disk + f"""boot_id_file: "{boot}"
hardware_uuid: "hardware-at-home"
registration {{ delay {{ fixed {{ seconds: 3 }} }} }}
""", directory="demo_home")
        agent.start()
        began = time.monotonic()
        self.cluster.await_("the agent registers", lambda: self.machine().get("agent_connected"), 60)
        self.result["registration_seconds"] = round(time.monotonic() - began, 2)
        self.check("the registration delay of 3 s was kept", time.monotonic() - began > 2.5)
        self.cluster.cli("machines", "reprotect", "demo", "--datastore", str(self.work / "datastore2"),
                         "--point-interval", POINT_INTERVAL, "--wait")
        self.check("reprotect is accepted after it registered",
                   self.machine().get("protection_state") == "Protected")

    def run(self):
        self.set_up()
        self.source.allocated = data_bytes(self.source.image)
        self.protect()
        self.follow()
        self.failback_and_verify()
        self.reprotect()
        if self.arguments.source is not None:
            self.check("the image was not touched", self.arguments.source.stat().st_mtime_ns == self.arguments.touched)
        self.cluster.note_memory()
        names = {"agent": ("demo", "demo_home"), "process_server": ("process_server",),
                 "master_target": ("master_target",), "config_server": ("config_server",)}
        self.result["rss_mib"] = {label: max(self.cluster.daemons[name].peak_kib for name in parts) // 1024
                                  for label, parts in names.items()}
        for label, limit in (("agent", 128), ("process_server", 256), ("master_target", 256), ("config_server", 192)):
            self.check(f"memory of {label} under {limit} MiB", self.result["rss_mib"][label] < limit,
                       f"{self.result['rss_mib'][label]} MiB")
        stopped = [daemon.stop() for daemon in reversed(self.cluster.daemons.values())]
        self.check("every daemon stops in time when asked", all(stopped))
        self.result["verified"] = all(self.checks.values())

    def close(self):
        self.stop_sampling.set()
        if self.cluster is not None:
            self.cluster.stop()
        if self.source is not None:
            self.source.close()
        if self.home is not None:
            self.home.close()


def data_bytes(image):
    """Allocated bytes: what of the disk is not a hole."""
    return os.stat(image).st_blocks * 512


def milliseconds(text):
    return round(float(text.rstrip("s")) * 1000, 1)


def main():
    parser = argparse.ArgumentParser(prog="deploy/demo", description=__doc__)
    parser.add_argument("--binaries", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=pathlib.Path, help="a raw disk image; a copy is used")
    parser.add_argument("--seconds", type=int, default=40, help="how long to follow writes")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/var/tmp"), help="where there is room")
    parser.add_argument("--keep", action="store_true", help="leave the work directory, with the logs")
    parser.add_argument("--break", dest="sabotage", action="store_true",
                        help="damage one byte of the recovered disk: the result must say so")
    arguments = parser.parse_args()
    if arguments.source is not None:
        if not arguments.source.is_file():
            parser.error(f"{arguments.source} is not a file")
        size = arguments.source.stat().st_size
        if size == 0 or size % 512:
            parser.error(f"{arguments.source} has {size} bytes; a raw disk image has a multiple of 512")
        arguments.source = arguments.source.resolve()
        arguments.touched = arguments.source.stat().st_mtime_ns
    clean_up_after_the_dead(arguments.work)
    work = arguments.work / f"{WORK_PREFIX}{os.getpid()}"
    work.mkdir(mode=0o700)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    demo = Demo(arguments, work)
    code = 1
    try:
        demo.run()
        code = 0 if demo.result["verified"] else 1
    except KeyboardInterrupt:
        say("interrupted")
        code = 130
    except (Refused, TimeoutError, RuntimeError, OSError) as error:
        demo.result["error"] = str(error)
        say(f"FAILED: {error}")
        if demo.cluster:
            print(demo.cluster.told(), file=sys.stderr)
    finally:
        demo.close()
        if not arguments.keep:
            shutil.rmtree(work, ignore_errors=True)
    demo.result["checks"] = demo.checks
    print("RESULT " + json.dumps(demo.result))
    sys.exit(code)


if __name__ == "__main__":
    main()
