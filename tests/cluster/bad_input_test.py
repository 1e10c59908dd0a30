"""What real daemons do with input that is wrong: each case has its own clear error, and nothing else suffers.

usage: bad_input_test.py --binaries DIR
"""
import argparse
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import HANG_SECONDS, Cluster, Refused, scratch, seconds_of  # noqa: E402
from nbd import Nbd  # noqa: E402

MIB = 1 << 20


class Cases:
    def __init__(self, binaries, directory):
        self.directory = directory
        self.cluster = Cluster(binaries, directory)
        self.failed = 0

    def check(self, name, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {name}{'' if holds else ': ' + str(detail)[-1500:]}", flush=True)
        self.failed += not holds

    def start(self):
        self.cluster.start_config_server()
        for name in ("datastore", "small"):
            (self.directory / name).mkdir()
        self.mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "none", self.directory / "small"]).returncode == 0
        self.cluster.add_process_server().start()
        self.cluster.add_master_target(datastores=[self.directory / "datastore", self.directory / "small"]).start()
        self.cluster.await_servers(2)

    def agent(self, name, megabytes=16):
        image = self.directory / f"{name}.raw"
        image.write_bytes(os.urandom(megabytes * MIB))
        return self.cluster.add_agent(
            name, f'disks {{ path: "{image}" nbd_socket: "{self.directory}/{name}.sock" }}\n')

    def machine(self, name):
        return self.cluster.try_json("machines", "show", name)

    def await_machine(self, name):
        self.cluster.await_(f"{name} registers", lambda: self.machine(name).get("agent_connected"))

    # --- cases -----------------------------------------------------------------------------------

    def wrong_passphrase(self):
        good = self.cluster.enrolment.read_text()
        lines = good.splitlines()
        bad = self.directory / "bad-enrolment"
        bad.write_text("\n".join(["passphrase: wrong-passphrase"] + lines[1:]) + "\n")
        agent = self.agent("stranger")
        agent.config.write_text(agent.config.read_text().replace(str(self.cluster.enrolment), str(bad)))
        agent.start()
        code = agent.process.wait(HANG_SECONDS)
        self.check("a wrong passphrase ends the agent's start and says so",
                   code == 1 and "passphrase is not this configuration server's" in agent.log(), agent.log())
        agent.process = None

    def foreign_ca(self):
        other = Cluster(self.cluster.binaries, self.directory / "other")
        try:
            other.start_config_server()
            agent = self.agent("lost")
            agent.config.write_text(agent.config.read_text().replace(str(self.cluster.enrolment),
                                                                     str(other.enrolment)))
            agent.start()
            self.cluster.await_("the agent says why it waits", lambda: "enrolment.waiting" in agent.log())
            self.check("a server of another CA is not trusted with the proof", "enrolment.done" not in agent.log())
            agent.kill()
        finally:
            other.stop()

    def taken_port(self):
        for name in ("config_server", "process_server", "master_target"):
            first = self.cluster.daemons[name]
            second = self.cluster.daemon(f"{name}_again", pathlib.Path(first.program).name, first.config.read_text().replace(
                str(first.directory), f"{first.directory}_again").replace(f'name: "{name}"', f'name: "{name}-again"'))
            second.start()
            code = second.process.wait(HANG_SECONDS)
            self.check(f"a {name} whose port another one has ends and says so", code == 1 and "cannot listen on" in second.log(),
                       second.log())
            second.process = None

    def unknown_key(self):
        config = self.directory / "unknown.conf"
        config.write_text('listen_address: "127.0.0.1:1"\ncolour: "blue"\nstate_directory: "here"\n')
        done = subprocess.run([str(self.cluster.binaries / "homeward-config-server"), "--config", config,
                               "--check_config"], capture_output=True, text=True)
        self.check("an unknown key and a relative path are reported with their lines",
                   done.returncode == 2 and f"{config}:2: " in done.stderr and "colour" in done.stderr and
                   f"{config}:3: state_directory" in done.stderr, done.stderr)

    def retention(self):
        """The retention drive, before a master target runs."""
        volume = self.directory / "retention-volume"
        config = self.directory / "retention.conf"
        config.write_text('join { config_server: "127.0.0.1:1" }\nlisten_address: "127.0.0.1:2"\n'
                          f'state_directory: "{self.directory}/none"\nretention_directory: "{volume}"\n')

        def prepare():
            done = subprocess.run([str(self.cluster.binaries / "homeward-master-target"), "--config", config,
                                   "--prepare_retention"], capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr
        code, text = prepare()
        self.check("a retention drive is made and measured", code == 0 and "MiB free" in text and volume.is_dir() and
                   not list(volume.iterdir()), text)
        (volume / ("0" * 32 + "-00000001")).mkdir()
        self.check("replicas may be there", prepare()[0] == 0)
        (volume / "photos").mkdir()
        code, text = prepare()
        self.check("one that is in use by something else is refused", code == 1 and "photos" in text, text)
        (volume / "photos").rmdir()
        if os.geteuid() == 0:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", volume], check=True)
            try:
                (volume / "lost+found").write_bytes(bytes(1020 * 1024))
                code, text = prepare()
                self.check("one that is full is refused", code == 1 and "bytes free" in text, text)
            finally:
                subprocess.run(["umount", volume], check=True)

    def garbage(self):
        addresses = [self.cluster.address] + [server["replication_address"] for server in
                                              self.cluster.json("servers", "list")["servers"]]
        stalled = []
        for address in addresses:
            host, port = address.rsplit(":", 1)
            for data in (os.urandom(4096), b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00"):
                with socket.create_connection((host, int(port))) as peer:
                    peer.sendall(data)
            stalled.append(socket.create_connection((host, int(port))))  # Says nothing at all.
            stalled[-1].sendall(b"\x16\x03\x01")  # And one that stops in the middle of its first message.
        alive = all(daemon.process is not None and daemon.process.poll() is None
                    for name, daemon in self.cluster.daemons.items()
                    if name in ("config_server", "process_server", "master_target"))
        self.check("garbage and stalling peers hurt nobody", alive and self.cluster.try_cli("version"))
        for peer in stalled:
            peer.close()

    def commands(self):
        def code_of(*arguments):
            try:
                self.cluster.cli(*arguments)
                return 0, ""
            except Refused as refused:
                return refused.code, refused.text
        for expected, words, arguments in (
                (4, "NOT_IN_DATABASE", ("machines", "show", "nobody")),
                (4, "NOT_IN_DATABASE", ("jobs", "show", "99999999")),
                (2, "", ("machines", "fly")),
                (3, "NOT_PROTECTED", ("machines", "failback", "worker", "--point", "latest")),
                (3, "DISK_UNKNOWN", ("machines", "protect", "worker", "--disk", "/dev/nothing")),
                (3, "DATASTORE_NOT_ACCESSIBLE", ("machines", "protect", "worker", "--datastore", "/nowhere")),
                (3, "DIRECTORY_UNSUITABLE", ("machines", "protect", "worker", "--directory", "../etc")),
                (2, "--point-interval", ("machines", "protect", "worker", "--point-interval", "soon")),
                (2, "--retention", ("machines", "protect", "worker", "--retention", "5x")),
                (2, "--apply", ("machines", "repair", "worker", "--wait")),
                (2, "--password-file", ("vcenters", "add", "vc1", "--address", "127.0.0.1:1", "--user", "nobody",
                                        "--password-file", "/nowhere/password"))):
            code, text = code_of(*arguments)
            self.check(f"homeward {' '.join(arguments)} ends with {expected}",
                       code == expected and words in text, f"{code}: {text}")
        done = subprocess.run([str(self.cluster.binaries / "homeward"), "--server", self.cluster.address,
                               "--identity", "/nonexistent", "version"], capture_output=True, text=True)
        self.check("no operator's identity ends with 6 and says where it is", done.returncode == 6 and
                   "--identity" in done.stderr, done.stderr)
        identity = self.directory / "worker" / "state" / "identity"
        done = subprocess.run([str(self.cluster.binaries / "homeward"), "--server", self.cluster.address,
                               "--identity", identity, "machines", "list"], capture_output=True, text=True)
        self.check("an agent's certificate is not an operator's", done.returncode == 6, done.stderr)

    def full_datastore(self):
        if not self.mounted:
            print("skip a full datastore: needs root for a small file system")
            return
        self.cluster.cli("machines", "protect", "worker", "--datastore", str(self.directory / "small"),
                         "--point-interval", "1s")
        try:
            self.cluster.await_("the health says so", lambda: any(
                "full" in issue["problem"]["message"].lower() or "No space" in issue["problem"]["message"] or
                issue["problem"]["id"] in ("VOLUME_FULL", "STREAM_REFUSED")
                for issue in self.machine("worker").get("health_errors", [])))
            said = True
        except TimeoutError:
            said = False
        self.check("a full datastore is an alert of the machine", said,
                   self.cluster.try_cli("machines", "show", "worker"))
        subprocess.run(["mount", "-o", "remount,size=64m", self.directory / "small"], check=True)
        try:
            self.cluster.await_("it goes on", lambda: self.machine("worker").get("protection_state") == "Protected",
                                60)
            went_on = True
        except TimeoutError:
            went_on = False
        self.check("with room again it goes on by itself", went_on, self.cluster.daemons["master_target"].log())

    def resized_disk(self):
        if self.machine("worker").get("protection_state") != "Protected":
            return
        image = self.directory / "worker.raw"
        with open(image, "r+b") as file:
            file.truncate(image.stat().st_size + MIB)
        try:
            self.cluster.await_("the health says so", lambda: any(
                issue["problem"]["id"] == "DISK_RESIZED" and "recovery points" in issue["problem"]["action"]
                for issue in self.machine("worker").get("health_errors", [])))
            said = True
        except TimeoutError:
            said = False
        self.check("a disk that grows stops its stream and says what to do", said,
                   self.cluster.try_cli("machines", "show", "worker"))

    def clean_stop(self):
        """Not wrong input, but what must not happen on a good day: a stop that hangs or forgets."""
        agent = self.agent("calm")
        agent.start()
        self.await_machine("calm")
        self.cluster.cli("machines", "protect", "calm", "--datastore", str(self.directory / "datastore"),
                         "--point-interval", "1s", "--wait")
        stopping = threading.Event()
        written = []

        def write():
            nbd = None
            while not stopping.is_set():
                try:
                    nbd = nbd or Nbd(str(self.directory / "calm.sock"))
                    nbd.write(len(written) % 4000 * 4096, os.urandom(4096))
                    written.append(1)
                except OSError:
                    nbd = None
                    time.sleep(0.02)
        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(1)
        self.check("an agent stops in time while its disk is written to", agent.stop(), agent.log())
        agent.start()
        self.await_machine("calm")
        before = len(written)
        self.cluster.await_("the writer goes on", lambda: len(written) > before + 50)
        stopping.set()
        writer.join()
        seen = self.cluster.await_("everything is durable", lambda: self.machine("calm") if int(
            self.machine("calm").get("pending_bytes", 1)) == 0 else None)
        self.check("after a clean stop nothing is compared again", int(seen["sync_done_bytes"]) == 0, seen)
        self.cluster.cli("machines", "failback", "calm", "--point", "latest", "--wait")
        compared = subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw",
                                   self.machine("calm")["disk_paths"][0], self.directory / "calm.raw"],
                                  capture_output=True, text=True)
        self.check("and nothing is missing", compared.returncode == 0, compared.stdout)

    def damaged_state(self):
        agent = self.cluster.daemons["worker"]
        agent.kill()
        server = self.cluster.daemons["process_server"]
        server.kill()
        for segment in (server.directory / "state" / "spool").rglob("segment-*"):
            data = bytearray(segment.read_bytes())
            if len(data) > 64:
                data[len(data) // 2] ^= 1
                segment.write_bytes(data)
        for state in (agent.directory / "state" / "streams").glob("*.state"):
            data = bytearray(state.read_bytes())
            data[len(data) // 2] ^= 1
            state.write_bytes(data)
        image = self.directory / "worker.raw"
        with open(image, "r+b") as file:
            file.truncate(16 * MIB)
            file.seek(5 * MIB)
            file.write(b"written while the agent was away")
        server.start()
        agent.start()
        self.await_machine("worker")
        begun = time.time()
        self.cluster.await_("synchronised again, and a point made since", lambda: not self.machine("worker").get("syncing") and
                            begun < seconds_of(self.machine("worker").get("newest_point", {}).get("time", "1970-01-01T00:00:00Z")))
        self.cluster.cli("machines", "failback", "worker", "--point", "latest", "--wait")
        descriptor = self.machine("worker")["disk_paths"][0]
        compared = subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", descriptor, image],
                                  capture_output=True, text=True)
        self.check("a damaged spool and a damaged agent state cost time, not data", compared.returncode == 0,
                   compared.stdout)

    def handed_over(self):
        descriptor = pathlib.Path(self.machine("worker")["disk_paths"][0])
        flat = descriptor.with_name(descriptor.stem + "-flat.vmdk")
        points = self.cluster.json("points", "list", "worker")["points"]
        with open(flat, "r+b") as file:
            file.write(b"the machine runs")
        try:
            self.cluster.cli("machines", "failback", "worker", "--point", points[0]["id"], "--wait")
            text = "it was accepted"
        except Refused as refused:
            text = refused.text
        self.check("a disk that was written to since its handover goes to no other point",
                   "was written to since" in text, text)

    def damaged_store(self):
        server = self.cluster.daemons["config_server"]
        server.kill()
        damaged = False
        for log in sorted((server.directory / "state" / "store").glob("*.log")):
            data = bytearray(log.read_bytes())
            if len(data) > 2000:
                data[len(data) // 3] ^= 1
                log.write_bytes(data)
                damaged = True
        server.start()
        code = server.process.wait(HANG_SECONDS) if damaged else None
        self.check("a damaged store is refused, never silently shortened", code == 1 and "Corruption" in server.log(),
                   server.log())
        server.process = None

    def run(self):
        self.start()
        self.wrong_passphrase()
        self.foreign_ca()
        self.taken_port()
        self.unknown_key()
        self.retention()
        self.garbage()
        worker = self.agent("worker")
        worker.start()
        self.await_machine("worker")
        self.commands()
        self.clean_stop()
        self.full_datastore()
        if self.machine("worker").get("protection_state") != "Protected":
            self.cluster.cli("machines", "protect", "worker", "--point-interval", "1s", "--wait")
        self.resized_disk()
        self.damaged_state()
        self.handed_over()
        self.damaged_store()

    def close(self):
        self.cluster.stop()
        if getattr(self, "mounted", False):
            subprocess.run(["umount", self.directory / "small"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    arguments = parser.parse_args()
    directory = scratch("bad-input")
    cases = Cases(arguments.binaries, directory)
    try:
        cases.run()
    except (TimeoutError, Refused, subprocess.TimeoutExpired) as error:
        cases.check("the test itself", False, error)
        print(cases.cluster.told())
    finally:
        cases.close()
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if cases.failed else 0)


if __name__ == "__main__":
    main()
