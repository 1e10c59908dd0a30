"""A VM of a simulated vCenter comes home to the VM that it was, with everything in the way that may be: what rules refuse, before
anything is touched; the configuration server killed at each step; a vCenter that fails, restarts and loses replies.

  vm_test.py --binaries build/dev/bin [--only PART]
"""
import argparse
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "lab"))
import disks  # noqa: E402
from cluster import Refused  # noqa: E402
from failback import MACHINE, Story, be_alone_with_mounts  # noqa: E402
from bystanders import Bystanders, InVApp, Twins  # noqa: E402
from refusals import Refusals  # noqa: E402

SIZES = (48, 24)  # MiB
SLOW_MS = 2500
PARTS = ("refusals", "kills", "faults", "kills_alternate", "undone_alternate", "host_alone", "vsan_and_rdm", "repair",
         "bystanders", "twins", "orphans", "vapp", "vapp_new_vm")


class HostAlone(Story):
    def topology(self):
        made = super().topology()
        center = made["datacenters"][0]
        center["hosts"] = center["hosts"][:1]
        name = center["hosts"][0]["name"]
        for store in center["datastores"]:
            store["hosts"] = {name: "readWrite"}
        for vm in center["vms"]:
            vm["host"] = name
        return {**made, "single_host": True}


class VsanAndRdm(Story):
    """The VM's disks: one on vSAN, one a raw device mapping in virtual mode."""

    def topology(self):
        made = super().topology()
        center = made["datacenters"][0]
        center["datastores"][0]["type"] = "vsan"
        center["vms"][0]["disks"][1]["rdm"] = "virtualMode"
        return made


