#!/usr/bin/python3
"""A stand-in for `systemctl` and `journalctl` on a host of ssh_test.py, where systemd is not the first process.

It knows the calls that a deployment makes, and refuses all others. It starts what a unit's ExecStart says, waits for READY=1 as Type=notify does, makes the
StateDirectory, keeps to UMask, LimitNOFILE and Restart, and uses a unit as it was at the last daemon-reload. What isolates a service it passes over:
`systemd-analyze verify` looks at those settings.
"""
import os
import pathlib
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path("/run/units")
UNITS = pathlib.Path("/etc/systemd/system")
WANTS = UNITS / "multi-user.target.wants"


def fail(text, code=1):
    print(text, file=sys.stderr)
    sys.exit(code)


class Unit:
    def __init__(self, name):
        self.name = name if name.endswith(".service") else f"{name}.service"
        self.loaded = ROOT / "loaded" / self.name

    def path(self, what):
        return ROOT / f"{self.name}.{what}"

    def note(self, what, value=None):
        """Reads it, or writes it whole."""
        if value is None:
            return self.path(what).read_text() if self.path(what).exists() else ""
        fresh = self.path(f"{what}.{os.getpid()}")
        fresh.write_text(str(value))
        fresh.rename(self.path(what))
        return value

    def load(self):
        source = UNITS / self.name
        if not self.loaded.exists():
            if not source.exists():
                fail(f"Unit {self.name} not found.", 5)
            self.loaded.parent.mkdir(parents=True, exist_ok=True)
            self.loaded.write_text(source.read_text())
        self.settings = {}
        for line in self.loaded.read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self.settings[key] = value

    def state(self):
        return self.note("state") or "inactive"

    def runner(self):
        """The process that looks after it, if there is one."""
        pid = self.note("runner")
        return int(pid) if pid and pathlib.Path(f"/proc/{pid}").exists() else None

    # --- what systemctl does

    def start(self):
        self.load()
        if self.path("broken").exists():
            fail(f"Job for {self.name} failed: {self.note('broken')}")
        if self.runner() is None:
            self.note("state", "activating")
            self.path("job").unlink(missing_ok=True)
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    self.look_after()
                os._exit(0)
            os.wait()
        while self.state() != "active":
            if self.note("job") == "failed":
                fail(f"Job for {self.name} failed because the control process exited with error code.")
            time.sleep(0.02)  # between two looks

    def stop(self):
        pid = self.runner()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            while self.runner() is not None:
                time.sleep(0.02)
        self.note("state", "inactive")

    # --- the process that looks after it

    def look_after(self):
        try:
            with open("/dev/null") as nothing, open(self.path("log"), "ab") as log:
                os.dup2(nothing.fileno(), 0)
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            self.note("runner", os.getpid())
            self.keep_running()
        except BaseException:
            traceback.print_exc()
            self.note("job", "failed")
            sys.stderr.flush()
        finally:
            os._exit(0)

    def keep_running(self):
        told, tells = os.pipe()  # a signal wakes who waits
        os.set_blocking(tells, False)
        signal.set_wakeup_fd(tells)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        while True:
            notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.path("notify").unlink(missing_ok=True)
            notified.bind(str(self.path("notify")))
            child = self.execute()
            self.note("main", child.pid)
            while child.poll() is None:
                ready, _, _ = select.select([notified, told], [], [])
                if notified in ready and b"READY=1" in notified.recv(4096).split(b"\n"):
                    self.note("state", "active")
                if told in ready and signal.SIGTERM in os.read(told, 64):
                    self.end(child)
                    self.note("state", "inactive")
                    return
            notified.close()
            self.note("job", "failed")
            if self.settings.get("Restart") != "always":
                self.note("state", "failed")
                return
            self.note("state", "activating")
            if select.select([told], [], [], float(self.settings.get("RestartSec", "0.1")))[0] and signal.SIGTERM in os.read(told, 64):
                return

    def end(self, child):
        child.terminate()
        try:
            child.wait(float(self.settings.get("TimeoutStopSec", "90")))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def execute(self):
        environment = {"PATH": "/usr/sbin:/usr/bin", "NOTIFY_SOCKET": str(self.path("notify"))}
        directory = self.settings.get("StateDirectory")
        if directory:
            made = pathlib.Path("/var/lib") / directory
            made.mkdir(parents=True, exist_ok=True)
            made.chmod(int(self.settings.get("StateDirectoryMode", "0755"), 8))
            environment["STATE_DIRECTORY"] = str(made)
        # As many as this machine gives, where that is less than the unit asks for.
        files = min(int(self.settings.get("LimitNOFILE", "1024")), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        return subprocess.Popen(self.settings["ExecStart"].split(), env=environment, umask=int(self.settings.get("UMask", "0022"), 8),
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))


def reload_units():
    for path in (ROOT / "loaded").glob("*"):
        source = UNITS / path.name
        if source.exists():
            path.write_text(source.read_text())
        else:
            path.unlink()


def systemctl(words):
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / "calls", "a") as calls:
        print(" ".join(words), file=calls)
    verb, flags, units = words[0], [word for word in words[1:] if word.startswith("-")], [Unit(word) for word in words[1:] if not word.startswith("-")]
    if verb == "daemon-reload" and len(words) == 1:
        return reload_units()
    allowed = {"enable": [], "disable": ["--now"], "start": [], "stop": [], "restart": [], "is-active": ["--quiet"], "is-enabled": []}
    if verb not in allowed or not set(flags) <= set(allowed[verb]) or len(units) != 1:
        fail(f"systemctl stand-in: not known: {' '.join(words)}", 64)
    one, link = units[0], WANTS / units[0].name
    if verb == "enable":
        one.load()
        WANTS.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(UNITS / one.name)
    elif verb == "disable":
        link.unlink(missing_ok=True)
        if "--now" in flags:
            one.stop()
    elif verb in ("stop", "restart", "start"):
        if verb != "start":
            one.stop()
        if verb != "stop":
            one.start()
    elif verb == "is-enabled":
        print("enabled" if link.is_symlink() else "disabled")
        sys.exit(0 if link.is_symlink() else 1)
    elif verb == "is-active":
        if "--quiet" not in flags:
            print(one.state())
        sys.exit(0 if one.state() == "active" else 3)


def journalctl(words):
    one = Unit(words[words.index("--unit") + 1])
    print("\n".join(one.note("log").splitlines()[-int(words[words.index("--lines") + 1]):]))


if __name__ == "__main__":
    {"systemctl": systemctl, "journalctl": journalctl}[pathlib.Path(sys.argv[0]).name](sys.argv[1:])
