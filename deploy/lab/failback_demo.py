"""The demonstrations behind `deploy/demo failback-original`. Ends in `RESULT {json}`."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import disks  # noqa: E402
from cluster import Refused  # noqa: E402
from demo import WORK_PREFIX, clean_up_after_the_dead, say  # noqa: E402
from failback import MACHINE, Story  # noqa: E402

WIRE_SHARE_MAX = 0.04


class Demo:
    def __init__(self, binaries, work):
        self.story = Story(binaries, work, say=say)
        self.checks = {}

    def check(self, name, holds, detail=""):
        self.checks[name] = bool(holds)
        say(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + detail if detail else ''}")

    def original(self):
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
        say("failing over: it stops at home and runs from the copy")
        azure = story.fail_over(home)
        self.check("the old VM is still on", story.vcenter.vms()[MACHINE]["on"])
        say("changing 2 % of its disks there")
        story.change(azure)
        say("reprotecting to the VM that it was")
        story.reprotect()
        vms = story.vcenter.vms()
        self.check("the old VM was turned off", not vms[MACHINE]["on"])
        self.check("its disks are at the master target", set(story.places) <= set(vms["mt-1"]["disks"]) and
                   not vms[MACHINE]["disks"])
        share = story.result["bytes_on_wire"] / story.disk_bytes
        self.check(f"at most {WIRE_SHARE_MAX:.0%} of the disks travelled", share <= WIRE_SHARE_MAX, f"{share:.2%}")
        say("failing back")
        story.fail_back()
        azure.agent.stop()
        azure.unmount()
        vms = story.vcenter.vms()
        story.result["vm_powered_on"] = vms[MACHINE]["on"]
        story.result["disks_attached_to"] = {uuid: [name for name, vm in vms.items() if uuid in vm["disks"]]
                                             for uuid in story.uuids}
        self.check("the VM is on", vms[MACHINE]["on"])
        self.check("each disk is at its old place, and at no other VM", story.at_old_places())
        self.check("both disks are byte for byte the source", story.same_bytes())
        self.check("their file systems mount", story.mounts_read_only())
        say("its agent starts at home, and registers")
        began = time.monotonic()
        story.boot_at_home("home-again", state_of="azure-vm")
        story.result["registration_seconds"] = round(time.monotonic() - began, 2)
        story.cluster.cli("machines", "commit", MACHINE, "--wait")
        self.check("committed", story.machine()["protection_state"] == "FailoverCommitted")


def main():
    parser = argparse.ArgumentParser(prog="deploy/demo", description=__doc__)
    parser.add_argument("demonstration", choices=["failback-original"])
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/var/tmp"), help="where there is room")
    parser.add_argument("--keep", action="store_true", help="leave the work directory, with the logs")
    arguments = parser.parse_args()
    if not disks.can_use_loop_devices():
        sys.exit("The VMs' disks are loop devices: this demonstration needs root, or sudo without a password.")
    clean_up_after_the_dead(arguments.work)
    work = arguments.work / f"{WORK_PREFIX}{os.getpid()}"
    work.mkdir(mode=0o700)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    demo = Demo(arguments.binaries, work)
    error = None
    try:
        demo.original()
    except (Refused, TimeoutError, RuntimeError, OSError) as why:
        error = str(why)
        say(f"FAILED: {error}")
        for name, daemon in (demo.story.cluster.daemons if demo.story.cluster else {}).items():
            if (daemon.directory / "log").exists():
                print(f"--- {name}\n{daemon.log()[-1500:]}", file=sys.stderr)
    finally:
        demo.story.close()
        if not arguments.keep:
            shutil.rmtree(work, ignore_errors=True)
    result = {"verified": error is None and all(demo.checks.values()), **demo.story.result, "checks": demo.checks}
    if error is not None:
        result["error"] = error
    print("RESULT " + json.dumps(result))
    sys.exit(0 if result["verified"] else 1)


if __name__ == "__main__":
    main()
