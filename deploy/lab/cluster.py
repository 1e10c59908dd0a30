"""A whole Homeward on one host: real daemons on free loopback ports, each with a directory of its own.

Used by deploy/demo and tests/cluster. Every daemon dies with this process; what it leaves behind is one directory.
"""
import calendar
import ctypes
import errno
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PR_SET_PDEATHSIG = 1
# A limit ends what hangs; nothing stands or falls with how fast this machine is.
HANG_SECONDS = 600
# The size of a process server's cache, so that its health does not depend on how full this machine's disk is.
CACHE_BYTES = 512 << 20
# Below what kernels give to connections and to sockets that ask for any port.
SERVER_PORTS = (10000, 32000)
SANITIZERS = re.compile(r"runtime error: |(ERROR|WARNING): (Address|Leak|Thread)Sanitizer")
REPORT_END = "\n=================="
STACK_LOST = "[failed to restore the stack]"  # of the thread sanitizer


def free_port():
    """Of the ports that no connection takes by itself: a server that starts later finds it as free as it was."""
    while True:
        port = random.randrange(*SERVER_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise


def straight(*handlers):
    """An opener of URLs that asks no proxy, whatever the environment says."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def scratch(name):
    """A new directory on a disk: in $TMPDIR where that is set, since /tmp may be memory."""
    return pathlib.Path(tempfile.mkdtemp(prefix=f"homeward-{name}-", dir=os.environ.get("TMPDIR") or "/var/tmp"))


def seconds_of(text):
    """Seconds since 1970 of a time as the command line's JSON has it."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + (fraction or "0"))


class Refused(Exception):
    """The command line ended with another code than 0."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


class Daemon:
    """One program with its configuration, started and killed at will."""

    def __init__(self, name, program, directory, config):
        self.name, self.program, self.directory = name, program, directory
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "config"
        self.config.write_text(config)
        self.prefix = []  # what runs the program, as in another network namespace
        self.process = None
        self.peak_kib = 0

    def start(self):
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen([*self.prefix, self.program, "--config", str(self.config)], stderr=log, stdout=log,
                                        preexec_fn=die_with_parent)
        log.close()

    def note_memory(self):
        if self.process is None:
            return
        try:
            for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.peak_kib = max(self.peak_kib, int(line.split()[1]))
        except OSError:
            pass

    def kill(self):
        self.note_memory()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.check_log()

    def stop(self, limit=HANG_SECONDS):
        """SIGTERM; True when it ended with 0 in time."""
        self.note_memory()
        if self.process is None:
            return True
        self.process.terminate()
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        self.check_log()
        return code == 0

    def has_ended(self):
        """By itself."""
        return self.process is not None and self.process.poll() is not None

    def state(self):
        if self.process is None:
            return "not started"
        return f"ended with {self.process.returncode}" if self.has_ended() else "runs"

    def check_log(self):
        """Raises what a sanitizer, where it was built with one, has found."""
        log = self.log()
        for found in SANITIZERS.finditer(log):
            report = log[found.start():].partition(REPORT_END)[0]
            # Half a race, as of memory that a library handed out long ago: what is suppressed is not known by it.
            if STACK_LOST in report:
                continue
            raise RuntimeError(f"{self.name}: {report[:6000]}")

    def log(self):
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""


class Operator:
    """Who uses the command line, from this host."""

    def __init__(self, binaries, address, identity):
        self.binaries, self.address, self.identity = pathlib.Path(binaries), address, pathlib.Path(identity)

    def command(self, *arguments):
        return [str(self.binaries / "homeward"), "--server", self.address, "--identity", str(self.identity),
                *arguments]

    def cli(self, *arguments, limit=HANG_SECONDS):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=limit)
        if done.returncode != 0:
            raise Refused(done.returncode, (done.stderr + done.stdout).strip())
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.cli("--output", "json", *arguments))

    def try_cli(self, *arguments):
        try:
            return self.cli(*arguments) or True
        except Refused:
            return False

    def try_json(self, *arguments):
        try:
            return self.json(*arguments)
        except Refused:
            return {}

    def await_(self, what, holds, limit=HANG_SECONDS, interval=0.1):
        """Looks until `holds()` is true and returns that; TimeoutError names what was awaited. A `limit` can only be longer
        than the usual one. Looks are less frequent the longer it takes, since each is a program that starts."""
        limit = max(limit, HANG_SECONDS)
        began = time.monotonic()
        while True:
            value = holds()
            if value:
                return value
            waited = time.monotonic() - began
            if waited > limit:
                raise TimeoutError(f"{what}: not within {limit} s")
            time.sleep(max(interval, min(waited / 4, 0.5)))


class Cluster(Operator):
    enrol_command = "enrol"

    def __init__(self, binaries, directory, heartbeat="1s", extra="", host="127.0.0.1"):
        self.directory = pathlib.Path(directory)
        super().__init__(binaries, f"{host}:{free_port()}", self.directory / "config_server" / "state" / "operator")
        self.daemons = {}
        # A stop that is asked for takes away what was made, as any other end does.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        self.enrolment = self.directory / "enrolment"
        self.daemon("config_server", "homeward-config-server", f"""
listen_address: "{self.address}"
state_directory: "{self.directory}/config_server/state"
heartbeat_interval {{ seconds: {heartbeat.rstrip('s')} }}
heartbeat_timeout {{ seconds: 900 }}
registration_window {{ seconds: 900 }}
""" + extra)

    def daemon(self, name, program, config):
        made = Daemon(name, str(self.binaries / program), self.directory / name, config)
        self.daemons[name] = made
        return made

    def start_config_server(self):
        self.daemons["config_server"].start()
        self.await_("the configuration server answers", lambda: self.try_cli("version"))
        if not self.enrolment.exists():
            self.enrolment.write_text(self.cli(self.enrol_command, "passphrase", "show"))

    def join(self, name):
        return f"""join {{
  config_server: "{self.address}"
  enrolment_file: "{self.enrolment}"
  name: "{name}"
}}
state_directory: "{self.directory}/{name}/state"
"""

    def add_process_server(self, name="process_server", extra="", cache_bytes=CACHE_BYTES, host="127.0.0.1"):
        return self.daemon(name, "homeward-process-server", self.join(name) + f"""
listen_address: "{host}:{free_port()}"
cache_bytes_max: {cache_bytes}
""" + extra)

    def add_master_target(self, name="master_target", datastores=(), extra="", host="127.0.0.1"):
        lines = "".join(f'datastores: "{path}"\n' for path in datastores)
        return self.daemon(name, "homeward-master-target",
                           self.join(name) + f'listen_address: "{host}:{free_port()}"\n' + lines + extra)

    def add_agent(self, machine, config, directory=None):
        name = directory or machine
        made = self.daemon(name, "homeward-agent", "")
        made.config.write_text(self.join(name).replace(f'name: "{name}"', f'name: "{machine}"') + config)
        return made

    def told(self):
        """How each daemon is, and the end of what it said."""
        return "\n".join(f"--- {name}: {daemon.state()}\n{daemon.log()[-3000:]}" for name, daemon in self.daemons.items())

    def await_servers(self, count):
        """All of them are connected and have reported their volumes. RuntimeError when one of the daemons has ended."""
        def reported():
            if any(daemon.has_ended() for daemon in self.daemons.values()):
                raise RuntimeError(f"a daemon has ended\n{self.told()}")
            servers = self.try_json("servers", "list").get("servers", [])
            return sum(1 for server in servers if server["connected"] and (
                int(server["cache_total_bytes"]) > 0 or server["datastores"])) >= count
        self.await_(f"{count} servers connect", reported)

    def note_memory(self):
        for daemon in self.daemons.values():
            daemon.note_memory()

    def stop(self):
        for name in reversed(list(self.daemons)):
            self.daemons[name].kill()
