"""Hosts that are reached over SSH. Their keys are always checked, whatever the user's own settings are."""
import io
import pathlib
import shlex
import subprocess
import tarfile

CONNECT_SECONDS = 10
# What hangs ends; nothing that works takes so long.
COMMAND_SECONDS = 1800
SSH_FAILED = 255


class Failed(Exception):
    """Of one host: what is wrong, and what mends it."""

    def __init__(self, host, cause, fix):
        super().__init__(f"{host}: {cause}\n    {fix}")
        self.host = host


class Remote:
    """One host, as the inventory has it. `directory`: where its relative paths begin."""

    def __init__(self, described, directory):
        self.name, self.ssh, self.access = described["name"], described["ssh"], described["access"]
        self.directory = directory

    def file(self, key):
        path = self.access.get(key)
        return self.directory / pathlib.Path(path).expanduser() if path else None

    def command(self):
        options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"ConnectTimeout={CONNECT_SECONDS}", "ServerAliveInterval=10",
                   "ServerAliveCountMax=3", "ClearAllForwardings=yes", "ForwardAgent=no"]
        known = self.file("known_hosts_file")
        if known:
            options += [f"UserKnownHostsFile={quoted(known)}", "GlobalKnownHostsFile=/dev/null"]
        if self.file("identity_file"):
            options.append("IdentitiesOnly=yes")
        words = ["ssh", "-T", *(word for option in options for word in ("-o", option))]
        if self.file("identity_file"):
            words += ["-i", str(self.file("identity_file"))]
        if self.access.get("port"):
            words += ["-p", str(self.access["port"])]
        return [*words, "--", self.ssh]

    def run(self, script, given=b"", limit=COMMAND_SECONDS):
        """What a shell's script says there, as root. `given` is its standard input. Failed when it does not end with 0."""
        code, said, complaint = self.try_run(script, given, limit)
        if code != 0:
            raise Failed(self.name, f"a step ended with {code}: {complaint or said.strip()[-2000:]}", "Mend what it says, then repeat the command: what is done already is left as it is.")
        return said

    def try_run(self, script, given=b"", limit=COMMAND_SECONDS):
        """Its exit code, and what it said; Failed when it could not begin, or the connection was lost."""
        there = f"sh -c {shlex.quote(script)}"
        if self.access.get("sudo"):
            there = f"sudo -n {there}"
        for key in ("identity_file", "known_hosts_file"):
            if self.file(key) and not self.file(key).is_file():
                raise Failed(self.name, f"there is no {key} {self.file(key)}", f"Correct {key} in the inventory.")
        try:
            done = subprocess.run([*self.command(), there], input=given, capture_output=True, timeout=limit)
        except subprocess.TimeoutExpired:
            raise Failed(self.name, f"a command did not end within {limit} s", "Look at the host, then repeat the command.") from None
        said, complaint = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace").strip()
        if done.returncode == SSH_FAILED:
            raise self.unreached(complaint)
        if done.returncode != 0 and self.access.get("sudo") and (complaint.startswith("sudo:") or "sudo: command not found" in complaint or "sudo: not found" in complaint):
            raise Failed(self.name, f"sudo is refused to {self.ssh}: {complaint.splitlines()[0]}",
                         "Let this user run commands without a password (NOPASSWD in /etc/sudoers.d), or log in as root and leave out sudo.")
        return done.returncode, said, complaint

    def unreached(self, complaint):
        last = complaint.splitlines()[-1] if complaint else "ssh said nothing"
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in complaint:
            return Failed(self.name, f"{self.ssh} shows another key than the one that is known of it; nothing was sent",
                          "If the host was installed anew, put its new key into the known_hosts file, checked at its console. If not, somebody answers in its place.")
        if "Host key verification failed" in complaint:
            return Failed(self.name, f"the key of {self.ssh} is not known; nothing was sent",
                          "Compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says at the host's console, then add it to the known_hosts file.")
        if "Permission denied" in complaint:
            return Failed(self.name, f"{self.ssh} does not let this user in: {last}", "Add the public key of the identity_file to the user's authorized_keys there, or correct ssh or identity_file in the inventory.")
        if "Could not resolve" in complaint:
            return Failed(self.name, f"there is no host of that name: {last}", "Correct ssh in the inventory.")
        return Failed(self.name, f"{self.ssh} cannot be reached: {last}", "Is it on, and does sshd run there? Check ssh and port in the inventory, then repeat the command.")


def quoted(path):
    """As one word of ssh's settings."""
    return f'"{path}"' if " " in str(path) else str(path)


def archive(files):
    """A tar archive of (path, mode, content)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, mode, content in files:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode, entry.size = mode, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()
