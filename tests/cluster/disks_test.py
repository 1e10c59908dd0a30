"""The disks of machines and of a master target as real hosts have them, each with real components.

usage: disks_test.py --binaries DIR [CASE ...]

* disks of 4096-byte sectors: refused for VMDKs, accepted on a block device that counts alike, byte for byte
* a disk whose size reads 0 for a while, and one that is resized: what heals by itself does, and no advice loses points in silence
* disks that cannot be used, beside one that can
* a block device of the master target that something else holds for a while
* names that a VMDK descriptor cannot hold
* a disk that grows between the command to protect it and its first byte
* one disk with two agents: what one of them sent while the other was away is not forgotten
"""
import argparse
import fcntl
import mmap
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import Cluster, Refused  # noqa: E402
from nbd import Nbd  # noqa: E402
from still_test import leave_mount_namespace  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 32 * MIB
LOOP_CLR_FD = 0x4C01
# A temporary state lasts longer than any time after which something is given up.
AWAY_SECONDS = 10


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Loop:
    """A loop device over a file of its own. Goes when this process ends, however that is."""

    def __init__(self, path, size=DISK_BYTES, sector_bytes=512, content=True):
        self.path, self.size = f"{path}.raw", size
        self.fill(content)
        self.device = run("losetup", "--find", "--show", "--sector-size", str(sector_bytes), self.path)
        self.held = os.open(self.device, os.O_RDONLY)
        run("losetup", "-d", self.device)  # Takes effect when the last user closes it.

    def fill(self, content=True):
        with open(self.path, "wb") as file:
            file.truncate(self.size)
            if content:
                file.write(os.urandom(6 * MIB))

    def resize(self, size):
        os.truncate(self.path, size)
        run("losetup", "--set-capacity", self.device)

    def write(self, offset, length):
        """Past the page cache, as a file system on it writes."""
        page = mmap.mmap(-1, length)
        page.write(os.urandom(length))
        file = os.open(self.device, os.O_WRONLY | os.O_DIRECT | os.O_DSYNC)
        os.pwrite(file, page, offset)
        os.close(file)


