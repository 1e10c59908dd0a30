"""Every durable file of the real daemons, changed in its first, middle and last bytes, one after the other.

usage: damage_test.py --binaries DIR [--daemon NAME]

A machine is protected and stands still. Then, for each file that a daemon keeps, and for each of the places: the
daemon is killed (-9), the byte is changed, the daemon is started. What may come of it:

* refused: it ends, or the machine's health says so, and the file is named,
* repaired or harmless: a write made now becomes a recovery point, and the replica is the disk, byte for byte.

Anything else is a failure: an end by a signal, silence, another content. After each, everything is as it was before.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import Cluster, Refused, scratch  # noqa: E402
from nbd import Nbd  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 8 * MIB
MACHINE = "machine"
SETTLED_SECONDS = 600  # only a hang takes so long
# Files whose content is nobody's state.
IGNORED = ("LOCK", "LOG", "log", "config")


class Damage:
    def __init__(self, cluster, directory):
        self.cluster, self.directory = cluster, directory
        self.image = directory / "disk.raw"
        self.socket = str(directory / "tap")
        self.counts = {"refused": 0, "repaired": 0}
        self.failures = []
        self.written = 0
        self.patience = 3  # seconds for a point

    def set_up(self):
        cluster, datastore = self.cluster, self.directory / "datastore"
        datastore.mkdir()
        with open(self.image, "wb") as file:
            file.write(os.urandom(DISK_BYTES))
        cluster.start_config_server()
        cluster.add_process_server().start()
        cluster.add_master_target(datastores=[datastore]).start()
        cluster.add_agent(MACHINE, f'disks {{ path: "{self.image}" nbd_socket: "{self.socket}" }}\n').start()
        cluster.await_("the agent registers", lambda: self.seen().get("agent_connected"))
        cluster.await_servers(2)
        cluster.cli("machines", "protect", MACHINE, "--point-interval", "10m", "--wait")
        for _ in range(3):
            self.write()
            cluster.cli("points", "create", MACHINE, "--wait")
        self.flat = pathlib.Path(self.seen()["disk_paths"][0].replace(".vmdk", "-flat.vmdk"))
        self.places = {
            "config_server": [cluster.directory / "config_server" / "state"],
            "process_server": [cluster.directory / "process_server" / "state"],
            "master_target": [cluster.directory / "master_target" / "state", datastore],
            MACHINE: [cluster.directory / MACHINE / "state"],
        }

    def seen(self):
        return self.cluster.try_json("machines", "show", MACHINE)

    def write(self):
        self.written += 1
        tap = Nbd(self.socket)
        tap.write(self.written * 65536 % DISK_BYTES, os.urandom(4096))
        tap.close()

    def fill_spool(self):
        """With the master target away, what is written waits on the process server's disk."""
        self.cluster.daemons["master_target"].kill()
        for _ in range(4):
            self.write()
        spool = self.cluster.directory / "process_server" / "state"
        self.cluster.await_("the spool holds something", lambda: any(
            path.stat().st_size > 4096 for path in spool.rglob("*") if path.is_file()))

    def files(self, daemon):
        found = []
        for place in self.places[daemon]:
            for path in sorted(place.rglob("*")):
                # The replica itself is the scrub's: features_test.py.
                if path.is_file() and path.stat().st_size > 0 and path.name not in IGNORED and path != self.flat:
                    found.append(path)
        return found

    def save(self, daemon, to):
        shutil.rmtree(to, ignore_errors=True)
        for number, place in enumerate(self.places[daemon]):
            shutil.copytree(place, to / str(number))

    def restore(self, daemon, kept):
        for number, place in enumerate(self.places[daemon]):
            shutil.rmtree(place)
            shutil.copytree(kept / str(number), place)

    def works(self):
        """A write made now becomes a point, and the replica is the disk."""
        try:
            self.write()
            self.cluster.cli("points", "create", MACHINE, "--wait", limit=self.patience)
        except subprocess.TimeoutExpired:
            self.patience = min(2 * self.patience, 60)  # It does not work, or this machine is slow.
            return False
        except (Refused, OSError):
            return False
        self.patience = 3
        return subprocess.run(["cmp", "-s", "-n", str(DISK_BYTES), self.flat, self.image], check=False).returncode == 0

    def outcome(self, daemon, path, began):
        """What came of it, once it is settled; empty while it is not."""
        part = self.cluster.daemons[daemon]
        said = part.log()[began:]
        code = part.process.poll()
        if code is not None:
            if code < 0:
                return f"FAILED: ended by signal {-code}"
            # Of the store, RocksDB does not always say which of its files it is.
            named = path.name in said or path.parent.name == "store" and f"{path.parent}: " in said
            return "refused" if named else "FAILED: ended and did not name the file"
        health = str(self.seen().get("health_errors", ""))
        if path.name in health:
            return "refused"
        if self.works():
            return "repaired"
        return ""

    def change(self, daemon, path, place):
        size = path.stat().st_size
        at = {"first": min(1, size - 1), "middle": size // 2, "last": size - 1}[place]
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 4]))
        return at

    def strike(self, daemon, name, place):
        part = self.cluster.daemons[daemon]
        kept = self.directory / "kept"
        if daemon == "process_server":
            self.fill_spool()
        part.kill()
        self.save(daemon, kept)
        # What is numbered has another number by now.
        alike = sorted(pathlib.Path(name).parent.glob(re.sub(r"[0-9]+", "*", pathlib.Path(name).name)))
        path = alike[-1]
        at = self.change(daemon, path, place)
        began = len(part.log())
        part.start()
        if daemon == "process_server":
            self.cluster.daemons["master_target"].start()
        end = time.monotonic() + SETTLED_SECONDS
        said = ""
        while not said and time.monotonic() < end:
            time.sleep(0.4)  # A start that is refused is over by then, mostly; it is looked at again.
            said = self.outcome(daemon, path, began)
        said = said or "FAILED: silence"
        shown = path.relative_to(self.cluster.directory) if path.is_relative_to(self.cluster.directory) else path
        print(f"{shown} byte {at} ({place}): {said}", flush=True)
        if said.startswith("FAILED"):
            self.failures.append(f"{shown} byte {at}: {said}")
            print(part.log()[began:][-2500:], flush=True)
        else:
            self.counts[said] += 1
        if said != "repaired":
            part.kill()
            self.restore(daemon, kept)
            part.start()
            self.cluster.await_("all is well again", self.works, interval=0.2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--daemon", default="")
    arguments = parser.parse_args()
    directory = scratch("cluster")
    cluster = Cluster(arguments.binaries, directory)
    damage = Damage(cluster, directory)
    try:
        damage.set_up()
        for daemon in ("config_server", "process_server", "master_target", MACHINE):
            if arguments.daemon not in ("", daemon):
                continue
            if daemon == "process_server":
                damage.fill_spool()
            # Of those that differ only in a number, one.
            names = {re.sub(r"[0-9]+", "*", path.name) + str(path.parent): str(path) for path in damage.files(daemon)}
            cluster.daemons["master_target"].process or cluster.daemons["master_target"].start()
            for name in names.values():
                for place in ("first", "middle", "last"):
                    damage.strike(daemon, name, place)
    except (TimeoutError, Refused, OSError) as error:
        damage.failures.append(f"{error}")
        print(cluster.told())
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
    for failure in damage.failures:
        print(f"FAILED {failure}")
    print(f"{damage.counts['refused']} refused, {damage.counts['repaired']} repaired or harmless, {len(damage.failures)} failed")
    sys.exit(1 if damage.failures else 0)


if __name__ == "__main__":
    main()
