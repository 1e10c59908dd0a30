"""The demonstration behind `deploy/demo plan`: a recovery plan of three machines. Ends in `RESULT {json}`.

Two of them are a replication group: PostgreSQL on the one, and on the other an application that writes down what it has committed there.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import disks
from cluster import Cluster, Refused
from demo import say
from postgres import BIN, Server
from stage import command_line, present, require_loop_devices

MIB = 1 << 20
DISK_BYTES = 256 * MIB
GROUP, ALONE = ("db-1", "app-1"), "web-1"
MACHINES = (*GROUP, ALONE)
SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "config" / "consistency.d" / "postgresql"
LIMIT = 180  # seconds; there only to end a hang
PLAN = """name: shop
point: latest-app-consistent
groups:
  - machines: [db-1]
    before:
      - script: [told, before-db]
    after:
      - script: [told, after-db, slowly]
      - manual: Look at the database
  - machines: [app-1, web-1]
    before:
      - script: [told, before-app]
    after:
      - script: [told, after-app]
"""


class Application(threading.Thread):
    """Commits a number to the database on the one machine, and then writes it to the disk of the other."""

    def __init__(self, server, file):
        super().__init__(daemon=True)
        self.server, self.file, self.number, self.stopping = server, file, 0, False

    def run(self):
        client = subprocess.Popen(["psql", "-XAtq", "-h", str(self.server.where), "-U", "postgres", "-d", "postgres"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        file = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
        while not self.stopping:
            client.stdin.write(f"INSERT INTO numbers VALUES ({self.number + 1}) RETURNING number;\n")
            client.stdin.flush()
            if not client.stdout.readline():
                break
            self.number += 1
            os.pwrite(file, f"{self.number:<20}".encode(), 0)
        os.close(file)
        client.stdin.close()
        client.wait()

    def stop(self):
        self.stopping = True
        self.join()


class Story:
    """Three machines, each a disk with a file system and an agent; where they come home to are files of a datastore."""

    def __init__(self, binaries, work):
        self.binaries, self.work = binaries, work
        self.cluster, self.application, self.servers, self.loops, self.mounts = None, None, [], [], []

    def set_up(self):
        self.work.chmod(0o711)  # the database's user goes through it
        scripts = self.work / "plan-scripts.d"
        scripts.mkdir(mode=0o755)
        self.told = self.work / "told"
        told = scripts / "told"
        told.write_text(f"""#!/bin/sh
echo "$1 $HOMEWARD_PLAN_GROUP $HOMEWARD_ATTEMPT $HOMEWARD_PLAN_MACHINES" >> {self.told}
# Once, so that somebody can lose the server meanwhile.
[ "$2" != slowly ] || [ "$HOMEWARD_ATTEMPT" != 1 ] || while [ -d {self.work}/ds1 ]; do sleep 0.2; done
echo "told $1"
""")
        told.chmod(0o755)
        self.cluster = Cluster(self.binaries, self.work, extra=f'plans {{ scripts_directory: "{scripts}" }}\n')
        self.cluster.start_config_server()
        self.cluster.add_process_server().start()
        self.stores = [self.work / "ds1", self.work / "ds2"]
        for store in self.stores:
            store.mkdir()
        self.cluster.add_master_target(datastores=self.stores).start()
        self.cluster.await_servers(2)
        for name in MACHINES:
            self.make(name)
        for name in MACHINES:
            self.cluster.await_(f"{name} registers", lambda: self.machine(name).get("agent_connected"), LIMIT)

    def make(self, name):
        image = self.work / f"{name}.img"
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
        loop = disks.Loop(image)
        self.loops.append(loop)
        disks.run("mkfs.ext4", "-q", "-F", "-b", "4096", loop.device)
        self.mount(loop.device, self.place(name))
        self.consistency(name).mkdir(mode=0o755)
        self.add_agent(name, loop.device, "source", name).start()

    def consistency(self, name):
        return self.work / f"{name}-consistency.d"

    def add_agent(self, name, device, boot, directory):
        boot_file = self.work / f"{directory}.boot"
        boot_file.write_text(f"{name}-{boot}\n")
        return self.cluster.add_agent(name, f"""disks {{ path: "{device}" }}
