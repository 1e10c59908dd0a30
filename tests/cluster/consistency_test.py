"""Application-consistent points of a real PostgreSQL, with real daemons.

usage: consistency_test.py --binaries DIR

A server's data directory is on a disk that the agent protects; rows are inserted all the time. A point is made with the script that is
shipped, the machine comes home to it, and a server is started from the disk that came home: what is committed before the point is
there, the redo begins at the checkpoint of the freeze, pg_amcheck and pg_checksums find nothing.

* a script that fails, or hangs: the point is crash-consistent, a problem names the script and why; the next point that succeeds ends it
* no script at all: the same
* the agent killed between freeze and thaw: the thaw runs when it starts again
Needs root, loop devices and PostgreSQL 15; without them it says so and ends.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
sys.path.insert(0, str(ROOT / "tests" / "cluster"))
from cluster import Cluster, Refused, scratch  # noqa: E402
from disks import can_use_loop_devices, run, unmount  # noqa: E402
from postgres import BIN, Server  # noqa: E402
from still_test import leave_mount_namespace  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 256 * MIB
SCRIPT = ROOT / "deploy" / "config" / "consistency.d" / "postgresql"
LIMIT = 120  # seconds; there only to end a hang


class Writer(threading.Thread):
    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.committed, self.stopping = server, 0, False

    def run(self):
        while not self.stopping:
            self.server.sql(f"INSERT INTO numbers VALUES ({self.committed + 1}, repeat('x', 500))")
            self.committed += 1

    def stop(self):
        self.stopping = True
        self.join()


class Story:
    def __init__(self, cluster, directory):
        self.cluster, self.directory = cluster, directory
        self.scripts, self.seen = directory / "consistency.d", directory / "seen"
        self.failures, self.held, self.mounts, self.servers, self.writer = 0, [], [], [], None

    def check(self, what, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}{'' if holds else f': {detail}'}", flush=True)

    def script(self, name, text):
        path = self.scripts / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def set_up(self):
        self.directory.chmod(0o711)
        self.scripts.mkdir()
        with tempfile.NamedTemporaryFile(prefix="homeward-consistency-", dir="/dev/shm") as image:
            image.truncate(DISK_BYTES)
            device = run("losetup", "--find", "--show", image.name)
            self.held.append(os.open(device, os.O_RDONLY))
            run("losetup", "-d", device)
        run("mkfs.ext4", "-q", "-F", "-b", "4096", device)
        where = self.directory / "source"
        where.mkdir()
        run("mount", device, where)
        self.mounts.append(where)
        (where / "pg").mkdir()
        shutil.chown(where / "pg", "postgres")
        server = Server(where / "pg" / "data", self.directory / "socket")
        server.tool("initdb", "-D", server.data, "-A", "trust", "--data-checksums", "--wal-segsize", "1")
        server.start()
        self.servers.append(server)
        server.sql("CREATE TABLE numbers (number bigint PRIMARY KEY, text text)")
        server.sql("CREATE EXTENSION amcheck")
        server.let_scripts_in()
        self.cluster.add_agent("db", f'disks {{ path: "{device}" }}\nconsistency {{ scripts_directory: "{self.scripts}" '
                                     "script_timeout { seconds: 20 } }\n").start()
        self.cluster.await_("db registers", lambda: self.machine().get("agent_connected"))
        self.cluster.cli("machines", "protect", "db", "--point-interval", "1h", "--app-point-interval", "0")
        self.cluster.await_("db is protected", lambda: self.machine().get("protection_state") == "Protected" and
                            not self.machine().get("job_id"), LIMIT)
        self.writer = Writer(server)
        self.writer.start()

    def machine(self):
        return self.cluster.try_json("machines", "show", "db")

    def points(self):
        return self.cluster.json("points", "list", "db").get("points", [])

    def create(self):
        before = {point["id"] for point in self.points()}
        self.cluster.cli("points", "create", "db", "--app-consistent", "--wait", limit=LIMIT)
        return [point for point in self.points() if point["id"] not in before][-1]

    def told(self, *words):
        return self.cluster.await_(f"a problem says {words}", lambda: "APP_CONSISTENCY_FAILED" in str(self.machine()) and
                                   all(word in str(self.machine()) for word in words), LIMIT)

    def fails(self):
        point = self.create()
        self.check("no script: the point is crash-consistent", point["kind"] == "CRASH_CONSISTENT", point)
        self.told("there is no script in")
        self.script("50-fails", "[ $1 = thaw ] || { echo the queue is full; exit 3; }")
        point = self.create()
        self.check("a script that fails: the point is crash-consistent", point["kind"] == "CRASH_CONSISTENT", point)
        self.told("50-fails", "ended with 3", "the queue is full")
        self.check("and a problem names it, its end and its last line", True)
        (self.scripts / "50-fails").unlink()
        self.script("60-hangs", "[ $1 = thaw ] || exec tail -f /dev/null")
        point = self.create()
        self.check("a script that hangs: the point is crash-consistent", point["kind"] == "CRASH_CONSISTENT", point)
        self.told("60-hangs", "took longer than 20s")
        self.check("and a problem says that it took too long", True)
        (self.scripts / "60-hangs").unlink()

    def killed(self):
        self.script("70-waits", f"echo $1 >> {self.seen}; [ $1 = thaw ] || exec tail -f /dev/null")
        self.cluster.cli("points", "create", "db", "--app-consistent")
        self.cluster.await_("the script freezes", lambda: self.seen.exists() and "freeze" in self.seen.read_text(), LIMIT)
        agent = self.cluster.daemons["db"]
        agent.kill()
        self.check("the agent is killed between freeze and thaw", "thaw" not in self.seen.read_text(), self.seen.read_text())
        self.script("70-waits", f"echo $1 >> {self.seen}")
        agent.start()
        self.cluster.await_("the thaw", lambda: "thaw" in self.seen.read_text(), LIMIT)
        self.check("the thaw runs when it starts again", self.seen.read_text().split()[:2] == ["freeze", "thaw"], self.seen.read_text())
        # The agent makes anew the point that was asked for.
        self.cluster.await_("the point", lambda: self.machine().get("agent_connected") and not self.machine().get("job_id"), LIMIT)
        (self.scripts / "70-waits").unlink()

    def comes_home(self):
        self.script("postgresql", f"PGHOST={self.servers[0].where} RUNTIME={self.directory}/run; export PGHOST RUNTIME; exec {SCRIPT} $1")
        before = self.writer.committed
        point = self.create()
        self.check("with PostgreSQL's script the point is application-consistent", point["kind"] == "APP_CONSISTENT", point)
        self.cluster.await_("the problem ends", lambda: "APP_CONSISTENCY_FAILED" not in str(self.machine()), LIMIT)
        self.check("and no problem is left", True)
        frozen = re.findall(r"frozen at (\w+/\w+)", self.cluster.daemons["db"].log())
        self.check("the server was thawed", "thawed at" in self.cluster.daemons["db"].log())
        self.writer.stop()
        self.cluster.daemons["db"].kill()
        self.servers.pop().stop()
        self.cluster.cli("machines", "failback", "db", "--point", point["id"], "--source-lost", "--wait", limit=LIMIT)
        flat = self.machine()["disk_paths"][0].replace(".vmdk", "-flat.vmdk")
        where = self.directory / "home"
        where.mkdir()
        run("mount", "-o", "loop", flat, where)
        self.mounts.append(where)
        server = Server(where / "pg" / "data", self.directory / "home-socket")
        (server.data / "postmaster.pid").unlink(missing_ok=True)
        server.start()
        self.servers.append(server)
        log = server.log.read_text()
        print("".join(f"     {line}\n" for line in log.splitlines()), end="")
        redo = re.findall(r"redo starts at (\w+/\w+)", log)
        self.check("its redo begins at the checkpoint of the freeze", not redo or redo == frozen[-1:], f"{redo} {frozen}")
        least, count = (int(server.sql(f"SELECT {what} FROM numbers")) for what in ("max(number)", "count(*)"))
        self.check(f"all that was committed before is there: {before}, {least}", before <= least == count, count)
        run(BIN / "pg_amcheck", "-h", server.where, "-U", "postgres", "--all", "--heapallindexed")
        self.check("pg_amcheck finds nothing", True)
        self.servers.pop().stop()
        told = server.tool("pg_checksums", "--check", "-D", server.data)
        self.check("pg_checksums finds nothing", re.search(r"Bad checksums:\s+0\b", told), told)

    def tell(self):
        self.cluster.start_config_server()
        self.cluster.add_process_server().start()
        (self.directory / "ds").mkdir()
        self.cluster.add_master_target(datastores=[self.directory / "ds"]).start()
        self.cluster.await_servers(2)
        self.set_up()
        self.fails()
        self.killed()
        self.comes_home()

    def tear_down(self):
        if self.writer is not None and not self.writer.stopping:
            self.writer.stop()
        for server in self.servers:
            server.stop()
        for where in self.mounts:
            unmount(where)
        for held in self.held:
            os.close(held)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    arguments = parser.parse_args()
    if not can_use_loop_devices() or not BIN.exists():
        print("not root, or no loop devices, or no PostgreSQL 15: nothing is tried")
        return 0
    leave_mount_namespace()
    directory = scratch("consistency")
    cluster = Cluster(arguments.binaries, directory)
    story = Story(cluster, directory)
    try:
        story.tell()
    except (TimeoutError, Refused, OSError, RuntimeError) as error:
        story.check("the story goes to its end", False, f"{error} {getattr(error, 'text', '')}")
        print(cluster.told())
    finally:
        cluster.stop()
        story.tear_down()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{story.failures} failed")
    return 0 if story.failures == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
