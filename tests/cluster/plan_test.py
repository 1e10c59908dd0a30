"""Recovery plans with real daemons, as an operator has them.

usage: plan_test.py --binaries DIR

* the demonstration `plan`: three machines, two of them a replication group with PostgreSQL, come home in a plan's order to one common
  point, with the configuration server killed while a script runs; committed and reprotected by the plan
* a script that fails: the run waits; it is tried again, let be, or the run is stopped, and the job says which
* files that are no plan are refused with their line, and a script's path is none
Needs root, loop devices and PostgreSQL 15; without them it says so and ends.
"""
import argparse
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
import disks  # noqa: E402
from cluster import Cluster, Refused, scratch  # noqa: E402
from failback import be_alone_with_mounts  # noqa: E402
from plan_demo import Demo, Story  # noqa: E402
from postgres import BIN  # noqa: E402

MIB = 1 << 20
LIMIT = 120  # seconds; there only to end a hang


class Test:
    def __init__(self, binaries, directory):
        self.binaries, self.directory, self.failures, self.cluster = binaries, directory, 0, None

    def check(self, what, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}{'' if holds else f': {detail}'}", flush=True)

    def refused(self, what, says, *command):
        try:
            self.cluster.cli(*command)
            self.check(what, False, "it was done")
        except Refused as refused:
            self.check(what, all(word in refused.text for word in says), refused.text)

    def demo(self):
        work = self.directory / "demo"
        work.mkdir()
        demo = Demo(Story(self.binaries, work))
        try:
            demo.run()
        except (Refused, TimeoutError, RuntimeError, OSError):
            print(demo.story.cluster.told())
            raise
        finally:
            demo.story.close()
        self.failures += sum(not holds for holds in demo.checks.values())

    def plan(self, name, text):
        path = self.directory / f"{name}.yaml"
        path.write_text(text)
        return path

    def one_machine(self):
        work = self.directory / "one"
        work.mkdir()
        self.scripts = work / "plan-scripts.d"
        self.scripts.mkdir(mode=0o755)
        self.cluster = Cluster(self.binaries, work, extra=f'plans {{ scripts_directory: "{self.scripts}" }}\n')
        self.cluster.start_config_server()
        self.cluster.add_process_server().start()
        (work / "ds").mkdir()
        self.cluster.add_master_target(datastores=[work / "ds"]).start()
        self.cluster.await_servers(2)
        image = work / "web.raw"
        image.write_bytes(os.urandom(16 * MIB))
        self.cluster.add_agent("web", f'disks {{ path: "{image}" nbd_socket: "{work}/web.tap" }}\n').start()
        self.cluster.await_("it registers", lambda: self.cluster.try_json("machines", "show", "web").get("agent_connected"))
        self.cluster.cli("machines", "protect", "web", "--point-interval", "1s", "--wait")
        self.cluster.await_("it has a point", lambda: self.cluster.json("points", "list", "web")["points"])

    def files(self):
        self.refused("an unknown plan", ["PLAN_UNKNOWN"], "plan", "show", "nothing")
        self.refused("a key that is none, with its line", ["bad.yaml:2", "grups"], "plan", "apply",
                     self.plan("bad", "name: bad\ngrups: []\n"))
        self.refused("a machine that is none", ["nobody"], "plan", "apply", self.plan("bad", "name: bad\ngroups:\n  - machines: [nobody]\n"))
        self.refused("a script's path", ["../sh"], "plan", "apply",
                     self.plan("bad", "name: bad\ngroups:\n  - machines: [web]\n    before:\n      - script: [../sh]\n"))
        self.cluster.cli("plan", "apply", self.plan("web", "name: web\ngroups:\n  - machines: [web]\n    before:\n      - script: [ready]\n"))
        exported = self.cluster.cli("plan", "export", "web")
        self.cluster.cli("plan", "apply", self.plan("web", exported))
        self.check("what is exported can be applied", self.cluster.cli("plan", "export", "web") == exported, exported)
        self.cluster.cli("plan", "check", self.plan("web", exported), "--as", "failback")

    def state(self, job, *words):
        self.cluster.await_(f"the job says {words}", lambda: all(word in self.cluster.cli("jobs", "show", job) for word in words), LIMIT)

    def failing(self):
        run = self.cluster.json("plan", "run", "web", "--as", "failback", "--point", "latest")["id"]
        self.state(run, "PLAN_SCRIPT_FAILED", "an operator")
        self.check("a script that is not there: the run waits for an operator", True)
        self.refused("a plan is run once at a time", ["PLAN_RUNNING"], "plan", "run", "web", "--as", "failback")
        self.refused("and not deleted meanwhile", ["PLAN_RUNNING"], "plan", "delete", "web")
        ready = self.scripts / "ready"
        ready.write_text("#!/bin/sh\necho not yet, $HOMEWARD_ATTEMPT\nexit 4\n")
        ready.chmod(0o777)
        self.cluster.cli("plan", "retry", "web")
        self.state(run, "chmod", "an operator")
        self.check("one that others can change is not run, and the job says what to do", True)
        ready.chmod(0o755)
        self.cluster.cli("plan", "retry", "web")
        self.state(run, "not yet, 3", "ended with 4")
        self.check("what it printed, and how it ended, is in the job", True)
        self.check("the machine was not touched", self.cluster.json("machines", "show", "web")["protection_state"] == "Protected")
        self.cluster.cli("plan", "stop", "web")
        job = self.cluster.await_("the run ends", lambda: (lambda seen: seen if seen["state"] != "Running" else None)(
            self.cluster.json("jobs", "show", run)), LIMIT)
        self.check("stopped, it has failed with what failed", job["state"] == "Failed" and job["problem"]["id"] == "PLAN_SCRIPT_FAILED", job)
        self.refused("nothing waits any more", ["PLAN_NOT_WAITING"], "plan", "continue", "web")
        self.cluster.cli("plan", "delete", "web")

    def close(self):
        if self.cluster is not None:
            self.cluster.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True)
    arguments = parser.parse_args()
    if not disks.can_use_loop_devices() or not BIN.exists():
        print("not root, or no loop devices, or no PostgreSQL: nothing is tried")
        return 0
    be_alone_with_mounts()
    directory = scratch("plan")
    directory.chmod(0o711)
    test = Test(arguments.binaries, directory)
    try:
        test.one_machine()
        test.files()
        test.failing()
        test.demo()
    except (TimeoutError, Refused, OSError, RuntimeError) as error:
        test.check("the story goes to its end", False, f"{error} {getattr(error, 'text', '')}")
    finally:
        test.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{test.failures} failed")
    return 0 if test.failures == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
