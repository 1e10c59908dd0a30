"""A thousand connections that stall at every stage, at each port of real daemons: who behaves is served all the same.

usage: hostile_test.py --binaries DIR [--connections 1000]

Stages: connected and silent; half a TLS handshake; a whole one with a stolen agent's certificate, then silent; a frame that
announces more than there may be; hellos for machines that do not exist, one after the other. While all of it is open, a
protected machine goes on making points, a new one is protected, memory stays under its bound, and the daemons' logs name who it is.
"""
import argparse
import os
import pathlib
import resource
import shutil
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import HANG_SECONDS, Cluster, Refused, free_port, scratch, seconds_of, straight  # noqa: E402
from hostile import SERVERS, Peers  # noqa: E402

MIB = 1 << 20
MEMORY_MIB_MAX = 256


class Hostile:
    def __init__(self, binaries, directory, connections):
        self.cluster, self.directory, self.connections = Cluster(binaries, directory), directory, connections
        self.failed = 0

    def check(self, name, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + str(detail)[-900:] if detail else ''}", flush=True)
        self.failed += not holds

    def machine(self, name):
        return self.cluster.try_json("machines", "show", name)

    def add_machine(self, name):
        image = self.directory / f"{name}.raw"
        image.write_bytes(os.urandom(48 * MIB))
        self.cluster.add_agent(name, f'disks {{ path: "{image}" nbd_socket: "{self.directory}/{name}.sock" }}\n').start()
        self.cluster.await_(f"{name} registers", lambda: self.machine(name).get("agent_connected"))

    def protect(self, name):
        began = time.monotonic()
        self.cluster.cli("machines", "protect", name, "--point-interval", "2s", "--wait")
        return time.monotonic() - began

    def makes_points(self, name):
        began = time.time()

        def newer():
            point = self.machine(name).get("newest_point")
            return point and seconds_of(point["time"]) > began
        return self.cluster.await_(f"{name} makes a point", newer)

    def run(self):
        cluster = self.cluster
        cluster.start_config_server()
        (self.directory / "datastore").mkdir()
        monitoring = free_port()
        cluster.add_process_server(extra=f'monitoring {{ listen_address: "127.0.0.1:{monitoring}" }}\n').start()
        cluster.add_master_target(datastores=[self.directory / "datastore"]).start()
        cluster.await_servers(2)
        self.add_machine("victim")
        self.add_machine("other")
        alone = self.protect("victim")
        peers = Peers(cluster, self.directory / "victim" / "state" / "identity")
        for port, is_data_channel in peers.ports():
            made = peers.stall(port, is_data_channel, self.connections)
            print(f"     port {port}: " + ", ".join(f"{count} {stage}" for stage, count in made.items()), flush=True)
            if is_data_channel:
                peers.flood(port, self.connections // 5)
        self.check("the machine that was protected makes points", self.makes_points("victim"))
        took = self.protect("other")
        self.check("a new machine is protected beside them", True, f"{took:.1f} s, alone {alone:.1f} s")
        cluster.note_memory()
        for name in ("config_server", *SERVERS):
            mib = cluster.daemons[name].peak_kib // 1024
            self.check(f"{name} stays under {MEMORY_MIB_MAX} MiB", mib < MEMORY_MIB_MAX, f"{mib} MiB")
        for name in SERVERS:
            log = cluster.daemons[name].log()
            self.check(f"{name}'s log names who it refused", "data_channel.refused" in log and "127.0.0.1:" in log)
        metrics = straight().open(f"http://127.0.0.1:{monitoring}/metrics", timeout=HANG_SECONDS).read().decode()
        counted = [line for line in metrics.splitlines() if line.startswith("homeward_replication_refused_total")]
        self.check("the process server counts them", counted and float(counted[0].split()[-1]) >= self.connections // 5,
                   counted)
        peers.close()
        self.check("both go on afterwards", self.makes_points("victim") and self.makes_points("other"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--connections", type=int, default=1000, help="to each port")
    arguments = parser.parse_args()
    # A connection is a file.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    directory = scratch("hostile")
    hostile = Hostile(arguments.binaries, directory, arguments.connections)
    try:
        hostile.run()
    except (TimeoutError, Refused, OSError) as error:
        hostile.check(type(error).__name__, False, error)
        print(hostile.cluster.told())
    finally:
        hostile.cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if hostile.failed else 0)


if __name__ == "__main__":
    main()
