"""The demonstrations behind `deploy/demo full-circle` and `test-failover`. Ends in `RESULT {json}`."""
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import disks  # noqa: E402
from azure import install_clients  # noqa: E402
from circle import Circle  # noqa: E402
from demo import say  # noqa: E402
from failback import MACHINE, POINT_INTERVAL, VM_UUID  # noqa: E402
from stage import command_line, present, require_loop_devices  # noqa: E402

DELTA_SHARE_MAX = 0.10  # 2 % are changed by hand, and a ledger and random blocks are written all the time
DELTA_SHARE_MAX_CUT = 0.30  # what was under way when a daemon was killed goes again
FOLLOW_SECONDS = 20


class Demo:
    def __init__(self, story, sabotage=False):
        self.story, self.sabotage = story, sabotage
        self.checks = {}
        self.result = {"disk_bytes": story.disk_bytes, "bytes_on_wire": {}}

    def check(self, name, holds, detail=""):
        self.checks[name] = bool(holds)
        say(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + str(detail) if detail else ''}")

    def set_up(self):
        story = self.story
        say("starting a simulated vCenter, a simulated Azure (Azurite behind a strict front, and a Resource Manager), and our daemons")
        story.set_up()
        began = time.monotonic()
        home = story.boot_home()
        say(f"the VM {MACHINE} runs at home; filling its two disks with file systems and real files")
        story.fill(home)
        story.await_registration("at home", began)
        home.write()
        return home

    def protected(self, direction):
        seen = self.story.machine()
        self.result["bytes_on_wire"][direction] = int(seen["received_bytes"])
        self.check(f"{direction}: it is Protected", seen["protection_state"] == "Protected", seen["protection_state"])
        return int(seen["received_bytes"])

    def only_differences(self, direction):
        share = self.protected(direction) / self.story.disk_bytes
        limit = DELTA_SHARE_MAX if self.story.chaos is None else DELTA_SHARE_MAX_CUT
        self.check(f"{direction}: at most {limit:.0%} of the disks travelled", share <= limit, f"{share:.2%}")

    def no_loss(self, label):
        self.check(f"{label}: no acknowledged record is missing", self.story.losses[label] == 0.0,
                   f"{self.story.losses[label]} s")

    def power_of(self, vm):
        return [one["power"] for one in self.story.sdk.resources()["vms"] if one["name"] == vm]

    # --- the circle

    def full_circle(self):
        story = self.story
        home = self.set_up()
        story.protect("--process-server", "process_server")
        self.protected("to Azure")
        vm = self.over(home)
        self.old_copy_at_home(home)
        self.home_again(vm)
        self.to_azure_again()
        self.result["azure_resources_left"] = len(story.sdk.left())
        self.check("nothing is left in Azure but the replica, says Azure's SDK", not story.sdk.left(), story.sdk.left())
        self.check("no guest failed", not story.guests.failures, story.guests.failures)
        self.result.update(steps=story.steps, data_loss_seconds=story.losses, agent_registration_seconds=story.registrations)

    def over(self, home):
        story = self.story
        say("failing over")
        story.fail_over(home)
        self.check("its disks in Azure are byte for byte those that it left", not story.arrival["differ"],
                   story.arrival["differ"])
        self.no_loss("azure")
        self.check("the VM at home is off, says pyVmomi", not story.vcenter.vms()[MACHINE]["on"])
        there = story.sdk.resources()
        self.check("one VM runs in Azure with our tags, says Azure's SDK",
                   [vm["power"] for vm in there["vms"]] == ["running"] and "homeward-machine" in there["vms"][0]["tags"]
                   and len(there["disks"]) == len(story.sizes), there)
        story.step("commit the failover", "machines", "commit", MACHINE)
        return there["vms"][0]["name"]

    def old_copy_at_home(self, home):
        story = self.story
        say("somebody turns the old VM on")
        story.vcenter.ask(f"done(vms[{MACHINE!r}].PowerOn())")
        stale = story.boot("home-stale", story.home_paths(), story.uuids, VM_UUID, home)
        story.cluster.await_("the old copy is refused", lambda: "FOREIGN_CONFIG_SERVER" in story.health_of())
        seen = story.machine()
        self.check("the copy at home is fenced, and health says so", seen["agent_connected"] and
                   seen["admitted_copy"]["boot_id"] == f"boot-of-{story.last.name}", story.health_of())
        stale.shut_down()
        story.vcenter.ask(f"done(vms[{MACHINE!r}].PowerOff())")

    def home_again(self, vm):
        story = self.story
        azure = story.last
        say("changing 2 % of its disks in Azure")
        story.change(azure)
        story.step("reprotect home", "machines", "reprotect", MACHINE, "--location", "original", "--process-server",
                   "process_server_in_azure", "--point-interval", POINT_INTERVAL)
        self.only_differences("home")
        story.fail_back()
        if self.sabotage:
            say("damaging one byte of a recovered disk, as asked")
            with open(story.flats[0], "r+b") as file:
                file.seek(story.sizes[0] << 19)
                byte = file.read(1)
                file.seek(-1, 1)
                file.write(bytes([byte[0] ^ 1]))
        self.check("the VM in Azure is deallocated, says Azure's SDK", self.power_of(vm) == ["deallocated"], self.power_of(vm))
        self.check("the VM at home is on, with its disks at their old places, says pyVmomi",
                   story.vcenter.vms()[MACHINE]["on"] and story.at_old_places())
        differ = story.differ_at(azure.files)
        self.check("its disks at home are byte for byte those that it left", not differ, differ)
        self.split_brain(vm)
        began = time.monotonic()
        say("it boots at home; its agent takes its time to register")
        story.boot_home("home-again", delay=60 if story.chaos else 15)
        self.no_loss("home-again")
        story.step("commit the failback", "machines", "commit", MACHINE)
        self.check("what was made in Azure is gone, says Azure's SDK", not story.sdk.left(), story.sdk.left())
        held, said = story.refused("reprotect to Azure before the agent has registered", "AGENT_NOT_REGISTERED",
                                   "machines", "reprotect", MACHINE, "--location", "azure")
        self.check("reprotect is refused while the agent has not registered", held, said)
        story.await_registration("home again", began)

    def split_brain(self, vm):
        story = self.story
        say("somebody starts the VM in Azure, with Azure's SDK")
        before = [disks.run("sha256sum", flat).split()[0] for flat in story.flats]
        story.sdk.start(vm)
        story.cluster.await_("the copy in Azure is refused", lambda: "FOREIGN_CONFIG_SERVER" in story.health_of())
        events = [one["name"] for one in story.cluster.json("events", "--machine", MACHINE).get("events", [])]
        self.check("the copy in Azure is fenced; an event and health say so", "machine.left_behind_refused" in events)
        story.sdk.deallocate(vm)
        after = [disks.run("sha256sum", flat).split()[0] for flat in story.flats]
        self.check("the machine at home is untouched", before == after and story.vcenter.vms()[MACHINE]["on"])

    def to_azure_again(self):
        story = self.story
        story.step("reprotect to Azure", "machines", "reprotect", MACHINE, "--location", "azure", "--process-server", "process_server",
                   "--point-interval", POINT_INTERVAL)
        self.only_differences("to Azure again")
        self.same_in_azure()

    def same_in_azure(self):
        """Nothing writes any more: the newest point in Azure is what is on the disks."""
        story = self.story
        story.last.stop_writing()
        story.last.unmount()
        story.step("create a point", "points", "create", MACHINE)
        names = [story.machine()["machine_id"] + f"/{uuid}.vhd" for uuid in story.uuids]
        there = story.sdk.digests(story.machine()["machine_id"])
        self.check("the newest point in Azure is byte for byte the disks, says Azure's SDK",
                   [there.get(name) for name in names] == story.home_digests())

    # --- trying a failover

    def test_failover(self):
        story = self.story
        self.set_up()
        story.protect("--process-server", "process_server")
        self.protected("to Azure")
        say(f"following it for {FOLLOW_SECONDS} s, as a yardstick")
        quiet = self.follow(lambda: time.sleep(FOLLOW_SECONDS))
        say("a test failover")
        acknowledged = len(story.acknowledged.read_text().splitlines())
        busy = self.follow(lambda: story.step("test failover", "machines", "test-failover", MACHINE, "--point", "latest"))
        self.result["rpo_seconds_p95"] = {"before": quiet, "during": busy}
        limit = max(2 * quiet, 2.5 * float(POINT_INTERVAL.rstrip("s")))
        self.check("replication's RPO is unaffected", busy <= limit, f"p95 {busy} s, {quiet} s before")
        there = story.sdk.resources()
        self.check("the copy runs, in the isolated subnet", [vm["power"] for vm in there["vms"]] == ["running"] and
                   [test["vm"] for test in story.tests] == [vm["name"] for vm in there["vms"]], there)
        self.check("its ledger is whole, up to its point", story.tests and story.tests[0]["records"] > acknowledged / 2,
                   f"{story.tests}, {acknowledged} were acknowledged")
        seen = story.machine()
        self.check("the machine is Protected, and is the one at home", seen["protection_state"] == "Protected" and
                   seen["agent_connected"] and seen["admitted_copy"]["boot_id"] == f"boot-of-{story.last.name}")
        story.step("clean up", "machines", "test-failover-cleanup", MACHINE)
        left = story.sdk.left()
        self.result["azure_resources_left"] = len(left)
        self.check("everything that it made is gone, says Azure's SDK", not left, left)
        self.same_in_azure()
        self.check("no guest failed", not story.guests.failures, story.guests.failures)
        self.result["steps"] = story.steps

    def follow(self, work):
        """The 95th percentile of the RPO while `work` runs."""
        samples, over = [], threading.Event()
        def sample():
            while not over.wait(0.25):
                seen = self.story.machine()
                if seen.get("rpo_seconds") is not None:
                    samples.append(seen["rpo_seconds"])
        thread = threading.Thread(target=sample)
        thread.start()
        try:
            work()
        finally:
            over.set()
            thread.join()
        samples.sort()
        return round(samples[min(len(samples) - 1, len(samples) * 95 // 100)], 2)


class Chaos:
    """Kills each daemon once while a step's job runs, and starts it again."""

    PAUSE_SECONDS = 0.7

    def __init__(self, story):
        self.story = story
        self.kills = {}

    def __call__(self, step):
        killed = self.kills.setdefault(step, [])
        for name in ("agent", "config_server", "process_server", "process_server_in_azure", "master_target"):
            with self.story.lock:
                guest = self.story.last
                daemon = guest.agent if name == "agent" else self.story.cluster.daemons[name]
                if daemon.process is None:
                    continue  # its machine was turned off
                daemon.kill()
                daemon.start()
                killed.append(name)
            time.sleep(self.PAUSE_SECONDS)
            yield


def main():
    parser = command_line(__doc__, ["full-circle", "test-failover"])
    parser.add_argument("--chaos", action="store_true", help="with full-circle: kill each daemon once in each step")
    parser.add_argument("--break", dest="sabotage", action="store_true",
                        help="with full-circle: damage one byte of a recovered disk: the result must say so")
    arguments = parser.parse_args()
    if arguments.demonstration != "full-circle" and (arguments.chaos or arguments.sabotage):
        parser.error("--chaos and --break belong to full-circle")
    require_loop_devices()
    npm = install_clients()
    def make(work):
        demo = Demo(Circle(arguments.binaries, work, npm, say=say), arguments.sabotage)
        if arguments.chaos:
            demo.story.chaos = Chaos(demo.story)
            demo.result["kills"] = demo.story.chaos.kills
        return demo
    present(arguments, make, Demo.full_circle if arguments.demonstration == "full-circle" else Demo.test_failover)


if __name__ == "__main__":
    main()
