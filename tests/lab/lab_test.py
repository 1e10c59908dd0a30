#!/usr/bin/env python3
"""The lab itself: whole stories with a machine that boots, what a scenario that does not hold ends with, and what a killed lab leaves.

  lab_test.py --binaries build/optimised/bin [--only story|test_failover|commands]
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LAB = SOURCE / "deploy" / "lab"
sys.path.insert(0, str(LAB))
sys.dont_write_bytecode = True
from supervisor import ask  # noqa: E402

HANG_SECONDS = 3000
PATIENCE = 6  # no result depends on how fast this machine is
PARTS = ("commands", "story", "test_failover")
SMALL = """
description: "Two sites without machines"
sites {
  name: "home" network: "10.1.0.0/24"
  hosts { name: "cs" config_server {} process_server { join { name: "ps" } } }
  hosts { name: "mt" master_target { directories: "spare" } }
}
sites { name: "away" network: "10.2.0.0/24" hosts { name: "far" process_server {} } }
links { site: "home" other_site: "away" quality { latency { nanos: 20000000 } } }
"""
WRONG = 'topology: "small" steps { name: "a machine that is not there" command { line: "machines show nobody" } }\n'
REFUSED = 'topology: "small" steps { command { line: "machines protect nobody" refused: "NOT_IN_DATABASE" } } steps { command { line: "servers list" reported: true } } steps { link { site: "away" other_site: "home" cut: true } }\n'


class Test:
    def __init__(self, binaries):
        self.binaries = pathlib.Path(binaries).resolve()
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="homeward-lab-test-", dir=os.environ.get("TMPDIR") or "/var/tmp"))
        self.failed = []

    def check(self, what, holds, seen=""):
        print(f"{'ok  ' if holds else 'FAIL'} {what}{f': {seen}' if seen and not holds else ''}", flush=True)
        if not holds:
            self.failed.append(what)

    def lab(self, *words, code=0, directory=None):
        """Runs `lab`, and returns what it said."""
        done = subprocess.run([LAB / "lab", "--directory", directory or self.work / "lab", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=HANG_SECONDS)
        self.check(f"lab {words[0]} ends with {code}", done.returncode == code, f"{done.returncode}: {done.stdout[-3000:]}")
        return done.stdout

    def left(self):
        """Processes and loop devices that are the lab's."""
        where = str(self.work / "lab")
        out = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if where in words and path.parent.name != str(os.getpid()):
                out.append(words[:120])
        loops = subprocess.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], capture_output=True, text=True, check=True).stdout
        return out + [line for line in loops.splitlines() if where in line]

    def await_nothing(self, what):
        """What ends with its parent takes a moment to end."""
        deadline = time.monotonic() + 60
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.check(what, not self.left(), self.left())

    def story(self):
        began = time.monotonic()
        said = self.lab("run", "failback-original", "--binaries", self.binaries, "--report", self.work / "report", "--patience", PATIENCE)
        print(said)
        print(f"     it took {time.monotonic() - began:.0f} s, with its lab; alone on two processors it is to take less than 360")
        made = json.loads((self.work / "report" / "timeline.json").read_text())
        self.check("the report says that it passed", made["result"] == "passed", made.get("error"))
        self.check("two boots were measured after the first, at home and in Azure", len([one for one in made["delays"] if one["registered_at"]]) >= 3, made["delays"])
        page = (self.work / "report" / "report.html").read_text()
        self.check("the page has the machine's phases", "web" in page and "<svg" in page)
        self.await_nothing("nothing is left of it")

    def test_failover(self):
        print(self.lab("run", "test-failover", "--binaries", self.binaries, "--report", self.work / "copy", "--patience", PATIENCE))
        made = json.loads((self.work / "copy" / "timeline.json").read_text())
        self.check("the report says that it passed", made["result"] == "passed", made.get("error"))
        self.check("the copy counts as no boot of the machine", len(made["delays"]) == 1, made["delays"])
        self.await_nothing("nothing is left of it")

    def commands(self):
        (self.work / "small.textproto").write_text(SMALL)
        for name, text in (("wrong", WRONG), ("refused", REFUSED)):
            (self.work / f"{name}.textproto").write_text(text)
        said = self.lab("up", self.work / "wrong.textproto", "--binaries", self.binaries, code=1)
        self.check("a file that is no topology is told with its line", "wrong.textproto:1: " in said, said)
        self.lab("up", self.work / "small.textproto", "--binaries", self.binaries)
        try:
            self.use()
        finally:
            try:
                pid = ask(self.work / "lab", order="pid")
                os.kill(pid, signal.SIGKILL)
            except Exception as why:
                self.check("the lab can be killed", False, why)
        self.await_nothing("a killed lab leaves nothing")
        said = self.lab("status", code=1)
        self.check("and who asks is told so", "no lab is up" in said, said)

    def use(self):
        status = json.loads(self.lab("status", "--json"))
        self.check("all servers are connected", len([one for one in status["servers"] if one["connected"]]) == 3, status["servers"])
        self.check("a second one in its place is refused", "one is up" in self.lab("up", "single-host", "--binaries", self.binaries, code=1))
        self.check("and one among somebody's files", "no lab's" in self.lab("up", "single-host", "--binaries", self.binaries, code=1, directory=self.work))
        self.check("a host has its address, and no other", "10.2.0.10" in self.lab("exec", "far", "ip", "-4", "-o", "address", "show", "scope", "global"))
        self.check("the operator sees who is there", "far" in self.lab("homeward", "servers", "list"))
        self.check("what a daemon said is shown", "daemon.ready" in self.lab("logs", "mt", "master-target"))
        self.lab("run", self.work / "refused.textproto", "--report", self.work / "refused")
        made = json.loads((self.work / "refused" / "timeline.json").read_text())
        self.check("what a command said is in the report", any("far" in one["text"] for one in made["answers"]), made["answers"])
        self.check("the scenario has cut the link", "CUT" in self.lab("status"))
        self.lab("link", "home", "away", "mend")
        self.lab("link", "home", "away", "bandwidth=1mbit")
        self.check("a link is slowed while it runs", "1 Mbit/s" in self.lab("status"))
        said = self.lab("run", self.work / "wrong.textproto", "--report", self.work / "wrong", code=1)
        self.check("a scenario that does not hold says what was seen", "NOT_IN_DATABASE" in said and "FAILED" in said, said)
        made = json.loads((self.work / "wrong" / "timeline.json").read_text())
        self.check("and so does its report", made["result"] == "failed", made["result"])

    def run(self, only):
        try:
            for name in PARTS:
                if only in (None, name):
                    getattr(self, name)()
        finally:
            for path in pathlib.Path(self.work).glob("lab/control"):
                subprocess.run([LAB / "lab", "--directory", path.parent, "down"], capture_output=True)
            if self.failed and (self.work / "lab").exists():
                print((self.work / "lab" / "lab.log").read_text(errors="replace")[-4000:])
            shutil.rmtree(self.work, ignore_errors=True)
        print(f"{len(self.failed)} failed")
        return 1 if self.failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--only", choices=PARTS)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("SKIP: namespaces need root")
        sys.exit(0)
    sys.exit(Test(given.binaries).run(given.only))
