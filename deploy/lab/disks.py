"""Disks for demonstrations and tests: images, loop devices, file systems, and a ledger that proves what was there."""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

LEDGER_NAME = "homeward-ledger"
RECORD_BYTES = 512


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def unmount(where, patience_seconds=30):
    """The agent opens a file system while it freezes it for a point: for that long it is busy."""
    until = time.monotonic() + patience_seconds
    while os.path.ismount(where):
        done = subprocess.run(["umount", where], capture_output=True, text=True)
        if done.returncode != 0 and ("busy" not in done.stderr or time.monotonic() > until):
            raise RuntimeError(done.stderr.strip())
        if done.returncode != 0:
            time.sleep(0.05)


class Loop:
    """A loop device with a node for each partition; the kernel here reads no partition tables by itself."""

    def __init__(self, image, read_only=False):
        flags = ["--read-only"] if read_only else []
        self.device = run("losetup", "--find", "--show", *flags, image)
        subprocess.run(["partx", "-a", self.device], capture_output=True)
        self.mounts = []

    def volumes(self):
        """Block devices that may hold a file system: the partitions, or the whole disk."""
        out = run("lsblk", "--noheadings", "--raw", "--paths", "--output", "NAME", self.device).split()
        return [name for name in out if name != self.device] or [self.device]

    def mount(self, volume, where, options="rw"):
        pathlib.Path(where).mkdir(parents=True, exist_ok=True)
        run("mount", "-o", options, volume, where)
        self.mounts.append(where)

    def unmount(self):
        while self.mounts:
            unmount(self.mounts.pop())

    def close(self):
        self.unmount()
        subprocess.run(["partx", "-d", self.device], capture_output=True)
        subprocess.run(["losetup", "-d", self.device], capture_output=True)


def can_use_loop_devices():
    if os.geteuid() != 0:
        return False
    return pathlib.Path("/dev/loop-control").exists()


def differing_blocks(one, other, block_bytes=4096):
    """Numbers of the blocks in which two files differ; one that is longer differs in what the other lacks."""
    blocks, step = [], 256 * block_bytes
    with open(one, "rb") as ours, open(other, "rb") as theirs:
        at = 0
        while True:
            mine, its = ours.read(step), theirs.read(step)
            if not mine and not its:
                return blocks
            if mine != its:
                blocks += [at // block_bytes + i for i in range(-(-max(len(mine), len(its)) // block_bytes))
                           if mine[i * block_bytes:(i + 1) * block_bytes] != its[i * block_bytes:(i + 1) * block_bytes]]
            at += step


def digest_tree(root):
    """path -> sha256 of every regular file below root, without the ledger."""
    out = {}
    for directory, _names, files in os.walk(root):
        for name in files:
            path = pathlib.Path(directory, name)
            if name.startswith("homeward-") or path.is_symlink() or not path.is_file():
                continue
            out[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return out


def ledger_record(sequence, previous):
    """A record says its number, its time and the digest of the one before it."""
    body = json.dumps({"sequence": sequence, "time": time.time(), "previous": previous}).encode()
    digest = hashlib.sha256(body).hexdigest()
    return (body + b" " + digest.encode() + b"\n").ljust(RECORD_BYTES, b" "), digest


def read_ledger(data):
    """The records of an unbroken chain from the first one on. ValueError when one is wrong."""
    records, previous = [], ""
    for at in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        raw = data[at:at + RECORD_BYTES]
        if not raw.strip(b"\0 \n"):
            break
        body, digest = raw.strip().rsplit(b" ", 1)
        if hashlib.sha256(body).hexdigest() != digest.decode():
            raise ValueError(f"record {len(records)} is damaged")
        record = json.loads(body)
        if record["sequence"] != len(records) or record["previous"] != previous:
            raise ValueError(f"record {len(records)} does not follow the one before")
        previous = record["digest"] = digest.decode()
        records.append(record)
    return records


def write_on(target, base, limit, acknowledged, churn_bytes, interval=0.02):
    """Writes the ledger, one synced record after another, and overwrites random blocks of a second file, until it is
    told to stop. Goes on with a ledger that is there. Each record that is on the disk is noted in `acknowledged`, outside of
    it."""
    ledger = os.open(target, os.O_RDWR | os.O_CREAT)
    before = read_ledger(os.pread(ledger, limit, base))
    churn = os.open(str(target) + "-churn", os.O_WRONLY | os.O_CREAT) if churn_bytes else None
    previous, sequence = (before[-1]["digest"] if before else ""), len(before)
    with open(acknowledged, "a", buffering=1) as noted:
        while (sequence + 1) * RECORD_BYTES <= limit:
            record, previous = ledger_record(sequence, previous)
            os.pwrite(ledger, record, base + sequence * RECORD_BYTES)
            os.fdatasync(ledger)
            noted.write(f"{sequence} {time.time()}\n")
            if churn is not None and sequence % 4 == 0:
                at = int.from_bytes(os.urandom(6), "big") % max(1, churn_bytes // 65536) * 65536
                os.pwrite(churn, os.urandom(65536), at)
            sequence += 1
            time.sleep(interval)


if __name__ == "__main__":
    write_on(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), *map(float, sys.argv[6:]))
