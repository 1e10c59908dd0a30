"""What a process server can see of a machine, through real daemons: its memory and its cache are searched for what the machine wrote.

usage: sealed_test.py --binaries DIR

While nobody takes it onward, a process server holds what a machine writes. In the clear it is found there, or the search is no good;
encrypted, nothing of it is. A key ends only when nothing waits that it encrypted, and the machine comes home byte for byte.
"""
import pathlib

from exposure import places_with
from story import Story, run
from nbd import Nbd

MIB = 1 << 20
DISK_BYTES = 32 * MIB
BLOCK = 4096
NONE_ENCRYPTS = "encrypt_streams: false\n"


class Test(Story):
    def machine(self, name):
        return self.cluster.try_json("machines", "show", name)

    def add(self, name):
        image = self.directory / f"{name}.raw"
        image.write_bytes(bytes(DISK_BYTES))
        self.cluster.add_agent(name, f'disks {{ path: "{image}" nbd_socket: "{self.directory}/{name}.tap" }}\n').start()
        self.cluster.await_("the agent registers", lambda: self.machine(name).get("agent_connected"))
        return image

    def write(self, name, mark):
        """8 MiB of blocks full of the mark and their number."""
        nbd = Nbd(f"{self.directory}/{name}.tap")
        for block in range(8 * MIB // BLOCK):
            text = mark + b"%08d" % block
            nbd.write(block * BLOCK, (text * (BLOCK // len(text) + 1))[:BLOCK])
        nbd.socket.close()

    def held(self, name, mark):
        """With nobody behind it, what is written waits at the process server."""
        target = self.cluster.daemons["master_target"]
        target.kill()
        self.write(name, mark)
        # All of it is there, and the agent does not keep it any more.
        self.cluster.await_("the process server has it", lambda: int(self.cluster.try_json("servers", "show", "process_server")
                                                                      .get("pending_bytes", 0)) >= 8 * MIB, 60)
        return places_with(mark, self.cluster.daemons["process_server"])

    def home(self, name, image, what):
        self.cluster.cli("machines", "failback", name, "--point", "latest", "--wait")
        flat = pathlib.Path(self.machine(name)["disk_paths"][0])
        flat = flat.with_name(flat.stem + "-flat.vmdk")
        self.check(what, flat.read_bytes() == image.read_bytes())

    def in_the_clear(self):
        self.image = self.add("web-1")
        self.cluster.cli("machines", "protect", "web-1", "--point-interval", "1s", "--wait")
        self.check("without a data key the machine's page says nothing of encryption", not self.machine("web-1").get("data_key_id"))
        found = self.held("web-1", b"IN-THE-CLEAR-")
        self.check(f"what a machine sends in the clear is found at the process server ({found} places)", found > 1000)

    def state_of(self, job):
        return self.cluster.json("jobs", "show", job["id"])["state"]

    def rekey(self):
        job = self.cluster.json("machines", "rekey", "web-1")
        self.check("a key that the end of the stream does not have yet is not used",
                   self.state_of(job) == "Running" and not self.machine("web-1").get("data_key_id"), job)
        self.cluster.daemons["master_target"].start()
        self.cluster.await_("rekey ends", lambda: self.state_of(job) == "Succeeded", 60)
        shown = self.cluster.cli("machines", "show", "web-1")
        self.check("the machine's page names the key", "Encryption" in shown and self.machine("web-1")["data_key_id"] in shown, shown)
        found = self.held("web-1", b"NOT-FOR-YOU-")
        self.check(f"from then on nothing of what it writes is found there ({found} places)", found == 0)

    def rekey_again(self):
        """While something waits that the first key encrypted, for a master target that starts anew and is told its keys anew."""
        first = self.machine("web-1")["data_key_id"]
        job = self.cluster.json("machines", "rekey", "web-1")
        self.check("the first key is used on", self.state_of(job) == "Running" and self.machine("web-1")["data_key_id"] == first)
        self.cluster.daemons["master_target"].start()
        self.cluster.await_("rekey ends", lambda: self.state_of(job) == "Succeeded", 60)
        self.check("and then the second", self.machine("web-1")["data_key_id"] != first, self.machine("web-1"))
        self.write("web-1", b"UNDER-THE-SECOND")
        for name in ("process_server", "master_target"):
            log = (self.directory / name / "log").read_text()
            self.check(f"what is encrypted comes to the {name.replace('_', ' ')} beside TLS", "data_channel.beside" in log)
        self.home("web-1", self.image, "home comes what the machine wrote, under both keys")

    def from_the_beginning(self):
        """Where the configuration says nothing, each machine whose stream is passed on."""
        server = self.cluster.daemons["config_server"]
        server.stop()
        server.config.write_text(server.config.read_text().replace(NONE_ENCRYPTS, ""))
        server.start()
        self.cluster.await_servers(2)
        image = self.add("web-2")
        self.cluster.cli("machines", "protect", "web-2", "--point-interval", "1s", "--wait", limit=120)
        self.check("a machine that is protected now has a key from its first batch on", bool(self.machine("web-2").get("data_key_id")))
        found = self.held("web-2", b"NEVER-IN-THE-CLEAR-")
        self.check(f"and nothing of it is ever found there ({found} places)", found == 0)
        self.cluster.daemons["web-2"].kill()
        self.cluster.daemons["web-2"].start()
        before = {point["id"] for point in self.cluster.json("points", "list", "web-2")["points"]}
        self.cluster.daemons["master_target"].start()
        self.cluster.await_("it streams again, and makes points", lambda: {
            point["id"] for point in self.cluster.try_json("points", "list", "web-2").get("points", [])} - before, 90)
        self.home("web-2", image, "home comes what it wrote, with its agent and the master target killed in between")
        secrets = [name for name in ("config_server", "process_server", "master_target", "web-1", "web-2")
                   if "data_keys" in self.cluster.daemons[name].log()]
        self.check("no log has a key", not secrets, secrets)

    def run(self):
        (self.directory / "datastore").mkdir()
        server = self.cluster.daemons["config_server"]
        server.config.write_text(server.config.read_text() + NONE_ENCRYPTS)
        self.cluster.start_config_server()
        # What is searched for must not be compressed.
        self.cluster.add_process_server(extra="compression: NONE\n").start()
        self.cluster.add_master_target(datastores=[self.directory / "datastore"]).start()
        self.cluster.await_servers(2)
        self.tell(self.in_the_clear, self.rekey, self.rekey_again, self.from_the_beginning)


if __name__ == "__main__":
    run(Test, "sealed")
