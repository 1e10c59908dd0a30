"""A VM of a simulated vCenter, with its agent inside: protected, failed over, brought home to the VM that it was.

Steps of a story that demo and tests tell: each leaves the world as the next one wants it.
"""
import ctypes
import os
import pathlib
import shutil
import subprocess
import time

import disks
from cluster import Cluster
from vcenter import PASSWORD, Vcenter

MIB = 1 << 20
POINT_INTERVAL = "2s"
MACHINE = "web-1"
VM_UUID = "4207f072-edd8-4b16-8a4c-7b8c1f4e0a01"
TARGET_UUID = "4207f072-edd8-4b16-8a4c-7b8c1f4e0a02"


CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000


def unshare(what, words):
    if ctypes.CDLL(None, use_errno=True).unshare(what) != 0:
        raise OSError(ctypes.get_errno(), words)


def be_alone_on_the_network():
    """A network of its own for this process and its children, so that what is counted on it is theirs."""
    unshare(CLONE_NEWNET, "a network namespace of its own")
    disks.run("ip", "link", "set", "lo", "up")


def be_alone_with_mounts():
    """Mounts of its own for this process and its children. What they mount would stay mounted, after their umount too, in every
    mount namespace that is made meanwhile; and all of it goes with them."""
    unshare(CLONE_NEWNS, "a mount namespace of its own")
    disks.run("mount", "--make-rprivate", "/")


def loopback_bytes():
    """Sent so far, in this network namespace."""
    for line in pathlib.Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[8])
    raise RuntimeError("there is no loopback")


class Copy:
    """One copy of the machine: its disks as the guest sees them, their file systems, and the agent."""

    def __init__(self, story, name, paths, uuids, hardware, boot, more=""):
        self.story, self.name, self.paths = story, name, paths
        self.mounts = []
        boot_file = story.work / f"{name}.boot"
        boot_file.write_text(boot + "\n")
        hook = story.work / f"{name}.quiesce"
        hook.write_text("#!/bin/sh\nset -e\n" + "".join(line + "\n" for line in self.quiesce()))
        hook.chmod(0o755)
        lines = "".join(f'disks {{ path: "{path}" uuid: "{uuid}" }}\n' if uuid else f'disks {{ path: "{path}" }}\n'
                        for path, uuid in zip(paths, uuids))
        self.agent = story.cluster.add_agent(MACHINE, lines + f"""hardware_uuid: "{hardware}"
boot_id_file: "{boot_file}"
hooks {{ quiesce: "{hook}" }}
""" + more, directory=name)

    def quiesce(self):
        """Lines of shell that take it to a stand-still before it is turned off."""
        return [f"! mountpoint -q {where} || umount {where}" for where in self.places()]

    def places(self):
        return [self.story.work / f"{self.name}-{index}" for index in range(len(self.paths))]

    def mount(self):
        for path, where in zip(self.paths, self.places()):
            where.mkdir(exist_ok=True)
            disks.run("mount", path, where)
            self.mounts.append(where)

    def unmount(self):
        while self.mounts:
            disks.unmount(self.mounts.pop())


