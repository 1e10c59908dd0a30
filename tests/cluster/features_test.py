"""What the real binaries do beside the main road, each with real components.

usage: features_test.py --binaries DIR

* a replica on a block device (a loop device where this may make one, a file of fixed size elsewhere)
* a recovery point on demand, crash-consistent and application-consistent
* a failback that is cancelled: what the quiesce hook stopped, the resume hook starts, and replication goes on
* a disk of 62 TiB
* certificates that end while everything runs: each component has a new one before, and every later connection uses it
* the metrics page of every daemon, checked by promtool
* a network so slow that a handshake takes seconds, and a command that is given before its server runs
"""
import argparse
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import HANG_SECONDS, Cluster, Refused, free_port, scratch, straight  # noqa: E402
from nbd import Nbd  # noqa: E402

MIB, TIB = 1 << 20, 1 << 40
DISK_BYTES = 64 * MIB
CERTIFICATE_SECONDS = 60  # the shortest that is allowed
CERTIFIED = ("config_server", "process_server", "master_target", "certified")
SLOW_SECONDS = 2
# What each daemon's page has while it takes part in the replication of a machine.
MEASURES = {"config_server": "homeward_machine_rpo_seconds", "process_server": "homeward_stream_pending_bytes",
            "master_target": "homeward_replica_received_bytes_total", "web": "homeward_agent_sealed_bytes_total"}


