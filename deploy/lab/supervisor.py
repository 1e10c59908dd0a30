"""The process that a lab lives in, and how `lab` talks to it: a line of JSON there, lines of JSON back, over a unix socket."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

CONTROL = "control"
LOG = "lab.log"
ORDER_BYTES_MAX = 1 << 20
WRONG = 3  # how the lab's process ends when it has said why


class NoLab(Exception):
    """There is none in that directory."""


def ask(directory, on_line=None, **order):
    """Gives an order to the lab in `directory`; its answer. `on_line` is called with each line that it says meanwhile."""
    with socket.socket(socket.AF_UNIX) as link:
        try:
            # A path in the directory may be too long for a socket's address.
            here = os.open(directory, os.O_DIRECTORY)
            try:
                link.connect(f"/proc/self/fd/{here}/{CONTROL}")
            finally:
                os.close(here)
        except OSError as why:
            raise NoLab(f"no lab is up in {directory}: start one with `lab up TOPOLOGY`") from why
        with link.makefile("rw") as text:
            print(json.dumps(order), file=text, flush=True)
            for line in text:
                reply = json.loads(line)
                if "say" in reply:
                    if on_line:
                        on_line(reply["say"])
                elif "error" in reply:
                    raise RuntimeError(reply["error"])
                else:
                    return reply["answer"]
    raise RuntimeError(f"the lab ended while it was asked; see {directory}/{LOG}")


class Supervisor:
    """Serves orders until it is told to end. `orders`: by name, called with a function that says a line, and the order's fields."""

    def __init__(self, directory, orders):
        self.directory, self.orders = directory, orders
        self.ended = threading.Event()
        path = directory / CONTROL
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        here = os.open(directory, os.O_DIRECTORY)
        self.listener.bind(f"/proc/self/fd/{here}/{CONTROL}")
        os.close(here)
        os.chmod(path, 0o600)
        self.listener.listen(16)

    def serve(self):
        """On threads of its own; returns at once."""
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            link, _ = self.listener.accept()
            threading.Thread(target=self.answer, args=(link,), daemon=True).start()

    def answer(self, link):
        with link, link.makefile("rw") as text:
            def tell(**reply):
                try:
                    print(json.dumps(reply), file=text, flush=True)
                except OSError:
                    pass  # who asked has gone; the order is carried out all the same
            try:
                order = json.loads(text.readline(ORDER_BYTES_MAX))
                name = order.pop("order")
                tell(answer=self.orders[name](lambda line: tell(say=line), **order))
            except Exception as why:
                traceback.print_exc()
                tell(error=f"{why}" or type(why).__name__)


def begin(directory, command, lock):
    """Starts `command`, which becomes the lab's process, apart from this terminal; waits until it serves, or raises what it said.
    `lock`: a descriptor that it keeps."""
    with open(directory / LOG, "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True,
                                   pass_fds=[lock])
    for line in process.stdout:
        if line.startswith("ready"):
            return process
        print(line, end="", flush=True)
    if process.wait() != WRONG:
        said = (directory / LOG).read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"it did not come up: {said[-1] if said else f'it ended with {process.returncode}'}; see {directory / LOG}")
    raise RuntimeError("it did not come up")


def until_told(supervisor):
    """Waits for SIGTERM, SIGINT or an order to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.ended.set())
    while not supervisor.ended.wait(1):
        pass


def end(directory, limit=60):
    """Ends the lab there and waits until it has ended."""
    pid = ask(directory, order="down")
    deadline = time.monotonic() + limit
    while lives(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def lives(pid):
    """A child that has ended, and that nobody has waited for, is dead."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def say(line):
    """To who started the lab, as long as that listens."""
    try:
        print(line, flush=True)
    except (BrokenPipeError, ValueError):
        sys.stdout = open(os.devnull, "w")