class Story:
    def __init__(self, binaries, work, sizes=(2048, 1024), say=print):
        self.binaries, self.work, self.sizes, self.say = pathlib.Path(binaries), work, sizes, say
        self.disk_bytes = sum(sizes) * MIB
        self.vcenter = self.cluster = None
        self.copies, self.loops = [], []
        self.result = {"disk_bytes": self.disk_bytes}

    # --- the world

    def topology(self):
        everywhere = {"esx1.lab": "readWrite", "esx2.lab": "readWrite"}
        return {"datacenters": [{
            "name": "dc1", "hosts": [{"name": "esx1.lab", "memory_mb": 16384}, {"name": "esx2.lab", "memory_mb": 16384}],
            "datastores": [{"name": "ds1", "type": "VMFS", "directory": str(self.work / "ds1"), "capacity_mb": 100000,
                            "hosts": everywhere},
                           {"name": "ds2", "type": "VMFS", "directory": str(self.work / "ds2"), "capacity_mb": 100000,
                            "hosts": everywhere}],
            "vms": [{"name": MACHINE, "host": "esx1.lab", "datastore": "ds1", "cpus": 2, "memory_mb": 2048, "uuid": VM_UUID,
                     "controllers": ["lsilogic", "lsilogic"], "powered_on": True, "tools_running": True,
                     "hardware": str(self.work / "hardware" / MACHINE), "hardware_kind": "loop",
                     "disks": [{"file": f"{MACHINE}.vmdk", "size_mb": self.sizes[0], "controller": 0, "unit": 0},
                               {"file": f"{MACHINE}_1.vmdk", "size_mb": self.sizes[1], "controller": 1, "unit": 2}]},
                    {"name": "mt-1", "host": "esx2.lab", "datastore": "ds1", "cpus": 2, "memory_mb": 1024, "uuid": TARGET_UUID,
                     "controllers": ["lsilogic"], "powered_on": True, "extra_config": {"disk.EnableUUID": "TRUE"},
                     "hardware": str(self.work / "hardware" / "mt-1"), "hardware_kind": "loop",
                     "disks": [{"file": "mt-1.vmdk", "size_mb": 16, "controller": 0, "unit": 0}]}]}]}

    def configure(self):
        """What the configuration server's configuration has beside the usual."""
        return ""

    def set_up(self):
        self.start_vcenter()
        (self.work / "azure").mkdir()
        self.cluster.add_process_server(cache_bytes=4 << 30).start()
        self.add_master_target(datastores=[self.work / "azure"]).start()
        self.cluster.await_servers(2)

    def start_vcenter(self):
        """And the configuration server, which knows it."""
        self.vcenter = Vcenter(self.binaries, self.work / "vcenter", self.topology())
        self.cluster = Cluster(self.binaries, self.work, extra=self.configure())
        self.cluster.start_config_server()
        password = self.work / "password"
        password.write_text(PASSWORD + "\n")
        self.cluster.cli("vcenters", "add", "vc1", "--address", self.vcenter.address, "--user", "homeward",
                         "--password-file", str(password), "--thumbprint", self.vcenter.thumbprint)
        self.cluster.await_("the inventory is there",
                            lambda: len(self.cluster.try_json("inventory", "vms").get("vms", [])) >= 2)
        self.places = self.vcenter.vms()[MACHINE]["disks"]
        self.uuids = sorted(self.places, key=lambda uuid: (self.places[uuid]["bus"], self.places[uuid]["unit"]))

    def add_master_target(self, datastores=()):
        return self.cluster.add_master_target(datastores=datastores, extra=f"""hardware_uuid: "{TARGET_UUID}"
disk_links_directory: "{self.work}/hardware/mt-1"
""")

    def start(self, name, paths, uuids, hardware, boot, state_of=None):
        """A copy boots: its agent has the host id that is on its disk."""
        copy = Copy(self, name, paths, uuids, hardware, boot)
        if state_of is not None:
            shutil.copytree(self.work / state_of / "state", self.work / name / "state")
        copy.agent.start()
        self.copies.append(copy)
        self.cluster.await_("the agent registers", lambda: self.machine().get("agent_connected"), 60)
        return copy

    def machine(self):
        return self.cluster.try_json("machines", "show", MACHINE)

    # --- the story

    def home_paths(self):
        """Of the VM's disks, as its guest sees them while it is on."""
        return [self.work / "hardware" / MACHINE / f"wwn-0x{uuid}" for uuid in self.uuids]

    def boot_at_home(self, name="home", state_of=None):
        return self.start(name, self.home_paths(), self.uuids, VM_UUID, f"boot-of-{name}", state_of)

    def fill(self, copy):
        """File systems with real files on both disks, before the agent is told to protect them."""
        for path in copy.paths:
            # All of it now: what the kernel would write later is a change too.
            disks.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", path)
        copy.mount()
        for where, size in zip(copy.mounts, self.sizes):
            fill_with_files(where, size * MIB // 2)

    def protect(self, *more):
        self.cluster.cli("machines", "protect", MACHINE, "--datastore", str(self.work / "azure"),
                         "--point-interval", POINT_INTERVAL, "--wait", *more)

    def fail_over(self, home):
        """What the Azure side does: the machine stops here and runs from the copy."""
        self.cluster.cli("machines", "failback", MACHINE, "--point", "latest", "--wait")
        self.cluster.cli("machines", "commit", MACHINE, "--wait")
        home.agent.stop()
        home.unmount()
        flats = [pathlib.Path(path).with_name(pathlib.Path(path).stem + "-flat.vmdk") for path in self.machine()["disk_paths"]]
        self.azure_flats = flats
        loops = [disks.run("losetup", "--find", "--show", flat) for flat in flats]
        self.loops += loops
        copy = self.start("azure-vm", loops, ["", ""], "azure-hardware", "boot-in-azure", state_of="home")
        copy.mount()
        return copy

    def change(self, copy, percent=2):
        """New content, as much as that part of the disks, in files of their own and over old ones."""
        for where, size in zip(copy.mounts, self.sizes):
            budget = size * MIB * percent // 100
            with open(where / "changed", "wb") as file:
                while budget > 0:
                    budget -= file.write(os.urandom(min(MIB, budget)))
                file.flush()
                os.fsync(file.fileno())

    def delete_vm(self):
        """With its files, by somebody else's client."""
        self.vcenter.ask(f"""
if vms[{MACHINE!r}].runtime.powerState == "poweredOn":
    done(vms[{MACHINE!r}].PowerOff())
done(vms[{MACHINE!r}].Destroy())""")

    def reprotect(self, *location):
        began, sent = time.monotonic(), loopback_bytes()
        self.cluster.cli("machines", "reprotect", MACHINE, "--location", *location, "--point-interval", POINT_INTERVAL, "--wait")
        self.result["reprotect_seconds"] = round(time.monotonic() - began, 2)
        # Everything on loopback, seen twice: agent to process server to master target.
        self.result["bytes_on_wire"] = (loopback_bytes() - sent) // 2
        self.result["received_bytes"] = int(self.machine()["received_bytes"])

    def fail_back(self, *more):
        began = time.monotonic()
        self.cluster.cli("machines", "failback", MACHINE, "--point", "latest", "--wait", *more)
        self.result["failback_seconds"] = round(time.monotonic() - began, 2)

    # --- what came of it

    def home_flats(self):
        """Where the VM's disks are in the datastores' directories, in order of bus and unit."""
        places = self.vcenter.vms()[MACHINE]["disks"].values()
        files = [one["file"] for one in sorted(places, key=lambda one: (one["bus"], one["unit"]))]
        return [self.work / datastore / path.replace(".vmdk", "-flat.vmdk")
                for datastore, path in (file.lstrip("[").split("] ") for file in files)]

    def same_bytes(self):
        differing = [disks.differing_blocks(ours, theirs) for ours, theirs in zip(self.azure_flats, self.home_flats())]
        if any(differing):
            self.say(f"blocks of 4096 bytes that differ: {[blocks[:20] for blocks in differing]}, {[len(blocks) for blocks in differing]} in all")
        return not any(differing)

    def mounts_read_only(self):
        """A copy of the disks, mounted as a boot would."""
        good = 0
        for index, flat in enumerate(self.home_flats()):
            copy = self.work / f"check{index}.raw"
            disks.run("cp", "--sparse=always", flat, copy)
            loop = disks.Loop(copy, read_only=True)
            try:
                loop.mount(loop.volumes()[0], self.work / f"check{index}", "ro,noload")
                good += (self.work / f"check{index}" / "changed").stat().st_size > 0
            finally:
                loop.close()
                copy.unlink()
        return good == len(self.sizes)

    def at_old_places(self):
        """By somebody else's client: each disk is where it was, and none is anywhere else."""
        vms = self.vcenter.vms()
        return vms[MACHINE]["disks"] == self.places and not set(self.places) & set(vms["mt-1"]["disks"])

    def at_new_places(self):
        """By somebody else's client: a disk at each old place, on the other datastore, and none left behind."""
        vms = self.vcenter.vms()
        def where(disks):
            return sorted((one["bus"], one["unit"]) for one in disks.values())
        new = vms[MACHINE]["disks"]
        return where(new) == where(self.places) and all(one["file"].startswith("[ds2] ") for one in new.values()) and \
            len(vms["mt-1"]["disks"]) == 1

    def close(self):
        for copy in self.copies:
            copy.unmount()
        if self.cluster is not None:
            self.cluster.stop()
        for loop in self.loops:
            subprocess.run(["losetup", "-d", loop], capture_output=True)
        if self.vcenter is not None:
            self.vcenter.stop()


def fill_with_files(where, budget):
    number = 0
    for file in sorted(pathlib.Path("/usr/lib").rglob("*")):
        if budget <= 0:
            break
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()[:budget]
            (where / f"{number:06d}").write_bytes(content)
            number, budget = number + 1, budget - len(content)
    subprocess.run(["sync", "--file-system", str(where)], check=True)  # not every file system of the host