def monitoring(port):
    return f'monitoring {{ listen_address: "127.0.0.1:{port}" }}\n'


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Features:
    def __init__(self, cluster, directory, devices, big, ports):
        self.cluster, self.directory, self.devices, self.big, self.ports = cluster, directory, devices, big, ports
        self.failures = 0

    def check(self, what, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}{'' if holds else f': {detail}'}", flush=True)

    def seen(self, machine):
        return self.cluster.try_json("machines", "show", machine)

    def machine(self, name, image, extra=""):
        socket = str(self.directory / f"{name}.tap")
        self.cluster.add_agent(name, f'disks {{ path: "{image}" nbd_socket: "{socket}" }}\n' + extra).start()
        self.cluster.await_(f"{name} registers", lambda: self.seen(name).get("agent_connected"))
        return socket

    def image(self, name, size=DISK_BYTES):
        path = self.directory / f"{name}.raw"
        with open(path, "wb") as file:
            file.truncate(size)
            file.seek(5 * MIB)
            file.write(os.urandom(9 * MIB))
        return path

    def await_state(self, name, state):
        self.cluster.await_(f"{name} is {state}", lambda: self.seen(name).get("protection_state") == state and
                            not self.seen(name).get("job_id"), interval=0.2)

    def refusal(self, *command):
        try:
            self.cluster.cli(*command)
            return ""
        except Refused as refused:
            return refused.text

    def block_device(self):
        image, device = self.image("on-device"), self.devices[0]
        hook = self.directory / "nothing"
        hook.write_text("#!/bin/sh\nexit 0\n")
        hook.chmod(0o755)
        socket = self.machine("on-device", image, f'hooks {{ quiesce: "{hook}" }}\n')
        protect = ("machines", "protect", "on-device", "--point-interval", "1s")
        said = self.refusal(*protect, "--block-device", "/dev/null")
        self.check("a device that the master target does not offer is refused", "BLOCK_DEVICE_UNSUITABLE" in said)
        said = self.refusal(*protect, "--block-device", self.devices[1])
        self.check("a device that is too small is refused", "BLOCK_DEVICE_UNSUITABLE" in said and "has 1048576" in said)
        self.cluster.cli(*protect, "--block-device", device, "--wait")
        tap = Nbd(socket)
        for at in range(0, 64, 4):
            tap.write(at * MIB, os.urandom(65536))
        tap.close()
        self.cluster.cli("machines", "failback", "on-device", "--point", "latest", "--wait")
        same = subprocess.run(["cmp", "-n", str(DISK_BYTES), device, str(image)], check=False).returncode == 0
        self.check("a machine came home to a block device, byte for byte", same)
        self.check("its path is shown", self.seen("on-device")["disk_paths"] == [device])
        self.cluster.cli("machines", "commit", "on-device", "--wait")
        self.cluster.daemons["on-device"].stop()

    def scrub(self):
        """A byte of the replica changes by itself: it is found and said, and the machine sends it again."""
        image = self.image("rotten")
        self.machine("rotten", image)
        self.cluster.cli("machines", "protect", "rotten", "--point-interval", "1s", "--wait")
        first = self.cluster.await_("a first pass", lambda: self.seen("rotten").get("scrubbed_at"))
        flat = self.seen("rotten")["disk_paths"][0].replace(".vmdk", "-flat.vmdk")
        with open(flat, "r+b") as file:
            file.seek(7 * MIB + 4711)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 4]))
            os.fsync(file.fileno())

        def errors():
            return [error["problem"]["id"] for error in self.seen("rotten").get("health_errors", [])]
        before = int(self.seen("rotten").get("received_bytes", 0))
        self.cluster.await_("the scrub finds it, and it is repaired", lambda: "OLDER_POINTS_DOUBTFUL" in errors())
        same = subprocess.run(["cmp", "-n", str(DISK_BYTES), flat, str(image)], check=False).returncode == 0
        self.check("a byte of the replica that changed by itself is found and sent again", same)
        sent = int(self.seen("rotten").get("received_bytes", 0)) - before
        self.check(f"and little else: {sent} bytes", 0 < sent < 6 * MIB)
        self.check("the scrub goes on", self.cluster.await_(
            "another pass", lambda: self.seen("rotten").get("scrubbed_at") != first))
        self.cluster.daemons["rotten"].stop()

    def point_on_demand(self):
        frozen, thawed = self.directory / "frozen", self.directory / "thawed"
        for name, mark in (("pre", frozen), ("post", thawed)):
            (self.directory / name).write_text(f"#!/bin/sh\necho >> {mark}\n")
            (self.directory / name).chmod(0o755)
        stopped, resumed = self.directory / "stopped", self.directory / "resumed"
        (self.directory / "quiesce").write_text(f"#!/bin/sh\necho >> {stopped}\nexit 1\n")
        (self.directory / "resume").write_text(f"#!/bin/sh\necho >> {resumed}\n")
        for name in ("quiesce", "resume"):
            (self.directory / name).chmod(0o755)
        image = self.image("web")
        self.machine("web", image, f"""hooks {{
  pre_freeze: "{self.directory}/pre"
  post_thaw: "{self.directory}/post"
  quiesce: "{self.directory}/quiesce"
  resume: "{self.directory}/resume"
}}
""" + monitoring(self.ports["web"]))
        self.cluster.cli("machines", "protect", "web", "--point-interval", "5m", "--directory", "web", "--wait")

        def points():
            return self.cluster.json("points", "list", "web")["points"]
        before = len(points())
        self.cluster.cli("points", "create", "web", "--wait")
        made = points()
        self.check("a point on demand is there when its job has ended",
                   len(made) == before + 1 and made[-1]["kind"] == "CRASH_CONSISTENT")
        self.cluster.cli("points", "create", "web", "--app-consistent", "--wait")
        made = points()
        self.check("an application-consistent one ran its hooks",
                   made[-1]["kind"] == "APP_CONSISTENT" and frozen.exists())
        self.cluster.await_("the application is thawed", thawed.exists)

        # A quiesce hook that fails holds the failback, until the operator cancels it.
        self.cluster.cli("machines", "failback", "web", "--point", "latest")
        self.cluster.await_("the quiesce hook runs", stopped.exists)
        self.cluster.cli("jobs", "cancel", self.seen("web")["job_id"])
        self.await_state("web", "Protected")
        self.cluster.await_("the resume hook runs", resumed.exists)
        self.check("a cancelled failback resumes the machine", True)
        before = len(points())
        self.cluster.cli("points", "create", "web", "--wait")
        self.check("and replication goes on", len(points()) == before + 1)
        self.metrics()
        self.cluster.cli("machines", "remove", "web", "--wait")
        self.cluster.daemons["web"].stop()

    def metrics(self):
        """Each page is what Prometheus takes, and its names, units and types are as promtool wants them."""
        self.check("promtool is there", shutil.which("promtool"), "deploy/install-deps installs it")
        for name, measure in MEASURES.items():
            page = straight().open(f"http://127.0.0.1:{self.ports[name]}/metrics", timeout=HANG_SECONDS).read()
            self.check(f"the page of {name} has what it measures", f"\n{measure}".encode() in page, page.decode())
            told = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
            self.check(f"promtool has nothing to say of the page of {name}",
                       told.returncode == 0 and not told.stdout + told.stderr, (told.stdout + told.stderr).decode())

    def big_disk(self):
        """62 TiB, sparse: only what is written takes room, at either end of it too."""
        image = self.big / "big.raw"
        with open(image, "wb") as file:
            file.truncate(62 * TIB)
            file.seek(62 * TIB - MIB)
            file.write(os.urandom(MIB))
        socket = self.machine("big", image)
        self.cluster.cli("machines", "protect", "big", "--point-interval", "1s", "--datastore",
                         str(self.big / "datastore"), "--wait")
        tap = Nbd(socket)
        for at in (0, 31 * TIB, 62 * TIB - 4096):
            tap.write(at, os.urandom(4096))
        tap.close()
        self.cluster.cli("points", "create", "big", "--wait")
        self.cluster.cli("machines", "failback", "big", "--point", "latest", "--wait")
        descriptor = self.seen("big")["disk_paths"][0]
        info = run("qemu-img", "info", "-f", "vmdk", descriptor)
        self.check("a disk of 62 TiB is a VMDK of 62 TiB", "68169720922112 bytes" in info)
        flat = descriptor.replace(".vmdk", "-flat.vmdk")
        same = True
        for at in (0, 31 * TIB, 62 * TIB - MIB):
            with open(image, "rb") as ours, open(flat, "rb") as theirs:
                ours.seek(at)
                theirs.seek(at)
                same = same and ours.read(MIB) == theirs.read(MIB)
        self.check("its written parts are the same", same)
        self.check("and only they take room", os.stat(flat).st_blocks * 512 < 8 * MIB)
        self.cluster.daemons["big"].stop()

    def begin_certificates(self):
        image = self.image("certified")
        self.machine("certified", image)
        self.cluster.cli("machines", "protect", "certified", "--point-interval", "1s", "--directory", "certified",
                         "--wait")
        self.first = {name: self.certificate(name) for name in CERTIFIED}
        self.began = time.monotonic()

    def certificates(self, validity):
        """All of them have been renewed several times by now; those of the beginning have ended."""
        time.sleep(max(0, self.began + 1.5 * validity - time.monotonic()))
        for name in ("process_server", "master_target"):
            self.cluster.daemons[name].kill()  # New connections, all over.
            self.cluster.daemons[name].start()
        self.cluster.await_servers(2)
        before = len(self.cluster.json("points", "list", "certified")["points"])
        self.cluster.cli("points", "create", "certified", "--wait")
        self.check("replication goes on after the first certificates have ended",
                   len(self.cluster.json("points", "list", "certified")["points"]) > before)
        for name in CERTIFIED:
            self.check(f"{name}: its certificate is another one", self.certificate(name) != self.first[name])
        self.cluster.daemons["certified"].stop()

    def slow_network(self):
        """A handshake of many seconds is one."""
        slow = SlowRoad(self.cluster.address)
        command = self.cluster.command("version")
        command[command.index("--server") + 1] = slow.address
        done = subprocess.run(command, capture_output=True, text=True)
        self.check(f"a command is answered over a road that takes {SLOW_SECONDS} s each way", done.returncode == 0, done.stderr)
        image = self.image("far")
        agent = self.cluster.add_agent("far", f'disks {{ path: "{image}" nbd_socket: "{self.directory}/far.tap" }}\n')
        agent.config.write_text(agent.config.read_text().replace(self.cluster.address, slow.address))
        agent.start()
        self.cluster.await_("an agent enrols and registers over it", lambda: self.seen("far").get("agent_connected"))
        self.check("an agent enrols and registers over it", True)
        agent.stop()

    def server_away(self):
        """A command waits for a server that is being restarted; one that changes something is sent once."""
        server = self.cluster.daemons["config_server"]
        server.kill()
        reading = subprocess.Popen(self.cluster.command("machines", "list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        changing = subprocess.Popen(self.cluster.command("enrol", "passphrase", "rotate"), stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
        told = [process.stderr.readline() for process in (reading, changing)]  # Both have tried by now.
        server.start()
        listed, shown = reading.communicate()[0], changing.communicate()[0]
        self.check("both say what they wait for", all("is not answering" in line for line in told), told)
        self.check("a command that was given before the server ran is answered",
                   reading.returncode == 0 and "certified" in listed, listed)
        self.check("so is one that changes something, and it is done once",
                   changing.returncode == 0 and shown == self.cluster.cli("enrol", "passphrase", "show"), shown)

    def certificate(self, name):
        return (self.directory / name / "state" / "identity" / "certificate.pem").read_bytes()


class SlowRoad:
    """To a server of this host: whatever either side says, the other hears it SLOW_SECONDS later."""

    def __init__(self, server):
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.start(self.take)

    @staticmethod
    def start(work, *arguments):
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def take(self):
        while True:
            near, _ = self.listener.accept()
            host, port = self.server.rsplit(":", 1)
            try:
                far = socket.create_connection((host, int(port)))
            except OSError:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                said = queue.SimpleQueue()
                self.start(self.listen, source, said)
                self.start(self.pass_on, said, sink)

    @staticmethod
    def listen(source, said):
        data = b"-"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            said.put((time.monotonic() + SLOW_SECONDS, data))

    @staticmethod
    def pass_on(said, sink):
        while True:
            when, data = said.get()
            time.sleep(max(0, when - time.monotonic()))
            try:
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            except OSError:
                return


def make_devices(directory):
    """One of the disk's size and one too small, and what ends them."""
    paths = []
    for number, size in enumerate((DISK_BYTES, MIB)):
        path = directory / f"device{number}"
        with open(path, "wb") as file:
            file.write(os.urandom(size))  # A device is not empty: what is on it is compared.
        paths.append(str(path))
    if os.geteuid() != 0:
        print("not root: files stand for block devices")
        return paths, []
    loops, held = [], []
    for path in paths:
        loops.append(run("losetup", "--find", "--show", path))
        held.append(os.open(loops[-1], os.O_RDONLY))
        run("losetup", "-d", loops[-1])  # Takes effect when the last user closes it.
    return loops, held


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    arguments = parser.parse_args()
    directory = scratch("features")
    # A file of 62 TiB needs a file system that has them.
    big = pathlib.Path(tempfile.mkdtemp(prefix="homeward-features-", dir="/dev/shm"))
    ports = {name: free_port() for name in MEASURES}
    cluster = Cluster(arguments.binaries, directory,
                      extra=f"certificate_validity {{ seconds: {CERTIFICATE_SECONDS} }}\n" +
                      monitoring(ports["config_server"]))
    features = None
    try:
        cluster.start_config_server()
        for datastore in (directory / "datastore", big / "datastore"):
            datastore.mkdir()
        devices, _held = make_devices(directory)
        cluster.add_process_server(extra=monitoring(ports["process_server"])).start()
        cluster.add_master_target(datastores=[directory / "datastore", big / "datastore"],
                                  extra=monitoring(ports["master_target"]) + "scrub_interval { seconds: 1 }\n" + "".join(
                                      f'block_devices: "{path}"\n' for path in devices)).start()
        cluster.await_servers(2)
        features = Features(cluster, directory, devices, big, ports)
        features.begin_certificates()
        features.slow_network()
        features.block_device()
        features.scrub()
        features.point_on_demand()
        features.big_disk()
        features.certificates(CERTIFICATE_SECONDS)
        features.server_away()
    except (TimeoutError, Refused, OSError, subprocess.CalledProcessError) as error:
        print(f"FAILED: {error} {getattr(error, 'text', '')}", flush=True)
        print(cluster.told())
        features = None
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(big, ignore_errors=True)
    sys.exit(0 if features is not None and features.failures == 0 else 1)


if __name__ == "__main__":
    main()
