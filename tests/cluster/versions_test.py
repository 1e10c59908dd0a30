"""Daemons of two builds work together: an older one is at any place, and every place is upgraded while it replicates.

usage: versions_test.py --binaries DIR --old DIR

`--old` holds the daemons of another build. Not part of ctest, since it needs them: tests/README.md says how to run it.

* an old configuration server, an old agent, an old process server and master target, each with all others new: a protect to a
  datastore's directory and one to a block device, a recovery point and a failback of both, byte for byte
* all are old, and one after the other is replaced by a new one, streams are encrypted, and the configuration server by the old one again: replication
  goes on, and the machines come home. Where the new one raised the schema of the store, the old one refuses it, and goes on
  with the backup from before
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import HANG_SECONDS, Cluster, Refused, scratch  # noqa: E402
from nbd import Nbd  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 32 * MIB
PROGRAMS = {"config_server": "homeward-config-server", "process_server": "homeward-process-server",
            "master_target": "homeward-master-target", "agent": "homeward-agent"}
MACHINES = ("in-directory", "on-device")
ENCRYPT = "encrypt_streams: true\n"


class Fabric:
    """One cluster of which the components named by `old` are of the old build, with two machines."""

    def __init__(self, new, old, old_parts, directory):
        self.builds = {True: pathlib.Path(old), False: pathlib.Path(new)}
        self.directory = directory
        self.cluster = Cluster(new, directory)
        if "config_server" in old_parts:
            self.cluster.enrol_command = "enroll"  # the only spelling of older builds
        (directory / "datastore").mkdir()
        self.device = directory / "device"
        self.device.write_bytes(os.urandom(DISK_BYTES))  # A device is not empty: what is on it is compared.
        self.cluster.add_process_server()
        self.cluster.add_master_target(datastores=[directory / "datastore"], extra=f'block_devices: "{self.device}"\n')
        for name in MACHINES:
            self.image(name).write_bytes(os.urandom(DISK_BYTES))
            self.cluster.add_agent(name, f'disks {{ path: "{self.image(name)}" nbd_socket: "{directory}/{name}.tap" }}\n')
        for part in PROGRAMS:
            self.choose(part, part in old_parts)
        self.cluster.start_config_server()
        for name in ("process_server", "master_target", *MACHINES):
            self.cluster.daemons[name].start()
        self.cluster.await_servers(2)
        for name in MACHINES:
            self.cluster.await_(f"{name} registers", lambda name=name: self.seen(name).get("agent_connected"))

    def image(self, name):
        return self.directory / f"{name}.raw"

    def seen(self, machine):
        return self.cluster.try_json("machines", "show", machine)

    def choose(self, part, old):
        """The next start of the component is of that build. The command line is its configuration server's."""
        build = self.builds[old]
        for name in MACHINES if part == "agent" else (part,):
            self.cluster.daemons[name].program = str(build / PROGRAMS[part])
        if part == "config_server":
            self.cluster.binaries = build
            # Wanted wherever it can be said; an old part on the way has streams in the clear.
            config = self.cluster.daemons[part].config
            config.write_text(config.read_text().replace(ENCRYPT, "") + ("" if old else ENCRYPT))

    def replace(self, part, old):
        self.choose(part, old)
        for name in MACHINES if part == "agent" else (part,):
            self.cluster.daemons[name].stop()
            self.cluster.daemons[name].start()

    def back_up(self):
        server = self.cluster.daemons["config_server"]
        server.stop()
        shutil.copytree(server.directory / "state", self.directory / "backup")
        server.start()

    def refuses_store(self):
        """The old configuration server ends by itself, and says why."""
        self.replace("config_server", True)
        server = self.cluster.daemons["config_server"]
        code = server.process.wait(HANG_SECONDS)
        server.process = None
        return code != 0 and "this program reads up to" in server.log()

    def restore(self):
        server = self.cluster.daemons["config_server"]
        shutil.rmtree(server.directory / "state")
        shutil.copytree(self.directory / "backup", server.directory / "state")
        server.start()

    def write(self):
        for name in MACHINES:
            tap = Nbd(str(self.directory / f"{name}.tap"))
            for at in range(0, DISK_BYTES, 2 * MIB):
                tap.write(at, os.urandom(32768))
            tap.close()

    def protect(self):
        protect = ("--point-interval", "1m", "--wait")
        self.cluster.cli("machines", "protect", MACHINES[0], "--directory", MACHINES[0], *protect)
        self.cluster.cli("machines", "protect", MACHINES[1], "--block-device", str(self.device), *protect)

    def replicates(self):
        """What is written now is in a point."""
        self.write()
        for name in MACHINES:
            self.cluster.await_(f"{name} is connected", lambda name=name: self.seen(name).get("agent_connected"))
            before = self.points(name)
            self.cluster.cli("points", "create", name, "--wait")
            if not self.points(name) > before:
                return False
        return True

    def points(self, name):
        return len(self.cluster.json("points", "list", name)["points"])

    def comes_home(self):
        """Byte for byte, each to the place that was chosen for it."""
        home = {MACHINES[0]: self.directory / "datastore" / MACHINES[0] / f"{MACHINES[0]}-flat.vmdk",
                MACHINES[1]: self.device}
        same = True
        for name in MACHINES:
            self.cluster.cli("machines", "failback", name, "--point", "latest", "--wait")
            same = same and subprocess.run(["cmp", "-n", str(DISK_BYTES), home[name], self.image(name)],
                                           check=False).returncode == 0
            self.cluster.cli("machines", "commit", name, "--wait")
        return same


