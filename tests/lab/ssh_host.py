"""Hosts for ssh_test.py: each a network namespace with a real sshd, a root file system and processes of its own. All of it ends with this process."""
import os
import pathlib
import shutil
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "deploy" / "lab"))
from cluster import die_with_parent  # noqa: E402
from disks import run  # noqa: E402

HANG_SECONDS = 300
# This machine's files, of which each host changes what it likes without anybody else seeing it.
ROOT = """set -e
mount -t tmpfs -o size=2g,mode=0755 host "$1"
cd "$1"
mkdir changed work root
mount -t overlay -o lowerdir=/,upperdir=changed,workdir=work overlay root
for where in dev sys; do mount --rbind /$where root/$where; done
mount -t proc proc root/proc
mount -t tmpfs -o mode=0755 run root/run
mount -t tmpfs -o mode=1777 tmp root/tmp
mkdir -p root/run/sshd
rm -rf root/etc/homeward root/var/lib/homeward root/vmfs root/opt/homeward root/etc/systemd/system/homeward-*
install -m 0755 "$2/systemctl.py" root/usr/bin/systemctl
install -m 0755 "$2/systemctl.py" root/usr/bin/journalctl
install -m 0600 "$3/host_key" root/etc/ssh/test_key
install -m 0644 "$3/deployer.pub" root/etc/ssh/test_authorized
printf '%s\\n' "ListenAddress 0.0.0.0" "HostKey /etc/ssh/test_key" "AuthorizedKeysFile /etc/ssh/test_authorized" \\
  "PermitRootLogin prohibit-password" "PasswordAuthentication no" "UsePAM no" "PidFile none" >root/etc/ssh/test_config
chroot root useradd --create-home --shell /bin/sh --password '*' deployer
exec chroot root python3 -c "$4"
"""
# The first process of a host: it takes leave of those whose parents have ended, and starts sshd when it is told to.
INIT = """
import os, select, signal
told, tells = os.pipe()
os.set_blocking(tells, False)
signal.set_wakeup_fd(tells)
signal.signal(signal.SIGCHLD, lambda *_: None)
print("ready", flush=True)
while True:
    ready = select.select([0, told], [], [])[0]
    if 0 in ready:
        if not os.read(0, 1):
            break
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.execv("/usr/sbin/sshd", ["/usr/sbin/sshd", "-f", "/etc/ssh/test_config", "-E", "/run/sshd.log"])
    if told in ready:
        os.read(told, 64)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


class SshHost:
    """`namespace`: its network. `directory`: an empty one."""

    def __init__(self, name, namespace, directory):
        self.name, self.namespace, self.directory = name, namespace, directory
        self.keys = directory / "keys"
        self.keys.mkdir(parents=True)
        (directory / "host").mkdir()
        self.key(self.keys / "host_key")
        shutil.copy(directory.parent / "deployer.pub", self.keys)
        self.process = subprocess.Popen(
            [*namespace.prefix, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ROOT, "host", directory / "host",
             pathlib.Path(__file__).parent, self.keys, INIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"host {name} did not come up: it needs root, overlayfs, openssh-server and sudo")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.inside = ["nsenter", "--target", children[0], "--mount", "--pid", "--net", "--root", "--wdns=/"]

    @staticmethod
    def key(path):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path)

    def known(self, address):
        """Its line in a known_hosts file."""
        return f"{address} {' '.join((self.keys / 'host_key.pub').read_text().split()[:2])}\n"

    def do(self, script):
        """What a script says there, not over SSH."""
        return run(*self.inside, "sh", "-c", script, timeout=HANG_SECONDS, cwd="/")

    def serve(self):
        self.process.stdin.write(b"s")
        self.process.stdin.flush()
        deadline = time.monotonic() + HANG_SECONDS
        while "Server listening" not in self.do("cat /run/sshd.log 2>/dev/null || true"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: sshd does not listen: {self.do('cat /run/sshd.log')}")
            time.sleep(0.05)

    def files(self):
        """What of ours is there."""
        return self.do("find /etc/homeward /usr/bin/homeward* /opt/homeward /etc/systemd/system/homeward* /var/lib/homeward /vmfs -type f 2>/dev/null | sort || true").splitlines()

    def fingerprint(self):
        """Of what a deployment may change: content, times, and who runs."""
        return self.do("find /etc/homeward /usr/bin/homeward* /opt/homeward /etc/systemd/system/homeward* /var/lib/homeward/deployment -type f -printf '%p %m %T@ %i\\n' 2>/dev/null | sort; "
                       "cat /run/units/*.main 2>/dev/null; true")

    def main(self, daemon):
        """The process of a daemon."""
        return self.do(f"cat /run/units/homeward-{daemon}.service.main")

    def close(self):
        self.process.kill()
        self.process.wait()


def needs():
    """What is missing on this machine for such hosts; empty when nothing is."""
    return [what for what, holds in (("root", os.geteuid() == 0), ("sshd", shutil.which("sshd", path="/usr/sbin")), ("sudo", shutil.which("sudo")),
                                     ("systemd-analyze", shutil.which("systemd-analyze"))) if not holds]
