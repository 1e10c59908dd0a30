"""A simulated Azure as processes of this one: a storage account, the Resource Manager, and what a VM's guest does when it is
powered on or off. What is there is looked at with Azure's own SDK."""
import json
import os
import pathlib
import shlex
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request

from cluster import die_with_parent, straight

LAB = pathlib.Path(__file__).resolve().parent
SOURCE = LAB.parents[1]
TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
SECRET = "secret"
SUBSCRIPTION = "33333333-3333-3333-3333-333333333333"
REGION, GROUP, SIZE = "westeurope", "recovered", "Standard_D2s_v5"
NETWORK = "network"
ACCOUNT = "homeward"
TEST_PREFIX = "10.20.2."
TEST_NETWORK = TEST_PREFIX + "0/24"
# Hooks of VMs that nobody is to look into: they are on, and off, at once.
NO_GUESTS = {"on": "true", "off": "true"}


def install_clients():
    """Azurite and Azure's SDK from npm, where they are not there yet. To be called while the network is there."""
    fakes = SOURCE / "tests" / "fakes" / "azure"
    storage = subprocess.run([fakes / "install-npm"], check=True, capture_output=True, text=True).stdout.strip()
    manager = SOURCE / "build" / "npm" / "azure-arm"
    subprocess.run([fakes / "arm" / "clients" / "install", manager], check=True, stdout=subprocess.DEVNULL)
    return pathlib.Path(storage), manager


def post(url, order, trusted):
    context = ssl.create_default_context(cafile=str(trusted))
    request = urllib.request.Request(url, json.dumps(order).encode())
    with straight(urllib.request.HTTPSHandler(context=context)).open(request) as reply:
        return json.loads(reply.read() or b"null")


class Program:
    """Prints one line of JSON when it is ready, and ends with this process."""

    def __init__(self, log, *command, prefix=()):
        """`prefix`: what runs the command, as in another network namespace."""
        with open(log, "ab") as errors:
            self.process = subprocess.Popen([*prefix, *(str(part) for part in command)], stdout=subprocess.PIPE, stderr=errors, text=True,
                                            preexec_fn=die_with_parent)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[0]} did not start: {pathlib.Path(log).read_text(errors='replace')[-500:]}")
        self.ready = json.loads(line)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Storage(Program):
    """A storage account with one container."""

    def __init__(self, binaries, directory, npm, listen="127.0.0.1:0", prefix=()):
        directory.mkdir(parents=True)
        super().__init__(directory / "log", binaries / "homeward-fake-azure-storage", "--npm", npm, "--directory", directory,
                         "--account", ACCOUNT, "--listen", listen, prefix=prefix)
        self.url, self.key = self.ready["url"], self.ready["key"]
        host, port = self.ready["address"].rsplit(":", 1)
        self.certificate = directory / "certificate.pem"
        self.certificate.write_text(ssl.get_server_certificate((host, int(port))))
        self.key_file = directory / "account.key"
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(self.key + "\n")

    def order(self, **order):
        return post(f"https://{self.ready['address']}/control", order, self.certificate)

    def configuration(self):
        """Of a process server that writes to it."""
        return f"""azure {{ storage {{
  container_url: "{self.url}"
  key_file: "{self.key_file}"
  trusted_certificates_file: "{self.certificate}"
}} }}
"""