class Versions:
    def __init__(self, new, old):
        self.new, self.old = new, old
        self.failures = 0

    def check(self, what, holds):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)

    def with_fabric(self, old_parts, story):
        directory = scratch("versions")
        fabric = None
        try:
            fabric = Fabric(self.new, self.old, old_parts, directory)
            story(fabric)
        except (TimeoutError, Refused, OSError) as error:
            self.failures += 1
            print(f"FAILED with old {', '.join(old_parts)}: {error} {getattr(error, 'text', '')}", flush=True)
            if fabric is not None:
                print(fabric.cluster.told())
        finally:
            if fabric is not None:
                fabric.cluster.stop()
            shutil.rmtree(directory, ignore_errors=True)

    def mixed(self, what, old_parts):
        def story(fabric):
            fabric.protect()
            self.check(f"{what}: replicates", fabric.replicates())
            self.check(f"{what}: the machines come home", fabric.comes_home())
        self.with_fabric(old_parts, story)

    def upgraded(self):
        def story(fabric):
            fabric.protect()
            fabric.back_up()
            for part in ("config_server", "master_target", "process_server", "agent"):
                fabric.replace(part, False)
                fabric.cluster.await_servers(2)
                self.check(f"replication goes on with the new {part}", fabric.replicates())
            for name in MACHINES:
                fabric.cluster.cli("machines", "rekey", name, "--wait")
            self.check("new ones can encrypt what old ones began in the clear",
                       all(fabric.seen(name).get("data_key_id") for name in MACHINES) and fabric.replicates())
            if "store.upgraded" in fabric.cluster.daemons["config_server"].log():
                self.check("the old configuration server refuses the store of the new one", fabric.refuses_store())
                fabric.restore()
            else:
                fabric.replace("config_server", True)
            fabric.cluster.await_servers(2)
            self.check("replication goes on with the old config_server", fabric.replicates())
            fabric.replace("config_server", False)
            fabric.cluster.await_servers(2)
            self.check("and with the new one", fabric.replicates())
            self.check("and after the upgrade the machines come home", fabric.comes_home())
        self.with_fabric(tuple(PROGRAMS), story)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--old", required=True)
    arguments = parser.parse_args()
    versions = Versions(arguments.binaries, arguments.old)
    versions.mixed("an old configuration server", ("config_server",))
    versions.mixed("an old agent", ("agent",))
    versions.mixed("an old process server and master target", ("process_server", "master_target"))
    versions.upgraded()
    sys.exit(0 if versions.failures == 0 else 1)


if __name__ == "__main__":
    main()
