"""Rows about whole disks: first synchronisations, resynchronisation, failback, memory."""
import os
import shutil
import subprocess
import time

from cluster import die_with_parent, free_port
from row import MIB, Row, cpu_seconds, make_source, make_sparse, run


class Copies(Row):
    """A whole disk from one end to the other, over TLS."""
    unit = "MiB/s"

    real = 0.5

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.source = self.sources.get(arguments.megabytes, self.real)
        self.make_certificates()

    def make_certificates(self):
        pki = self.directory / "pki"
        pki.mkdir()
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=bench", "-keyout", "ca-key.pem", "-out", "ca-cert.pem", cwd=pki)
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server-key.pem", "-out", "server.csr", cwd=pki)
        (pki / "names").write_text("subjectAltName=DNS:localhost,IP:10.99.0.2\n")
        run("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-days", "2",
            "-CAcreateserial", "-extfile", "names", "-out", "server-cert.pem", cwd=pki)

    def synchronise(self):
        """Seconds, and CPU seconds of all our processes."""
        with self.homeward(self.source) as cluster:
            pids = [daemon.process.pid for daemon in cluster.daemons.values()]
            cpu, began = sum(map(cpu_seconds, pids)), time.monotonic()
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            return time.monotonic() - began, sum(map(cpu_seconds, pids)) - cpu

    def nbdkit(self, *plugin, prefix=(), address="127.0.0.1"):
        """A server, its port, ready."""
        port = free_port()
        server = subprocess.Popen([*prefix, "nbdkit", "--foreground", "--exit-with-parent", "--tls=require",
                                   f"--tls-certificates={self.directory}/pki", "-i", address, "-p", str(port),
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


class TwoHops(Copies):
    """Two rows, of the same runs: their seconds and their CPU seconds."""
    taken_ours, taken_peer = [], []

    def measure_ours(self):
        return self.shared(TwoHops.taken_ours, self.synchronise)

    def measure_peer(self):
        return self.shared(TwoHops.taken_peer, lambda: self.copy(hops=2))


class FirstSyncRelayed(TwoHops):
    name, target = "first_sync_relayed", 3
    says = "the same; beside nbdcopy through a relaying nbdkit, two TLS hops"

    def ours(self):
        return self.arguments.megabytes / self.measure_ours()[0]

    def peer(self):
        return self.arguments.megabytes / self.measure_peer()[0]


class CpuPerGib(TwoHops):
    name, unit, target, at_least = "cpu_per_gib", "CPU s/GiB", 0.6, False
    says = "all our processes, first synchronisation, two TLS hops; beside nbdcopy and two nbdkit"

    def ours(self):
        return self.measure_ours()[1] / (self.arguments.megabytes / 1024)

    def peer(self):
        return self.measure_peer()[1] / (self.arguments.megabytes / 1024)


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
        self.source = image

    def ours(self):
        return self.arguments.megabytes // 2 / self.synchronise()[0]

    def peer(self):
        return self.arguments.megabytes // 2 / self.copy(hops=1)[0]


class Resync(Row):
    """Only differences travel. A figure is the disk's MiB in a second. One Homeward and one copy live through all runs: each
    change is sent to both. Before each run all that is compared is read once, so that what memory happens to hold of it does not
    decide: the disk, our replica and the copy fit there together."""
    name, unit, target = "resync", "MiB/s", 5
    says = "1 % of a disk changed in scattered 4 KiB blocks; beside rsync --inplace --no-whole-file to a loopback daemon, no TLS"

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
        self.megabytes = min(2 * arguments.megabytes, memory // 6)
        self.image, self.target_directory = directory / "image.raw", directory / "target"
        make_source(self.image, self.megabytes)
        self.target_directory.mkdir()
        shutil.copyfile(self.image, self.target_directory / "image.raw")
        self.changes = 0
        self.cluster = self.keep.enter_context(self.homeward(self.image))
        self.cluster.cli("machines", "protect", "bench", "--wait", limit=3600)

    def change(self):
        """One block in a hundred, others each time."""
        self.changes += 1
        blocks = self.megabytes * 256
        with open(self.image, "r+b") as image:
            for at in range(self.changes % 100, blocks, 100):
                image.seek(at * 4096)
                image.write(os.urandom(4096))
            os.fsync(image.fileno())

    def warm(self):
        for path in (self.image, self.target_directory / "image.raw", *self.directory.rglob("*-flat.vmdk")):
            run("cat", path, stdout=subprocess.DEVNULL)

    def ours(self):
        # Behind the agent's back: only a comparison can find it.
        self.cluster.daemons["bench"].kill()
        self.change()
        self.warm()
        self.cluster.daemons["bench"].start()
        began = time.monotonic()
        self.cluster.await_("the agent is back", lambda: self.cluster.try_json("machines", "show", "bench").get(
            "agent_connected"))
        self.cluster.cli("machines", "resync", "bench", "--wait", limit=3600)
        return self.megabytes / (time.monotonic() - began)

    def peer(self):
        port, config = free_port(), self.directory / "rsyncd.conf"
        config.write_text(f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n"
                          f"[disks]\npath = {self.target_directory}\nread only = no\n")
        server = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--port={port}", "--address=127.0.0.1",
                                   f"--config={config}"], preexec_fn=die_with_parent)
        try:
            for _attempt in range(100):
                time.sleep(0.05)
                if subprocess.run(["rsync", f"rsync://127.0.0.1:{port}/"], capture_output=True).returncode == 0:
                    break
            self.warm()
            began = time.monotonic()
            run("rsync", "--ignore-times", "--inplace", "--no-whole-file", self.image, f"rsync://127.0.0.1:{port}/disks/image.raw")
            run("sync", "--data", self.target_directory / "image.raw")
            return self.megabytes / (time.monotonic() - began)
        finally:
            server.kill()
            server.wait()


class FailbackLatest(Row):
    """The machine has sent everything; from the command to its disks at the latest point."""
    name, unit, target, at_least = "failback_latest", "s", 1.5, False
    says = "to the latest point, one 1 TiB disk; beside one 1 GiB disk; neither they nor one of 64 GiB may take over 2 s"
    slowest = 0.0

    def failback(self, gigabytes):
        image = self.directory / "disk.raw"
        make_sparse(image, gigabytes, pieces=64)
        with self.homeward(image) as cluster:
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            began = time.monotonic()
            cluster.cli("machines", "failback", "bench", "--point", "latest", "--wait")
            seconds = time.monotonic() - began
            self.slowest = max(self.slowest, seconds)
            return seconds

    def ours(self):
        middle = self.failback(64)
        self.note(f"{middle:.2f} s for 64 GiB")
        return self.failback(1024)

    def peer(self):
        return self.failback(1)

    def holds(self, ratio):
        return super().holds(ratio) and self.slowest <= 2


class MemoryAgent(Row):
    name, unit, target, at_least = "memory_agent", "MiB", 1.3, False
    says = "peak memory with one 1 TiB disk, synchronised and with a point; beside one 1 GiB disk"
    daemon = "bench"
    taken = {1: [], 1024: []}  # by size of the disk; the three rows are of the same runs

    def peak(self, gigabytes):
        return self.shared(MemoryAgent.taken[gigabytes], lambda: self.measure(gigabytes))[self.daemon]

    def measure(self, gigabytes):
        image = self.directory / "disk.raw"
        make_sparse(image, gigabytes, pieces=256)
        with self.homeward(image) as cluster:
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            cluster.cli("points", "create", "bench", "--wait")
            cluster.note_memory()
            return {name: daemon.peak_kib / 1024 for name, daemon in cluster.daemons.items()}

    def ours(self):
        return self.peak(1024)

    def peer(self):
        return self.peak(1)


class MemoryProcessServer(MemoryAgent):
    name, daemon = "memory_process_server", "process_server"


class MemoryMasterTarget(MemoryAgent):
    name, daemon = "memory_master_target", "master_target"
