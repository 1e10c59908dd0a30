"""One identity in two machines, through real daemons: a machine's agent, its state and its disk are copied, and both run.

usage: clone_test.py --binaries DIR    (as root: each copy has its own disk under one name)

The original's points must be its own content, byte for byte, also after it was off for a while; the clone is refused, and both are
named; its data stream is refused where it knocks; it can become a machine of its own, by one command or by itself; and an operator
can say that a copy is the machine.
"""
import pathlib
import shutil
import struct
import subprocess
import threading
import time

from story import ROOT, Story, run
from nbd import Nbd

MIB = 1 << 20
DISK_BYTES = 32 * MIB
BLOCK = 4096
MACHINE = "web-1"
TRIES = 4
REPLICATE = "homeward.replication.v1.ReplicationService/Replicate"


class Writer(threading.Thread):
    """Writes blocks that say whose they are until told to stop, through whatever tap is there."""

    def __init__(self, socket, mark):
        super().__init__(daemon=True)
        self.socket, self.mark, self.written, self.ended = socket, mark, 0, threading.Event()
        self.start()

    def run(self):
        nbd = None
        while not self.ended.is_set():
            try:
                nbd = nbd or Nbd(self.socket)
                block = (self.mark + b" %d " % self.written).ljust(64, b".") * (BLOCK // 64)
                nbd.write(self.written * 7919 % (DISK_BYTES // BLOCK) * BLOCK, block)
                self.written += 1
            except OSError:
                nbd = None
            self.ended.wait(0.02)
        if nbd is not None:
            nbd.socket.close()

    def stop(self):
        self.ended.set()
        self.join()


class Test(Story):
    # --- machines

    def add(self, directory, name=MACHINE, extra="", image=None):
        """An agent in `directory`, on hardware of its own."""
        boot = self.directory / f"{directory}.boot"
        boot.write_text(f"boot-of-{directory}\n")
        # As in any clone, the disk has its original's name: each has its own there, in a mount namespace.
        path, own = self.image("original"), image or self.image(directory)
        made = self.cluster.add_agent(name, f"""disks {{ path: "{path}" nbd_socket: "{self.tap(directory)}" }}
hardware_uuid: "hardware-of-{directory}"
boot_id_file: "{boot}"
{extra}""", directory=directory)
        if own != path:
            made.prefix = ["unshare", "--mount", "sh", "-c", f'mount --bind "{own}" "{path}" && exec "$@"', "sh"]
        return made

    def image(self, directory):
        return self.directory / f"{directory}.raw"

    def tap(self, directory):
        return str(self.directory / f"{directory}.tap")

    def clone(self, directory, extra="", of="original", name=MACHINE, image=None):
        shutil.copytree(self.directory / of / "state", self.directory / directory / "state")
        if image is None:
            shutil.copyfile(self.image(of), self.image(directory))
        return self.add(directory, name, extra, image)

    def machine(self, name=MACHINE):
        return self.cluster.try_json("machines", "show", name)

    def machines(self):
        return self.cluster.try_json("machines", "list").get("machines", [])

    def tries(self, agent):
        """How often it has knocked, whatever came of it."""
        log = agent.log()
        return log.count("control.disconnected") + log.count("control.registered")

    def await_tries(self, agent, count=TRIES):
        before = self.tries(agent)
        self.cluster.await_(f"{agent.name} tries {count} times more", lambda: self.tries(agent) >= before + count, 90)

    def events(self, name):
        return [event["text"] for event in self.cluster.json("events", "--count", "2000").get("events", []) if event["name"] == name]

    def points(self):
        return [point["id"] for point in self.cluster.try_json("points", "list", self.machine_id).get("points", [])]

    def issues(self, name=MACHINE):
        return {issue["problem"]["id"]: issue["problem"]["message"] for issue in self.machine(name).get("health_errors", [])}

    def await_refused(self, directory, name):
        """That this copy is, by name: an earlier one's health error stands for a while."""
        hardware = f"hardware-of-{directory}"
        self.cluster.await_(f"{hardware} is refused", lambda: hardware in
                            [copy["hardware_uuid"] for copy in self.machine(name).get("refused_copies", [])], 60)

    # --- the story

    def set_up(self):
        self.cluster.start_config_server()
        (self.directory / "datastore").mkdir()
        self.cluster.add_process_server().start()
        self.cluster.add_master_target(datastores=[self.directory / "datastore"]).start()
        self.cluster.await_servers(2)
        self.image("original").write_bytes(b"ORIGINAL".ljust(64, b"-") * (DISK_BYTES // 64))
        self.original = self.add("original")
        self.original.start()
        self.cluster.await_("the agent registers", lambda: self.machine().get("agent_connected"))
        self.machine_id = self.machine()["machine_id"]
        self.writers = [Writer(self.tap("original"), b"ORIGINAL")]
        self.cluster.cli("machines", "protect", MACHINE, "--point-interval", "1s", "--wait")

    def both_run(self):
        registered = len(self.events("machine.registered"))
        self.copy = self.clone("clone", name="clone-of-it")
        began = time.monotonic()
        self.copy.start()
        self.writers.append(Writer(self.tap("clone"), b"CLONED!!"))
        self.await_tries(self.copy)
        more = len(self.events("machine.registered")) - registered
        print(f"     {more} registrations in {time.monotonic() - began:.0f} s with both running", flush=True)
        self.check("with a clone beside it, the machine's session goes on: nobody else registers", more == 0, more)
        machines = self.machines()
        self.check("the machine's name does not change", [one["name"] for one in machines] == [MACHINE], machines)
        refused = self.events("machine.clone_refused")
        both = (MACHINE, "clone-of-it", "hardware-of-original", "hardware-of-clone", "boot-of-original", "boot-of-clone")
        self.check("one event names both", len(refused) == 1 and all(one in refused[0] for one in both), refused)
        told = self.issues().get("AGENT_CLONED", "")
        self.check("a health error names both", all(one in told for one in both), self.machine().get("health_errors"))
        self.check("the clone's agent says it, and what to do", "AGENT_CLONED" in self.copy.log() and "--enrol_anew" in self.copy.log(),
                   self.copy.log()[-900:])
        shown = self.cluster.cli("machines", "show", MACHINE)
        self.check("the machine's page shows which is which", "Refused copy" in shown and "Runs as" in shown, shown)

    def knock(self):
        """The clone's certificate, and all that a stream's beginning needs but the fence."""
        generation = self.machine(self.machine_id)["generation"]
        hello = f"""hello {{ version_major: 1 version_minor: 8 machine_id: "{self.machine_id}" generation: {generation}
                  disk_bytes: {DISK_BYTES} }}"""
        proto = [f"-I{ROOT / 'proto'}", ROOT / "proto/homeward/replication/v1/replication.proto"]
        up = subprocess.run(["protoc", "--encode=homeward.replication.v1.Upstream", *proto], input=hello.encode(), capture_output=True,
                            check=True).stdout
        identity = self.directory / "clone" / "state" / "identity"
        address = self.cluster.daemons["process_server"].config.read_text().split('listen_address: "')[1].split('"')[0]
        answer = self.directory / "answer"
        call = subprocess.Popen(
            ["curl", "--no-progress-meter", "--http2", "--insecure", "--cert", identity / "certificate.pem", "--key", identity / "key.pem",
             "--header", "content-type: application/grpc", "--header", "te: trailers", "--header", "expect:", "--request", "POST",
             "--upload-file", ".", "--no-buffer", "--output", answer, f"https://{address}/{REPLICATE}"],
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        call.stdin.write(b"\0" + struct.pack(">I", len(up)) + up)
        call.stdin.flush()
        self.cluster.await_("the process server answers", lambda: answer.exists() and answer.stat().st_size > 5, 30)
        call.kill()
        call.wait()
        frame = answer.read_bytes()
        down = frame[5:5 + struct.unpack(">I", frame[1:5])[0]]
        said = subprocess.run(["protoc", "--decode=homeward.replication.v1.Downstream", *proto], input=down, capture_output=True).stdout.decode()
        self.check("its stream without the session's fence is refused: ABORTED", "refusal" in said and "code: 10" in said, said)

    def streams_on(self, when):
        before = self.points()
        self.cluster.await_("a newer point", lambda: set(self.points()) - set(before), 60)
        self.check(f"the original makes points {when}", True)

    def original_is_off(self):
        self.streams_on("beside its clone")
        self.kept = self.points()[-1:]
        self.original.stop()
        before, tries, writes = self.points(), self.tries(self.copy), self.writers[1].written
        self.cluster.await_("the clone is refused, or makes points", lambda: self.tries(self.copy) >= tries + TRIES or
                            len(set(self.points()) - set(before)) >= 2, 90)
        self.cluster.await_("the clone goes on writing", lambda: self.writers[1].written > writes + 20)
        self.check("with the original off, the clone is still refused", not self.machine(self.machine_id).get("agent_connected") and
                   "AGENT_CLONED" in self.issues(self.machine_id), self.machine(self.machine_id))
        self.check("and no point is made", not set(self.points()) - set(before), (before, self.points()))
        self.kept += [one for one in self.points() if one not in before]
        self.original.start()
        self.cluster.await_("the original is back", lambda: self.machine(self.machine_id).get("agent_connected"), 90)
        self.cluster.await_("it streams", lambda: not self.machine(self.machine_id).get("syncing", True), 90)
        self.streams_on("after it was off")

    def own_content(self):
        self.writers[0].stop()
        self.cluster.cli("machines", "failback", self.machine_id, "--point", "latest", "--wait")
        flat = pathlib.Path(self.machine(self.machine_id)["disk_paths"][0])
        flat = flat.with_name(flat.stem + "-flat.vmdk")
        mine = self.image("original").read_bytes()
        self.check("the latest point is the original, byte for byte", flat.read_bytes() == mine)
        self.check("which the clone is not", b"CLONED!!" in self.image("clone").read_bytes() and b"CLONED!!" not in mine)
        for point in [one for one in self.points() if one in self.kept][-2:] + self.points()[-3:-1]:
            self.cluster.cli("machines", "failback", self.machine_id, "--point", point, "--wait")
            content = flat.read_bytes()
            self.check(f"point {point} holds the original's content only",
                       b"CLONED!!" not in content and content[:8] == b"ORIGINAL", content[:80])

    def enrol_anew(self):
        self.writers[1].stop()
        self.copy.stop()
        done = subprocess.run([self.copy.program, "--config", str(self.copy.config), "--enrol_anew"], capture_output=True, text=True)
        aside = self.directory / "clone" / "state" / "identity.set_aside"
        self.check("enrolling anew says what it sets aside, and keeps it", done.returncode == 0 and str(aside) in done.stdout and
                   (aside / "key.pem").exists(), done)
        self.copy.start()
        self.cluster.await_("the clone is a machine of its own", lambda: len(self.machines()) == 2, 30)
        self.cluster.await_("it is connected", lambda: self.machine("clone-of-it").get("agent_connected"), 30)
        self.cluster.cli("machines", "protect", "clone-of-it", "--point-interval", "1s", "--wait")
        self.check("which can be protected, with disks of its own", self.machine("clone-of-it")["protection_state"] == "Protected" and
                   "clone-of-it" in self.machine("clone-of-it")["disk_paths"][0], self.machine("clone-of-it"))
        self.cluster.await_("the health error is over", lambda: "AGENT_CLONED" not in self.issues(), 90)

    def by_itself(self):
        agent = self.clone("second", of="clone", extra="registration { clone_enrols_anew: true }\n", name="second-clone")
        agent.start()
        self.cluster.await_("it enrols by itself", lambda: self.machine("second-clone").get("agent_connected"), 60)
        self.check("where it is configured, a clone enrols anew by itself, and keeps what it had",
                   (self.directory / "second" / "state" / "identity.set_aside" / "key.pem").exists() and
                   "identity.set_aside" in agent.log(), agent.log()[-900:])
        agent.stop()

    def accept(self):
        """The clone's machine is put on other hardware, for good."""
        self.copy.stop()
        name = "clone-of-it"
        moved = self.clone("moved", of="clone", name=name, image=self.image("clone"))
        moved.start()
        self.await_refused("moved", name)
        self.cluster.cli("machines", "accept", name, "--copy", "hardware-of-moved")
        self.cluster.await_("it is the machine", lambda: self.machine(name).get("agent_connected"), 60)
        self.check("a copy that the operator accepts is the machine", self.machine(name)["admitted_copy"]["hardware_uuid"] ==
                   "hardware-of-moved", self.machine(name))
        before = self.machine(name)["newest_point"]["id"]
        self.cluster.await_("it makes points", lambda: self.machine(name)["newest_point"]["id"] != before, 60)
        moved.stop()
        self.copy.start()
        self.await_refused("clone", name)
        self.check("the other is refused now", "AGENT_CLONED" in self.issues(name), self.issues(name))
        self.check("and the one that was before is not any more", not self.machine(name).get("agent_connected"))

    def close(self):
        for writer in getattr(self, "writers", []):
            writer.ended.set()
        super().close()

    def run(self):
        self.set_up()
        self.tell(self.both_run, self.knock, self.original_is_off, self.own_content, self.enrol_anew, self.by_itself, self.accept)


if __name__ == "__main__":
    run(Test, "clone")