class Test:
    def __init__(self, binaries, work, part):
        kind = {"refusals": Refusals, "host_alone": HostAlone, "vsan_and_rdm": VsanAndRdm, "bystanders": Bystanders,
                "twins": Twins, "vapp": InVApp, "vapp_new_vm": InVApp}.get(part, Story)
        self.story = kind(binaries, work, SIZES, say=lambda text: print(f"     {text}", flush=True))
        self.failures, self.part = 0, part

    def check(self, name, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + str(detail) if detail and not holds else ''}", flush=True)

    @property
    def cluster(self):
        return self.story.cluster

    def job(self):
        jobs = self.cluster.try_json("jobs", "list", "--count", "1").get("jobs", [{}])
        return jobs[0] if jobs else {}

    def ended(self, limit=120):
        """The last job's state, when it has ended."""
        return self.cluster.await_("the job ends", lambda: self.job().get("state") not in (None, "Running") and self.job(), limit)

    def in_azure(self):
        self.story.set_up()
        self.home = self.story.boot_at_home()
        self.story.fill(self.home)
        self.story.protect("--master-target", "master_target", *(self.say_which() if self.part == "twins" else ()))
        self.azure = self.story.fail_over(self.home)
        self.story.change(self.azure)

    def refused(self, label, problem, *command):
        """`problem` is told, with these words, and nothing was touched."""
        words = (problem,) if isinstance(problem, str) else problem
        before = self.story.vcenter.vms(), self.story.machine().get("protection_state")
        try:
            self.cluster.cli(*command)
            text = "It was accepted."
        except Refused as refusal:
            text = refusal.text
        self.check(f"{label}: {words[0]}", all(word in text for word in words), text)
        now = self.story.vcenter.vms(), self.story.machine().get("protection_state")
        self.check(f"{label}: nothing was touched", now == before, now)

    # --- who is alike

    def bystanders(self):
        """Copies of the VM and of the master target's, told apart by their disks or by being off."""
        self.check("the machine's VM is recorded, not a copy", self.story.machine()["vm"]["name"] == MACHINE, self.story.machine()["vm"])
        self.story.reprotect("original")
        self.check("its own disks are at the master target's own VM",
                   set(self.story.places) <= set(self.story.vcenter.vms()["mt-1"]["disks"]), self.story.vcenter.vms())
        self.check("reprotect: the bystanders are as before, byte for byte", self.story.untouched(), self.story.theirs()[0])
        self.story.fail_back()
        self.check("failback: the bystanders are as before, byte for byte", self.story.untouched(), self.story.theirs()[0])
        self.home_again("bystanders")

    def say_which(self):
        """Nothing tells the VM from its twin: an operator must say."""
        protect = ("machines", "protect", MACHINE, "--datastore", str(self.story.work / "azure"), "--master-target", "master_target")
        self.refused("a twin of the VM", ("VM_AMBIGUOUS", f"dc1/{MACHINE} (", f"dc1/backup/copies/{MACHINE}-twin ("), *protect)
        self.refused("one that cannot be it", "VM_NOT_THAT_ONE", *protect, "--vm", "dc1/mt-1")
        return "--vm", f"dc1/{MACHINE}"

    def twins(self):
        self.check("the VM that was said is recorded", self.story.machine()["vm"]["name"] == MACHINE, self.story.machine()["vm"])
        original = ("machines", "reprotect", MACHINE, "--location", "original", "--master-target", "master_target")
        self.refused("a twin of the master target", ("VM_AMBIGUOUS", "dc1/mt-1 (", "dc1/backup/copies/mt-1-twin ("), *original)
        identify = ("servers", "identify", "master_target", "--vm")
        self.refused("one that the master target cannot be", "VM_NOT_THAT_ONE", *identify, f"dc1/{MACHINE}")
        self.cluster.cli(*identify, "dc1/mt-1")
        self.cluster.daemons["master_target"].kill()
        self.cluster.daemons["master_target"].start()
        self.cluster.await_("it is back", lambda: self.cluster.json("servers", "show", "master_target")["connected"])
        self.story.reprotect("original")
        self.story.fail_back()
        self.check("the twins are as before, byte for byte", self.story.untouched(), self.story.theirs()[0])
        self.home_again("twins")

    def orphans(self):
        """Deltas that belong to no snapshot that is listed."""
        original = ("machines", "reprotect", MACHINE, "--location", "original", "--master-target", "master_target", "--wait")
        for name, problem in (("mt-1", "MASTER_TARGET_HAS_SNAPSHOTS"), (MACHINE, "VM_HAS_SNAPSHOTS")):
            self.story.vcenter.order(orphan_deltas=name)
            self.cluster.await_("it is seen", lambda: any(vm["name"] == name and "-000001" in str(vm["disks"])
                                                          for vm in self.cluster.json("inventory", "vms")["vms"]))
            self.refused(f"deltas of {name}", (problem, "no snapshot that is listed", "-000001.vmdk"), *original)
            self.story.vcenter.ask(f'done(vms["{name}"].RemoveAllSnapshots())')
            self.cluster.await_("its end is seen", lambda: not any("-000001" in str(vm["disks"])
                                                                   for vm in self.cluster.json("inventory", "vms")["vms"]))
        self.story.reprotect("original")
        self.check("without them it goes", self.story.machine()["protection_state"] == "Protected")

    def vapp(self):
        """Home to a VM in a vApp, by a master target in one."""
        self.story.reprotect("original")
        self.check("reprotected to a VM in a vApp", self.story.machine()["protection_state"] == "Protected")
        self.story.fail_back()
        self.home_again("vApp")

    def vapp_new_vm(self):
        """To a new VM beside a master target in a vApp, with a name that vSphere writes otherwise."""
        alternate = ("machines", "reprotect", MACHINE, "--location", "alternate", "--datastore", "ds2", "--point-interval", "2s", "--wait",
                     "--vm-name")
        for name in ("", " web", "web\n1", "x" * 81):
            self.refused(f"the name {name[:8]!r}", "VM_NAME_UNSUITABLE" if name else "VM_NAME_EXISTS", *alternate, name)
        name, written = "shop/web 100%\\1", "shop%2fweb 100%25%5c1"
        self.cluster.cli(*alternate, name)
        vms = self.story.vcenter.vms()
        self.check("the new VM is there, written vSphere's way", written in vms and not vms[written]["disks"], vms)
        self.check("it is shown as it was named", any(vm["name"] == name for vm in self.cluster.json("inventory", "vms")["vms"]),
                   self.cluster.json("inventory", "vms"))
        self.cluster.cli("machines", "failback", MACHINE, "--point", "latest", "--wait")
        vms = self.story.vcenter.vms()
        self.check("failed back to it", vms[written]["on"] and len(vms[written]["disks"]) == 2, vms)

    def refusals(self):
        self.story.walk()
        for problem, told, same in self.story.rows:
            self.check(f"{problem}: refused, with causes and what to do", told)
            self.check(f"{problem}: nothing was touched, or all undone", same)

    # --- what dies

    def hold(self, name, stop):
        self.cluster.daemons[name].process.send_signal(signal.SIGSTOP if stop else signal.SIGCONT)

    def kill_in(self, step, detail="", passing=False):
        """When the job is in that step, and says that: kills the configuration server, and looks where things are. A step that
        is `passing` may be over before it is seen."""
        def there():
            job = self.job()
            for task in job.get("tasks", []):
                if task["name"].startswith(step) and task["state"] == "Succeeded" and passing:
                    return "over"
                if task["state"] == "Running":
                    return task["name"].startswith(step) and detail in task.get("detail", "")
            return False
        if self.cluster.await_(f"the step {step}", there, 60, 0.01) == "over":
            self.rows.append((step, "-", "over before it was seen"))
            return
        self.cluster.daemons["config_server"].kill()
        vms = self.story.vcenter.vms()
        # The master target's VM has one of its own.
        places = {name for name, vm in vms.items() if len(vm["disks"]) > (name == "mt-1")}
        self.cluster.start_config_server()
        told = {disk["attached_to"] for disk in self.story.machine()["vm"]["disks"]}
        where = " and ".join(sorted(places)) or "nowhere"
        self.rows.append((step + (f" ({detail})" if detail else ""), where, ", ".join(sorted(told))))
        possible = {MACHINE: {"VM"}, "mt-1": {"MasterTarget"}, "nowhere": {"nothing yet"}}[where]
        self.check(f"killed in '{step}{' / ' + detail if detail else ''}': disks at {where}, recorded as {told}",
                   all("->" in one or one in possible for one in told))

    def slow(self, method, entity):
        self.story.vcenter.order(fault={"method": method, "entity": entity, "delay_ms": SLOW_MS, "count": 1})

    def kills(self):
        self.rows = []
        self.slow("ShutdownGuest", MACHINE)
        self.slow("ReconfigVM_Task", MACHINE)
        self.slow("ReconfigVM_Task", "mt-1")
        self.cluster.cli("machines", "reprotect", MACHINE, "--location", "original", "--point-interval", "2s")
        self.hold("process_server", True)
        self.kill_in("Turn off", "shut down")
        self.kill_in("Attach", f"{MACHINE}: change")
        self.kill_in("Attach", "mt-1: change")
        self.kill_in("Assign the process server")
        self.hold("azure-vm", True)
        self.hold("process_server", False)
        self.kill_in("Start replication")
        self.hold("master_target", True)
        self.hold("azure-vm", False)
        self.kill_in("Synchronise")
        self.hold("master_target", False)
        self.kill_in("Make the first recovery point", passing=True)
        self.check("the reprotect went on to its end", self.ended()["state"] == "Succeeded", self.job())
        self.check("the disks are at the master target",
                   set(self.story.places) <= set(self.story.vcenter.vms()["mt-1"]["disks"]))
        self.slow("ReconfigVM_Task", MACHINE)
        self.slow("ReconfigVM_Task", "mt-1")
        self.slow("PowerOnVM_Task", MACHINE)
        self.hold("azure-vm", True)
        self.cluster.cli("machines", "failback", MACHINE, "--point", "latest")
        self.kill_in("Stop the machine")
        self.hold("azure-vm", False)
        for step in ("Turn the machine off", "Choose the point", "Bring the disks"):
            self.kill_in(step, passing=True)
        self.kill_in("Hand the disks over", "mt-1: change")
        self.kill_in("Hand the disks over", f"{MACHINE}: change")
        self.kill_in("Start the machine", "power on")
        self.check("the failback went on to its end", self.ended()["state"] == "Succeeded", self.job())
        self.home_again("kills")
        self.table()

    def kills_alternate(self):
        """As before, with a new VM."""
        self.rows = []
        self.story.delete_vm()
        self.cluster.await_("the inventory shows it", lambda: len(self.cluster.json("inventory", "vms")["vms"]) == 1)
        self.slow("CreateVM_Task", "")
        self.cluster.cli("machines", "reprotect", MACHINE, "--location", "alternate", "--datastore", "ds2", "--point-interval", "2s")
        self.slow("ReconfigVM_Task", "mt-1")
        self.kill_in("Attach", "create it")
        self.kill_in("Attach", "mt-1: change")
        self.check("the reprotect went on to its end", self.ended()["state"] == "Succeeded", self.job())
        vms = self.story.vcenter.vms()
        self.check("there is one new VM, and its disks are at the master target", len(vms) == 2 and
                   len(vms["mt-1"]["disks"]) == 3 and not vms[MACHINE]["disks"], vms)
        self.slow("ReconfigVM_Task", "mt-1")
        self.slow("ReconfigVM_Task", MACHINE)
        self.slow("PowerOnVM_Task", MACHINE)
        self.cluster.cli("machines", "failback", MACHINE, "--point", "latest")
        self.kill_in("Hand the disks over", "mt-1: change")
        self.kill_in("Hand the disks over", f"{MACHINE}: change")
        self.kill_in("Start the machine", "power on")
        self.check("the failback went on to its end", self.ended()["state"] == "Succeeded", self.job())
        self.azure.agent.stop()
        self.azure.unmount()
        vms = self.story.vcenter.vms()
        self.check("the new VM is on, with each disk at its old place and nowhere else", vms[MACHINE]["on"] and
                   self.story.at_new_places(), vms)
        self.check("the disks are byte for byte the source", self.story.same_bytes())
        self.check("their file systems mount", self.story.mounts_read_only())
        self.table()

    def undone_alternate(self):
        """What was made for a reprotect that fails, or is removed, is gone."""
        order = self.story.vcenter.order
        self.story.delete_vm()
        self.cluster.await_("the inventory shows it", lambda: len(self.cluster.json("inventory", "vms")["vms"]) == 1)
        alternate = ("machines", "reprotect", MACHINE, "--location", "alternate", "--datastore", "ds2", "--point-interval", "2s", "--wait")
        def nothing_left():
            vms = self.story.vcenter.vms()
            return len(vms) == 1 and len(vms["mt-1"]["disks"]) == 1 and not any((self.story.work / "ds2").iterdir())
        order(fault={"method": "ReconfigVM_Task", "entity": "mt-1", "fault": "InvalidState", "count": 5})
        try:
            self.cluster.cli(*alternate)
            self.check("a master target that takes no disk: the reprotect fails", False)
        except Refused as why:
            self.check("a master target that takes no disk: the reprotect fails", "VSPHERE_TASK_FAILED" in why.text, why.text)
        order(clear_faults=True)
        self.check("and nothing is left of the new VM", nothing_left(), self.story.vcenter.vms())
        order(fault={"method": "CreateVM_Task", "entity": "", "fault": "drop_reply", "count": 1})
        self.cluster.cli(*alternate)
        self.check("a lost reply to the creation: there is one new VM", len(self.story.vcenter.vms()) == 2)
        self.cluster.cli("machines", "remove", MACHINE, "--wait")
        self.check("it goes away with its replica, files and all", nothing_left(), self.story.vcenter.vms())

    def repair(self):
        """Somebody gives the disks back to the VM by hand, and starts it, while they are replicated to."""
        self.check("nothing to repair", "as it is recorded" in self.cluster.cli("machines", "repair", MACHINE))
        self.story.reprotect("original")
        files = [self.story.places[uuid]["file"] for uuid in self.story.uuids]
        self.story.vcenter.ask(f"""
disks = [one for one in vms["mt-1"].config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk) and one.backing.fileName in {files!r}]
change = vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="remove", device=one) for one in disks])
done(vms["mt-1"].Reconfigure(change))
controller = [one.key for one in vms["{MACHINE}"].config.hardware.device if isinstance(one, vim.vm.device.VirtualSCSIController)][0]
adds = [vim.vm.device.VirtualDeviceSpec(operation="add", device=vim.vm.device.VirtualDisk(key=-1 - number, controllerKey=controller,
    unitNumber=number, capacityInKB=0, backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="persistent")))
    for number, file in enumerate({files!r})]
done(vms["{MACHINE}"].Reconfigure(vim.vm.ConfigSpec(deviceChange=adds)))
done(vms["{MACHINE}"].PowerOn())""")
        self.cluster.await_("it is seen", lambda: "is on" in self.cluster.cli("machines", "repair", MACHINE))
        text = self.cluster.cli("machines", "repair", MACHINE)
        self.check("what was changed is shown", len(text.splitlines()) == 3 and f"attached to {MACHINE}" in text, text)
        self.story.change(self.azure, 1)
        self.cluster.cli("machines", "repair", MACHINE, "--apply", "--wait")
        vms = self.story.vcenter.vms()
        self.check("it is put right", not vms[MACHINE]["on"] and set(self.story.places) <= set(vms["mt-1"]["disks"]), vms)
        self.cluster.await_("the inventory shows it", lambda: "as it is recorded" in self.cluster.cli("machines", "repair", MACHINE), 30)
        self.story.fail_back()
        self.home_again("repair")

    def host_alone(self):
        """An ESX host without a vCenter."""
        self.story.reprotect("original")
        self.check("reprotected through the host itself", self.story.machine()["protection_state"] == "Protected")
        self.story.fail_back()
        self.home_again("a host alone")

    def vsan_and_rdm(self):
        """Disks that are there already may be of any kind that can be attached elsewhere."""
        self.story.reprotect("original")
        self.check("reprotected to disks on vSAN and to a mapping", self.story.machine()["protection_state"] == "Protected")
        self.story.fail_back()
        self.home_again("vSAN and RDM")

    def table(self):
        width = max(len(step) for step, _where, _told in self.rows)
        print(f"\n{'killed in':{width}}  {'disks were attached to':24}recorded as")
        for step, where, told in self.rows:
            print(f"{step:{width}}  {where:24}{told}")
        print(flush=True)

    def home_again(self, label):
        self.azure.agent.stop()
        self.azure.unmount()
        self.check(f"{label}: the VM is on, with each disk at its old place and nowhere else",
                   self.story.vcenter.vms()[MACHINE]["on"] and self.story.at_old_places(), self.story.vcenter.vms())
        self.check(f"{label}: the disks are byte for byte the source", self.story.same_bytes())
        self.check(f"{label}: their file systems mount", self.story.mounts_read_only())

    # --- what the vCenter does

    def faults(self):
        order = self.story.vcenter.order
        reprotect = ("machines", "reprotect", MACHINE, "--location", "original", "--point-interval", "2s", "--wait")
        # For good: undone. The VM's own disks are back at their places, and it may be tried again.
        order(fault={"method": "ReconfigVM_Task", "entity": "mt-1", "fault": "InvalidState", "count": 50})
        try:
            self.cluster.cli(*reprotect)
            self.check("a master target that takes no disk: the reprotect fails", False)
        except Refused as why:
            self.check("a master target that takes no disk: the reprotect fails, with the vCenter's reason",
                       "VSPHERE_TASK_FAILED" in why.text and "InvalidState" in why.text, why.text)
        order(clear_faults=True)
        self.check("and it was undone", self.story.at_old_places() and
                   self.story.machine()["protection_state"] == "FailoverCommitted", self.story.machine())
        # Snapshots, on a VM that is on: refused, or merged where the operator says so.
        self.story.vcenter.ask(f'done(vms["{MACHINE}"].CreateSnapshot("s", "", False, False))')
        self.cluster.await_("the snapshot is seen", lambda: any(
            vm["name"] == MACHINE and vm.get("snapshot_count") for vm in self.cluster.json("inventory", "vms")["vms"]))
        reprotect += ("--remove-snapshots",)
        # In passing: gone on with.
        order(fault={"method": "ReconfigVM_Task", "entity": "mt-1", "fault": "drop_reply", "count": 1})
        order(fault={"method": "ReconfigVM_Task", "entity": "mt-1", "fault": "TaskInProgress", "count": 3})
        self.slow("ReconfigVM_Task", MACHINE)
        waiting = subprocess.Popen(self.cluster.command(*reprotect), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.cluster.await_("the VM is changed", lambda: any(f"{MACHINE}: change" in task.get("detail", "") for task in self.job().get("tasks", [])))
        order(expire_sessions=True)
        self.check("a session that ends in mid-work, lost replies and busy VMs: the reprotect succeeds", waiting.wait(120) == 0, self.job())
        self.check("the VM has no snapshot any more, and its disks are what they were", not self.story.vcenter.vms()[MACHINE]["snapshots"] and
                   sorted(disk["file"] for disk in self.story.machine()["vm"]["disks"]) ==
                   sorted(place["file"] for place in self.story.places.values()), self.story.machine())
        # A host that cannot start it.
        order(fault={"method": "PowerOnVM_Task", "entity": MACHINE, "fault": "InsufficientMemoryResourcesFault", "count": 50})
        try:
            self.cluster.cli("machines", "failback", MACHINE, "--point", "latest", "--wait")
            self.check("VM_POWER_ON_FAILED: the failback fails", False)
        except Refused as why:
            self.check("VM_POWER_ON_FAILED: the failback fails, with number and reason", "VM_POWER_ON_FAILED" in why.text and
                       "8038" in why.text, why.text)
        order(clear_faults=True)
        vms = self.story.vcenter.vms()
        self.check("VM_POWER_ON_FAILED: the disks are the master target's again", not vms[MACHINE]["on"] and
                   set(self.story.places) <= set(vms["mt-1"]["disks"]), vms)
        self.cluster.await_("it follows again", lambda: self.story.machine().get("protection_state") == "Protected" and
                            self.story.machine().get("pending_bytes") is not None)
        self.cluster.await_("it has a new point", lambda: (self.story.machine().get("rpo_seconds") or 99) < 5)
        # A vCenter that restarts between detach and attach.
        self.slow("ReconfigVM_Task", MACHINE)
        self.cluster.cli("machines", "failback", MACHINE, "--point", "latest")
        self.cluster.await_("the disks are detached", lambda: any(
            f"{MACHINE}: change" in task.get("detail", "") for task in self.job().get("tasks", [])), 60, 0.02)
        order(down_ms=3000)
        self.check("a vCenter that restarts between detach and attach: failed back", self.ended()["state"] == "Succeeded", self.job())
        self.home_again("faults")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True)
    parser.add_argument("--only", choices=PARTS)
    arguments = parser.parse_args()
    if not disks.can_use_loop_devices():
        sys.exit("This test needs loop devices: run it as root.")
    be_alone_with_mounts()
    failures = 0
    for part in PARTS:
        if arguments.only not in (None, part):
            continue
        work = pathlib.Path(tempfile.mkdtemp(prefix="homeward-vm-", dir="/var/tmp"))
        test = Test(arguments.binaries, work, part)
        try:
            test.in_azure()
            getattr(test, part)()
        except (TimeoutError, Refused, RuntimeError, OSError) as error:
            print(f"FAILED: {error}\n{test.cluster and test.job()}", flush=True)
            if test.cluster:
                print(test.cluster.told())
            test.failures += 1
        finally:
            test.story.close()
            shutil.rmtree(work, ignore_errors=True)
        failures += test.failures
    print(f"{failures} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
