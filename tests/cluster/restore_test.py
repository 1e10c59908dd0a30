"""A configuration server that is lost, and restored from a backup of its own, with real daemons.

usage: restore_test.py --binaries DIR

* the demonstration `restore`: lost in the middle of a reprotect
* a backup that is older than a failback: it is told, nothing but resync is done with the machine, and resync goes on
* a directory for backups that is not there
* a restore that is killed
* what is not restored: another passphrase, another address, a changed file; and no store is left by it
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
import disks  # noqa: E402
from cluster import Cluster, Refused, scratch  # noqa: E402
from failback import be_alone_on_the_network, be_alone_with_mounts  # noqa: E402
from restore_demo import SIZES, Demo, Restored, restore  # noqa: E402

MIB = 1 << 20
DISK_BYTES = 32 * MIB
KILLS = 12


class Test:
    def __init__(self, binaries, directory):
        self.binaries, self.directory = binaries, directory
        self.failures = 0

    def check(self, what, holds, detail=""):
        self.failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}{'' if holds else f': {detail}'}", flush=True)

    def demo(self):
        story = Restored(self.binaries, self.directory / "demo", SIZES, say=print)
        story.work.mkdir()
        demo = Demo(story)
        try:
            demo.run()
        except (Refused, TimeoutError, RuntimeError, OSError):
            print(story.cluster.told() if story.cluster else "", file=sys.stderr)
            raise
        finally:
            story.close()
        self.failures += sum(not held for held in demo.checks.values())

    def health(self):
        return [one["problem"]["id"] for one in self.cluster.json("machines", "show", "web")["health_errors"]]

    def start(self):
        (self.directory / "backups").mkdir()
        (self.directory / "passphrase").write_text("a passphrase for tests\n")
        (self.directory / "datastore").mkdir()
        self.cluster = Cluster(self.binaries, self.directory, extra=f"""backup {{
  directory: "{self.directory}/backups"
  passphrase_file: "{self.directory}/passphrase"
}}
""")
        self.cluster.start_config_server()
        self.cluster.add_process_server().start()
        self.cluster.add_master_target(datastores=[self.directory / "datastore"]).start()
        self.cluster.await_servers(2)
        image = self.directory / "web.raw"
        image.write_bytes(os.urandom(DISK_BYTES))
        self.cluster.add_agent("web", f'disks {{ path: "{image}" nbd_socket: "{self.directory}/web.tap" }}\n').start()
        self.await_agent()
        self.cluster.cli("machines", "protect", "web", "--point-interval", "1s", "--wait")

    def await_agent(self):
        self.cluster.await_("the agent registers", lambda: self.cluster.try_json("machines", "show", "web").get("agent_connected"))

    def missing_directory(self):
        there, away = self.directory / "backups", self.directory / "unmounted"
        there.rename(away)
        try:
            self.cluster.cli("backups", "create")
            self.check("a backup to nowhere fails", False)
        except Refused as refused:
            self.check("a backup to nowhere fails", refused.code == 3 and "BACKUP_FAILED" in refused.text, refused.text)
        self.check("health says so", "BACKUP_FAILED" in self.cluster.cli("health"))
        away.rename(there)
        self.cluster.cli("backups", "create")
        self.check("and does not any more once one was made", "BACKUP_FAILED" not in self.cluster.cli("health"))

    def older_backup(self):
        backup = self.cluster.json("backups", "create")["path"]
        self.check("the backup is listed", backup in self.cluster.cli("backups", "list"))
        self.cluster.cli("machines", "failback", "web", "--point", "latest", "--wait")
        before = self.cluster.json("audit", "verify")
        self.cluster.daemons["config_server"].kill()
        state = self.directory / "config_server" / "state"
        shutil.rmtree(state)
        self.refusals(backup, state)
        self.killed(backup, state)
        done = restore(self.cluster, backup)
        self.check("it is restored, and says of what", done.returncode == 0 and "1 machines, 2 servers" in done.stdout, done)
        self.cluster.start_config_server()
        self.cluster.await_servers(2)
        self.await_agent()
        self.audit(before)
        self.cluster.await_("health says what was forgotten", lambda: "FORGOTTEN_GENERATION" in self.health())
        try:
            self.cluster.cli("machines", "failback", "web", "--point", "latest")
            self.check("a failback is refused", False)
        except Refused as refused:
            self.check("a failback is refused", "FORGOTTEN_GENERATION" in refused.text and "resync" in refused.text, refused.text)
        self.cluster.cli("machines", "resync", "web", "--wait")
        self.check("resync goes on from there", "FORGOTTEN_GENERATION" not in self.health(), self.health())
        self.cluster.cli("machines", "failback", "web", "--point", "latest", "--wait")
        seen = self.cluster.json("machines", "show", "web")
        flat = pathlib.Path(seen["disk_paths"][0])
        flat = flat.with_name(flat.stem + "-flat.vmdk")
        self.check("and the machine comes home, byte for byte", not disks.differing_blocks(flat, self.directory / "web.raw"))

    def audit(self, before):
        verified = self.cluster.json("audit", "verify")
        said = [line["says"]["kind"] for line in self.cluster.json("audit", "list")["lines"]]
        self.check("the audit log holds, and says that it is of a backup", int(verified["entries"]) > 2 and said[-1] == "RESTORED", said)
        try:
            self.cluster.cli("audit", "verify", "--head", before["last"])
            self.check("what was written after the backup is missed", False)
        except Refused as refused:
            self.check("what was written after the backup is missed", "AUDIT_BROKEN" in refused.text, refused.text)

    def killed(self, backup, state):
        """At any time: there is no store, or a whole one."""
        daemon = self.cluster.daemons["config_server"]
        command = [daemon.program, "--config", str(daemon.config), "--restore", backup]
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        whole = time.monotonic() - began
        wrong, ended = [], 0
        for part in range(1, KILLS + 1):
            shutil.rmtree(state)
            running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                running.wait(whole * part / KILLS)
            except subprocess.TimeoutExpired:
                running.kill()
            running.wait()
            done = restore(self.cluster, backup)
            there = "is there already" in done.stderr
            ended += there
            if done.returncode != 0 and not there:
                wrong.append((part, done.stderr))
        self.check(f"a restore that is killed at any of {KILLS} times is done again", not wrong and ended < KILLS, (wrong, ended))
        self.cluster.start_config_server()
        self.check("and the server starts with what is there", self.cluster.json("machines", "show", "web")["name"] == "web")
        daemon.kill()
        shutil.rmtree(state)

    def refusals(self, backup, state):
        daemon = self.cluster.daemons["config_server"]
        as_it_was = daemon.config.read_text()
        changed = bytearray(pathlib.Path(backup).read_bytes())
        changed[len(changed) // 2] ^= 1
        damaged = self.directory / "damaged"
        damaged.write_bytes(changed)
        (self.directory / "other").write_text("another passphrase, as long\n")
        port = int(self.cluster.address.rpartition(":")[2])
        for what, file, config, says in (
                ("a damaged backup", damaged, as_it_was, "was changed"),
                ("another passphrase", backup, as_it_was.replace(f"{self.directory}/passphrase", f"{self.directory}/other"), "passphrase"),
                ("another port", backup, as_it_was.replace(str(port), str(port + 1)), "CONFIG_SERVER_IDENTITY"),
                ("no passphrase", backup, as_it_was[:as_it_was.index("backup {")], "passphrase_file")):
            daemon.config.write_text(config)
            done = restore(self.cluster, str(file))
            self.check(f"{what}: refused, and nothing is there", done.returncode != 0 and says in done.stderr and not (state / "store").exists(),
                       done)
        daemon.config.write_text(as_it_was)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True)
    arguments = parser.parse_args()
    be_alone_on_the_network()
    be_alone_with_mounts()
    directory = scratch("restore")
    test = Test(arguments.binaries, directory)
    try:
        test.start()
        test.missing_directory()
        test.older_backup()
        test.cluster.stop()
        test.demo()
    except BaseException:
        print(test.cluster.told(), file=sys.stderr)
        raise
    finally:
        test.cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print("passed" if test.failures == 0 else f"{test.failures} failed")
    sys.exit(test.failures != 0)


if __name__ == "__main__":
    main()
