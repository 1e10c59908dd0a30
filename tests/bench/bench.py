"""Rows of the benchmark: each runs Homeward and its peer alternately on the same data and prints medians and ratio."""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import Cluster, die_with_parent, free_port  # noqa: E402

MIB = 1 << 20


def run(*command, **more):
    subprocess.run([str(part) for part in command], check=True, capture_output=True, **more)


def make_source(path, megabytes):
    """Half real files, half random bytes; nothing of it is a hole."""
    with open(path, "wb") as out:
        written = 0
        for top in ("/usr/bin", "/usr/lib", "/usr/share"):
            for file in sorted(pathlib.Path(top).rglob("*")):
                if written >= megabytes * MIB // 2:
                    break
                try:
                    if file.is_file() and not file.is_symlink():
                        written += out.write(file.read_bytes())
                except OSError:
                    continue
        while written < megabytes * MIB:
            written += out.write(os.urandom(min(MIB, megabytes * MIB - written)))
        out.truncate(megabytes * MIB)
        os.fsync(out.fileno())


def make_sparse(path, gigabytes, pieces):
    """A disk of holes, with `pieces` random mebibytes at equal distances."""
    with open(path, "wb") as file:
        file.truncate(gigabytes << 30)
        for at in range(pieces):
            file.seek(at * ((gigabytes << 30) // pieces))
            file.write(os.urandom(MIB))


def cpu_seconds(pid):
    """User and system time of one process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Row:
    """One row: `ours()` and `peer()` return a figure in `unit`; the ratio of the two is held against `target`."""
    at_least = True

    def __init__(self, arguments, directory):
        self.arguments, self.directory = arguments, directory

    @contextlib.contextmanager
    def homeward(self, image):
        """All daemons, and an agent named bench that serves `image` at ours/tap and has registered."""
        directory = self.directory / "ours"
        (directory / "datastore").mkdir(parents=True)
        cluster = Cluster(self.arguments.binaries, directory)
        try:
            cluster.start_config_server()
            cluster.add_process_server().start()
            cluster.add_master_target(datastores=[directory / "datastore"]).start()
            cluster.await_servers(2)
            cluster.add_agent("bench", f'disks {{ path: "{image}" nbd_socket: "{directory}/tap" }}\n').start()
            cluster.await_("the agent registers", lambda: cluster.try_json("machines", "show", "bench").get(
                "agent_connected"))
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(directory)

    def holds(self, ratio):
        return ratio >= self.target if self.at_least else ratio <= self.target


class Copies(Row):
    """A whole disk from one end to the other, over TLS."""
    unit = "MiB/s"

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.source = directory / "source.raw"
        make_source(self.source, arguments.megabytes)
        self.make_certificates()

    def make_certificates(self):
        pki = self.directory / "pki"
        pki.mkdir()
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=bench", "-keyout", "ca-key.pem", "-out", "ca-cert.pem", cwd=pki)
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server-key.pem", "-out", "server.csr", cwd=pki)
        (pki / "names").write_text("subjectAltName=DNS:localhost\n")
        run("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-days", "2",
            "-CAcreateserial", "-extfile", "names", "-out", "server-cert.pem", cwd=pki)

    def synchronise(self):
        """Seconds, and CPU seconds of all our processes."""
        with self.homeward(self.source) as cluster:
            pids = [daemon.process.pid for daemon in cluster.daemons.values()]
            cpu, began = sum(map(cpu_seconds, pids)), time.monotonic()
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            return time.monotonic() - began, sum(map(cpu_seconds, pids)) - cpu

    def nbdkit(self, *plugin):
        """A server, its port, ready."""
        port = free_port()
        server = subprocess.Popen(["nbdkit", "--foreground", "--exit-with-parent", "--tls=require",
                                   f"--tls-certificates={self.directory}/pki", "-i", "127.0.0.1", "-p", str(port),
                                   *map(str, plugin)], preexec_fn=die_with_parent)
        for _attempt in range(100):
            time.sleep(0.05)
            if subprocess.run(["nbdinfo", "--size", self.uri(port)], capture_output=True).returncode == 0:
                return server, port
        server.kill()
        raise OSError("nbdkit does not answer")

    def copy(self, hops):
        """Seconds, and CPU seconds of nbdkit and nbdcopy, through `hops` TLS connections."""
        out = self.directory / "copy.raw"
        servers = []
        try:
            server, port = self.nbdkit("file", self.source)
            servers.append(server)
            for _hop in range(1, hops):
                server, port = self.nbdkit("nbd", "hostname=localhost", f"port={port}", "tls=require",
                                           f"tls-certificates={self.directory}/pki")
                servers.append(server)
            cpu = sum(cpu_seconds(server.pid) for server in servers)
            before, began = os.times(), time.monotonic()
            run("nbdcopy", "--flush", self.uri(port), out)
            run("sync", "--data", out)
            seconds, after = time.monotonic() - began, os.times()
            cpu = sum(cpu_seconds(server.pid) for server in servers) - cpu
            return seconds, cpu + (after.children_user - before.children_user) + (
                after.children_system - before.children_system)
        finally:
            for server in servers:
                server.kill()
                server.wait()
            out.unlink(missing_ok=True)

    def uri(self, port):
        return f"nbds://localhost:{port}/?tls-certificates={self.directory}/pki"


class FirstSync(Copies):
    name, target = "first_sync", 1.5
    says = "agent -> process server -> master target, to a synced VMDK, two TLS hops; beside nbdcopy over TLS, one hop"

    def ours(self):
        return self.arguments.megabytes / self.synchronise()[0]

    def peer(self):
        return self.arguments.megabytes / self.copy(hops=1)[0]


class FirstSyncRelayed(FirstSync):
    name, target = "first_sync_relayed", 3
    says = "the same; beside nbdcopy through a relaying nbdkit, two TLS hops"

    def peer(self):
        return self.arguments.megabytes / self.copy(hops=2)[0]


class CpuPerGib(Copies):
    name, unit, target, at_least = "cpu_per_gib", "CPU s/GiB", 0.6, False
    says = "all our processes, first synchronisation, two TLS hops; beside nbdcopy and two nbdkit"

    def ours(self):
        return self.synchronise()[1] / (self.arguments.megabytes / 1024)

    def peer(self):
        return self.copy(hops=2)[1] / (self.arguments.megabytes / 1024)


class FirstSyncSparse(Copies):
    name, target = "first_sync_sparse", 1.2
    says = "a 64 GiB disk with a scattered, half full ext4 of real and random files; beside nbdcopy with extents, one hop"

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        files, image = self.source, directory / "sparse.raw"
        with open(image, "wb") as out:
            out.truncate(64 << 30)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        mount = directory / "mount"
        mount.mkdir()
        run("mount", "-o", "loop", image, mount)
        try:
            # Directories spread over the block groups of an ext4.
            with open(files, "rb") as data:
                for number in range(max(1, arguments.megabytes // 2 // 8)):
                    place = mount / str(number)
                    place.mkdir()
                    (place / "file").write_bytes(data.read(8 * MIB))
        finally:
            run("umount", mount)
        files.unlink()
        self.source = image

    def ours(self):
        return self.arguments.megabytes // 2 / self.synchronise()[0]

    def peer(self):
        return self.arguments.megabytes // 2 / self.copy(hops=1)[0]


class Resync(Row):
    """Only differences travel. A figure is the disk's MiB in a second."""
    name, unit, target = "resync", "MiB/s", 5
    says = "1 % of a disk changed in scattered 4 KiB blocks; beside rsync --inplace --no-whole-file to a loopback daemon, no TLS"

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.image, self.old = directory / "image.raw", directory / "old.raw"
        make_source(self.image, arguments.megabytes)
        self.changes = 0

    def change(self):
        """One block in a hundred, others each time."""
        self.changes += 1
        blocks = self.arguments.megabytes * 256
        with open(self.image, "r+b") as image:
            for at in range(self.changes % 100, blocks, 100):
                image.seek(at * 4096)
                image.write(os.urandom(4096))
            os.fsync(image.fileno())

    def ours(self):
        with self.homeward(self.image) as cluster:
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            # Behind the agent's back: only a comparison can find it.
            cluster.daemons["bench"].kill()
            self.change()
            cluster.daemons["bench"].start()
            began = time.monotonic()
            cluster.await_("the agent is back", lambda: cluster.try_json("machines", "show", "bench").get(
                "agent_connected"))
            cluster.cli("machines", "resync", "bench", "--wait", limit=3600)
            return self.arguments.megabytes / (time.monotonic() - began)

    def peer(self):
        port, target = free_port(), self.directory / "target"
        target.mkdir()
        shutil.copyfile(self.image, target / "image.raw")
        self.change()
        config = self.directory / "rsyncd.conf"
        config.write_text(f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n[disks]\npath = {target}\nread only = no\n")
        server = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--port={port}", "--address=127.0.0.1",
                                   f"--config={config}"], preexec_fn=die_with_parent)
        try:
            for _attempt in range(100):
                time.sleep(0.05)
                if subprocess.run(["rsync", f"rsync://127.0.0.1:{port}/"], capture_output=True).returncode == 0:
                    break
            began = time.monotonic()
            run("rsync", "--ignore-times", "--inplace", "--no-whole-file", self.image, f"rsync://127.0.0.1:{port}/disks/image.raw")
            run("sync", "--data", target / "image.raw")
            return self.arguments.megabytes / (time.monotonic() - began)
        finally:
            server.kill()
            server.wait()
            shutil.rmtree(target)


class FailbackLatest(Row):
    """The machine has sent everything; from the command to its disks at the latest point."""
    name, unit, target, at_least = "failback_latest", "s", 1.5, False
    says = "to the latest point, one 1 TiB disk; beside one 1 GiB disk (each is to take 2 s at the most)"

    def failback(self, gigabytes):
        image = self.directory / "disk.raw"
        make_sparse(image, gigabytes, pieces=64)
        with self.homeward(image) as cluster:
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            began = time.monotonic()
            cluster.cli("machines", "failback", "bench", "--point", "latest", "--wait")
            return time.monotonic() - began

    def ours(self):
        return self.failback(1024)

    def peer(self):
        return self.failback(1)


class TapIops(Row):
    name, unit, target = "tap_iops", "writes/s", 1.0
    says = "4 KiB random writes, depth 16, through the agent's tap; beside qemu-nbd --aio=io_uring on the same file"

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.image = directory / "image.raw"
        make_source(self.image, min(arguments.megabytes, 1024))

    def fio(self, socket):
        done = subprocess.run(
            ["fio", "--name=w", "--ioengine=nbd", f"--uri=nbd+unix:///?socket={socket}", "--rw=randwrite", "--bs=4k",
             "--iodepth=16", f"--runtime={self.arguments.seconds}", "--time_based", "--output-format=json",
             f"--size={self.image.stat().st_size}", "--randseed=7"], check=True, capture_output=True, text=True)
        return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["write"]["iops"]

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


class Memory(Row):
    name, unit, target, at_least = "memory", "MiB", 1.3, False
    says = "peak memory of agent, process server and master target together, one 1 TiB disk; beside one 1 GiB disk"

    def peak(self, gigabytes):
        image = self.directory / "disk.raw"
        make_sparse(image, gigabytes, pieces=256)
        with self.homeward(image) as cluster:
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            cluster.cli("points", "create", "bench", "--wait")
            cluster.note_memory()
            return sum(daemon.peak_kib for name, daemon in cluster.daemons.items() if name != "config_server") / 1024

    def ours(self):
        return self.peak(1024)

    def peer(self):
        return self.peak(1)


ROWS = {row.name: row for row in (FirstSync, FirstSyncRelayed, FirstSyncSparse, Resync, CpuPerGib, TapIops,
                                  FailbackLatest, Memory)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--row", choices=sorted(ROWS), action="append")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=4096)
    parser.add_argument("--seconds", type=int, default=15, help="of the rows that run for a time")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.row or ROWS:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="homeward-bench-", dir="/var/tmp"))
        try:
            row = ROWS[name](arguments, directory)
            ours, peer = [], []
            for _run in range(arguments.runs):
                ours.append(row.ours())
                peer.append(row.peer())
            ratios = [a / b for a, b in zip(ours, peer)]
            ratio = statistics.median(ratios)
            rows.append({"name": name, "ours": round(statistics.median(ours), 2),
                         "peer": round(statistics.median(peer), 2), "unit": row.unit, "ratio": round(ratio, 2),
                         "spread": [round(min(ratios), 2), round(max(ratios), 2)], "target": row.target,
                         "holds": row.holds(ratio), "runs": arguments.runs})
            if not arguments.json:
                last = rows[-1]
                print(f"{name}: ours {last['ours']}, peer {last['peer']} {row.unit}, ratio {last['ratio']} "
                      f"({last['spread'][0]} to {last['spread'][1]}), target {'>=' if row.at_least else '<='} {row.target}: "
                      f"{'holds' if last['holds'] else 'does not hold'}\n  {row.says}", flush=True)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    if arguments.json:
        uname = os.uname()
        print(json.dumps({"machine": {"cpus": os.cpu_count(), "kernel": uname.release, "arch": uname.machine},
                          "rows": rows}))


if __name__ == "__main__":
    main()
