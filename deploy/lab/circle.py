"""The whole circle: a VM of a simulated vCenter that is protected to a simulated Azure, failed over, brought home to the VM that it
was, and protected again. Something writes in it wherever it runs.

Steps of a story that demo and tests tell: each leaves the world as the next one wants it.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import disks
from azure import TEST_PREFIX, Guests, ResourceManager, Sdk, Storage
from cluster import Refused, die_with_parent
from failback import MACHINE, MIB, POINT_INTERVAL, VM_UUID, Copy, Story

LEDGER_BYTES = 16 * MIB
SITE = "west"


class Guest(Copy):
    """A copy in which a ledger is written, on its first disk, as long as it runs."""

    def __init__(self, story, name, paths, uuids, hardware, more=""):
        self.pid_file = story.work / f"{name}.writer"
        self.writer = None
        self.delayed = ""  # what its configuration has of a delay of this boot's registration
        super().__init__(story, name, paths, uuids, hardware, f"boot-of-{name}", more)

    def quiesce(self):
        return [f"if [ -e {self.pid_file} ]; then",
                f"  kill $(cat {self.pid_file}) 2>/dev/null || true",
                # One that has ended and that nobody has waited for is a zombie.
                f"  while grep -qs '^State:.[^Z]' /proc/$(cat {self.pid_file})/status; do sleep 0.05; done",
                "fi", *super().quiesce()]

    def ledger(self):
        return disks.read_ledger((self.mounts[0] / disks.LEDGER_NAME).read_bytes())

    def write(self):
        self.writer = subprocess.Popen([sys.executable, disks.__file__, self.mounts[0] / disks.LEDGER_NAME, "0", str(LEDGER_BYTES),
                                        self.story.acknowledged, str(self.story.sizes[0] * MIB // 32)], preexec_fn=die_with_parent)
        self.pid_file.write_text(str(self.writer.pid))

    def stop_writing(self):
        if self.writer is not None:
            self.writer.kill()
            self.writer.wait()
            self.writer = None
            self.pid_file.unlink()

    def shut_down(self):
        """As when its machine is turned off."""
        self.agent.stop()
        self.stop_writing()
        self.unmount()


class Circle(Story):
    def __init__(self, binaries, work, npm, sizes=(1024, 512), say=print):
        super().__init__(binaries, work, sizes, say)
        self.storage_npm, self.manager_npm = npm
        self.storage = self.manager = self.sdk = None
        self.acknowledged = work / "acknowledged"
        self.acknowledged.touch()
        self.steps, self.losses, self.registrations = [], {}, {}
        self.in_azure = {}      # by VM's name: the guest that runs there
        self.was_in_azure = {}  # the one that ran there last
        self.lives_in = None    # the VM in Azure that the machine is
        self.boots = 0
        self.last = None  # the copy that was the machine last
        self.arrival = None  # what the first boot of a VM in Azure found
        self.tests = []  # what boots of copies in the isolated network found
        self.chaos = None  # called with a step's name, goes on bit by bit while its job runs
        self.lock = threading.Lock()  # of who runs

    # --- the world

    def set_up(self, operation_ms=500):
        self.start_vcenter()
        self.flats = self.home_flats()
        guests = Guests(self.work / "guests", on=self.on, off=self.off)
        self.guests = guests
        self.storage = Storage(self.binaries, self.work / "storage", self.storage_npm)
        self.manager = ResourceManager(self.binaries, self.work / "manager", self.storage, guests.hooks(), operation_ms)
        self.sdk = Sdk(self.storage, self.manager, self.storage_npm, self.manager_npm)
        self.cluster.add_process_server("process_server", self.storage.configuration(), cache_bytes=1 << 30).start()
        self.cluster.add_process_server("process_server_in_azure", cache_bytes=1 << 30).start()
        self.add_master_target(datastores=[]).start()
        self.manager.add_to(self.cluster, SITE)
        def ready():
            servers = self.cluster.try_json("servers", "list").get("servers", [])
            return len([one for one in servers if one["connected"]]) >= 3
        self.cluster.await_("three servers connect", ready)

    # --- boots

    def boot(self, name, paths, uuids, hardware, state_of, more="", isolated=False):
        """A copy boots, with the identity that is on its disks. Does not wait until it has registered."""
        guest = Guest(self, name, paths, uuids, hardware, more)
        if state_of is not None:
            copy_at_once(self.work / state_of.name / "state", self.work / name / "state")
        if isolated:
            guest.agent.prefix = ["unshare", "--net"]
        guest.agent.start()
        self.copies.append(guest)
        return guest

    def await_registration(self, label, since):
        registered = lambda: (self.machine().get("agent_connected") and  # noqa: E731
                              self.machine().get("admitted_copy", {}).get("boot_id") == f"boot-of-{self.last.name}")
        self.cluster.await_(f"the agent registers ({label})", registered)
        self.registrations[label] = round(time.monotonic() - since, 2)
        # An agent that is killed from now on and started again is back at once.
        config = self.last.agent.config
        config.write_text(config.read_text().replace(self.last.delayed, ""))

    def boot_home(self, name="home", delay=0):
        """The VM is on: its guest boots, and registers after `delay` seconds. Its disks are new the first time; later it writes."""
        delayed = f"registration {{ delay {{ fixed {{ seconds: {delay} }} }} }}\n" if delay else ""
        guest = self.boot(name, self.home_paths(), self.uuids, VM_UUID, self.last, delayed)
        guest.delayed = delayed
        if self.last is not None:
            guest.mount()
            self.note_arrival(name, guest)
            guest.write()
        self.last = guest
        return guest

    def note_arrival(self, label, guest):
        """What of the ledger came along."""
        records = guest.ledger()
        noted = [line.split() for line in self.acknowledged.read_text().splitlines()]
        lost = noted[len(records):]
        self.losses[label] = round(float(noted[-1][1]) - records[-1]["time"], 3) if lost else 0.0
        return len(records), len(noted)

    def on(self, vm):
        """A VM in Azure was turned on; on the guests' own thread."""
        with self.lock:
            isolated = all(address.startswith(TEST_PREFIX) for address in vm["addresses"])
            first = vm["name"] not in self.was_in_azure
            differ = self.differ_at(vm["disks"]) if first and not isolated else None
            self.boots += 1
            loops = [disks.run("losetup", "--find", "--show", path) for path in vm["disks"]]
            name = f"azure-{self.boots}"
            guest = self.boot(name, loops, [""] * len(loops), vm["id"], self.was_in_azure.get(vm["name"], self.last),
                              'guest { steps: NONE location: "azure" }\n', isolated)
            guest.loops, guest.files = loops, vm["disks"]
            self.in_azure[vm["name"]] = self.was_in_azure[vm["name"]] = guest
            if isolated:
                guest.mount()
                self.tests.append({"records": len(guest.ledger()), "vm": vm["name"]})
                return
            if first or self.lives_in == vm["name"]:
                guest.mount()
                self.last, self.lives_in = guest, vm["name"]
                found, acknowledged = self.note_arrival("azure", guest)
                if first:
                    self.arrival = {"differ": differ, "records": found, "acknowledged": acknowledged, "at": time.monotonic()}
                guest.write()

    def off(self, vm):
        with self.lock:
            guest = self.in_azure.pop(vm["name"], None)
            if guest is None:
                return
            guest.shut_down()
            for loop in guest.loops:
                disks.run("losetup", "--detach", loop)

    def differ_at(self, files):
        """Where the disks at home are other than these, in words; empty: nowhere."""
        out = []
        for ours, theirs in zip(self.flats, files):
            blocks = disks.differing_blocks(ours, theirs)
            if blocks:
                out.append(f"{len(blocks)} blocks of 4 KiB of {ours} are not those of {theirs}: {', '.join(map(str, blocks[:20]))}")
        return out

    # --- steps

    def start_job(self, *command):
        """Begins it, also where the configuration server is away for a moment, and returns its id."""
        def begun():
            try:
                return self.cluster.json(*command)["id"]
            except Refused as why:
                if self.chaos is None or "UNAVAILABLE" not in why.text:
                    raise
                # It was begun, and nobody heard of it.
                jobs = self.cluster.try_json("jobs", "list", "--count", "1").get("jobs", [])
                return jobs[0]["id"] if jobs and jobs[0]["state"] == "Running" else None
        return self.cluster.await_(" ".join(command), begun)

    def step(self, name, *command):
        """Runs the command's job to its end; how long it took."""
        began = time.monotonic()
        job = self.start_job(*command)
        # Not on a thread of its own: what it starts ends with the thread that started it.
        disturbed = iter(()) if self.chaos is None else self.chaos(name)
        seen = {}
        def ended():
            next(disturbed, None)
            seen.update(self.cluster.try_json("jobs", "show", job))
            return seen.get("state", "Running") != "Running"
        self.cluster.await_(f"{name} ends", ended, 1200)
        for _ in disturbed:
            pass  # a job may be over before all that was to happen has
        took = round(time.monotonic() - began, 2)
        self.steps.append({"name": name, "seconds": took, "outcome": seen["state"]})
        self.say(f"{name}: {seen['state']} in {took} s")
        if seen["state"] != "Succeeded":
            raise RuntimeError(f"{name}: {seen['state']}: {json.dumps(seen.get('problem'))}")
        return took

    def refused(self, name, problem, *command):
        """The command is refused with the problem; what it said."""
        began = time.monotonic()
        try:
            self.cluster.cli(*command)
            said, outcome = "it was accepted", "accepted"
        except Refused as why:
            said = why.text.splitlines()[0]
            outcome = f"refused {problem}" if problem in why.text else f"refused: {said}"
        self.steps.append({"name": name, "seconds": round(time.monotonic() - began, 2), "outcome": outcome})
        return outcome == f"refused {problem}", said

    def protect(self, *more):
        return self.step("protect", "machines", "protect", MACHINE, "--location", "azure", "--point-interval", POINT_INTERVAL, *more)

    def fail_over(self, home, *more):
        """It stops at home, and runs in Azure."""
        took = self.step("failover", "machines", "failover", MACHINE, "--point", "latest", *more)
        home.shut_down()
        self.await_registration("in Azure", self.arrival["at"])
        return took

    def fail_back(self):
        """It stops in Azure; its VM at home is on."""
        took = self.step("failback", "machines", "failback", MACHINE, "--point", "latest")
        self.lives_in = None
        return took

    def health_of(self):
        return [issue["problem"]["id"] for issue in self.machine().get("health_errors", [])]

    def home_digests(self):
        out = []
        for flat in self.flats:
            with open(flat, "rb") as file:
                out.append(hashlib.file_digest(file, "sha256").hexdigest())
        return out

    def close(self):
        for copy in self.copies:
            if isinstance(copy, Guest):
                copy.stop_writing()
        for guest in list(self.in_azure.values()):
            self.loops += guest.loops
        super().close()
        for program in (self.manager, self.storage):
            if program is not None:
                program.stop()


def copy_at_once(source, target):
    """Of a directory whose owner may be at work in it: as long as it takes until no file went away meanwhile."""
    for _ in range(20):
        try:
            shutil.copytree(source, target)
            return
        except shutil.Error:
            shutil.rmtree(target)
    raise RuntimeError(f"{source} changes all the time")
