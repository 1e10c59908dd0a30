"""The demonstrations behind `deploy/demo failback-original`, `failback-alternate` and `refusals`. Ends in `RESULT {json}`."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import disks  # noqa: E402
from cluster import Refused  # noqa: E402
from demo import say  # noqa: E402
from failback import MACHINE, MIB, VM_UUID, Story  # noqa: E402
from refusals import Refusals  # noqa: E402
from stage import command_line, present, require_loop_devices  # noqa: E402

WIRE_SHARE_MAX = 0.04


class Demo:
    def __init__(self, story):
        self.story = story
        self.checks = {}
        self.result = story.result

    def check(self, name, holds, detail=""):
        self.checks[name] = bool(holds)
        say(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + detail if detail else ''}")

    def run(self, original):
        story = self.story
        say("starting a simulated vCenter with two ESX hosts, and four daemons with mutual TLS between them")
        story.set_up()
        say(f"the VM {MACHINE} runs on esx1.lab; filling its disks, of 2 GiB and 1 GiB, with file systems and real files")
        home = story.boot_at_home()
        story.fill(home)
        say("protecting it")
        story.protect()
        recorded = story.machine()["vm"]
        self.check("the VM was recorded", recorded["name"] == MACHINE and len(recorded["disks"]) == 2)
        was = story.vcenter.vms()[MACHINE]
        say("failing over: it stops at home and runs from the copy")
        azure = story.fail_over(home)
        self.check("the old VM is still on", story.vcenter.vms()[MACHINE]["on"])
        say("changing 2 % of its disks there")
        story.change(azure)
        if original:
            self.to_the_vm_that_it_was()
        else:
            self.to_a_new_vm(was)
        say("failing back")
        story.fail_back()
        azure.agent.stop()
        azure.unmount()
        vms = story.vcenter.vms()
        story.result["vm_powered_on"] = vms[MACHINE]["on"]
        story.result["disks_attached_to"] = {
            uuid: [name for name, vm in vms.items() if uuid in vm["disks"]]
            for uuid in (disk["uuid"] for disk in story.machine()["vm"]["disks"])}
        self.check("the VM is on", vms[MACHINE]["on"])
        if original:
            self.check("each disk is at its old place, and at no other VM", story.at_old_places())
        else:
            self.check("its disks are on the chosen datastore, at the old places, and at no other VM", story.at_new_places())
        self.check("both disks are byte for byte the source", story.same_bytes())
        self.check("their file systems mount", story.mounts_read_only())
        say("its agent starts at home, and registers")
        began = time.monotonic()
        if original:
            story.boot_at_home("home-again", state_of="azure-vm")
        else:
            loops = [disks.run("losetup", "--find", "--show", flat) for flat in story.home_flats()]
            story.loops += loops
            story.start("home-again", loops, ["", ""], VM_UUID, "boot-of-home-again", state_of="azure-vm")
        story.result["registration_seconds"] = round(time.monotonic() - began, 2)
        story.cluster.cli("machines", "commit", MACHINE, "--wait")
        self.check("committed", story.machine()["protection_state"] == "FailoverCommitted")

    def refusals(self):
        story = self.story
        story.sizes = (48, 24)
        story.disk_bytes = story.result["disk_bytes"] = sum(story.sizes) * MIB
        say("a machine that was failed over, and everything that keeps it from coming home")
        story.set_up()
        home = story.boot_at_home()
        story.fill(home)
        story.protect("--master-target", "master_target")
        azure = story.fail_over(home)
        story.change(azure)
        story.walk()
        azure.unmount()
        width = max(len(problem) for problem, _told, _same in story.rows)
        print(f"\n{'':11}{'refusal':{width}}  refused  nothing touched", flush=True)
        for problem, told, same in story.rows:
            print(f"{'':11}{problem:{width}}  {'yes' if told else 'NO':7}  {'yes' if same else 'NO'}", flush=True)
        self.checks = {f"{number} {problem}": told and same for number, (problem, told, same) in enumerate(story.rows, 1)}

    def to_the_vm_that_it_was(self):
        story = self.story
        say("reprotecting to the VM that it was")
        story.reprotect("original")
        vms = story.vcenter.vms()
        self.check("the old VM was turned off", not vms[MACHINE]["on"])
        self.check("its disks are at the master target", set(story.places) <= set(vms["mt-1"]["disks"]) and
                   not vms[MACHINE]["disks"])
        share = story.result["bytes_on_wire"] / story.disk_bytes
        self.check(f"at most {WIRE_SHARE_MAX:.0%} of the disks travelled", share <= WIRE_SHARE_MAX, f"{share:.2%}")

    def to_a_new_vm(self, was):
        story = self.story
        say("deleting the old VM and its files, by another client")
        story.delete_vm()
        self.check("it is gone", MACHINE not in story.vcenter.vms() and not (story.work / "ds1" / MACHINE).exists())
        story.cluster.await_("the inventory shows it", lambda: len(story.cluster.json("inventory", "vms")["vms"]) == 1)
        try:
            story.reprotect("original")
            self.check("the original location is refused", False)
        except Refused as why:
            self.check("the original location is refused", "VM_GONE" in why.text, why.text.splitlines()[0])
        say("reprotecting to a new VM, its disks on ds2")
        story.reprotect("alternate", "--datastore", "ds2")
        vms = story.vcenter.vms()
        same = all(vms[MACHINE][key] == was[key] for key in ("uuid", "cpus", "memory_mb", "firmware", "guest_id", "controllers"))
        self.check("there is a new VM with the old one's hardware, off, on the master target's host",
                   same and not vms[MACHINE]["on"] and vms[MACHINE]["host"] == vms["mt-1"]["host"], str(vms[MACHINE]))
        self.check("its disks are at the master target", len(vms["mt-1"]["disks"]) == 3)


def main():
    arguments = command_line(__doc__, ["failback-original", "failback-alternate", "refusals"]).parse_args()
    require_loop_devices()
    story = Refusals if arguments.demonstration == "refusals" else Story
    def act(demo):
        if arguments.demonstration == "refusals":
            demo.refusals()
        else:
            demo.run(original=arguments.demonstration == "failback-original")
    present(arguments, lambda work: Demo(story(arguments.binaries, work, say=say)), act)


if __name__ == "__main__":
    main()
