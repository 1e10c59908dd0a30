"""The real binaries, killed (-9) at random moments; what comes home must always be the source, byte for byte.

usage: kill_test.py --binaries DIR [--rounds 20] [--seed N]

Each round protects another machine, writes to it all along through the agent's tap, and fails it back to the latest
point. Meanwhile each of the four daemons is killed once, at a random moment of the first synchronisation, of steady
state or of the failback, and started again. Nothing else is done to help.
"""
import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import Cluster, Refused, scratch  # noqa: E402
from nbd import Nbd  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 192 * MIB
FILLED_BYTES = 96 * MIB
PHASES = ("first synchronisation", "steady state", "failback")
TRY_AGAIN = 5


class Writer(threading.Thread):
    """Writes random blocks with FUA through the tap until told to stop; comes again when the agent was killed."""

    def __init__(self, socket, seed, stop_file, stopped_file):
        super().__init__(daemon=True)
        self.socket, self.random = socket, random.Random(seed)
        self.stop_file, self.stopped_file = stop_file, stopped_file
        self.writes, self.ended = 0, threading.Event()
        self.start()

    def run(self):
        nbd = None
        while not self.ended.is_set() and not self.stop_file.exists():
            try:
                nbd = nbd or Nbd(self.socket)
                offset = self.random.randrange(DISK_BYTES // 4096) * 4096
                nbd.write(offset, self.random.randbytes(4096 * self.random.randint(1, 8))[: DISK_BYTES - offset])
                self.writes += 1
                time.sleep(0.004)
            except OSError:
                nbd = None
                time.sleep(0.05)
        if nbd is not None:
            nbd.socket.close()
        self.stopped_file.touch()


class Round:
    def __init__(self, cluster, number, seed):
        self.cluster, self.number, self.random = cluster, number, random.Random(seed)
        self.directory = cluster.directory / f"round{number}"
        self.directory.mkdir()
        self.machine = f"machine{number}"
        self.problems = []
        self.kills = {phase: [] for phase in PHASES}
        for name in ("config_server", "process_server", "master_target", self.machine):
            self.kills[self.random.choice(PHASES)].append(name)

    def seen(self):
        return self.cluster.try_json("machines", "show", self.machine)

    def kill_in(self, phase, window):
        """Kills what this phase is to suffer, each at its moment within `window` seconds. From the main thread: a
        daemon dies with the thread that started it."""
        began = time.monotonic()
        for moment, name in sorted((self.random.uniform(0, window), name) for name in self.kills[phase]):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            daemon = self.cluster.daemons[name]
            daemon.kill()
            time.sleep(0.1)
            daemon.start()

    def ask(self, *arguments):
        """Says it again while the answer is that trying again may help."""
        end = time.monotonic() + 60
        while True:
            try:
                return self.cluster.cli(*arguments)
            except Refused as refused:
                if self.seen().get("job_id"):
                    return refused.text  # An answer was lost, the job was not.
                if refused.code != TRY_AGAIN or time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def await_state(self, state):
        self.cluster.await_(f"{self.machine} is {state}", lambda: self.seen().get("protection_state") == state and
                            not self.seen().get("job_id"), interval=0.2)

    def run(self):
        image = self.directory / "disk.raw"
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
            for at in range(0, FILLED_BYTES, MIB):
                file.seek(at * 2)
                file.write(self.random.randbytes(MIB))
        socket = str(self.directory / "tap")
        stop, stopped = self.directory / "stop", self.directory / "stopped"
        hook = self.directory / "quiesce"
        hook.write_text(f"#!/bin/sh\ntouch {stop}\nwhile [ ! -e {stopped} ]; do sleep 0.02; done\n")
        hook.chmod(0o755)
        agent = self.cluster.add_agent(self.machine, f'disks {{ path: "{image}" nbd_socket: "{socket}" }}\n'
                                       f'hooks {{ quiesce: "{hook}" }}\n')
        agent.start()
        self.cluster.await_("the agent registers", lambda: self.seen().get("agent_connected"))
        self.cluster.await_servers(2)
        writer = Writer(socket, self.random.random(), stop, stopped)
        try:
            self.ask("machines", "protect", self.machine, "--point-interval", "1s")
            self.kill_in(PHASES[0], 1.0)
            self.await_state("Protected")
            self.kill_in(PHASES[1], 1.5)
            self.await_state("Protected")
            self.ask("machines", "failback", self.machine, "--point", "latest")
            self.kill_in(PHASES[2], 0.5)
            self.await_state("UnplannedFailoverCommitPending")
        finally:
            writer.ended.set()
            writer.join()
        descriptor = self.cluster.await_("the paths", lambda: self.seen().get("disk_paths"))[0]
        compared = subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", descriptor, str(image)],
                                  capture_output=True, text=True)
        same = compared.returncode == 0
        self.ask("machines", "commit", self.machine)
        self.await_state("FailoverCommitted")
        agent.kill()
        shutil.rmtree(pathlib.Path(descriptor).parent)
        shutil.rmtree(self.directory)
        said = ", ".join(f"{name} in {phase}" for phase in PHASES for name in self.kills[phase])
        print(f"round {self.number}: {writer.writes} writes; killed {said}: "
              f"{'identical' if same else 'DIFFERENT: ' + compared.stdout.strip()}", flush=True)
        return same


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    directory = scratch("cluster")
    cluster = Cluster(arguments.binaries, directory)
    good = 0
    try:
        cluster.start_config_server()
        (directory / "datastore").mkdir()
        cluster.add_process_server().start()
        cluster.add_master_target(datastores=[directory / "datastore"]).start()
        for number in range(arguments.rounds):
            good += Round(cluster, number, arguments.seed + number).run()
    except (TimeoutError, Refused, OSError) as error:
        print(f"FAILED: {error}", flush=True)
        print(cluster.told())
        print(cluster.try_cli("jobs", "list"), cluster.try_cli("health"))
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{good} of {arguments.rounds} rounds identical")
    sys.exit(0 if good == arguments.rounds else 1)


if __name__ == "__main__":
    main()
