"""What all rows of the benchmark share: sources, figures of processes, a whole Homeward."""
import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy" / "lab"), str(ROOT / "tests" / "cluster")]
import disks  # noqa: E402
from cluster import Cluster  # noqa: E402

MIB = 1 << 20


def run(*command, **more):
    subprocess.run([str(part) for part in command], check=True, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})


@functools.cache
def real_files():
    return [file for top in ("/usr/bin", "/usr/lib", "/usr/share") for file in sorted(pathlib.Path(top).rglob("*"))
            if file.is_file() and not file.is_symlink()]


def make_source(path, megabytes, real=0.5):
    """Real files, then random bytes; nothing of it is a hole."""
    with open(path, "wb") as out:
        written = 0
        for file in real_files():
            if written >= megabytes * MIB * real:
                break
            try:
                written += out.write(file.read_bytes())
            except OSError:
                continue
        while written < megabytes * MIB:
            written += out.write(os.urandom(min(MIB, megabytes * MIB - written)))
        out.truncate(megabytes * MIB)
        os.fsync(out.fileno())


class Sources:
    """Images that rows read and do not change, each made once."""

    def __init__(self, directory):
        self.directory = directory

    def get(self, megabytes, real):
        path = self.directory / f"source-{megabytes}-{real}.raw"
        if not path.exists():
            make_source(path, megabytes, real)
        return path


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


class Cannot(Exception):
    """This machine has not what a row needs."""


class Row:
    """One row: `ours()` and `peer()` return a figure in `unit`; the ratio of the two is held against `target`. A row
    without a peer holds its own figure against it."""
    at_least = True
    has_peer = True

    def __init__(self, arguments, directory):
        self.arguments, self.directory, self.sources = arguments, directory, arguments.sources
        self.keep = contextlib.ExitStack()  # what lives as long as the row
        self.seen = {}

    def shared(self, taken, measure):
        """The next of the measurements in `taken`, which rows of the same runs share."""
        at = self.seen[id(taken)] = self.seen.get(id(taken), -1) + 1
        if at == len(taken):
            taken.append(measure())
        return taken[at]

    @contextlib.contextmanager
    def volume(self, image, where, gigabytes):
        """An ext4 in the file `image`, mounted at `where`."""
        with open(image, "wb") as file:
            file.truncate(gigabytes << 30)
        run("mkfs.ext4", "-q", "-F", image)
        loop = disks.Loop(image)
        try:
            loop.mount(loop.device, where)
            yield
        finally:
            loop.close()
            image.unlink()

    @contextlib.contextmanager
    def cache_volume(self):
        """A process server's configuration with a cache on a volume of its own, where this machine can mount one: beside the
        images the rules would refuse it as too full."""
        if not disks.can_use_loop_devices():
            yield ""
            return
        with self.volume(self.directory / "cache.img", self.directory / "cache", 16):
            yield f'cache_directory: "{self.directory}/cache"\n'

    @contextlib.contextmanager
    def device_apart(self, where):
        """A file system at `where`, on a device that nothing else uses: it is in memory."""
        memory = self.directory / "memory"
        memory.mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", memory)
        try:
            with self.volume(memory / "image", where, 8):
                yield
        finally:
            run("umount", memory)

    def encryption(self):
        """Of the configuration server."""
        return "encrypt_streams: false\n" if self.arguments.clear else ""

    @contextlib.contextmanager
    def servers(self, relay="", apart=False):
        """A configuration server, a process server and a master target in the directory ours, connected. `relay` is configuration of
        the process server. With `apart`, all files of the master target are on a device of their own."""
        directory = self.directory / "ours"
        datastore = directory / "master_target" / "datastore"
        with contextlib.ExitStack() as keep:
            keep.callback(shutil.rmtree, directory, ignore_errors=True)
            cache = keep.enter_context(self.cache_volume())
            if apart:
                keep.enter_context(self.device_apart(datastore.parent))
            datastore.mkdir(parents=True)
            cluster = Cluster(self.arguments.binaries, directory, extra=self.encryption())
            keep.callback(cluster.stop)
            try:
                cluster.start_config_server()
                cluster.add_process_server(extra=cache + relay, cache_bytes=8 << 30).start()
                cluster.add_master_target(datastores=[datastore]).start()
                cluster.await_servers(2)
                yield cluster
            except Exception:
                self.note(cluster.told())
                raise

    @contextlib.contextmanager
    def homeward(self, image, tap=True, apart=False):
        """The servers, and an agent named bench that serves `image` at ours/tap (or tracks a block device of that name)
        and has registered."""
        with self.servers(apart=apart) as cluster:
            socket = f'nbd_socket: "{cluster.directory}/tap" ' if tap else ""
            cluster.add_agent("bench", f'disks {{ path: "{image}" {socket}}}\n').start()
            cluster.await_("the agent registers", lambda: cluster.try_json("machines", "show", "bench").get(
                "agent_connected"))
            yield cluster

    def note(self, text):
        """A figure beside the row's; standard output is the table's."""
        print(f"  {self.name}: {text}", file=sys.stderr, flush=True)

    def holds(self, ratio):
        return ratio >= self.target if self.at_least else ratio <= self.target
