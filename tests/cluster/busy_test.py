"""What must come to its end although the machine never stops writing.

usage: busy_test.py --binaries DIR [--keep]

* a first synchronisation beside a program that overwrites a part of the disk without a pause, at a rate that any link carries
* a synchronisation of everything beside the same
* what came home afterwards is the disk, byte for byte

Needs root, loop devices and fio; without them it says so and ends.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import Cluster, die_with_parent  # noqa: E402
from disks import Loop, can_use_loop_devices  # noqa: E402

MIB = 1 << 20
DISK_BYTES, BUSY_BYTES = 384 * MIB, 96 * MIB
LIMIT = 600  # seconds; there only to end a hang


class Busy:
    """A program that does nothing but overwrite the first BUSY_BYTES of a device."""

    def __init__(self, device):
        self.process = subprocess.Popen(
            ["fio", "--name=busy", f"--filename={device}", "--rw=randwrite", "--bs=256k", "--direct=1", "--ioengine=libaio",
             "--iodepth=8", "--rate=24m", f"--size={BUSY_BYTES}", "--time_based", f"--runtime={LIMIT * 2}", "--randrepeat=0"],
            stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def works(self):
        return self.process.poll() is None

    def end(self):
        self.process.terminate()
        self.process.wait()


def story(cluster, directory, device):
    failures = 0

    def check(what, holds):
        nonlocal failures
        failures += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)

    def seen():
        return cluster.try_json("machines", "show", "busy-1")

    cluster.start_config_server()
    cluster.add_process_server().start()
    (directory / "ds").mkdir()
    cluster.add_master_target(datastores=[directory / "ds"]).start()
    cluster.await_servers(2)
    cluster.add_agent("busy-1", f'disks {{ path: "{device}" capture: BPF }}\n').start()
    cluster.await_("the agent registers", lambda: seen().get("agent_connected"))
    busy = Busy(device)
    # A point beside such a writer may not be one instant; it must be there all the same.
    cluster.cli("machines", "protect", "busy-1", "--point-interval", "1h", "--wait", limit=LIMIT)
    check("a first synchronisation ends beside a program that never stops writing", busy.works())
    cluster.cli("machines", "resync", "busy-1", "--wait", limit=LIMIT)
    check("so does one of everything", busy.works())
    busy.end()
    cluster.cli("points", "create", "busy-1", "--wait", limit=LIMIT)
    points = cluster.json("points", "list", "busy-1")["points"]
    check("the point after the last write is one instant", points[-1]["consistency"] in ("FROZEN", "UNDISTURBED"))
    cluster.cli("machines", "failback", "busy-1", "--point", "latest", "--wait", limit=LIMIT)
    flat = seen()["disk_paths"][0].replace(".vmdk", "-flat.vmdk")
    same = subprocess.run(["cmp", device, flat], check=False).returncode == 0
    check("what came home is the disk, byte for byte", same)
    return failures


def main():
    parser = argparse.ArgumentParser(description="what must end although the machine never stops writing")
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if not can_use_loop_devices() or shutil.which("fio") is None:
        print("skipped: needs root, loop devices and fio")
        return 0
    directory = pathlib.Path(tempfile.mkdtemp(prefix="homeward-busy-"))
    image = directory / "disk.raw"
    with open(image, "wb") as file:
        file.truncate(DISK_BYTES)
        for at in range(0, DISK_BYTES, 8 * MIB):
            file.seek(at)
            file.write(bytes([at // MIB % 251]) * MIB)
    loop = Loop(image)
    cluster = Cluster(options.binaries, directory)
    try:
        return 1 if story(cluster, directory, loop.device) else 0
    finally:
        cluster.stop()
        loop.close()
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