class ResourceManager(Program):
    """The Resource Manager of one subscription. `hooks`: what is run when a VM is powered "on" or "off"."""

    def __init__(self, binaries, directory, storage, hooks, operation_ms=500, listen="127.0.0.1:0", prefix=(), production="10.20.1.0/24"):
        directory.mkdir(parents=True)
        site = directory / "site.json"
        site.write_text(json.dumps({
            "operation_ms": operation_ms, "groups": [GROUP, "other"],
            "accounts": [{"group": GROUP, "name": ACCOUNT, "blob": storage.url.rsplit("/", 1)[0]}],
            "networks": [{"group": GROUP, "name": NETWORK, "prefixes": [str(production), TEST_NETWORK],
                          "subnets": [{"name": "production", "prefix": str(production)},
                                      {"name": "isolated", "prefix": TEST_NETWORK}]}]}))
        super().__init__(directory / "log", binaries / "homeward-fake-azure-arm", "--config", site, "--state", directory / "state",
                         "--on-power-on", hooks["on"], "--on-power-off", hooks["off"], "--listen", listen,
                         "--storage-key", storage.key, "--storage-account", ACCOUNT, "--storage-ca", storage.certificate, prefix=prefix)
        self.endpoint, self.certificate = self.ready["endpoint"], pathlib.Path(self.ready["ca_file"])
        self.storage = storage
        self.secret_file = directory / "secret"
        self.secret_file.touch(mode=0o600)
        self.secret_file.write_text(SECRET + "\n")

    def order(self, **order):
        return post(f"{self.endpoint}/control", order, self.certificate)

    def add_to(self, cluster, name="west"):
        """As an operator makes it known."""
        group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
        subnets = f"{group}/Microsoft.Network/virtualNetworks/{NETWORK}/subnets"
        cluster.cli("azure", "add", name, "--subscription", SUBSCRIPTION, "--tenant", TENANT, "--client-id", CLIENT,
                    "--client-secret-file", str(self.secret_file), "--resource-group", GROUP, "--region", REGION, "--size", SIZE,
                    "--subnet", f"{subnets}/production", "--test-subnet", f"{subnets}/isolated",
                    "--storage-account", f"{group}/Microsoft.Storage/storageAccounts/{ACCOUNT}",
                    "--container", self.storage.url,
                    "--endpoint", self.endpoint, "--authority", self.endpoint, "--ca-file", str(self.certificate))


class Sdk:
    """Azure, as its own SDK sees it."""

    def __init__(self, storage, manager, storage_npm, manager_npm):
        self.storage = storage
        self.order = {"endpoint": manager.endpoint, "tenant": TENANT, "client": CLIENT, "secret": SECRET,
                      "subscription": SUBSCRIPTION, "group": GROUP, "url": storage.url, "account": ACCOUNT, "key": storage.key,
                      "storage_modules": str(storage_npm / "node_modules"), "manager_modules": str(manager_npm / "node_modules")}
        self.trusted = manager.certificate.parent / "trusted.pem"
        self.trusted.write_text(manager.certificate.read_text() + storage.certificate.read_text())

    def ask(self, do, **more):
        done = subprocess.run(["node", LAB / "azure_sdk.js"], input=json.dumps({**self.order, "do": do, **more}),
                              capture_output=True, text=True, env={**os.environ, "NODE_EXTRA_CA_CERTS": str(self.trusted)})
        if done.returncode != 0:
            raise RuntimeError(f"Azure's SDK, {do}: {done.stderr[-800:]}")
        return json.loads(done.stdout)

    def resources(self):
        """{"vms": [{"name", "power", "tags"}], "disks": [name], "nics": [name]}"""
        return self.ask("resources")

    def left(self):
        """Of everything in the resource group, what is there."""
        seen = self.resources()
        return [vm["name"] for vm in seen["vms"]] + seen["disks"] + seen["nics"]

    def start(self, vm):
        return self.ask("start", vm=vm)

    def deallocate(self, vm):
        return self.ask("deallocate", vm=vm)

    def digests(self, machine):
        """SHA-256 of each disk at its newest snapshot, in the blobs' order, without what follows the disk."""
        return self.ask("digests", prefix=machine)


class Guests:
    """What happens in VMs. `on(vm)`, `off(vm)` and others are called with the VM's {"name", "id", "disks", "addresses"}; the VM is
    on, or off, when they return. They are told apart by name alone. They are called one at a time, on one thread; with `at_once`
    each on a thread of its own, which ends with it."""

    def __init__(self, directory, at_once=False, **events):
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "guests"
        self.events, self.at_once = events, at_once
        self.failures = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(16)
        # Not a pool: what a guest starts ends with the thread that started it.
        threading.Thread(target=self.serve, daemon=True).start()

    def hooks(self, *more):
        """The commands that tell of a VM which is powered on, or off. `more`: whose VM it is."""
        return {event: shlex.join([sys.executable, str(LAB / "guest_hook.py"), str(self.path), event, *more]) for event in self.events}

    def serve(self):
        while True:
            link, _ = self.listener.accept()
            if self.at_once:
                threading.Thread(target=self.handle, args=(link,), daemon=True).start()
            else:
                self.handle(link)

    def handle(self, link):
        with link, link.makefile("rw") as text:
            order = json.loads(text.readline())
            answer = {}
            try:
                self.events[order["event"]](order["vm"])
            except Exception as why:  # the VM does not start, and whoever waits for it is told
                self.failures.append(f"{order['vm']['name']}, {order['event']}: {why}")
                answer = {"error": str(why)}
            print(json.dumps(answer), file=text, flush=True)
