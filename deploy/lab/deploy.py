"""Brings real hosts to what a topology says: programs, configurations and systemd units, over SSH. What is there already is left as it is."""
import collections
import concurrent.futures
import hashlib
import ipaddress
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import time

from remote import Failed, Remote, archive
from topology_file import DAEMONS, policy_words, read

UNITS = pathlib.Path(__file__).resolve().parents[1] / "systemd"
# On a host: what was put there, and what each daemon was last started with.
RECORD = "/var/lib/homeward/deployment"
STATE_ROOT = "/var/lib/homeward"
ENROLMENT = "/etc/homeward/enrolment"
NEEDED = ("systemctl", "tar", "sha256sum", "stat", "sync", "timeout", "ldd")
ELF = b"\x7fELF"
LISTENS = "0A"  # a socket's state in /proc/net/tcp
DIFFERENT = 3  # what a check ends with when a host is not as described
# States of a unit in which a port that is taken may be its own.
RUNNING = ("active", "activating", "reloading", "deactivating")
REPEAT = "Repeat the command when that is mended: what is done already is left as it is."

File = collections.namedtuple("File", "path mode content")


def digest(content):
    return hashlib.sha256(content).hexdigest()


def split(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_every(host):
    return host in ("0.0.0.0", "::")


class Described:
    """A daemon as the topology has it."""

    def __init__(self, file, program, directory):
        self.kind, self.name, self.text = file["daemon"], file["name"], file["text"]
        self.listen, self.state = file["listen_address"], file["state_directory"]
        self.enrolment, self.directories = file.get("enrolment_file"), file.get("directories", [])
        self.program, self.config = f"{directory}/homeward-{self.kind}", f"/etc/homeward/{self.kind}.conf"
        self.unit = f"homeward-{self.kind}.service"
        unit = (UNITS / self.unit).read_text().replace(f"ExecStart=/usr/bin/homeward-{self.kind} ", f"ExecStart={self.program} ")
        self.files = [File(self.program, 0o755, program), File(self.config, 0o644, self.text.encode()),
                      File(f"/etc/systemd/system/{self.unit}", 0o644, unit.encode())]

    def started_with(self):
        """A restart is due when it was started with something else."""
        return digest("".join(digest(file.content) for file in self.files).encode())


class Host:
    """One host, with what is to be on it and what is."""

    def __init__(self, described, directory):
        self.remote, self.name = Remote(described, directory), described["name"]
        self.programs = described["access"]["program_directory"].rstrip("/")
        self.daemons, self.extra, self.seen = [], [], None

    def files(self):
        return [file for daemon in self.daemons for file in daemon.files] + self.extra

    # --- what is there

    def look(self):
        """Failed when it cannot be reached, or is no host for our daemons."""
        paths = " ".join(shlex.quote(file.path) for file in self.files()) + f" {ENROLMENT}"
        units = " ".join(daemon.unit for daemon in self.daemons)
        directories = " ".join(shlex.quote(path) for daemon in self.daemons for path in daemon.directories)
        said = self.remote.run(f"""
echo user $(id -u)
echo machine $(uname -m)
for program in {" ".join(NEEDED)}; do command -v $program >/dev/null || echo missing $program; done
for path in {paths}; do
  [ ! -e "$path.new" ] || echo stale "$path.new"
  if [ -f "$path" ]; then echo file "$path" $(stat -c %a "$path" 2>/dev/null) $(sha256sum 2>/dev/null <"$path"); fi
done
for unit in {units}; do echo unit $unit $(systemctl is-enabled $unit 2>/dev/null) . $(systemctl is-active $unit 2>/dev/null); done
for record in {RECORD}/*.started; do [ -f "$record" ] && echo started $(basename $record .started) $(cat $record); done
[ -f {RECORD}/files ] && sed 's/^/put /' {RECORD}/files
for path in {directories}; do [ -d "$path" ] || echo absent "$path"; done
sed 's/^/socket /' /proc/net/tcp /proc/net/tcp6 2>/dev/null
sed 's/^/fib /' /proc/net/fib_trie 2>/dev/null
true
""")
        self.seen = Seen(said)
        self.check_host()
        for daemon in self.daemons:
            self.check_address(daemon)

    def check_host(self):
        if self.seen.user != "0":
            raise Failed(self.name, f"commands run there as user {self.seen.user}, not as root", "Say sudo: true in the inventory, or log in as root.")
        if self.seen.missing:
            raise Failed(self.name, f"there is no {', no '.join(self.seen.missing)} there", "Install it: a host needs systemd, tar and coreutils.")
        if self.seen.machine != os.uname().machine:
            raise Failed(self.name, f"its processor is {self.seen.machine}, the programs are for {os.uname().machine}", "Give --binaries of a build for it.")

    def check_address(self, daemon):
        host, port = split(daemon.listen)
        if not is_every(host) and is_address(host) and host not in self.seen.addresses:
            raise Failed(self.name, f"{daemon.kind} is to listen on {daemon.listen}, but the host's addresses are {', '.join(sorted(self.seen.addresses)) or 'none'}",
                         "Give the host this address, or name the one that others reach it at as `address` in the inventory.")
        if self.seen.units[daemon.unit][1] not in RUNNING and any(taken == port and (is_every(host) or is_every(at) or at == host) for at, taken in self.seen.listening):
            raise Failed(self.name, f"{daemon.kind} is to listen on {daemon.listen}, which another program has", "End that program, or give the daemon another listen_address in the topology.")

    # --- what is to do

    def changed(self):
        return [file for file in self.files() if self.seen.files.get(file.path) != (file.mode, digest(file.content))]

    def to_enable(self):
        return [daemon for daemon in self.daemons if self.seen.units[daemon.unit][0] != "enabled"]

    def to_start(self):
        """Those that do not run, or run with something else than is described."""
        return [daemon for daemon in self.daemons
                if self.seen.units[daemon.unit][1] != "active" or self.seen.started.get(daemon.kind) != daemon.started_with()]

    def absent(self):
        return [path for daemon in self.daemons for path in daemon.directories if path in self.seen.absent]

    def stale(self):
        return sorted(set(self.seen.stale) - {f"{file.path}.new" for file in self.changed()})

    def unknown(self):
        """Daemons that were put there, and are no longer described."""
        there = {pathlib.PurePath(path).stem.removeprefix("homeward-") for path in self.seen.put if path.endswith(".service")}
        return sorted(there - {daemon.kind for daemon in self.daemons})

    def differences(self):
        return ([f"{'changed' if file.path in self.seen.files else 'missing'}: {file.path}" for file in self.changed()]
                + [f"missing: {path}" for path in self.absent()] + [f"left over: {path}" for path in self.stale()]
                + [f"not enabled: {daemon.unit}" for daemon in self.to_enable()]
                + [f"{'to restart' if self.seen.units[daemon.unit][1] == 'active' else 'not running'}: {daemon.unit}" for daemon in self.to_start()])

    # --- doing it

    def bring(self, seconds):
        """Makes it as described; what was done, in words."""
        done = [f"{path} put" for path in self.put()]
        done += [f"{path} removed" for path in self.sweep()]
        for path in self.absent():
            self.remote.run(f"mkdir -p {shlex.quote(path)}")
            done.append(f"{path} made")
        for daemon in self.to_enable():
            self.remote.run(f"systemctl enable {daemon.unit}")
            done.append(f"{daemon.unit} enabled")
        for daemon in self.to_start():
            self.start(daemon, seconds)
            done.append(f"{daemon.unit} {'restarted' if self.seen.units[daemon.unit][1] == 'active' else 'started'}")
        return done

    def put(self):
        """Each file is whole and checked beside its place before it takes that; a connection that is lost leaves the old one or the new one."""
        files = self.changed()
        if not files:
            return []
        fresh = [file.path for file in files]
        record = " ".join(shlex.quote(file.path) for file in self.files())
        directories = sorted({str(pathlib.PurePath(path).parent) for path in fresh})
        self.remote.run(f"""set -e
umask 022
mkdir -p {" ".join(map(shlex.quote, directories))}
mkdir -p -m 0700 {RECORD}
{{ [ ! -f {RECORD}/files ] || cat {RECORD}/files; printf '%s\\n' {record}; }} | sort -u >{RECORD}/files.new
mv -f {RECORD}/files.new {RECORD}/files
tar -x -p -f - -C / --no-same-owner
""", archive([(f"{file.path}.new", file.mode, file.content) for file in files]))
        self.check_programs(fresh)
        self.remote.run("set -e\nsync " + " ".join(shlex.quote(f"{path}.new") for path in fresh) + "\n"
                        + "".join(f"mv -f {shlex.quote(path + '.new')} {shlex.quote(path)}\n" for path in fresh)
                        + ("systemctl daemon-reload\n" if any(path.endswith(".service") for path in fresh) else ""))
        return fresh

    def sweep(self):
        """What a deployment that was interrupted has left beside a file."""
        stale = self.stale()
        if stale:
            self.remote.run("rm -f " + " ".join(map(shlex.quote, stale)))
        return stale

    def check_programs(self, fresh):
        """The programs can run there, and take their configurations."""
        def newest(path):
            return shlex.quote(f"{path}.new" if path in fresh else path)
        for file in self.files():
            if file.mode == 0o755 and file.path in fresh:
                said = self.remote.run(f"ldd {newest(file.path)} | grep 'not found' || true")
                missing = sorted({line.split()[0] for line in said.splitlines()})
                if missing:
                    raise Failed(self.name, f"{file.path} needs libraries that are not there: {', '.join(missing)}", f"On the host: apt-get install {' '.join(packages_of(missing))}")
        for daemon in self.daemons:
            if {daemon.program, daemon.config} & set(fresh):
                code, said, complaint = self.remote.try_run(f"{newest(daemon.program)} --config {newest(daemon.config)} --check_config")
                if code != 0:
                    raise Failed(self.name, f"{daemon.kind} does not take its configuration: {complaint or said.strip()}", "Correct it in the topology. What ran before still runs.")

    def start(self, daemon, seconds):
        record = f"{RECORD}/{daemon.kind}.started"
        code, _, complaint = self.remote.try_run(f"""
mkdir -p -m 0700 {RECORD}
rm -f {record}
timeout {seconds} systemctl restart {daemon.unit} || exit
systemctl is-active --quiet {daemon.unit} || exit
echo {daemon.started_with()} >{record}
""")
        if code != 0:
            _, words, _ = self.remote.try_run(f"journalctl --unit {daemon.unit} --lines 5 --no-pager --output cat 2>/dev/null")
            raise Failed(self.name, f"{daemon.unit} did not become ready within {seconds} s. {complaint} Its last words:\n{words.rstrip()}", REPEAT)

    # --- taking it away

    def take(self, purge):
        """What was put there, and with `purge` the state; what was done, in words."""
        units = " ".join(daemon.unit for daemon in self.daemons)
        states = [daemon.state for daemon in self.daemons]
        # A directory that the topology names is its owner's.
        ours = [daemon.state for daemon in self.daemons if daemon.state == f"{STATE_ROOT}/{daemon.kind}"]
        said = self.remote.run(f"""
if [ -f {RECORD}/files ]; then
  for unit in $(sed -n 's|^/etc/systemd/system/||p' {RECORD}/files); do
    systemctl disable --now $unit >/dev/null 2>&1 || systemctl stop $unit || exit
  done
  while read -r path; do
    rm -f "$path" "$path.new" || exit
    echo "$path removed"
  done <{RECORD}/files
  systemctl daemon-reload || exit
  rm -rf {RECORD}
  rmdir /etc/homeward 2>/dev/null
fi
for unit in {units}; do
  if systemctl is-active --quiet $unit; then echo "$unit runs, and was not put there by a deployment" >&2; exit 1; fi
done
for path in {" ".join(map(shlex.quote, ours)) if purge else ""}; do
  [ ! -d "$path" ] || {{ rm -rf "$path" && echo "$path removed"; }} || exit
done
for path in {" ".join(map(shlex.quote, states))}; do [ ! -d "$path" ] || echo "$path left"; done
rmdir {STATE_ROOT} 2>/dev/null
true
""")
        return said.splitlines()


class Seen:
    """What a look at a host has said."""

    def __init__(self, said):
        self.user = self.machine = ""
        self.missing, self.absent, self.put, self.stale = [], [], [], []
        self.files, self.units, self.started = {}, {}, {}
        self.listening, self.addresses = set(), set()
        address = None
        for line in said.splitlines():
            kind, _, rest = line.partition(" ")
            words = rest.split()
            if kind in ("user", "machine"):
                setattr(self, kind, rest)
            elif kind in ("missing", "absent", "put", "stale"):
                getattr(self, kind).append(rest)
            elif kind == "file" and len(words) >= 3:
                self.files[words[0]] = (int(words[1], 8), words[2])
            elif kind == "unit":
                enabled, _, active = rest.partition(" ")[2].partition(".")
                self.units[words[0]] = (enabled.strip(), active.strip())
            elif kind == "started" and len(words) == 2:
                self.started[words[0]] = words[1]
            elif kind == "socket" and len(words) > 3 and words[3] == LISTENS:
                self.listening.add(socket_address(words[1]))
            elif kind == "fib":
                if words[:1] == ["|--"]:
                    address = words[1]
                elif words[:2] == ["/32", "host"] and words[2:] == ["LOCAL"]:
                    self.addresses.add(address)


def socket_address(text):
    """As the kernel writes one, in its own byte order."""
    address, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(address[at:at + 8])[::-1] for at in range(0, len(address), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)


def is_address(text):
    try:
        ipaddress.ip_address(text)
        return True
    except ValueError:
        return False


def packages_of(libraries):
    """Debian packages that have them here, where the programs run; the libraries themselves where that is not known."""
    out = set()
    for library in libraries:
        done = subprocess.run(["dpkg-query", "--search", f"*/{library}"], capture_output=True, text=True)
        found = re.match(r"([^:,\s]+)", done.stdout)
        out.add(found[1] if found else library)
    return sorted(out)


class Deployment:
    """A topology and the hosts that it is for."""

    def __init__(self, topology_file, inventory_file, binaries, say=print, wait_seconds=120, with_programs=True):
        self.binaries, self.say, self.wait_seconds, self.with_programs = pathlib.Path(binaries), say, wait_seconds, with_programs
        self.topology = json.loads(read(binaries, topology_file))
        inventory = json.loads(read(binaries, topology_file, "--inventory", inventory_file))
        where = pathlib.Path(inventory_file).resolve().parent
        self.hosts = {one["name"]: Host(one, where) for one in inventory["hosts"]}
        # A deployment's clocks are those of life.
        configs = json.loads(read(binaries, topology_file, "--configs", f"inventory={inventory_file}", "time_scale=1"))["files"]
        for file in configs:
            if file["daemon"] in DAEMONS:
                host = self.hosts[file["host"]]
                host.daemons.append(Described(file, self.program(f"homeward-{file['daemon']}"), host.programs))
        self.config_host = next(host for host in self.hosts.values() if any(daemon.kind == "config-server" for daemon in host.daemons))
        self.config_host.daemons.sort(key=lambda daemon: daemon.kind != "config-server")
        self.config_host.extra.append(File(f"{self.config_host.programs}/homeward", 0o755, self.program("homeward")))
        self.failures = []
        self.check_ports()

    def program(self, name):
        path = self.binaries / name
        if not self.with_programs:
            return b""
        if not path.is_file():
            raise Failed("here", f"there is no program {path}", "Build it (deploy/build), or name the directory that has it: --binaries.")
        content = path.read_bytes()
        if not content.startswith(ELF):
            raise Failed("here", f"{path} is no program", "Is it being built? Wait for that, or build it again.")
        return content

    def check_ports(self):
        for host in self.hosts.values():
            taken = {}
            for daemon in host.daemons:
                port = split(daemon.listen)[1]
                if port in taken:
                    raise Failed(host.name, f"{daemon.kind} and {taken[port]} are both to listen on port {port}", "Give one of them another listen_address in the topology.")
                taken[port] = daemon.kind

    def each(self, hosts, does):
        """Calls it for all hosts at once; what it returned, by host. A host for which it failed is left out, and remembered."""
        out = {}
        with concurrent.futures.ThreadPoolExecutor(max_workers=16) as threads:
            begun = {host.name: threads.submit(does, host) for host in hosts}
            for name, one in begun.items():
                try:
                    out[name] = one.result()
                except Failed as why:
                    self.failures.append(why)
        return out

    # --- the orders

    def check(self):
        """Says what a deployment would change; changes nothing."""
        seen = self.each(self.hosts.values(), Host.look)
        if self.config_host.name in seen and not self.config_host.to_start():
            self.want_enrolment()
        found = False
        for name in seen:
            differences = self.hosts[name].differences()
            found = found or bool(differences)
            self.say(f"{name}: {'as described' if not differences else ''}")
            for line in differences:
                self.say(f"  {line}")
            self.warn(self.hosts[name])
        return self.end(DIFFERENT if found else 0)

    def deploy(self):
        seen = self.each(self.hosts.values(), Host.look)
        for name in seen:
            self.warn(self.hosts[name])
        did = False
        if self.config_host.name in seen:
            did = self.bring([self.config_host], one_daemon=True)
        if self.config_host.name not in seen or self.failures_of(self.config_host):
            self.say(f"{self.config_host.name} has the configuration server, which all others join: nothing is done on them before it is there.")
            return self.end(1)
        self.want_enrolment()
        self.each([self.config_host], Host.look)
        did = self.bring([self.hosts[name] for name in seen]) or did
        try:
            self.await_servers()
            if not did and not self.failures:
                self.say("Nothing was changed: all is as described.")
            self.make_policies()
            self.tell_of_the_rest()
        except Failed as why:
            self.failures.append(why)
        return self.end(0)

    def undeploy(self, purge):
        others = [host for host in self.hosts.values() if host is not self.config_host]
        for hosts in (others, [self.config_host]):
            for name, done in self.each(hosts, lambda host: host.take(purge)).items():
                self.say(f"{name}: {'nothing is there' if not done else ''}")
                for line in done:
                    self.say(f"  {line}")
        return self.end(0)

    # --- parts of them

    def bring(self, hosts, one_daemon=False):
        """`one_daemon`: only the first of each host, which all others need. Whether anything was done."""
        kept = {host.name: host.daemons for host in hosts}
        if one_daemon:
            for host in hosts:
                host.daemons = host.daemons[:1]
        done = self.each(hosts, lambda host: host.bring(self.wait_seconds))
        for host in hosts:
            host.daemons = kept[host.name]
        for name, lines in done.items():
            for line in lines:
                self.say(f"{name}: {line}")
        return any(done.values())

    def failures_of(self, host):
        return [why for why in self.failures if why.host == host.name]

    def warn(self, host):
        for kind in host.unknown():
            self.say(f"{host.name}: a deployment has put {kind} there, which the topology no longer has. It goes on. To end it: systemctl disable --now homeward-{kind}")

    def homeward(self):
        """The command line on the configuration server's host."""
        daemon = self.config_host.daemons[0]
        host, port = split(daemon.listen)
        server = f"{'127.0.0.1' if is_every(host) else host}:{port}"
        return f"{shlex.quote(self.config_host.programs)}/homeward --server {shlex.quote(server)} --identity {shlex.quote(daemon.state)}/operator"

    def ask(self, *words):
        return json.loads(self.config_host.remote.run(f"{self.homeward()} --output json {' '.join(words)}"))

    def want_enrolment(self):
        """The passphrase becomes a file of each host whose daemons look for it there."""
        text = self.config_host.remote.run(f"{self.homeward()} enrol passphrase show").encode()
        if not text.strip():
            raise Failed(self.config_host.name, "the configuration server shows no enrolment", "Is its program whole? " + REPEAT)
        for host in self.hosts.values():
            if any(daemon.enrolment == ENROLMENT for daemon in host.daemons):
                host.extra.append(File(ENROLMENT, 0o600, text))

    def await_servers(self):
        failed = {host.name for host in self.hosts.values() if self.failures_of(host)}
        wanted = {(daemon.kind, daemon.name): host.name for host in self.hosts.values() for daemon in host.daemons
                  if daemon.kind != "config-server" and host.name not in failed}
        deadline = time.monotonic() + self.wait_seconds
        while True:
            connected = {(one["role"].lower().replace("_", "-"), one["name"]) for one in self.ask("servers", "list").get("servers", []) if one["connected"]}
            away = sorted(set(wanted) - connected)
            if not away:
                self.say(f"Connected: {', '.join(f'{kind} {name}' for kind, name in sorted(wanted, key=lambda one: one[::-1])) or 'no server is described'}.")
                return
            if time.monotonic() > deadline:
                for kind, name in away:
                    self.failures.append(Failed(wanted[kind, name], f"the configuration server has not seen {kind} {name} within {self.wait_seconds} s",
                                                f"Can {wanted[kind, name]} reach {self.config_host.name}? `journalctl --unit homeward-{kind}` there says more. {REPEAT}"))
                return
            time.sleep(0.5)

    def make_policies(self):
        described = self.topology.get("policies", [])
        there = {one["name"] for one in self.ask("policies", "list").get("policies", [])} if described else set()
        for policy in described:
            self.ask(*policy_words(policy, policy["name"] in there))

    def tell_of_the_rest(self):
        """What a lab simulates is real in a deployment, and the operator's."""
        vcenters = [host["name"] for site in self.topology["sites"] for host in site.get("hosts", []) if "vcenter" in host]
        azures = [site["name"] for site in self.topology["sites"] for host in site.get("hosts", []) if "azure" in host]
        known = {one["name"] for one in self.ask("vcenters", "list").get("vcenters", [])} if vcenters else set()
        sites = {one["name"] for one in self.ask("azure", "list").get("sites", [])} if azures else set()
        todo = [f"{name}, a vCenter: {self.homeward()} vcenters add {name} --address HOST --user USER --password-file FILE --ca-file FILE"
                for name in vcenters if name not in known]
        todo += [f"{name}, Azure: {self.homeward()} azure add {name} --subscription ID --tenant ID --client-id ID --client-secret-file FILE --resource-group NAME "
                 "--region REGION --subnet ID --storage-account ID --container URL" for name in azures if name not in sites]
        if todo:
            self.say(f"Left out, since they are yours. To make them known, on {self.config_host.name}:")
        for line in todo:
            self.say(f"  {line}")
        machines = [one["name"] for one in self.topology.get("machines", [])]
        if machines:
            self.say(f"Left out: the lab's {'machine' if len(machines) == 1 else 'machines'} {', '.join(machines)}. Agents are installed in machines of your own.")

    def end(self, code):
        for why in self.failures:
            self.say(f"FAILED {why}")
        return 1 if self.failures else code