boot_id_file: "{boot_file}"
hardware_uuid: "{name}-{boot}"
hooks {{ quiesce: "/bin/true" }}
consistency {{ scripts_directory: "{self.consistency(name)}" }}
""", directory=directory)

    def place(self, name):
        return self.work / f"{name}-mnt"

    def mount(self, device, where):
        where.mkdir(exist_ok=True)
        disks.run("mount", device, where)
        self.mounts.append(where)

    def database(self, where, socket):
        server = Server(where / "pg" / "data", self.work / socket)
        self.servers.append(server)
        return server

    def start_application(self):
        where = self.place("db-1")
        (where / "pg").mkdir()
        shutil.chown(where / "pg", "postgres")
        server = self.database(where, "socket")
        server.tool("initdb", "-D", server.data, "-A", "trust", "--data-checksums", "--wal-segsize", "1")
        server.start()
        server.sql("CREATE TABLE numbers (number bigint PRIMARY KEY)")
        server.sql("CREATE EXTENSION amcheck")
        server.let_scripts_in()
        self.script("db-1", f"export PGHOST={server.where} RUNTIME={self.work}/run; exec {SCRIPT} $1")
        for name in ("app-1", "web-1"):
            self.script(name, "exit 0")
        self.application = Application(server, self.place("app-1") / "number")
        self.application.start()

    def script(self, name, text):
        path = self.consistency(name) / "10-application"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def machine(self, name):
        return self.cluster.try_json("machines", "show", name)

    def points(self, name):
        return self.cluster.try_json("points", "list", name).get("points", [])

    def job(self, job_id):
        return self.cluster.try_json("jobs", "show", job_id)

    def turn_off(self, name):
        """The machine at the other site, as its failback leaves it."""
        if name in GROUP and self.application is not None:
            self.application.stop()
            self.application = None
            self.servers.pop().stop()
        self.cluster.daemons[name].kill()

    def flat(self, name):
        descriptor = pathlib.Path(self.machine(name)["disk_paths"][0])
        return descriptor.with_name(descriptor.stem + "-flat.vmdk")

    def boot_at_home(self, name):
        home = f"{name}-home"
        shutil.copytree(self.work / name / "state", self.work / home / "state")
        loop = disks.Loop(self.flat(name))
        self.loops.append(loop)
        self.add_agent(name, loop.device, "home", home).start()
        return loop

    def close(self):
        if self.application is not None:
            self.application.stop()
        for server in self.servers:
            try:
                server.stop("immediate")
            except RuntimeError:
                pass
        if self.cluster is not None:
            self.cluster.stop()
        for where in self.mounts:
            disks.unmount(where)
        for loop in self.loops:
            loop.close()


class Demo:
    def __init__(self, story):
        self.story, self.checks, self.result = story, {}, {}

    def check(self, what, holds, detail=""):
        self.checks[what] = bool(holds)
        say(f"{'ok  ' if holds else 'FAIL'} {what}{'' if holds else f': {detail}'}")

    def refused(self, what, says, *command):
        try:
            self.story.cluster.cli(*command)
            self.check(what, False, "it was done")
        except Refused as refused:
            self.check(what, all(word in refused.text for word in says), refused.text)

    def protect(self):
        story = self.story
        say("protecting three machines; two are a replication group")
        for name in MACHINES:
            story.cluster.cli("machines", "protect", name, "--datastore", story.stores[0], "--point-interval", "1h", "--app-point-interval", "0")
        for name in MACHINES:
            story.cluster.await_(f"{name} is protected", lambda: story.machine(name).get("protection_state") == "Protected" and
                                 not story.machine(name).get("job_id"), LIMIT)
        story.cluster.cli("groups", "create", "shop", *[word for name in GROUP for word in ("--machine", name)],
                          "--point-interval", "0", "--app-point-interval", "0")
        plan = story.work / "shop.yaml"
        plan.write_text(PLAN)
        story.cluster.cli("plan", "apply", plan)
        self.refused("a plan is refused until each machine has such a point, and says which has none",
                     ["NO_RECOVERY_POINT", *MACHINES], "plan", "run", "shop", "--as", "failback")
        self.check("nothing was touched", all(story.machine(name)["protection_state"] == "Protected" for name in MACHINES))

    def take_points(self):
        story = self.story
        story.cluster.await_("the application is at work", lambda: story.application.number > 200, LIMIT)
        self.before = story.application.number
        common = story.cluster.json("groups", "create-point", "shop", "--app-consistent")["last_attempt"]["point_id"]
        kinds = story.cluster.await_("a common point", lambda: [
            point["kind"] for point in story.cluster.json("groups", "show", "shop").get("common_points", []) if point["id"] == common], LIMIT)
        self.check("an application-consistent common point", kinds == ["APP_CONSISTENT"], kinds)
        story.cluster.cli("points", "create", ALONE, "--app-consistent", "--wait")
        self.after = story.application.number
        alone = [point["id"] for point in story.points(ALONE) if point["kind"] == "APP_CONSISTENT"][-1]
        self.result["common_point"], self.result["points"] = common, {**{name: common for name in GROUP}, ALONE: alone}
        story.cluster.await_("the application goes on", lambda: story.application.number > self.after + 200, LIMIT)

    def fail_back(self):
        story = self.story
        say("failing back by the plan, to the latest application-consistent points")
        job = story.cluster.json("plan", "run", "shop", "--as", "failback")["id"]
        self.came_home = {}

        def home(name):
            story.cluster.await_(f"{name} is at its point", lambda: story.machine(name).get("protection_state") ==
                                 "UnplannedFailoverCommitPending" and not story.machine(name).get("job_id"), LIMIT)
            story.turn_off(name)
            self.verify(name)
            story.boot_at_home(name)
        home("db-1")
        story.cluster.await_("the script after the first group", lambda: "after-db 1 1" in story.told.read_text(), LIMIT)
        say("losing the configuration server (-9) while a script of the plan runs; starting it again")
        server = story.cluster.daemons["config_server"]
        server.kill()
        server.start()
        story.cluster.await_("the run waits for somebody", lambda: "Look at the database" in story.cluster.cli("jobs", "show", job) and
                             "an operator" in story.cluster.cli("jobs", "show", job), LIMIT)
        self.check("the script that ran is run again, and the run goes on", "after-db 1 2 db-1" in story.told.read_text(), story.told.read_text())
        self.check("the next group waits for the manual action", "before-app" not in story.told.read_text())
        story.cluster.cli("plan", "continue", "shop")
        home("app-1")
        home(ALONE)
        ended = story.cluster.await_("the run ends", lambda: (lambda seen: seen if seen.get("state") not in (None, "Running") else None)(
            story.job(job)), LIMIT)
        self.check("the run succeeded", ended["state"] == "Succeeded", ended.get("problem"))
        order = [line.split()[0] for line in story.told.read_text().splitlines()]
        self.result["order"] = order
        self.check("in the plan's order", order == ["before-db", "after-db", "after-db", "before-app", "after-app"], order)

    def verify(self, name):
        """What the machine has, before it boots."""
        story, where = self.story, self.story.work / f"{name}-look"
        look = story.work / f"{name}.copy"
        shutil.copy(story.flat(name), look)
        loop = disks.Loop(look)
        story.loops.append(loop)
        story.mount(loop.device, where)
        if name == "db-1":
            server = story.database(where, "look-socket")
            (server.data / "postmaster.pid").unlink(missing_ok=True)
            server.start()
            self.came_home[name] = int(server.sql("SELECT max(number) FROM numbers"))
            count = int(server.sql("SELECT count(*) FROM numbers"))
            disks.run(BIN / "pg_amcheck", "-h", server.where, "-U", "postgres", "--all", "--heapallindexed")
            server.stop()
            story.servers.remove(server)
            told = server.tool("pg_checksums", "--check", "-D", server.data)
            self.check("the database is whole", count == self.came_home[name] and "Bad checksums:  0" in told, told)
        elif name == "app-1":
            self.came_home[name] = int((where / "number").read_text())
            first, second = self.came_home["db-1"], self.came_home["app-1"]
            self.result["numbers"] = {"db-1": first, "app-1": second}
            self.check("both are of one instant: what the application has is in the database, and nothing is lost that was there before",
                       self.before <= second <= first <= second + 1 and first <= self.after + 1, self.result["numbers"])
        disks.unmount(where)
        story.mounts.remove(where)

    def go_round(self):
        story = self.story
        say("committing and reprotecting by the plan")
        for words in (["commit"], ["reprotect", "--datastore", story.stores[1]]):
            job = story.cluster.json("plan", "run", "shop", "--as", *words)["id"]
            ended = story.cluster.await_("the run ends", lambda: (lambda seen: seen if seen.get("state") not in (None, "Running") else None)(
                story.job(job)), LIMIT)
            self.check(f"the plan's {words[0]}", ended["state"] == "Succeeded", ended.get("problem"))
            if words[0] == "commit":
                self.refused("a member of a group is reprotected only through a plan", ["PLAN_REQUIRED", "shop"],
                             "machines", "reprotect", "db-1", "--datastore", story.stores[1])
        self.check("all are protected again", all(story.machine(name)["protection_state"] == "Protected" for name in MACHINES))

    def run(self):
        began = time.monotonic()
        say("starting the daemons, and three machines")
        self.story.set_up()
        self.story.start_application()
        self.protect()
        self.take_points()
        self.fail_back()
        self.go_round()
        self.result["seconds"] = round(time.monotonic() - began, 1)


def main():
    arguments = command_line(__doc__, ["plan"]).parse_args()
    require_loop_devices()
    if not BIN.exists():
        sys.exit("This demonstration needs PostgreSQL 15: apt-get install postgresql-15, or deploy/install-deps.")
    present(arguments, lambda work: Demo(Story(arguments.binaries, work)), Demo.run)


if __name__ == "__main__":
    main()
