"""Real daemons for a long time: machines are protected, written to, failed back to random recovery points and compared,
while daemons are killed (-9), connections are destroyed and processes stand still for seconds.

usage: soak.py --binaries DIR [--minutes 60] [--seed N] [--report DIR]

What a disk must hold at a point is known exactly: one writer for each disk numbers its writes, each 4 KiB block it
writes says its number, and each write is awaited before the next. So a recovered disk names the last write M in it, and
must be what the writes up to M make (only M itself may be half there, if it was under way), and M may not be older than
the last write that was acknowledged before the point. The last third of the time is without kills, so that memory and
open files of a long life can be seen: they must be flat.
"""
import argparse
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
import chart  # noqa: E402
from cluster import Cluster, Refused, seconds_of  # noqa: E402
from nbd import Nbd  # noqa: E402

MIB = 1 << 20
BLOCK = 4096
DISK_BYTES = 96 * MIB
FILLED_BYTES = 32 * MIB
RETENTION_BYTES = 24 * MIB
TRY_AGAIN = 5
SERVERS = ("config_server", "process_server", "process_server2", "master_target")
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:7.1f} s] {text}", flush=True)


def block_of(sequence, number):
    """What write `sequence` puts into block `number`; the first writes of a disk have number 0."""
    return struct.pack("<QQ", sequence + 1, number) + random.Random(sequence << 32 | number).randbytes(BLOCK - 16)


