#!/usr/bin/env python3
"""A topology on hosts that are reached over SSH: what `lab deploy` puts there, leaves alone, refuses and mends. Root.

  ssh_test.py --binaries build/optimised/bin [--only NAME]

Each host is a network namespace with a real sshd, and files and processes of its own (ssh_host.py). systemd is not its first process: systemctl.py stands in.
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from ssh_host import HANG_SECONDS, SOURCE, SshHost, needs  # noqa: E402
from cluster import die_with_parent, scratch  # noqa: E402
from disks import run  # noqa: E402
from failback import be_alone_on_the_network, be_alone_with_mounts  # noqa: E402
from laboratory import Laboratory  # noqa: E402

LAB = SOURCE / "deploy" / "lab"
UNCHANGED, DIFFERENT = "Nothing was changed", 3
# For ssh on this machine, in this test's own mounts: whoever wrote this, a host's key is checked all the same.
CARELESS = "Host *\n  StrictHostKeyChecking no\n"


class Sites:
    """The network of a topology, with hosts that run sshd where it has daemons; nothing of ours runs there yet."""

    def __init__(self, test, topology):
        self.test, self.topology = test, topology
        self.directory = test.work / topology.stem
        self.directory.mkdir()
        SshHost.key(self.directory / "deployer")
        self.lab = Laboratory(topology, test.binaries, self.directory)
        be_alone_on_the_network()
        self.lab.make_network()
        self.hosts = {}
        for name, host in self.lab.hosts.items():
            if {"config_server", "process_server", "master_target"} & set(host.described):
                self.hosts[name] = SshHost(name, host.namespace, self.directory / name)

    def inventory(self, name="inventory", access=None, **hosts):
        """A file; `hosts`: what is said of one beside its address, in the file's words."""
        lines = [f'access {{ identity_file: "deployer" known_hosts_file: "known_hosts" {access or ""} }}']
        known = ""
        for one, host in self.hosts.items():
            address = self.lab.hosts[one].address
            words = hosts.get(one.replace("-", "_"), "")
            lines.append(f'hosts {{ name: "{one}" {words} {"" if "ssh:" in words else f"ssh: {chr(34)}root@{address}{chr(34)}"} }}')
            known += host.known(address)
        path = self.directory / f"{name}.textproto"
        path.write_text("\n".join(lines) + "\n")
        (self.directory / "known_hosts").write_text(known)
        return path

    def close(self):
        for host in self.hosts.values():
            host.close()
        self.lab.close()


