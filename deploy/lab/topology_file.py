"""Topologies, and files that go with them, as `homeward-lab-read` makes them out: only that program knows what they may say."""
import subprocess

# Those of a topology that are no machine's.
DAEMONS = ("config-server", "process-server", "master-target")


class Wrong(Exception):
    """A file is not as it must be; the text says where."""


def read(binaries, *arguments):
    """What `homeward-lab-read` makes of a file."""
    done = subprocess.run([binaries / "homeward-lab-read", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise Wrong(done.stderr.strip())
    return done.stdout
