"""Somebody on the wire between a machine and its process server, through real daemons.

usage: wire_test.py --binaries DIR

What a machine encrypted travels beside TLS. Who carries it sees nothing of what the machine wrote, and whatever he does to it costs a resend:
it is noticed before it is kept, it is named, and the machine comes home byte for byte, or to page blobs, where it is the process server that
opens it.
"""
import contextlib
import hashlib
import os
import pathlib
import socket
import threading

from story import Story, run
import azure
from cluster import free_port

MIB = 1 << 20
DISK_BYTES = 16 * MIB
MARK = b"WRITTEN-BY-THE-MACHINE-"
TLS_RECORD = b"\x16"  # the first byte of a TLS connection
GREETING, GREETING_BYTES = b"HWBESIDE", 40  # with the token
TOUCHED_AT = 100_000  # of what follows the greeting


class Wire:
    """Carries connections from 127.0.0.2 to the same port of 127.0.0.1. `does` is what becomes of those beside TLS:
    carries, changes, cuts or refuses. What was there before `loses` is kept open, and nothing goes over it any more."""

    def __init__(self, ports):
        self.does, self.touched, self.beside, self.seen_mark, self.greetings, self.lost = "carries", 0, 0, False, [], 0
        for port in ports:
            server = socket.create_server(("127.0.0.2", port))
            threading.Thread(target=self.accept, args=(server, port), daemon=True).start()

    def accept(self, server, port):
        while True:
            client, _ = server.accept()
            threading.Thread(target=self.carry, args=(client, port), daemon=True).start()

    def carry(self, client, port):
        try:
            target = socket.create_connection(("127.0.0.1", port))
        except OSError:
            client.close()
            return
        threading.Thread(target=self.pump, args=(target, client), daemon=True).start()
        first = client.recv(1, socket.MSG_PEEK)
        self.pump(client, target, beside=first not in (TLS_RECORD, b""))

    def loses(self):
        self.lost += 1

    def pump(self, source, sink, beside=False):
        does, carried, last, lost = self.does if beside else "carries", 0, b"", self.lost
        try:
            while data := b"" if does == "refuses" else source.recv(65536):
                if self.lost > lost:
                    continue  # As where a proxy's other side has lost its power.
                if beside and carried == 0:
                    self.greetings.append(data[:GREETING_BYTES])
                self.seen_mark |= MARK in last + data
                last = data[-len(MARK):]
                at = GREETING_BYTES + TOUCHED_AT - carried
                if does in ("changes", "cuts") and 0 <= at < len(data):
                    self.touched += 1
                    if does == "cuts":
                        break
                    data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
                sink.sendall(data)
                carried += len(data)
                self.beside += len(data) if beside else 0
            if self.lost > lost:
                return  # Neither end learns that the other one has ended.
            self.touched += does == "refuses"
            # What is cut goes at once, both ways.
            ends = socket.SHUT_RDWR if beside else socket.SHUT_WR
        except OSError:
            ends = socket.SHUT_RDWR  # One end was reset, and the other one is to learn of it.
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(ends)


