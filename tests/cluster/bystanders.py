"""VMs that are alike, and stand beside those that are meant: none of theirs may be touched."""
import copy
import hashlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "lab"))
from failback import MACHINE, Story  # noqa: E402

DISKS = ("6000c29a1b2c3d4e5f60718293a4b501", "6000c29a1b2c3d4e5f60718293a4b502")
TARGET_DISK = "6000c29a1b2c3d4e5f60718293a4b509"


class Bystanders(Story):
    """Copies come first in every list: `alike` of them with all that can be known of the original; without it, told from it by
    their disks, or by being off."""
    alike = False

    def topology(self):
        made = super().topology()
        center = made["datacenters"][0]
        originals = {vm["name"]: vm for vm in center["vms"]}
        for name, uuids in ((MACHINE, DISKS), ("mt-1", (TARGET_DISK,))):
            for disk, uuid in zip(originals[name]["disks"], uuids):
                disk["uuid"] = uuid
        copies = []
        for name in (MACHINE, "mt-1"):
            if self.alike:
                copies.append(self.copy_of(originals[name], f"{name}-twin"))
            else:
                other = self.copy_of(originals[name], f"{name}-other-disks")
                for disk in other["disks"]:
                    del disk["uuid"]
                off = self.copy_of(originals[name], f"{name}-off")
                off["powered_on"] = False
                copies += [other, off]
        self.bystanders = [one["name"] for one in copies]
        center["vms"] = copies + center["vms"]
        return made

    @staticmethod
    def copy_of(vm, name):
        """By file: with its BIOS UUID and those of its disks."""
        one = copy.deepcopy(vm)
        one.pop("hardware", None)
        one.update(name=name, folder="backup/copies", memory_mb=256)
        return one

    def set_up(self):
        super().set_up()
        # What they have is theirs.
        for name in self.bystanders:
            for flat in (self.work / "ds1" / name).glob("*-flat.vmdk"):
                with open(flat, "r+b") as file:
                    file.write(os.urandom(1 << 20))
        self.before = self.theirs()

    def theirs(self):
        """All that is known of them, and every byte of their files."""
        vms = self.vcenter.vms()
        files = {}
        for name in self.bystanders:
            for path in sorted((self.work / "ds1" / name).iterdir()):
                files[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".vmdk" else ""
        return {name: vms.get(name) for name in self.bystanders}, files

    def untouched(self):
        now = self.theirs()
        return now == self.before


class Twins(Bystanders):
    alike = True


class InVApp(Story):
    """The VM and the master target's are in a vApp: such a VM has no parent."""

    def topology(self):
        made = super().topology()
        for vm in made["datacenters"][0]["vms"]:
            vm["vapp"] = "shop"
        return made
