"""A VM of a simulated vCenter goes to a simulated Azure and comes home, through the command line and real daemons.

  azure_test.py --binaries build/dev/bin [--only PART]

* chaos, test_failover: what deploy/demo shows, with small disks; circle, on demand, is chaos without kills
* refusals, gone: everything that keeps a machine in Azure from coming home, each told apart, before anything is touched; gone
  loses the process server and takes other recovery points first
* faults: storage that throttles, loses replies and a lease; a Resource Manager that throttles, fails, loses replies and revokes tokens; no
  room for the VM, which undoes the failover
"""
import argparse
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "lab"))
from azure import GROUP, install_clients  # noqa: E402
from circle import Circle  # noqa: E402
from circle_demo import Chaos, Demo  # noqa: E402
from cluster import Refused, scratch  # noqa: E402
from failback import MACHINE, POINT_INTERVAL, be_alone_on_the_network, be_alone_with_mounts  # noqa: E402

SIZES = (96, 48)  # MiB
PARTS = ("chaos", "test_failover", "refusals", "gone", "faults")
# What several requests in a row meet.
STORM = 6


class Test:
    def __init__(self, binaries, work, npm):
        self.story = Circle(binaries, work, npm, SIZES, say=lambda text: print(f"     {text}", flush=True))
        self.demo = Demo(self.story)
        self.failures = 0

    @property
    def cluster(self):
        return self.story.cluster

    def check(self, name, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + str(detail) if detail and not holds else ''}", flush=True)

    def of_demo(self, part):
        part()
        self.failures += sum(not held for held in self.demo.checks.values())

    def circle(self):
        self.of_demo(self.demo.full_circle)

    def chaos(self):
        self.story.chaos = Chaos(self.story)
        self.of_demo(self.demo.full_circle)

    def test_failover(self):
        self.of_demo(self.demo.test_failover)

    # --- what is refused

    def in_azure(self, before_failover=lambda: None, before_commit=lambda: None):
        home = self.demo.set_up()
        self.story.protect("--process-server", "process_server")
        before_failover()
        self.story.fail_over(home)
        before_commit()
        self.story.step("commit the failover", "machines", "commit", MACHINE)

    def vm_id(self):
        return self.story.machine()["azure_vm"]["resource_id"]

    def await_power(self, power):
        self.cluster.await_(f"the VM is seen to be {power}", lambda: self.story.machine().get("azure_vm", {}).get("power") == power)

    def everything(self):
        """Of what no refusal may touch."""
        return self.story.sdk.resources(), self.story.vcenter.vms(), len(self.cluster.json("jobs", "list")["jobs"])

    def refused(self, problem, *command):
        before = self.everything()
        held, said = self.story.refused(" ".join(command), problem, *command)
        self.check(f"{' '.join(command[:2])}: {problem}", held, said)
        self.check(f"{problem}: nothing is touched", self.everything() == before)

    def reprotect_is_refused(self, problem):
        self.refused(problem, "machines", "reprotect", MACHINE, "--location", "original")

    def refusals(self):
        story = self.story
        self.in_azure()
        vm = self.vm_id()
        story.manager.order(move=vm, to_group="other")
        self.await_power("gone")
        self.reprotect_is_refused("AZURE_VM_MOVED")
        story.manager.order(move=vm.replace(f"/{GROUP}/", "/other/"), to_group=GROUP)
        self.await_power("running")

        story.last.agent.stop()
        self.cluster.await_("the agent is missed", lambda: not story.machine()["agent_connected"])
        self.reprotect_is_refused("VM_UNREACHABLE_FROM_CS")
        story.last.agent.start()
        self.cluster.await_("the agent is back", lambda: story.machine()["agent_connected"])

        story.sdk.deallocate(story.lives_in)
        self.await_power("deallocated")
        self.reprotect_is_refused("SOURCE_VM_NOT_RUNNING")
        story.sdk.start(story.lives_in)
        self.await_power("running")
        self.cluster.await_("its agent registers", lambda: story.machine()["agent_connected"])

        self.refused("MIGRATION_NOT_CONFIRMED", "machines", "complete-migration", MACHINE)
        story.step("complete the migration", "machines", "complete-migration", MACHINE, "--confirm")
        self.reprotect_is_refused("MIGRATION_COMPLETED")
        self.check("the VM stays, and runs", [one["power"] for one in story.sdk.resources()["vms"]] == ["running"])

    def other_points(self):
        """An older point is taken in place of the one that the machine runs from, and the latest again."""
        story = self.story
        to = ("machines", "failover", MACHINE, "--point")
        points = self.cluster.json("points", "list", MACHINE)["points"]
        had, seen = story.arrival["records"], [story.lives_in]
        self.refused("MACHINE_RUNNING", *to, points[0]["id"])
        for point, whole in ((points[0]["id"], False), ("latest", True)):
            story.step(f"failover to {point}", *to, point, "--discard-changes")
            seen.append(story.lives_in)
            there = story.sdk.resources()
            self.check("one VM is there, a new one", [one["name"] for one in there["vms"]] == seen[-1:] and len(set(seen)) == len(seen) and
                       len(there["disks"]) == len(SIZES), there)
            records = story.arrival["records"]
            self.check(f"it is of {point}", records == had if whole else records < had, f"{records} records, {had} before")
        self.check("it is byte for byte what was left at home", not story.arrival["differ"], story.arrival["differ"])

    def switch(self):
        try:
            return self.story.step("switch the process server", "machines", "switch-process-server", MACHINE) > 0
        except Refused as refusal:
            if "AZURE_NO_PROCESS_SERVER" in str(refusal):
                return False
            raise

    def lost_process_server(self):
        """The process server that writes the blobs is lost with all that it had; another one goes on where it was."""
        story = self.story
        lost = self.cluster.daemons["process_server"]
        lost.kill()
        shutil.rmtree(lost.directory / "state")
        self.cluster.await_("it is missed", lambda: "PROCESS_SERVER_DOWN" in story.health_of())
        self.refused("PROCESS_SERVER_DOWN", "machines", "failover", MACHINE, "--point", "latest")
        self.refused("AZURE_NO_PROCESS_SERVER", "machines", "switch-process-server", MACHINE)
        self.cluster.add_process_server("another_process_server", story.storage.configuration()).start()
        self.cluster.await_("it has seen the container", self.switch)
        newest = story.machine()["newest_point"]["id"]
        self.cluster.await_("a new point", lambda: story.machine().get("newest_point", {}).get("id", newest) != newest)
        self.check("the lost one is not missed any more", "PROCESS_SERVER_DOWN" not in story.health_of(), story.health_of())
        sent = int(story.machine()["received_bytes"])
        self.check("only what was written since was sent", sent < sum(SIZES) << 18, f"{sent} bytes")

    def gone(self):
        story = self.story
        self.in_azure(self.lost_process_server, self.other_points)
        story.manager.order(remove=self.vm_id())
        self.await_power("gone")
        self.reprotect_is_refused("AZURE_VM_GONE")
        story.step("remove its protection", "machines", "remove", MACHINE)
        self.reprotect_is_refused("PROTECTION_DISABLED")
        story.lives_in = None

    # --- faults

    def lost_lease(self, put):
        """Somebody takes the lease of a blob and does nothing with it: the process server waits, and takes it back."""
        story = self.story
        story.storage.order(faults=[{**put, "kind": "take_lease", "count": 1}])
        self.cluster.await_("the lost lease is told", lambda: "REPLICA_LOST_LEASE" in story.health_of())
        taken = story.machine()["newest_point"]["id"]
        self.cluster.await_("replication goes on", lambda: "REPLICA_LOST_LEASE" not in story.health_of() and
                            story.machine().get("newest_point", {}).get("id", taken) != taken)
        self.check("after a lost lease replication goes on", story.machine()["protection_state"] == "Protected")

    def faults(self):
        story = self.story
        home = self.demo.set_up()
        put = {"method": "PUT", "comp": "page"}
        story.storage.order(faults=[
            {**put, "kind": "status", "status": 503, "code": "ServerBusy", "retry_after": "1", "count": STORM},
            {**put, "kind": "cut_after", "skip": 4, "count": 3},
            {**put, "kind": "late_status", "status": 500, "code": "InternalError", "skip": 8, "count": 3},
            {"method": "PUT", "comp": "snapshot", "kind": "cut_after", "count": 1}])
        story.protect("--process-server", "process_server")
        self.lost_lease(put)

        story.manager.order(fault={"method": "PUT", "path": "virtualMachines", "count": 1, "operation": {
            "Code": "AllocationFailed", "Message": "There is no room for this size in this zone."}})
        try:
            story.step("failover without room", "machines", "failover", MACHINE, "--point", "latest")
            self.check("a failover without room fails", False)
        except RuntimeError as why:
            self.check("a failover without room fails, and says so", "AllocationFailed" in str(why), why)
        self.check("what was made for it is gone", not story.sdk.left(), story.sdk.left())
        self.check("the VM at home is on again", story.vcenter.vms()[MACHINE]["on"])
        home.shut_down()
        again = story.boot_home("home-again")
        self.demo.no_loss("home-again")
        self.cluster.await_("it is protected, with a new point", lambda: story.machine().get("protection_state") == "Protected" and
                            story.machine().get("rpo_seconds", 99) < 10 and story.machine()["agent_connected"])

        throttled = {"status": 429, "code": "TooManyRequests", "retry_after_s": 1}
        for fault in ({**throttled, "count": STORM}, {"status": 500, "code": "InternalServerError", "skip": 12, "count": 3},
                      {"method": "PUT", "path": "disks", "drop": "reply", "count": 2},
                      {"method": "PUT", "path": "virtualMachines", "drop": "reply", "count": 1},
                      {"method": "PUT", "path": "networkInterfaces", "drop": "request", "count": 1}):
            story.manager.order(fault=fault)
        story.manager.order(revoke_tokens=True, token_seconds=5)
        story.fail_over(again)
        self.demo.no_loss("azure")
        self.check("its disks in Azure are byte for byte those that it left", not story.arrival["differ"], story.arrival["differ"])
        there = story.sdk.resources()
        self.check("one VM was made, with its disks and one network card", [len(there[kind]) for kind in ("vms", "disks", "nics")] ==
                   [1, len(SIZES), 1], there)

        for fault in ({**throttled, "count": STORM}, {"method": "POST", "path": "deallocate", "drop": "reply", "count": 1},
                      {"method": "DELETE", "drop": "reply", "count": 2}, {"method": "DELETE", "status": 500, "code": "x", "count": 2}):
            story.manager.order(fault=fault)
        story.step("commit the failover", "machines", "commit", MACHINE)
        story.step("reprotect home", "machines", "reprotect", MACHINE, "--location", "original", "--process-server",
                   "process_server_in_azure", "--point-interval", POINT_INTERVAL)
        story.fail_back()
        story.boot_home("home-at-last")
        self.demo.no_loss("home-at-last")
        story.step("commit the failback", "machines", "commit", MACHINE)
        self.check("nothing is left in Azure", not story.sdk.left(), story.sdk.left())
        self.failures += sum(not held for held in self.demo.checks.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True)
    parser.add_argument("--only", choices=(*PARTS, "circle"))
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    npm = install_clients()
    be_alone_on_the_network()
    be_alone_with_mounts()
    failures = 0
    for part in [arguments.only] if arguments.only else PARTS:
        print(f"== {part}", flush=True)
        work = scratch(f"azure-{part}")
        test = Test(arguments.binaries, work, npm)
        try:
            getattr(test, part)()
        except (Refused, TimeoutError, RuntimeError, OSError) as why:
            test.check(part, False, why)
        finally:
            failed = test.failures
            if failed and test.cluster is not None:
                print(test.cluster.told(), flush=True)
            test.story.close()
            if not arguments.keep:
                shutil.rmtree(work, ignore_errors=True)
        failures += failed
    print("FAILED" if failures else "passed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
