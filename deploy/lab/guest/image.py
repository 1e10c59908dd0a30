"""Looks and writes into disk images of the lab's machines, without booting them.

A raw image's root file system is mounted through a loop device, in a mount namespace of a process of its own: whatever becomes of that
process or of its parent, nothing stays mounted and no loop device is left. Needs root.
"""
import base64
import ctypes
import json
import os
import pathlib
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile

PR_SET_PDEATHSIG = 1
SECTOR = 512
BUILD = pathlib.Path(__file__).resolve().parent / "build-image"


def build(file, agent):
    """The image that all machines begin as, made anew only when something that it is made from is another."""
    subprocess.run([BUILD, file, "--agent", agent], check=True)


def copy(image, target):
    """With its holes."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, target], check=True)


def personalise(image, files):
    """Writes `files`, {path in the machine: (content, mode)}, into the image. A content is text, bytes, or the pathlib.Path of a
    file that is copied; None takes the file away."""
    wanted = []
    for path, (content, mode) in files.items():
        entry = {"path": str(path), "mode": mode}
        if isinstance(content, pathlib.Path):
            entry["from"] = str(content.resolve())
        elif content is not None:
            entry["content"] = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
        wanted.append(entry)
    ask({"do": "write", "image": str(image), "files": wanted})


def read(image, *paths):
    """The content of each file as a machine that boots from the image finds it; None where there is none. The image stays as it
    is: its journal is replayed in a copy."""
    with tempfile.TemporaryDirectory(prefix="look-", dir=pathlib.Path(image).resolve().parent) as scratch:
        copied = pathlib.Path(scratch) / "image"
        copy(image, copied)
        found = ask({"do": "read", "image": str(copied), "paths": [str(path) for path in paths]})
    return [None if text is None else base64.b64decode(text) for text in found]


def ask(order):
    done = subprocess.run([sys.executable, __file__], input=json.dumps(order), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{order['image']}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)


# --- in the process of its own


def root_partition(image):
    """Offset and length in bytes of the bootable partition."""
    with open(image, "rb") as file:
        table = file.read(SECTOR)
    if table[510:512] != b"\x55\xaa":
        raise RuntimeError(f"{image} has no partition table: was it made by build-image?")
    for number in range(4):
        active, first, count = struct.unpack_from("<B7xII", table, 446 + 16 * number)
        if active == 0x80:
            return first * SECTOR, count * SECTOR
    raise RuntimeError(f"{image} has no bootable partition: was it made by build-image?")


def mount(image, where):
    offset, length = root_partition(image)
    done = subprocess.run(["mount", "-o", f"loop,offset={offset},sizelimit={length}", image, where], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())


def inside(root, path):
    """Where the machine's `path` is. No link leads out of the image."""
    at = root
    for part in pathlib.PurePosixPath(path).parts[1:]:
        at = at / part
        if at.is_symlink():
            target = pathlib.PurePosixPath("/", at.parent.relative_to(root), os.readlink(at))
            at = inside(root, os.path.normpath(target))
    return at


def write(root, entry):
    target = inside(root, entry["path"])
    if "from" not in entry and "content" not in entry:
        target.unlink(missing_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if "from" in entry:
        shutil.copyfile(entry["from"], target)
    else:
        target.write_bytes(base64.b64decode(entry["content"]))
    target.chmod(entry["mode"])
    os.chown(target, 0, 0)


def content(root, path):
    target = inside(root, path)
    if not target.exists() or not stat.S_ISREG(target.stat().st_mode):
        return None
    return base64.b64encode(target.read_bytes()).decode()


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    order = json.load(sys.stdin)
    if libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "a mount namespace of its own")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    # The mount point is a file system of the namespace too, so that nothing of it is left anywhere.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True)
    root = pathlib.Path("/mnt/root")
    root.mkdir()
    mount(order["image"], root)
    answer = None
    if order["do"] == "write":
        for entry in order["files"]:
            write(root, entry)
    else:
        answer = [content(root, path) for path in order["paths"]]
    subprocess.run(["umount", root], check=True)
    print(json.dumps(answer))


if __name__ == "__main__":
    try:
        main()
    except (OSError, RuntimeError, subprocess.CalledProcessError) as why:
        sys.exit(str(why))
