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


# A policy's fields, and what `homeward policies` calls them.
SETTINGS = {"point_interval": "--point-interval", "app_point_interval": "--app-point-interval", "retention_age": "--retention",
            "retention_bytes": "--retention-bytes", "rpo_threshold": "--rpo-threshold"}


def policy_words(policy, there):
    """The command that makes a topology's policy, or, if it is there, has it be as described."""
    return ["policies", "change" if there else "create", policy["name"],
            *(word for field, option in SETTINGS.items() if field in policy for word in (option, str(policy[field])))]
