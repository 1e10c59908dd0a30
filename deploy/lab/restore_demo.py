"""The demonstration behind `deploy/demo restore`: the configuration server's host is lost in the middle of a reprotect. Ends in
`RESULT {json}`."""
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from demo import say  # noqa: E402
from failback import MACHINE, POINT_INTERVAL, Story, loopback_bytes  # noqa: E402
from failback_demo import Demo as Failback  # noqa: E402
from stage import command_line, present, require_loop_devices  # noqa: E402

SIZES = (1024, 512)  # MiB
CHANGED_PERCENT = 20
BACKUP_SECONDS = 60


def restore(cluster, backup):
    """As on another host that has the old one's address."""
    daemon = cluster.daemons["config_server"]
    return subprocess.run([daemon.program, "--config", str(daemon.config), "--restore", backup], capture_output=True, text=True)


class Restored(Story):
    """Whose configuration server makes backups."""

    def configure(self):
        backups = self.work / "backups"
        backups.mkdir(mode=0o700)
        passphrase = self.work / "backup-passphrase"
        passphrase.write_text("as an operator keeps it in a safe\n")
        return f"""backup {{
  directory: "{backups}"
  interval {{ seconds: {BACKUP_SECONDS} }}
  passphrase_file: "{passphrase}"
}}
"""

    def begin_reprotect(self):
        started = self.cluster.json("machines", "reprotect", MACHINE, "--location", "original", "--point-interval", POINT_INTERVAL)
        self.job = started["id"]
        def synchronises():
            job = self.cluster.json("jobs", "show", self.job)
            if job["state"] != "Running":
                raise RuntimeError(f"it ended before the server was lost: {job}")
            return int(self.machine().get("received_bytes") or 0) > self.disk_bytes * CHANGED_PERCENT // 2000
        self.cluster.await_("the disks are being synchronised", synchronises, interval=0.02)

    def lose_config_server(self):
        """Its host and all that was on it: what is left is the backup."""
        lost = self.cluster.daemons["config_server"]
        lost.kill()
        shutil.rmtree(lost.directory / "state")


class Demo(Failback):
    def run(self):
        story = self.story
        say("starting a simulated vCenter, and four daemons; the configuration server makes encrypted backups of itself")
        story.set_up()
        home = story.boot_at_home()
        story.fill(home)
        say("protecting a machine with two disks, failing it over, and changing what it has")
        story.protect()
        azure = story.fail_over(home)
        story.change(azure, CHANGED_PERCENT)
        say("reprotecting it to the VM that it was")
        sent = loopback_bytes()
        story.begin_reprotect()
        backup = story.cluster.json("backups", "create")
        self.check("a backup was made while it runs", int(backup["size_bytes"]) > 0, f"{backup['path']}, {backup['size_bytes']} bytes")
        self.check("nothing of it can be read", b"BEGIN" not in pathlib.Path(backup["path"]).read_bytes())
        say("losing the configuration server's host, with all that was on it")
        began = time.monotonic()
        identity = story.cluster.json("version")["config_server_id"]
        story.lose_config_server()
        restored = restore(story.cluster, backup["path"])
        self.check("it is restored elsewhere", restored.returncode == 0, restored.stderr)
        for line in restored.stdout.splitlines():
            say("  " + line)
        again = restore(story.cluster, backup["path"])
        self.check("it is not restored over one that is there", again.returncode == 1 and "is there already" in again.stderr,
                   again.stderr.strip())
        story.cluster.start_config_server()
        self.check("it is the same configuration server", story.cluster.json("version")["config_server_id"] == identity)
        self.check("what happened says so",
                   any(event["name"] == "config_server.restored" for event in story.cluster.json("events")["events"]))
        story.cluster.await_servers(2)
        story.cluster.await_("the agent is back", lambda: story.machine().get("agent_connected"))
        story.result["back_seconds"] = round(time.monotonic() - began, 2)
        say("its components are back; the reprotect goes on")
        job = story.cluster.await_("the job ends", lambda: self.ended(story.cluster.json("jobs", "show", story.job)))
        self.check("the reprotect finished", job["state"] == "Succeeded", str(job.get("problem")))
        story.result["bytes_on_wire"] = (loopback_bytes() - sent) // 2
        changed = story.disk_bytes * CHANGED_PERCENT // 100
        share = story.result["bytes_on_wire"] / changed
        self.check("what was durable was not sent again", share <= 1.1, f"{share:.0%} of what had changed travelled")
        self.check("nothing is forgotten", not [one for one in story.machine()["health_errors"]
                                                if one["problem"]["id"] == "FORGOTTEN_GENERATION"])
        say("failing back")
        story.fail_back()
        azure.agent.stop()
        azure.unmount()
        self.check("the VM is on", story.vcenter.vms()[MACHINE]["on"])
        self.check("each disk is at its old place, and at no other VM", story.at_old_places())
        self.check("both disks are byte for byte the source", story.same_bytes())
        self.check("their file systems mount", story.mounts_read_only())
        story.boot_at_home("home-again", state_of="azure-vm")
        story.cluster.cli("machines", "commit", MACHINE, "--wait")
        self.check("committed", story.machine()["protection_state"] == "FailoverCommitted")

    @staticmethod
    def ended(job):
        return job if job["state"] != "Running" else None


def main():
    arguments = command_line(__doc__, ["restore"]).parse_args()
    require_loop_devices()
    present(arguments, lambda work: Demo(Restored(arguments.binaries, work, SIZES, say=say)), Demo.run)


if __name__ == "__main__":
    main()
