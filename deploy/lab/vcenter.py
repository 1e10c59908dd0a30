"""A simulated vCenter as a process of this one, and a look at it by a client that is neither ours nor the simulator's."""
import contextlib
import json
import signal
import ssl
import subprocess
import urllib.request

from cluster import die_with_parent, straight

PASSWORD = "correct-horse-battery"


class Vcenter:
    def __init__(self, binaries, directory, topology, listen="127.0.0.1:0"):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "topology.json"
        path.write_text(json.dumps({"accounts": [{"user": "homeward", "password": PASSWORD},
                                                 {"user": "viewer", "password": PASSWORD, "read_only": True}], **topology}))
        self.process = subprocess.Popen([binaries / "homeward-fake-vcenter", "--topology", path, "--listen", listen],
                                        stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        ready = json.loads(self.process.stdout.readline())
        self.address, self.thumbprint = ready["address"], ready["thumbprint"]

    def stop(self):
        """Its loop devices go with it."""
        self.process.terminate()
        self.process.wait()

    @contextlib.contextmanager
    def away(self):
        """It is down for as long as the block runs."""
        self.process.send_signal(signal.SIGUSR1)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGUSR2)

    def order(self, **order):
        request = urllib.request.Request(f"https://{self.address}/control", json.dumps(order).encode())
        with straight(urllib.request.HTTPSHandler(context=ssl._create_unverified_context())).open(request) as reply:
            return json.loads(reply.read())

    def ask(self, program):
        """Runs Python with pyVmomi's `content`, `vms` by name, and done(task); returns what it prints as JSON."""
        done = subprocess.run(["/usr/bin/python3", "-c", f"""
import json, ssl, time
from pyVim.connect import SmartConnect
from pyVmomi import vim
host, port = {self.address!r}.split(":")
content = SmartConnect(host=host, port=int(port), user="homeward", pwd={PASSWORD!r},
                       sslContext=ssl._create_unverified_context()).RetrieveContent()
view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
vms = {{vm.name: vm for vm in view.view}}
def done(task):
    while task.info.state in ("queued", "running"):
        time.sleep(0.05)
    assert task.info.state == "success", task.info.error
    return task.info.result
""" + program], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"pyVmomi: {done.stderr[-800:]}")
        return json.loads(done.stdout or "null")

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