class Writer(threading.Thread):
    """Numbers its writes, awaits each, and repeats one whose answer was lost."""

    def __init__(self, socket, seed, pause, stop_file, stopped_file):
        super().__init__(daemon=True)
        self.socket, self.random, self.pause = socket, random.Random(seed), pause
        self.stop_file, self.stopped_file = stop_file, stopped_file
        self.writes = [(0, 0, 0.0)]  # by sequence: first block, blocks, when it was acknowledged (0: not yet)
        self.ended = threading.Event()

    def run(self):
        nbd = None
        while not self.ended.is_set() and not self.stop_file.exists():
            first = self.random.randrange(DISK_BYTES // BLOCK)
            count = min(self.random.randint(1, 16), DISK_BYTES // BLOCK - first)
            sequence = len(self.writes)
            data = b"".join(block_of(sequence, number) for number in range(first, first + count))
            self.writes.append((first, count, 0.0))
            while not self.ended.is_set():
                try:
                    nbd = nbd or Nbd(self.socket)
                    nbd.write(first * BLOCK, data)
                    self.writes[sequence] = (first, count, time.time())
                    break
                except OSError:
                    nbd = None
                    time.sleep(0.05)
            time.sleep(self.random.uniform(0, 2 * self.pause))
        if nbd is not None:
            nbd.socket.close()
        self.stopped_file.touch()


class Different(Exception):
    pass


def compare(flat, filled, writes, point_time):
    """Raises Different unless the file is a prefix of the writes that holds all acknowledged before `point_time`."""
    seen, last = {}, 0
    with open(flat, "rb") as file:
        for number in range(DISK_BYTES // BLOCK):
            raw = file.read(BLOCK)
            if not any(raw[:16]):
                if any(raw):
                    raise Different(f"block {number}: zeroes before something else")
                continue
            sequence, said = struct.unpack("<QQ", raw[:16])
            sequence -= 1
            if said != number or sequence >= len(writes) or raw != block_of(sequence, number):
                raise Different(f"block {number}: not what was ever written there")
            seen[number] = sequence
            last = max(last, sequence)
    acknowledged = max((n for n, (_, _, when) in enumerate(writes) if 0 < when < point_time), default=0)
    if last < acknowledged:
        raise Different(f"the newest write is {last}, write {acknowledged} was acknowledged before the point")
    model = dict.fromkeys(filled, 0)
    for sequence in range(1, last):
        first, count, _ = writes[sequence]
        model.update(dict.fromkeys(range(first, first + count), sequence))
    before = dict(model)
    first, count, when = writes[last] if last > 0 else (0, 0, 0.0)
    model.update(dict.fromkeys(range(first, first + count), last))
    may_be_torn = not 0 < when < point_time
    for number in range(DISK_BYTES // BLOCK):
        if seen.get(number) == model.get(number):
            continue
        if may_be_torn and first <= number < first + count and seen.get(number) == before.get(number):
            continue
        raise Different(f"block {number}: of write {seen.get(number)}, not {model.get(number)}; the newest is {last}")
    return last


class Machine:
    """One machine's life after the other. A generator: each `yield` gives the others their turn."""

    def __init__(self, soak, name, seconds, pause):
        self.soak, self.name, self.seconds, self.pause = soak, name, seconds, pause
        self.random = random.Random(soak.random.random())
        self.machine = name
        self.lives = 0
        self.turn = self.all_lives()

    def seen(self):
        return self.soak.json("machines", "show", self.machine)

    def until(self, what, holds, limit=240):
        end = time.monotonic() + limit
        while True:
            value = holds()
            if value:
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"{self.machine}: {what}: not within {limit} s")
            yield

    def ask(self, *arguments):
        """Again while the answer is that trying again may help. The refusal that helps nothing is raised."""
        end = time.monotonic() + 240
        while True:
            try:
                return self.soak.cluster.cli(*arguments, limit=30)
            except subprocess.TimeoutExpired:
                pass
            except Refused as refused:
                if self.seen().get("job_id"):
                    return refused.text  # An answer was lost, the job was not.
                if refused.code != TRY_AGAIN or time.monotonic() > end:
                    raise
            yield

    def await_state(self, *states):
        def there():
            seen = self.seen()
            return seen.get("protection_state") in states and not seen.get("job_id")
        return self.until(f"is {states}", there)

    def ended_job(self):
        jobs = self.soak.json("jobs", "list", "--machine", self.machine).get("jobs", [])
        if jobs and jobs[0]["state"] != "Running" and jobs[0]["workflow"] == "failback":
            return jobs[0]
        return None

    def fail_back_and_compare(self, label, directory, filled, writer):
        """To a random point for label "random"; the newest for "latest"."""
        for _attempt in range(20):
            points = self.soak.json("points", "list", self.machine).get("points", [])
            point = self.random.choice(points)["id"] if label == "random" and points else "latest"
            times = {entry["id"]: seconds_of(entry["time"]) for entry in points}
            try:
                yield from self.ask("machines", "failback", self.machine, "--point", point)
            except Refused as refused:
                # Retention took it in between; the operator chooses another.
                if "POINT_NOT_FOUND" not in refused.text:
                    raise
                continue
            job = yield from self.until("the failback ends", self.ended_job)
            if job["state"] == "Succeeded":
                break
            if job.get("problem", {}).get("id") != "POINT_NOT_FOUND":
                raise Different(f"{self.machine}: the failback to {point}: {job['state']}: {job.get('problem')}")
        else:
            raise TimeoutError(f"{self.machine}: no point could be failed back to")
        path = yield from self.until("names its disk", lambda: (self.seen().get("disk_paths") or [None])[0])
        flat = path.replace(".vmdk", "-flat.vmdk")
        if point == "latest":
            at = time.time()  # The source had stopped before: all that was acknowledged must be there.
        else:
            at = times[point]
        last = compare(flat, filled, writer.writes, at)
        self.soak.compared[label] += 1
        say(f"{self.machine}: {label} point {point} is right ({last} of {len(writer.writes) - 1} writes, "
            f"{len(points)} points)")

    def all_lives(self):
        while not self.soak.ending():
            yield from self.life()

    def life(self):
        self.lives += 1
        self.machine = f"{self.name}-{self.lives}"
        directory = self.soak.cluster.directory / f"disk-{self.machine}"
        directory.mkdir()
        image = directory / "disk.raw"
        filled = sorted(self.random.sample(range(DISK_BYTES // BLOCK), FILLED_BYTES // BLOCK))
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
            for number in filled:
                file.seek(number * BLOCK)
                file.write(block_of(0, number))
        socket = str(directory / "tap")
        stop, stopped, hook = directory / "stop", directory / "stopped", directory / "quiesce"
        hook.write_text(f"#!/bin/sh\ntouch {stop}\nwhile [ ! -e {stopped} ]; do sleep 0.02; done\n")
        hook.chmod(0o755)
        agent = self.soak.cluster.add_agent(
            self.machine, f'disks {{ path: "{image}" nbd_socket: "{socket}" }}\nhooks {{ quiesce: "{hook}" }}\n')
        agent.start()
        writer = Writer(socket, self.random.random(), self.pause, stop, stopped)
        try:
            yield from self.until("registers", lambda: self.seen().get("agent_connected"))
            yield from self.ask("machines", "protect", self.machine, "--point-interval", "2s",
                                "--retention-bytes", str(RETENTION_BYTES))
            writer.start()
            yield from self.await_state("Protected")
            end = time.monotonic() + self.seconds * self.random.uniform(0.5, 1)
            while time.monotonic() < end and not self.soak.ending():
                yield
            yield from self.await_state("Protected")
            for _ in range(self.random.randint(1, 2)):
                yield from self.fail_back_and_compare("random", directory, filled, writer)
            yield from self.fail_back_and_compare("latest", directory, filled, writer)
            yield from self.ask("machines", "commit", self.machine)
            yield from self.await_state("FailoverCommitted")
            self.soak.writes += len(writer.writes) - 1
            self.soak.lives += 1
        finally:
            writer.ended.set()
            if writer.ident is not None:
                writer.join(20)
        agent.kill()
        del self.soak.cluster.daemons[self.machine]
        shutil.rmtree(pathlib.Path((self.seen().get("disk_paths") or [str(directory / "none" / "x")])[0]).parent,
                      ignore_errors=True)
        shutil.rmtree(directory)


class Soak:
    def __init__(self, cluster, arguments):
        self.cluster, self.random = cluster, random.Random(arguments.seed)
        self.seconds = arguments.minutes * 60
        self.compared = {"random": 0, "latest": 0}
        self.faults = {"kill": 0, "cut": 0, "stand still": 0}
        self.writes = self.lives = 0
        self.samples = {name: [] for name in SERVERS}  # (minute, KiB, open files, pid)
        self.asleep = {}  # daemon -> until
        self.dead = {}  # daemon -> until

    def passed(self):
        return time.monotonic() - STARTED

    def ending(self):
        return self.passed() > self.seconds

    def json(self, *arguments):
        try:
            return self.cluster.json(*arguments)
        except (Refused, subprocess.TimeoutExpired):
            return {}

    def sample(self):
        for name in SERVERS:
            process = self.cluster.daemons[name].process
            if process is None:
                continue
            try:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
                files = len(os.listdir(f"/proc/{process.pid}/fd"))
            except (OSError, StopIteration):
                continue
            self.samples[name].append((self.passed() / 60, rss, files, process.pid))

    def strike(self):
        now = time.monotonic()
        for name, until in list(self.asleep.items()):
            if now > until:
                del self.asleep[name]
                process = self.cluster.daemons[name].process if name in self.cluster.daemons else None
                if process is not None:
                    process.send_signal(18)  # SIGCONT
        for name, until in list(self.dead.items()):
            if now > until:
                del self.dead[name]
                if name in self.cluster.daemons:
                    self.cluster.daemons[name].start()
        if now < self.next_fault:
            return
        self.next_fault = now + self.random.expovariate(1 / 6.0)
        calm = self.passed() > self.seconds * 2 / 3
        name = self.random.choice(list(self.cluster.daemons))
        daemon = self.cluster.daemons[name]
        if daemon.process is None or name in self.asleep:
            return
        kind = self.random.choice(["cut", "stand still"] if calm else ["kill", "cut", "cut", "stand still"])
        self.faults[kind] += 1
        if kind == "kill":
            daemon.kill()
            self.dead[name] = now + self.random.uniform(0, 3)
        elif kind == "stand still":
            daemon.process.send_signal(19)  # SIGSTOP
            self.asleep[name] = now + self.random.uniform(0.2, 8)
        else:
            subprocess.run(["ss", "--kill", "--tcp", "dport", "=", str(self.random.choice(self.ports))],
                           capture_output=True)

    def run(self):
        cluster = self.cluster
        cluster.start_config_server()
        (cluster.directory / "datastore").mkdir()
        for server in (cluster.add_process_server(cache_bytes=8 << 30),
                       cluster.add_process_server("process_server2", cache_bytes=8 << 30),
                       cluster.add_master_target(datastores=[cluster.directory / "datastore"])):
            server.start()
        cluster.await_servers(3)
        pids = [str(cluster.daemons[name].process.pid) for name in SERVERS]
        listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout.splitlines()
        self.ports = sorted({int(line.split()[3].rsplit(":", 1)[1]) for line in listening
                             if any(f"pid={pid}," in line for pid in pids)})
        say(f"ports that may be cut: {self.ports}")
        self.next_fault = time.monotonic() + 10
        machines = [Machine(self, "short", 60, 0.02), Machine(self, "middle", 300, 0.01),
                    Machine(self, "long", self.seconds, 0.05)]
        next_sample = 0
        while machines:
            for machine in list(machines):
                try:
                    next(machine.turn)
                except StopIteration:
                    machines.remove(machine)
            self.strike()
            if time.monotonic() > next_sample:
                next_sample = time.monotonic() + 5
                self.sample()
            time.sleep(0.1)

    def report(self, directory, failure):
        directory.mkdir(parents=True, exist_ok=True)
        flat = True
        lines = [f"result: {failure or 'nothing lost'}", f"minutes: {self.passed() / 60:.1f}",
                 f"machines that went round: {self.lives}", f"writes: {self.writes}",
                 f"disks compared: {self.compared['random']} at a random point, {self.compared['latest']} at the latest",
                 "faults: " + ", ".join(f"{count} x {kind}" for kind, count in self.faults.items())]
        for name, samples in self.samples.items():
            life = [sample for sample in samples if samples and sample[3] == samples[-1][3]]
            if len(life) < 12:
                continue
            late = life[len(life) // 2:]
            before = [sample for sample in samples if sample not in late]
            # Flat: no more in the end than it ever had before, in this incarnation or an earlier one.
            had = [max(sample[column] for sample in before) for column in (1, 2)]
            has = [sorted(sample[column] for sample in late)[len(late) // 2] for column in (1, 2)]
            grew = has[0] > 1.1 * had[0] + 4096 or has[1] > had[1] + 8
            flat = flat and not grew
            lines.append(f"{name}: its last life of {life[-1][0] - life[0][0]:.1f} min ends with {has[0] // 1024} MiB and "
                         f"{has[1]} open files; the most before: {had[0] // 1024} MiB, {had[1]}{'  GROWS' if grew else ''}")
        for label, column, scale in (("memory", 1, 1024), ("open files", 2, 1)):
            drawn = {name: [(s[0], s[column] / scale) for s in samples] for name, samples in self.samples.items() if samples}
            if drawn:
                text = chart.lines(f"Soak: {label}", "minutes", "MiB" if column == 1 else "files", drawn)
                (directory / f"soak-{label.replace(' ', '-')}.svg").write_text(text)
        (directory / "report.txt").write_text("\n".join(lines) + "\n")
        print("\n".join(lines), flush=True)
        return flat


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--report", type=pathlib.Path, default=pathlib.Path("build/soak"))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="homeward-soak-", dir="/var/tmp"))
    soak = Soak(Cluster(arguments.binaries, directory), arguments)
    failure, kept = "", False
    try:
        soak.run()
    except (TimeoutError, Refused, OSError, Different) as error:
        failure, kept = f"FAILED: {type(error).__name__}: {error}", True
        print(soak.cluster.told())
        print(soak.cluster.try_cli("machines", "list"), soak.cluster.try_cli("jobs", "list"))
    finally:
        for name in soak.asleep:
            if name in soak.cluster.daemons and soak.cluster.daemons[name].process is not None:
                soak.cluster.daemons[name].process.send_signal(18)
        soak.cluster.stop()
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"kept for reading: {directory}")
    flat = soak.report(arguments.report, failure)
    sys.exit(0 if not failure and flat else 1)


if __name__ == "__main__":
    main()