class Cases:
    def __init__(self, binaries, directory):
        self.directory, self.failures = directory, 0
        self.cluster = Cluster(binaries, directory)
        self.hook = directory / "nothing"
        self.hook.write_text("#!/bin/sh\nexit 0\n")
        self.hook.chmod(0o755)

    def check(self, what, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}{'' if holds else ': ' + str(detail)[-1500:]}", flush=True)

    def start(self):
        self.cluster.start_config_server()
        self.datastore = self.directory / "datastore"
        self.datastore.mkdir()
        self.target_4k = Loop(self.directory / "target-4k", sector_bytes=4096)
        self.target_512 = Loop(self.directory / "target-512")
        self.cluster.add_process_server().start()
        self.cluster.add_master_target(datastores=[self.datastore], extra="".join(
            f'block_devices: "{loop.device}"\n' for loop in (self.target_4k, self.target_512))).start()
        self.cluster.await_servers(2)

    def agent(self, name, *paths, extra=""):
        hooks = f'hooks {{ quiesce: "{self.hook}" }}\n'
        agent = self.cluster.add_agent(name, "".join(f'disks {{ path: "{path}" }}\n' for path in paths) + hooks + extra)
        agent.start()
        return agent

    def seen(self, machine):
        return self.cluster.try_json("machines", "show", machine)

    def await_agent(self, name, limit=60):
        self.cluster.await_(f"{name} registers", lambda: self.seen(name).get("agent_connected"), limit)

    def refusal(self, *command):
        try:
            self.cluster.cli(*command)
            return ""
        except Refused as refused:
            return refused.text

    def errors(self, machine):
        return {error["problem"]["id"]: error["problem"] for error in self.seen(machine).get("health_errors", [])}

    def await_error(self, machine, problem):
        self.cluster.await_(f"{machine} says {problem}", lambda: problem in self.errors(machine))
        return self.errors(machine)[problem]

    def await_healthy(self, machine):
        self.cluster.await_(f"{machine} is well again",
                            lambda: self.seen(machine).get("agent_connected") and not self.errors(machine), 90)

    def protect(self, machine, *options):
        self.cluster.cli("machines", "protect", machine, "--point-interval", "1s", *options, "--wait", limit=120)

    def new_point(self, machine):
        self.cluster.cli("points", "create", machine, "--wait", limit=120)

    def same_after_failback(self, machine, source, where=None):
        self.new_point(machine)
        self.cluster.cli("machines", "failback", machine, "--point", "latest", "--wait", limit=120)
        where = where or self.seen(machine)["disk_paths"][0].replace(".vmdk", "-flat.vmdk")
        return subprocess.run(["cmp", "-n", str(DISK_BYTES), where, source], check=False).returncode == 0

    # --- cases -----------------------------------------------------------------------------------

    def sectors(self):
        disk = Loop(self.directory / "native", sector_bytes=4096)
        agent = self.agent("native", disk.device)
        self.await_agent("native")
        self.check("the disk's sectors are shown",
                   self.seen("native")["disks"][0].get("logical_sector_bytes") == 4096, self.seen("native")["disks"])
        said = self.refusal("machines", "protect", "native", "--wait")
        self.check("a VMDK for a disk of 4096-byte sectors is refused", "SECTOR_SIZE_UNSUPPORTED" in said, said)
        if not said:
            self.cluster.cli("machines", "remove", "native", "--wait")
        said = self.refusal("machines", "protect", "native", "--block-device", self.target_512.device, "--wait")
        self.check("a block device that counts otherwise is refused", "SECTOR_SIZE_UNSUPPORTED" in said, said)
        if not said:
            self.cluster.cli("machines", "remove", "native", "--wait")
        plain = Loop(self.directory / "plain")
        other = self.agent("plain", plain.device)
        self.await_agent("plain")
        said = self.refusal("machines", "protect", "plain", "--block-device", self.target_4k.device)
        self.check("a disk of 512-byte sectors does not go to a device of 4096", "SECTOR_SIZE_UNSUPPORTED" in said,
                   said)
        other.stop()
        self.protect("native", "--block-device", self.target_4k.device)
        for at in range(0, 32, 2):
            disk.write(at * MIB + 4096, 65536)
        self.check("it comes home to a block device that counts alike, byte for byte",
                   self.same_after_failback("native", disk.device, self.target_4k.device))
        agent.stop()

    def size_reads_zero(self):
        disk = Loop(self.directory / "away")
        agent = self.agent("away", disk.device)
        self.await_agent("away")
        self.protect("away")
        before = len(self.cluster.json("points", "list", "away")["points"])
        disk.resize(0)
        problem = self.await_error("away", "DISK_AWAY")
        self.check("a disk that has no size now is told", disk.device in problem["message"], problem)
        time.sleep(AWAY_SECONDS)
        disk.resize(DISK_BYTES)
        disk.fill()
        try:
            self.await_healthy("away")
            healed = True
        except TimeoutError:
            healed = False
        self.check("it goes on by itself when the size is back", healed, self.errors("away"))
        if not healed:
            return
        disk.write(9 * MIB, 65536)
        self.new_point("away")
        self.check("no point was lost", len(self.cluster.json("points", "list", "away")["points"]) > before)

        disk.resize(2 * DISK_BYTES)
        problem = self.await_error("away", "DISK_RESIZED")
        self.check("a resize says that protecting anew destroys the points",
                   "recovery points" in problem["action"] and str(2 * DISK_BYTES) in problem["message"], problem)
        disk.resize(DISK_BYTES)
        self.await_healthy("away")
        self.check("a resize that is taken back heals", True)
        disk.resize(2 * DISK_BYTES)
        self.await_error("away", "DISK_RESIZED")
        self.cluster.cli("machines", "remove", "away", "--wait", limit=60)
        self.cluster.await_("the new size is registered without a restart", lambda: (
            self.seen("away").get("disks") or [{}])[0].get("size_bytes") == str(2 * DISK_BYTES))
        self.protect("away", "--directory", "away-anew")
        disk.write(DISK_BYTES + 8 * MIB, 65536)
        self.new_point("away")
        self.cluster.cli("machines", "failback", "away", "--point", "latest", "--wait", limit=120)
        flat = self.seen("away")["disk_paths"][0].replace(".vmdk", "-flat.vmdk")
        self.check("and it can be protected with its new size", subprocess.run(
            ["cmp", flat, disk.device], check=False).returncode == 0)
        agent.stop()

    def unusable(self):
        good = Loop(self.directory / "good")
        late = self.directory / "late-disk"
        agent = self.agent("partly", good.device, late)
        try:
            self.await_agent("partly", 20)
        except TimeoutError:
            self.check("an agent with one disk that is not there works", False, agent.log())
            return
        listed = self.seen("partly").get("unusable_disks", [])
        self.check("a disk that cannot be opened is listed with its reason",
                   [disk["name"] for disk in listed] == [str(late)] and "No such file" in listed[0]["reason"], listed)
        shown = self.cluster.cli("machines", "show", "partly")
        self.check("and shown", str(late) in shown and "No such file" in shown, shown)
        self.check("the others can be protected",
                   [disk["name"] for disk in self.seen("partly")["disks"]] == [good.device])
        second = Loop(self.directory / "second")
        late.symlink_to(second.device)
        self.cluster.await_("it is usable without a restart",
                            lambda: len(self.seen("partly").get("disks", [])) == 2)
        self.check("its reason is gone", not self.seen("partly").get("unusable_disks"))
        self.protect("partly", "--directory", "partly")
        agent.stop()
        late.unlink()
        agent.start()
        problem = self.await_error("partly", "AGENT_CANNOT_PROTECT")
        self.check("a protected machine with an unusable disk says which", str(late) in problem["message"], problem)
        late.symlink_to(second.device)
        self.await_healthy("partly")
        second.write(20 * MIB, 65536)
        self.check("and heals when it is there", self.same_after_failback("partly", good.device))
        flat = self.seen("partly")["disk_paths"][1].replace(".vmdk", "-flat.vmdk")
        self.check("with both disks", subprocess.run(["cmp", flat, second.device], check=False).returncode == 0)
        agent.stop()

    def held_device(self):
        """Something holds the replica's device while the master target starts."""
        source = Loop(self.directory / "source")
        agent = self.agent("held", source.device)
        self.await_agent("held")
        self.protect("held", "--block-device", self.target_512.device)
        target = self.cluster.daemons["master_target"]
        target.stop()
        holder = os.open(self.target_512.device, os.O_RDONLY | os.O_EXCL)
        target.start()
        problem = self.await_error("held", "REPLICA_UNSUITABLE")
        self.check("a device that something else holds is told", "in use" in problem["message"], problem)
        os.close(holder)
        try:
            self.await_healthy("held")
            healed = True
        except TimeoutError:
            healed = False
        self.check("it goes on by itself when the device is free", healed, self.errors("held"))
        if healed:
            source.write(7 * MIB, 65536)
            self.check("with what was written", self.same_after_failback("held", source.device,
                                                                         self.target_512.device))
        agent.stop()

    def names(self):
        disk = Loop(self.directory / "named")
        agent = self.agent("named", disk.device)
        self.await_agent("named")
        for what, name, says in (("a double quote", 'a"b', "quotation mark"), ("a newline", "a\nb", "control character"),
                                 ("a slash", "a/b", "slash"), ("no UTF-8", b"a\xff", "UTF-8"),
                                 ("a space at its end", "ab ", "space"), ("82 bytes", "\u00e9" * 41, "82 bytes")):
            said = self.refusal("machines", "protect", "named", "--directory", name)
            self.check(f"a directory with {what} is refused, and why is said",
                       says in said and ("DIRECTORY_UNSUITABLE" in said or what == "no UTF-8"), said)
            if not said:
                self.cluster.await_("it is protected", lambda: not self.seen("named").get("job_id"))
                self.cluster.cli("machines", "remove", "named", "--wait")
        for name in ("\u00e9" * 40, "a b (1) 'c' %2f"):
            self.protect("named", "--directory", name)
            self.cluster.daemons["master_target"].stop()
            self.cluster.daemons["master_target"].start()
            self.cluster.await_servers(2)
            self.await_healthy("named")
            self.new_point("named")
            self.check(f"{name!r} serves, also after a restart", not self.errors("named"))
            self.cluster.cli("machines", "remove", "named", "--wait")
        agent.stop()
        agent.config.write_text(agent.config.read_text().replace('name: "named"', 'name: "na\\"med"'))
        done = subprocess.run([agent.program, "--config", str(agent.config), "--check_config"], capture_output=True,
                              text=True, check=False)
        self.check("a machine's name with a double quote is refused, with its line",
                   done.returncode == 2 and "join.name" in done.stderr and "quotation mark" in done.stderr,
                   done.stderr)


    def grown_meanwhile(self):
        disk = Loop(self.directory / "grown")
        agent = self.agent("grown", disk.device)
        self.await_agent("grown")
        self.cluster.cli("machines", "protect", "grown", "--point-interval", "1s")
        disk.resize(2 * DISK_BYTES)
        self.cluster.await_("its new size is told", lambda: {"STREAM_REFUSED", "DISK_RESIZED"} & set(self.errors("grown")))
        said = str(list(self.errors("grown").values()))
        self.check("a disk that grew meanwhile is told with both sizes, and what the advice costs",
                   str(DISK_BYTES) in said and str(2 * DISK_BYTES) in said and "recovery points" in said, said)
        self.check("it did not stand still since the host was started", "SYNCHRONISATION_STANDS_STILL" not in self.errors("grown"))
        disk.resize(DISK_BYTES)
        self.await_healthy("grown")
        self.cluster.await_("its first point", lambda: self.cluster.json("points", "list", "grown").get("points"))
        self.check("with its size back it goes on, byte for byte", self.same_after_failback("grown", disk.device))
        agent.stop()

    def two_agents(self):
        disk = Loop(self.directory / "shared")
        agents = {name: self.agent(name, disk.device) for name in ("one", "two")}
        for name in agents:
            self.await_agent(name)
            self.protect(name, "--directory", name)
            self.new_point(name)
        agents["one"].stop()
        disk.write(20 * MIB, 65536)
        self.new_point("two")
        agents["two"].stop()
        agents["one"].start()
        self.await_agent("one")
        self.check("what the other one has sent is in its points too", self.same_after_failback("one", disk.device))
        agents["one"].stop()


CASES = ("sectors", "size_reads_zero", "unusable", "held_device", "names", "grown_meanwhile", "two_agents")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("cases", nargs="*", default=CASES)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("not root: no loop devices, nothing to test")
        return
    # Where an agent that stops leaves its tracking to the kernel, as on a host; it goes with this process.
    leave_mount_namespace()
    run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="homeward-disks-", dir="/var/tmp"))
    cases = Cases(arguments.binaries, directory)
    try:
        cases.start()
        for case in arguments.cases:
            print(f"--- {case}", flush=True)
            getattr(cases, case)()
    except (TimeoutError, Refused, OSError, subprocess.SubprocessError) as error:
        cases.failures += 1
        print(f"FAILED: {error} {getattr(error, 'text', '')} {getattr(error, 'stderr', '')}", flush=True)
        print(cases.cluster.told())
    finally:
        cases.cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if cases.failures else 0)


if __name__ == "__main__":
    main()