class Test(Story):
    clouds = ()

    def machine(self, name):
        return self.cluster.try_json("machines", "show", name)

    def image(self, name):
        return self.directory / f"{name}.raw"

    def protected(self, name, does, *where):
        """A machine full of marks and their numbers is protected, while the wire does so."""
        self.wire.does, before = does, self.wire.touched
        image = self.image(name)
        image.write_bytes(b"".join((MARK + b"%09d" % at) for at in range(DISK_BYTES // 32)))
        self.cluster.add_agent(name, f'disks {{ path: "{image}" nbd_socket: "{self.directory}/{name}.tap" }}\n').start()
        self.cluster.await_("the agent registers", lambda: self.machine(name).get("agent_connected"))
        self.cluster.cli("machines", "protect", name, "--point-interval", "1s", *where, "--wait")
        self.check(f"{name}: what it sends is encrypted", bool(self.machine(name).get("data_key_id")))
        self.check(f"{name}: the wire {does}", does == "carries" or self.wire.touched > before, self.wire.touched)

    def home(self, name):
        self.cluster.cli("machines", "failback", name, "--point", "latest", "--wait")
        flat = pathlib.Path(self.machine(name)["disk_paths"][0])
        flat = flat.with_name(flat.stem + "-flat.vmdk")
        self.check(f"{name}: it comes home byte for byte", flat.read_bytes() == self.image(name).read_bytes())

    def carried(self):
        self.protected("web-1", "carries")
        self.home("web-1")
        self.check("most of it went beside TLS", self.wire.beside > DISK_BYTES // 2, self.wire.beside)
        self.check("who carries it sees nothing of it", not self.wire.seen_mark)

    def changed(self):
        self.protected("web-2", "changes")
        self.home("web-2")
        named = [line for line in self.cluster.daemons["process_server"].log().splitlines()
                 if "relay.asked_again" in line and "as its machine sealed it" in line]
        self.check("a bit that was changed is noticed, and the machine named",
                   len(named) == 1 and self.machine("web-2")["machine_id"] in named[0], named)

    def cut(self):
        self.protected("web-3", "cuts")
        self.home("web-3")
        log = self.cluster.daemons["process_server"].log()
        self.check("a connection that was cut is named", "data_channel.lost_beside" in log, log)

    def refused(self):
        beside = self.wire.beside
        self.protected("web-4", "refuses")
        self.home("web-4")
        self.check("where none can be had, all goes over TLS", self.wire.beside == beside, self.wire.beside - beside)
        log = self.cluster.daemons["web-4"].log()
        self.check("and the agent says so", "data_channel.not_beside" in log, log)

    def to_azure(self, name, does):
        self.protected(name, does, "--location", "azure", "--azure-firmware", "bios", "--process-server", "process_server")
        there = list(self.sdk.digests(self.machine(name)["machine_id"]).values())
        self.check(f"{name}: page blobs have it byte for byte", there == [hashlib.sha256(self.image(name).read_bytes()).hexdigest()], there)

    def carried_to_azure(self):
        before, self.wire.seen_mark = self.wire.beside, False
        self.to_azure("web-6", "carries")
        self.check("most of it went beside TLS to page blobs, too", self.wire.beside - before > DISK_BYTES // 2, self.wire.beside - before)
        self.check("and who carries it sees nothing of it", not self.wire.seen_mark)

    def changed_to_azure(self):
        self.to_azure("web-7", "changes")
        named = [line for line in self.cluster.daemons["process_server"].log().splitlines()
                 if "replica.asked_again" in line and "as its machine sealed it" in line]
        self.check("who opens it there notices a bit that was changed, and names the machine",
                   len(named) == 1 and self.machine("web-7")["machine_id"] in named[0], named)

    def points(self, name):
        return {point["id"] for point in self.cluster.json("points", "list", name)["points"]}

    def lost(self):
        """Both ends still have their connections, and nothing comes."""
        self.protected("web-5", "carries")
        self.wire.loses()
        before = self.points("web-5")
        self.cluster.await_("points come again", lambda: self.points("web-5") - before, 90)
        self.home("web-5")
        log = self.cluster.daemons["web-5"].log()
        self.check("a connection on which nothing comes any more is given up", "nothing was received in time" in log, log)

    def answer(self, greeting):
        """Of the process server, to somebody who connects by himself."""
        with socket.create_connection(("127.0.0.1", self.data_port)) as stranger:
            stranger.sendall(greeting)
            return stranger.recv(len(GREETING))

    def taken_up(self):
        self.check("a token that was used lets nobody in", self.answer(self.wire.greetings[0]) == b"")
        self.check("nor does one that was made up", self.answer(GREETING + os.urandom(GREETING_BYTES - len(GREETING))) == b"")

    def run(self):
        (self.directory / "datastore").mkdir()
        npm = azure.install_clients()
        storage = azure.Storage(self.cluster.binaries, self.directory / "account", npm[0])
        self.clouds = [storage]
        manager = azure.ResourceManager(self.cluster.binaries, self.directory / "manager", storage, azure.NO_GUESTS)
        self.clouds = [manager, storage]
        self.sdk = azure.Sdk(storage, manager, *npm)
        self.cluster.start_config_server()
        port, self.data_port = free_port(), free_port()
        self.wire = Wire((port, self.data_port))
        # What is searched for must not be compressed.
        relay = self.cluster.add_process_server(extra=f"""
advertised_address: "127.0.0.2:{port}"
data_channel_address: "127.0.0.1:{self.data_port}"
compression: NONE
""" + storage.configuration())
        lines = relay.config.read_text().splitlines()
        relay.config.write_text("\n".join(f'listen_address: "127.0.0.1:{port}"' if line.startswith("listen_address") else line
                                          for line in lines) + "\n")
        relay.start()
        self.cluster.add_master_target(datastores=[self.directory / "datastore"]).start()
        self.cluster.await_servers(2)
        manager.add_to(self.cluster)
        self.tell(self.carried, self.changed, self.cut, self.refused, self.lost, self.taken_up, self.carried_to_azure,
                  self.changed_to_azure)

    def close(self):
        super().close()
        for program in self.clouds:
            program.stop()


if __name__ == "__main__":
    run(Test, "wire")