class Test:
    def __init__(self, binaries):
        self.binaries = pathlib.Path(binaries).resolve()
        self.work = scratch(f"ssh-test-{os.getpid()}")
        for left in self.work.parent.glob("homeward-ssh-test-*-*"):  # by one that was killed
            if not pathlib.Path(f"/proc/{left.name.split('-')[3]}").exists():
                shutil.rmtree(left, ignore_errors=True)
        self.failed = []

    def check(self, what, holds, seen=""):
        print(f"{'ok  ' if holds else 'FAIL'} {what}{f': {seen}' if seen != '' and not holds else ''}", flush=True)
        if not holds:
            self.failed.append(what)

    def lab(self, order, topology, inventory, *words, code=0, binaries=None):
        """Runs `lab deploy` or `lab undeploy`, and returns what it said."""
        began = time.monotonic()
        done = subprocess.run([LAB / "lab", order, topology, "--inventory", inventory, "--binaries", binaries or self.binaries, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=HANG_SECONDS, preexec_fn=die_with_parent)
        print(f"     {order} {' '.join(map(str, words))}: {time.monotonic() - began:.1f} s", flush=True)
        self.check(f"it ends with {code}", done.returncode == code, f"{done.returncode}: {done.stdout[-3000:]}")
        return done.stdout

    # --- everything on one host

    def single(self):
        topology = LAB / "topologies" / "single-host.textproto"
        sites = Sites(self, topology)
        try:
            sites.hosts["all"].serve()
            self.one_host(topology, sites.inventory(), sites.hosts["all"])
        finally:
            sites.close()

    def one_host(self, topology, inventory, host):
        said = self.lab("deploy", topology, inventory, "--check", code=DIFFERENT)
        self.check("a check says what is missing", "missing: /usr/bin/homeward-config-server" in said and "not running: homeward-master-target.service" in said, said)
        self.check("and changes nothing", host.files() == [], host.files())
        said = self.lab("deploy", topology, inventory)
        self.check("the servers of the host are connected", "Connected: master-target all, process-server all." in said, said)
        self.check("what only a lab simulates is named, and how a real one is made known",
                   "homeward --server 10.1.0.10:443 --identity /var/lib/homeward/config-server/operator vcenters add all" in said and "azure add azure" in said
                   and "machine web" in said, said)
        self.check("no machine's agent was put there", not any("agent" in path for path in host.files()), host.files())
        self.check("the passphrase is for root alone", host.do("stat -c '%a %U' /etc/homeward/enrolment") == "600 root")
        self.check("the units are right for systemd", "" == host.do("systemd-analyze verify --man=no --generators=no /etc/systemd/system/homeward-*.service 2>&1 || true"),
                   host.do("systemd-analyze verify --man=no /etc/systemd/system/homeward-*.service 2>&1 || true"))
        before = host.fingerprint()
        said = self.lab("deploy", topology, inventory)
        self.check("a second deployment says that it changed nothing", UNCHANGED in said, said)
        self.check("and so it is: no file, no process", host.fingerprint() == before)
        said = self.lab("deploy", topology, inventory, "--check")
        self.check("a check agrees", "all: as described" in said, said)
        identity = host.do("cat /var/lib/homeward/config-server/operator/*.pem | sha256sum")
        said = self.lab("undeploy", topology, inventory)
        self.check("undeploy leaves the state alone", "/var/lib/homeward/config-server left" in said and all(path.startswith("/var/lib/homeward/") for path in host.files())
                   and host.files(), host.files())
        self.check("no daemon runs any more", host.do("pgrep homeward || true") == "")
        said = self.lab("undeploy", topology, inventory)
        self.check("a second undeploy finds nothing to remove", "removed" not in said, said)
        said = self.lab("deploy", topology, inventory)
        self.check("deployed again, they know each other", "Connected: master-target all, process-server all." in said and identity == host.do("cat /var/lib/homeward/config-server/operator/*.pem | sha256sum"), said)
        said = self.lab("undeploy", topology, inventory, "--purge")
        self.check("with --purge nothing of ours is left", host.files() == [] and "/var/lib/homeward/config-server removed" in said, host.files())

    # --- two sites

    def two_sites(self):
        topology = LAB / "topologies" / "two-sites.textproto"
        sites = Sites(self, topology)
        try:
            self.several_hosts(sites, topology)
        finally:
            sites.close()

    def several_hosts(self, sites, topology):
        sites.hosts["cs"].serve()
        sites.hosts["mt"].serve()
        far = sites.lab.hosts["ps-az"]
        # The far host is behind an address that the topology does not know.
        far.namespace.run("ip", "address", "add", "10.2.0.50/24", "dev", "eth0")
        far.address = "10.2.0.50"
        self.far = 'address: "10.2.0.50" access { program_directory: "/opt/homeward/bin" }'
        inventory = sites.inventory(mt='ssh: "deployer@10.1.0.11" access { sudo: true }', ps_az=self.far)
        self.refused_early(sites, topology, inventory)
        self.sudo(sites, topology, inventory)
        said = self.lab("deploy", topology, inventory, code=1)
        self.check("a host that is down is named, with what to do", "ps-az: root@10.2.0.50 cannot be reached" in said and "repeat the command" in said, said)
        self.check("the others are there all the same", "Connected: master-target mt, process-server ps-home." in said, said)
        sites.hosts["ps-az"].serve()
        near = {name: sites.hosts[name].fingerprint() for name in ("cs", "mt")}
        self.taken_port(sites, topology, inventory)
        said = self.lab("deploy", topology, inventory)
        self.check("once it is up it gets what it lacks", "Connected: master-target mt, process-server ps-az, process-server ps-home." in said and "ps-az: homeward-process-server.service started" in said, said)
        self.check("and nothing was done on the others", near == {name: sites.hosts[name].fingerprint() for name in near}, said)
        config = sites.hosts["ps-az"].do("cat /etc/homeward/process-server.conf")
        self.check("its programs are where the inventory puts them", all(path.startswith("/opt/homeward/bin/") for path in sites.hosts["ps-az"].files() if "/bin/" in path)
                   and "ExecStart=/opt/homeward/bin/homeward-process-server " in sites.hosts["ps-az"].do("cat /etc/systemd/system/homeward-process-server.service"))
        self.check("it listens on all of its addresses, and is reached at the inventory's", '"0.0.0.0:9443"' in config and 'advertised_address: "10.2.0.50:9443"' in config, config)
        changed = self.changes(sites, topology, inventory)
        self.keys(sites, changed, inventory)
        self.interrupted(sites, changed, inventory)
        fewer = self.work / "fewer.textproto"
        fewer.write_text(changed.read_text().replace('process_server { join { name: "ps-home" } }', ""))
        said = self.lab("deploy", fewer, inventory, code=0)
        self.check("a daemon that is no longer described is named, and left", "cs: a deployment has put process-server there, which the topology no longer has" in said
                   and sites.hosts["cs"].do("systemctl is-active homeward-process-server") == "active", said)
        said = self.lab("undeploy", changed, inventory, "--purge")
        self.check("nothing of ours is left on any host", not any(host.files() for host in sites.hosts.values()), [host.files() for host in sites.hosts.values()])

    def refused_early(self, sites, topology, inventory):
        """Before any host is touched."""
        said = self.lab("deploy", topology, sites.inventory("clash", ps_az='address: "10.1.0.11"'), code=1)
        self.check("an address that two hosts have is told with its line", "clash.textproto:4: hosts[2].address: another host has 10.1.0.11" in said, said)
        said = self.lab("deploy", topology, sites.inventory("option", mt='ssh: "-oProxyCommand=true"'), code=1)
        self.check("what ssh would take for an option is refused", 'option.textproto:3: hosts[1].ssh: "-oProxyCommand=true" is neither' in said, said)
        few = self.work / "few"
        few.mkdir()
        for path in self.binaries.iterdir():
            if path.name != "homeward-master-target":
                (few / path.name).symlink_to(path)
        said = self.lab("deploy", topology, inventory, code=1, binaries=few)
        self.check("a program that was not built is named", f"there is no program {few}/homeward-master-target" in said and "deploy/build" in said, said)
        (few / "homeward-master-target").touch()
        said = self.lab("deploy", topology, inventory, code=1, binaries=few)
        self.check("so is one that is not whole", f"{few}/homeward-master-target is no program" in said, said)
        wrong = self.work / "wrong.textproto"
        wrong.write_text(topology.read_text().replace("10.1.0.0/24", "10.9.0.0/24"))
        said = self.lab("deploy", wrong, inventory, code=1)
        self.check("a host that has not the topology's address is told so", "cs: config-server is to listen on 10.9.0.10:443, but the host's addresses are 10.1.0.10, 127.0.0.1" in said, said)
        self.check("nothing was put on any host", not any(host.files() for host in sites.hosts.values()))

    def sudo(self, sites, topology, inventory):
        target = sites.hosts["mt"]
        said = self.lab("deploy", topology, inventory, "--check", code=1)
        self.check("a refused sudo is told, with what to do", "mt: sudo is refused to deployer@10.1.0.11" in said and "NOPASSWD" in said, said)
        plain = sites.inventory("plain", mt='ssh: "deployer@10.1.0.11"', ps_az=self.far)
        said = self.lab("deploy", topology, plain, "--check", code=1)
        self.check("so is who is not root, and does not ask for sudo", "mt: commands run there as user 1" in said and "sudo: true" in said, said)
        target.do("echo 'deployer ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deployer; chmod 0440 /etc/sudoers.d/deployer")

    def taken_port(self, sites, topology, inventory):
        far = sites.hosts["ps-az"]
        other = subprocess.Popen([*far.inside, "python3", "-c", "import socket, sys; s = socket.create_server(('0.0.0.0', 9443)); print('listens', flush=True); sys.stdin.read()"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        other.stdout.readline()
        said = self.lab("deploy", topology, inventory, code=1)
        self.check("a port that another program has is told", "ps-az: process-server is to listen on 0.0.0.0:9443, which another program has" in said, said)
        other.communicate()

    def changes(self, sites, topology, inventory):
        """Of one configuration; the topology that it leads to."""
        mains = self.mains(sites)
        text = topology.read_text()
        changed = self.work / "changed.textproto"
        broken = self.work / "broken.textproto"
        broken.write_text(text.replace("master_target {", 'master_target { config { retention_directory: "not/absolute" }'))
        said = self.lab("deploy", broken, inventory, code=1)
        self.check("a configuration that a daemon does not take is refused there, with its line", "mt: master-target does not take its configuration" in said and "retention_directory" in said, said)
        self.check("and what ran goes on", self.mains(sites) == mains)
        changed.write_text(text.replace("master_target {", 'master_target { directories: "spare" config { scrub_bytes_per_second: 1048576 }'))
        said = self.lab("deploy", changed, inventory, "--check", code=DIFFERENT)
        self.check("a check names what is changed", "changed: /etc/homeward/master-target.conf" in said and "to restart: homeward-master-target.service" in said and said.count("as described") == 2, said)
        said = self.lab("deploy", changed, inventory)
        now = self.mains(sites)
        self.check("a changed configuration restarts its daemon, and no other", [name for name in now if now[name] != mains[name]] == ["mt master-target"] and now.keys() == mains.keys(), (mains, now))
        self.check("a directory of its own is made", "mt: /vmfs/volumes/spare made" in said and sites.hosts["mt"].do("ls -d /vmfs/volumes/spare"), said)
        self.check("and a second deployment changes nothing", UNCHANGED in self.lab("deploy", changed, inventory))
        sites.hosts["mt"].do("echo 'log { level: DEBUG }' >>/etc/homeward/master-target.conf; : >/etc/homeward/enrolment.new")
        sites.hosts["cs"].do("systemctl stop homeward-process-server")
        said = self.lab("deploy", changed, inventory)
        self.check("what an interrupted deployment left is swept away", "mt: /etc/homeward/enrolment.new removed" in said, said)
        self.check("what was changed or stopped by hand is as described again", "mt: /etc/homeward/master-target.conf put" in said and "cs: homeward-process-server.service started" in said, said)
        return changed

    @staticmethod
    def mains(sites):
        """Processes of the daemons."""
        out = {}
        for name, host in sites.hosts.items():
            for daemon in ("config-server", "process-server", "master-target"):
                if f"/etc/homeward/{daemon}.conf" in host.files():
                    out[f"{name} {daemon}"] = host.main(daemon)
        return out

    def keys(self, sites, topology, inventory):
        careless = self.work / "ssh_config"
        careless.write_text(CARELESS)
        run("mount", "--bind", careless, "/etc/ssh/ssh_config")
        known = sites.directory / "known_hosts"
        right = known.read_text()
        target = sites.hosts["mt"]
        known.write_text("".join(line + "\n" for line in right.splitlines() if not line.startswith("10.1.0.11 ")) + sites.hosts["cs"].known("10.1.0.11"))
        logins = target.do("grep -c Accepted /run/sshd.log || true")
        said = self.lab("deploy", topology, inventory, code=1)
        self.check("a wrong host key is refused", "mt: deployer@10.1.0.11 shows another key than the one that is known of it; nothing was sent" in said, said)
        self.check("the others are looked after all the same", "Connected: process-server ps-az, process-server ps-home." in said, said)
        known.write_text("".join(line + "\n" for line in right.splitlines() if not line.startswith("10.1.0.11 ")))
        said = self.lab("deploy", topology, inventory, code=1)
        self.check("so is one that is not known", "mt: the key of deployer@10.1.0.11 is not known; nothing was sent" in said and "ssh-keygen -lf" in said, said)
        self.check("nobody logged in there", target.do("grep -c Accepted /run/sshd.log || true") == logins)
        self.check("and nothing was added to what is known", "10.1.0.11" not in known.read_text())
        known.write_text(right)
        run("umount", "/etc/ssh/ssh_config")
        SshHost.key(sites.directory / "stranger")
        stranger = sites.inventory("stranger", mt='ssh: "deployer@10.1.0.11" access { sudo: true identity_file: "stranger" }', ps_az=self.far)
        said = self.lab("deploy", topology, stranger, code=1)
        self.check("who is not let in is told so", "mt: deployer@10.1.0.11 does not let this user in" in said and "identity_file" in said, said)
        (sites.directory / "stranger").unlink()
        said = self.lab("deploy", topology, stranger, "--check", code=1)
        self.check("so is a key that is not there", "mt: there is no identity_file" in said, said)

    def interrupted(self, sites, topology, inventory):
        """Whatever a deployment did not come to, the next one does."""
        target = sites.hosts["mt"]
        next_one = self.work / "next.textproto"
        next_one.write_text(topology.read_text().replace("1048576", "2097152"))
        target.do("echo 'the disk is on fire' >/run/units/homeward-master-target.service.broken")
        said = self.lab("deploy", next_one, inventory, code=1)
        self.check("a daemon that does not start is told with what it said", "mt: homeward-master-target.service did not become ready" in said and "the disk is on fire" in said
                   and "daemon." in said, said)
        target.do("rm /run/units/homeward-master-target.service.broken")
        said = self.lab("deploy", next_one, inventory)
        self.check("the next deployment starts it", "mt: homeward-master-target.service started" in said and "put" not in said, said)
        for count in range(4):
            next_one.write_text(topology.read_text().replace("1048576", str(3 << 20 | count)))
            self.kill_after_logins(target, next_one, inventory, count + 2)
            said = self.lab("deploy", next_one, inventory)
            self.check("a deployment that was killed is brought to its end by the next", "Connected: master-target mt, process-server ps-az, process-server ps-home." in said, said)
            self.check("and leaves no half of a file", not any(path.endswith(".new") for path in target.files()), target.files())
            self.check("the daemon has the configuration", str(3 << 20 | count) in target.do("cat /etc/homeward/master-target.conf") and
                       UNCHANGED in self.lab("deploy", next_one, inventory), said)

    def kill_after_logins(self, target, topology, inventory, count):
        """Kills a deployment, with its ssh, once it has logged in to a host so often."""
        def logins():
            return int(target.do("grep -c Accepted /run/sshd.log || true"))
        wanted = logins() + count
        doomed = subprocess.Popen([LAB / "lab", "deploy", topology, "--inventory", inventory, "--binaries", self.binaries], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True)
        while doomed.poll() is None and logins() < wanted:
            time.sleep(0.002)  # between two looks
        if doomed.poll() is None:
            os.killpg(doomed.pid, signal.SIGKILL)
        self.check(f"a deployment is killed after {count} logins", doomed.wait() == -signal.SIGKILL, doomed.returncode)

    def run(self, only):
        tests = ("single", "two_sites")
        try:
            for name in tests:
                if only in (None, name):
                    getattr(self, name)()
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
        print(f"{len(self.failed)} failed")
        return 1 if self.failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--only", choices=["single", "two_sites"])
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("SKIP: namespaces need root")
        sys.exit(0)
    if needs():
        sys.exit(f"this machine lacks {', '.join(needs())}: deploy/install-deps")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which takes away what was made
    be_alone_with_mounts()
    sys.exit(Test(given.binaries).run(given.only))
