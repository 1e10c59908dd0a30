"""Rows about links and many machines."""
import os
import statistics
import subprocess
import time

import hostile
from cluster import Cluster, free_port, seconds_of
from exposure import places_with
from nbd import Nbd
from row import MIB, Cannot, Row, cpu_seconds, make_source, run
from rows_disk import Copies

NAMESPACE, NEAR, FAR = "homeward-bench", "10.99.0.1", "10.99.0.2"


class Wan(Copies):
    name, target, real = "wan", 1.8, 1.0
    says = "first synchronisation of real files, the master target behind 200 Mbit/s; beside nbdcopy over TLS on the same link"

    def __init__(self, arguments, directory):
        arguments.megabytes, whole = min(arguments.megabytes, 512), arguments.megabytes
        if os.geteuid() != 0:
            raise Cannot("a link of its own needs root")
        super().__init__(arguments, directory)
        self.megabytes, arguments.megabytes = arguments.megabytes, whole

    def __enter__(self):
        run("ip", "netns", "add", NAMESPACE)
        run("ip", "link", "add", "hwbench0", "type", "veth", "peer", "name", "hwbench1", "netns", NAMESPACE)
        inside = ("ip", "netns", "exec", NAMESPACE)
        limit = ("root", "tbf", "rate", "200mbit", "burst", "256k", "latency", "50ms")
        run("ip", "addr", "add", f"{NEAR}/24", "dev", "hwbench0")
        run("ip", "link", "set", "hwbench0", "up")
        run(*inside, "ip", "addr", "add", f"{FAR}/24", "dev", "hwbench1")
        run(*inside, "ip", "link", "set", "hwbench1", "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        run("tc", "qdisc", "add", "dev", "hwbench0", *limit)
        run(*inside, "tc", "qdisc", "add", "dev", "hwbench1", *limit)

    def __exit__(self, *_error):
        subprocess.run(["ip", "netns", "del", NAMESPACE], capture_output=True)
        subprocess.run(["ip", "link", "del", "hwbench0"], capture_output=True)

    def ours(self):
        with self:
            directory = self.directory / "ours"
            (directory / "datastore").mkdir(parents=True)
            cluster = Cluster(self.arguments.binaries, directory, host=NEAR, extra=self.encryption())
            try:
                cluster.start_config_server()
                cluster.add_process_server(cache_bytes=8 << 30).start()
                target = cluster.add_master_target(datastores=[directory / "datastore"], host=FAR)
                target.prefix = ["ip", "netns", "exec", NAMESPACE]
                target.start()
                cluster.await_servers(2)
                cluster.add_agent("bench", f'disks {{ path: "{self.source}" nbd_socket: "{directory}/tap" }}\n').start()
                cluster.await_("the agent registers", lambda: cluster.try_json("machines", "show", "bench").get(
                    "agent_connected"))
                began = time.monotonic()
                cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
                return self.megabytes / (time.monotonic() - began)
            finally:
                cluster.stop()
                run("rm", "-rf", directory)

    def peer(self):
        with self:
            return self.megabytes / self.copy(hops=1)[0]

    # For copy(): the server is at the far end.
    def nbdkit(self, *plugin):
        return super().nbdkit(*plugin, prefix=("ip", "netns", "exec", NAMESPACE), address=FAR)

    def uri(self, port):
        return f"nbds://{FAR}:{port}/?tls-certificates={self.directory}/pki"


class ManyStreams(Row):
    name, unit, target = "many_streams", "MiB/s", 0.8
    says = "first synchronisation of 60 machines (the most a master target takes) through one process server to one master target; beside one machine with as much"
    count = 60  # as many disks as one master target may have

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        if arguments.small:
            self.count = 5
        self.each = max(8, arguments.megabytes // self.count)
        self.fairness = []  # of each run
        self.images = [directory / f"disk{number}.raw" for number in range(self.count)]
        for image in self.images:
            make_source(image, self.each)
        self.whole = directory / "whole.raw"
        make_source(self.whole, self.each * self.count)

    def synchronise(self, images):
        with self.servers() as cluster:
            names = [f"m{number}" for number in range(len(images))]
            for name, image in zip(names, images):
                cluster.add_agent(name, f'disks {{ path: "{image}" nbd_socket: "{cluster.directory}/{name}.tap" }}\n').start()
            cluster.await_("all agents register", lambda: sum(
                1 for machine in cluster.try_json("machines", "list").get("machines", [])
                if machine.get("agent_connected")) == len(names), 300)
            servers = [cluster.daemons[name].process.pid for name in ("process_server", "master_target")]
            cpu = sum(map(cpu_seconds, servers))
            cluster.cli("machines", "protect", *names, "--wait", limit=3600)  # together
            self.server_cpu = sum(map(cpu_seconds, servers)) - cpu
            jobs = cluster.json("jobs", "list", "--count", str(len(names)))["jobs"]
            begun = [seconds_of(job["created"]) for job in jobs]
            ended = [seconds_of(job["ended"]) for job in jobs]
            rates = sorted(1 / (end - begin) for begin, end in zip(begun, ended))
            if len(images) > 1:
                self.fairness.append(rates[0] / rates[-1])
                self.note(f"the slowest has {self.fairness[-1]:.2f} of the fastest's rate (at least 0.5)")
            return sum(image.stat().st_size for image in images) / MIB / (max(ended) - min(begun))

    def ours(self):
        return self.synchronise(self.images)

    def peer(self):
        return self.synchronise([self.whole])

    def holds(self, ratio):
        return super().holds(ratio) and statistics.median(self.fairness) >= 0.5


class HostilePeers(Copies):
    name, target = "hostile_peers", 0.9
    says = "first synchronisation while 1,000 connections stall at each port of both servers; beside without them"

    def measure(self, attack):
        with self.homeward(self.source) as cluster:
            peers = hostile.Peers(cluster, cluster.directory / "bench" / "state" / "identity")
            if attack:
                for port, is_data_channel in peers.ports():
                    peers.stall(port, is_data_channel, 40 if self.arguments.small else 1000)
            began = time.monotonic()
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            seconds = time.monotonic() - began
            peers.close()
            return self.arguments.megabytes / seconds

    def ours(self):
        return self.measure(attack=True)

    def peer(self):
        return self.measure(attack=False)


class SealedOffPath(Row):
    name, unit, target, at_least, has_peer = "sealed_off_path", "bytes", 0, False, False
    says = "of what a machine wrote, what can be read in the memory and the cache of the process server that passes it on"
    mark, block, held_bytes = b"CAN-THIS-BE-READ-", 4096, 8 * MIB

    def marked(self, number):
        text = self.mark + b"%010d" % number
        return (text * (self.block // len(text) + 1))[:self.block]

    def ours(self):
        image = self.directory / "marked.raw"
        blocks = 64 * MIB // self.block
        with open(image, "wb") as file:
            for number in range(blocks):
                file.write(self.marked(number))
        # What is searched for must not be hidden by something else.
        with self.servers(relay="compression: NONE\n") as cluster:
            tap = f"{cluster.directory}/tap"
            cluster.add_agent("bench", f'disks {{ path: "{image}" nbd_socket: "{tap}" }}\n').start()
            cluster.await_("the agent registers", lambda: cluster.try_json("machines", "show", "bench").get("agent_connected"))
            cluster.cli("machines", "protect", "bench", "--wait", limit=300)
            server = cluster.daemons["process_server"]
            found = places_with(self.mark, server, self.directory / "cache")
            # With nobody behind it, what is written waits there.
            cluster.daemons["master_target"].kill()
            nbd = Nbd(tap)
            for number in range(self.held_bytes // self.block):
                nbd.write(number * self.block, self.marked(blocks + number))
            nbd.socket.close()
            cluster.await_("the process server has it", lambda: int(
                cluster.try_json("servers", "show", "process_server").get("pending_bytes", 0)) >= self.held_bytes, 60)
            return (found + places_with(self.mark, server, self.directory / "cache")) * (len(self.mark) + 10)
