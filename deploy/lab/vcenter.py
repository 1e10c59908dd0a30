"""A simulated vCenter as a process of this one, and a look at it by a client that is neither ours nor the simulator's."""
import contextlib
import json
import signal
import ssl
import subprocess
import threading
import urllib.request

from cluster import die_with_parent, straight

PASSWORD = "correct-horse-battery"

# Runs what each line says, with pyVmomi. It is one process for all of them, since pyVmomi takes a second to be loaded.
CLIENT = """
import contextlib, io, json, ssl, sys, time, traceback
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim
host, port, password = sys.argv[1:]
def done(task):
    while task.info.state in ("queued", "running"):
        time.sleep(0.05)
    assert task.info.state == "success", task.info.error
    return task.info.result
for line in sys.stdin:
    out, error, service = io.StringIO(), "", None
    try:
        service = SmartConnect(host=host, port=int(port), user="homeward", pwd=password, sslContext=ssl._create_unverified_context())
        content = service.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        names = {"json": json, "vim": vim, "content": content, "vms": {vm.name: vm for vm in view.view}, "done": done, "time": time}
        with contextlib.redirect_stdout(out):
            exec(json.loads(line), names)
        Disconnect(service)
    except Exception:
        error = traceback.format_exc()
    print(json.dumps({"out": out.getvalue(), "error": error}), flush=True)
"""


class Vcenter:
    def __init__(self, binaries, directory, topology, listen="127.0.0.1:0", prefix=(), on_power_on="", on_power_off=""):
        """`prefix`: what runs it, as in another network namespace. `on_power_on`, `on_power_off`: commands that start and end guests
        that are real."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "topology.json"
        path.write_text(json.dumps({"accounts": [{"user": "homeward", "password": PASSWORD},
                                                 {"user": "viewer", "password": PASSWORD, "read_only": True}], **topology}))
        self.process = subprocess.Popen([*prefix, binaries / "homeward-fake-vcenter", "--topology", path, "--listen", listen,
                                         "--on-power-on", on_power_on, "--on-power-off", on_power_off],
                                        stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        ready = json.loads(self.process.stdout.readline())
        self.address, self.thumbprint = ready["address"], ready["thumbprint"]
        self.client = None
        self.asking = threading.Lock()

    def stop(self):
        """Its loop devices go with it."""
        if self.client is not None:
            self.client.kill()
            self.client.wait()
        self.process.terminate()
        self.process.wait()

    @contextlib.contextmanager
    def away(self):
        """It is down for as long as the block runs."""
        self.go_away()
        try:
            yield
        finally:
            self.come_back()

    def go_away(self):
        self.process.send_signal(signal.SIGUSR1)

    def come_back(self):
        self.process.send_signal(signal.SIGUSR2)

    def order(self, **order):
        request = urllib.request.Request(f"https://{self.address}/control", json.dumps(order).encode())
        with straight(urllib.request.HTTPSHandler(context=ssl._create_unverified_context())).open(request) as reply:
            return json.loads(reply.read())

    def ask(self, program):
        """Runs Python with pyVmomi's `content`, `vms` by name, and done(task); returns what it prints as JSON."""
        with self.asking:
            if self.client is None:
                self.client = subprocess.Popen(["/usr/bin/python3", "-c", CLIENT, *self.address.split(":"), PASSWORD], stdin=subprocess.PIPE,
                                               stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
            print(json.dumps(program), file=self.client.stdin, flush=True)
            reply = json.loads(self.client.stdout.readline())
        if reply["error"]:
            raise RuntimeError(f"pyVmomi: {reply['error'][-800:]}")
        return json.loads(reply["out"] or "null")

    def vms(self):
        """{name: {"on", "snapshots", "disks": {uuid: {"bus", "unit", "file"}}}}"""
        return self.ask("""
out = {}
for name, vm in vms.items():
    devices = vm.config.hardware.device
    buses = {one.key: one.busNumber for one in devices if hasattr(one, "busNumber")}
    out[name] = {"on": vm.runtime.powerState == "poweredOn", "snapshots": vm.snapshot is not None,
                 "uuid": vm.config.uuid, "cpus": vm.config.hardware.numCPU,
                 "memory_mb": vm.config.hardware.memoryMB, "firmware": vm.config.firmware, "guest_id": vm.config.guestId,
                 "controllers": sorted(buses.values()), "host": vm.runtime.host.name, "disks": {
        one.backing.uuid.lower().replace("-", ""): {"bus": buses.get(one.controllerKey), "unit": one.unitNumber,
                                                    "file": one.backing.fileName}
        for one in devices if isinstance(one, vim.vm.device.VirtualDisk)}}
print(json.dumps(out))
""")
