"""Rows about a simulated Azure: the storage account is Azurite behind the strict front that tests use, over TLS."""
import contextlib
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import azure
import disks
from circle import Circle
from row import MIB, Cannot, Row, make_source

HERE = pathlib.Path(__file__).parent


class OnAzure(Row):
    """An agent, a process server that writes page blobs, a site in Azure."""
    away_ms = 0  # each request to the account takes so much longer

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.npm = azure.install_clients()

    @contextlib.contextmanager
    def account(self):
        """A storage account that has nothing yet."""
        directory = self.directory / "account"
        storage = azure.Storage(pathlib.Path(self.arguments.binaries), directory, self.npm[0])
        try:
            if self.away_ms:
                storage.order(faults=[{"kind": "slow", "milliseconds": self.away_ms, "count": 1 << 30}])
            yield storage
        finally:
            storage.stop()
            shutil.rmtree(directory, ignore_errors=True)

    @contextlib.contextmanager
    def to_azure(self, image, storage):
        """The whole of Homeward, whose machine bench has registered; nothing is protected."""
        with self.servers(storage.configuration()) as cluster, contextlib.ExitStack() as keep:
            manager = azure.ResourceManager(cluster.binaries, cluster.directory / "manager", storage, azure.NO_GUESTS)
            keep.callback(manager.stop)
            manager.add_to(cluster)
            cluster.add_agent("bench", f'disks {{ path: "{image}" nbd_socket: "{cluster.directory}/tap" }}\n').start()
            cluster.await_("the agent registers", lambda: cluster.try_json("machines", "show", "bench").get("agent_connected"))
            yield cluster

    def protect(self, cluster):
        cluster.cli("machines", "protect", "bench", "--location", "azure", "--azure-firmware", "bios",
                    "--process-server", "process_server", "--wait", limit=3600)


class AzureFirstSync(OnAzure):
    name, unit, target = "azure_first_sync", "MiB/s", 1
    says = ("agent -> process server -> page blobs of the simulated account; beside @azure/storage-blob, 8 parallel puts of 4 MiB, into "
            "the same account behind the same strict front")

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.source = self.sources.get(arguments.megabytes, 0.5)

    def ours(self):
        with self.account() as storage, self.to_azure(self.source, storage) as cluster:
            began = time.monotonic()
            self.protect(cluster)
            return self.arguments.megabytes / (time.monotonic() - began)

    def peer(self):
        with self.account() as storage:
            order = {"modules": str(self.npm[0] / "node_modules"), "url": storage.url, "account": azure.ACCOUNT, "key": storage.key,
                     "file": str(self.source), "puts": 8}
            done = subprocess.run(["node", HERE / "upload_pages.js"], input=json.dumps(order), capture_output=True, text=True,
                                  env={**os.environ, "NODE_EXTRA_CA_CERTS": str(storage.certificate)})
            if done.returncode != 0:
                raise OSError(f"the upload: {done.stderr[-800:]}")
            return self.arguments.megabytes / json.loads(done.stdout)["seconds"]


class AzureFirstSyncFar(AzureFirstSync):
    name, away_ms = "azure_first_sync_far", 40
    says = "the same, to an account that is 40 ms away"


class AzureReprotectDelta(OnAzure):
    """One Homeward and one account live through all runs."""
    name, unit, target, at_least, has_peer = "azure_reprotect_delta", "% of the disk", 1.5, False, False
    says = "sent to the process server when 1 % of a disk has changed behind the agent's back, and page blobs have the rest"

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.image = directory / "image.raw"
        make_source(self.image, arguments.megabytes)
        self.changes = 0
        storage = self.keep.enter_context(self.account())
        self.cluster = self.keep.enter_context(self.to_azure(self.image, storage))
        self.protect(self.cluster)

    def change(self):
        """One block of 64 KiB in a hundred, others each time."""
        self.changes += 1
        with open(self.image, "r+b") as image:
            for at in range(self.changes % 100, self.arguments.megabytes * 16, 100):
                image.seek(at << 16)
                image.write(os.urandom(1 << 16))
            os.fsync(image.fileno())

    def received(self):
        return int(self.cluster.json("machines", "show", "bench")["received_bytes"])

    def ours(self):
        self.cluster.daemons["bench"].kill()
        self.change()
        before = self.received()
        self.cluster.daemons["bench"].start()
        self.cluster.await_("the agent is back", lambda: self.cluster.try_json("machines", "show", "bench").get("agent_connected"))
        began = time.monotonic()
        self.cluster.cli("machines", "resync", "bench", "--wait", limit=3600)
        self.note(f"{time.monotonic() - began:.1f} s")
        after = self.received()
        # It is counted anew with each stream.
        return 100 * (after - before if after >= before else after) / (self.arguments.megabytes * MIB)


def seconds_under_way(operations):
    """How long at least one of Azure's operations was under way, of those that ended."""
    def at(text):
        whole, fraction = re.match(r"(.*)\.(\d+)\+00:00$", text).groups()
        return datetime.datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction}")
    total, until = 0.0, 0.0
    for begun, ended in sorted((at(one["begun"]), at(one["ended"])) for one in operations if one.get("ended")):
        total += max(0.0, ended - max(begun, until))
        until = max(until, ended)
    return total


class FailoverToRunning(OnAzure):
    name, unit, target, at_least, has_peer = "failover_to_running", "s", 5, False, False
    says = ("`homeward machines failover` of a VM with two disks, to its VM in Azure that runs: seconds in which none of the simulated "
            "Azure's operations, of 2 s each, was under way")

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        if not disks.can_use_loop_devices():
            raise Cannot("loop devices need root")
        self.rounds = 0

    def ours(self):
        self.rounds += 1
        work = self.directory / str(self.rounds)
        work.mkdir()
        each = max(64, self.arguments.megabytes // 8)
        story = Circle(self.arguments.binaries, work, self.npm, (each, each // 2), say=self.note)
        try:
            story.set_up(operation_ms=2000)
            began = time.monotonic()
            home = story.boot_home()
            story.fill(home)
            story.await_registration("at home", began)
            home.write()
            story.protect("--process-server", "process_server")
            before = set(self.operations(work))
            took = story.fail_over(home)
            operations = self.operations(work)
            azures = seconds_under_way(one for id, one in operations.items() if id not in before)
            self.note(f"{took:.1f} s, {azures:.1f} s of it Azure's")
            return took - azures
        finally:
            story.close()
            shutil.rmtree(work, ignore_errors=True)

    def operations(self, work):
        state = json.loads((work / "manager" / "state" / "state.json").read_text())
        return {one["id"]: one for one in state["operations"] or []}
