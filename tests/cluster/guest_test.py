"""Machines that are real: QEMU boots a Debian with the agent in it, from a raw image, from a VMDK and from what a master target wrote.

usage: guest_test.py --binaries DIR    (as root)

In a network namespace of its own, with a bridge, a DHCP server and the servers of a cluster, a machine boots, enrols, registers and
replicates its root disk from inside. Whenever its power fails, its ledger has every record that it had acknowledged; so has that of
the machine which boots from the replica.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy" / "lab"), str(ROOT / "deploy" / "lab" / "guest")]
import disks  # noqa: E402
import image  # noqa: E402
from cluster import Cluster, Refused, die_with_parent, scratch  # noqa: E402
from failback import be_alone_on_the_network, be_alone_with_mounts  # noqa: E402
from guest import Guest  # noqa: E402
from vcenter import Vcenter  # noqa: E402

MACHINE = "web-1"
UUID = "4207f072-edd8-4b16-8a4c-7b8c1f4e0a01"
OTHER_UUID = "4207f072-edd8-4b16-8a4c-7b8c1f4e0a02"  # of the VM that the operator gives the replica to
DISK_UUID = "6000c29a1b2c3d4e5f60718293a4b5c6"
MAC = "00:50:56:01:02:03"
BRIDGE, HOST = "lab", "10.77.0.1"
LEDGER = "/var/lib/ledger/ledger"
RECORDS = 50  # that are awaited of each boot


class Network:
    """A bridge in this process's network namespace, and a DHCP server on it."""

    def __init__(self, directory):
        disks.run("ip", "link", "add", BRIDGE, "type", "bridge")
        disks.run("ip", "address", "add", f"{HOST}/24", "dev", BRIDGE)
        disks.run("ip", "link", "set", BRIDGE, "up")
        with open(directory / "dnsmasq.log", "ab") as log:
            self.server = subprocess.Popen(
                ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--group=root", f"--interface={BRIDGE}",
                 "--bind-interfaces", "--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h", "--dhcp-authoritative", "--no-ping",
                 f"--dhcp-leasefile={directory / 'leases'}", f"--pid-file={directory / 'dnsmasq.pid'}", "--log-facility=-"],
                stdout=log, stderr=log, preexec_fn=die_with_parent)

    def stop(self):
        self.server.kill()
        self.server.wait()


class Test:
    def __init__(self, binaries, directory, base):
        self.binaries, self.directory, self.base, self.failed = binaries, directory, base, 0
        self.ends = 0  # of the machine's writer
        self.network = Network(directory)
        self.cluster = Cluster(binaries, directory, host=HOST)
        self.guest = None
        self.datastore = directory / "datastore"
        self.raw = directory / "machine.raw"

    def check(self, name, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + str(detail)[-1500:] if detail and not holds else ''}", flush=True)
        self.failed += not holds

    def say(self, text):
        print(f"     {text}", flush=True)

    # --- the machine

    def boot(self, disk, label, uuid=UUID):
        self.guest = Guest(MACHINE, self.directory / label, [disk], uuid, "vmware", [DISK_UUID], MAC, BRIDGE)
        self.guest.acknowledged = self.directory / "acknowledged"
        self.before = len(self.guest.acknowledgements())
        self.began = time.monotonic()
        self.boots_before = self.machine().get("admitted_copy", {}).get("boot_id")
        self.guest.start()

    def since(self):
        return round(time.monotonic() - self.began, 1)

    def await_(self, what, holds):
        def looked():
            if not self.guest.is_on():
                raise RuntimeError(f"{MACHINE} is off: {self.guest.log()[-500:]} {self.guest.console()[-1500:]}")
            return holds()
        return self.cluster.await_(what, looked)

    def await_records(self, count=RECORDS):
        self.await_(f"{count} records are acknowledged", lambda: len(self.guest.acknowledgements()) >= self.before + count)

    def machine(self):
        return self.cluster.try_json("machines", "show", MACHINE)

    def await_registered(self):
        def registered():
            seen = self.machine()
            boot = seen.get("admitted_copy", {}).get("boot_id")
            return seen if seen.get("agent_connected") and boot != self.boots_before else None
        return self.await_("its agent registers", registered)

    def await_up(self, label):
        self.await_records(1)
        self.say(f"{label}: the first record after {self.since()} s")
        seen = self.await_registered()
        self.say(f"{label}: registered after {self.since()} s, {round(self.guest.processor_seconds(), 1)} s of processor")
        self.await_records()
        return seen

    def records_on(self, disk):
        return disks.read_ledger(image.read(disk, LEDGER)[0] or b"")

    def check_ledger(self, label, disk):
        """The machine is off. A record that was on the disk when its writer was ended may never have been acknowledged."""
        acknowledged, records = self.guest.acknowledgements(), self.records_on(disk)
        numbers = [number for number, _ in acknowledged]
        self.ends += 1
        missing = sorted(set(range(numbers[-1] + 1)) - set(numbers))
        self.check(f"{label}: the ledger is whole, and each record was acknowledged once, but those of an end", numbers == sorted(set(numbers)) and
                   len(missing) < self.ends, missing)
        self.check(f"{label}: all {len(numbers)} acknowledged records are there", len(records) > numbers[-1], len(records))

    # --- a vCenter whose guests are real

    def a_vcenter_starts_and_ends_guests(self):
        hook, datastore = self.directory / "hook", self.directory / "ds1"
        hook.write_text(f"""#!/bin/sh
env | grep ^VM_ > {self.directory}/$1
[ ! -e {self.directory}/fails ] || {{ echo "the host has no memory left" >&2; exit 1; }}
""")
        hook.chmod(0o755)
        vcenter = Vcenter(self.binaries, self.directory / "vcenter", {"datacenters": [{
            "name": "dc1", "hosts": [{"name": "esx1.lab"}],
            "datastores": [{"name": "ds1", "type": "VMFS", "directory": str(datastore), "hosts": {"esx1.lab": "readWrite"}}],
            "vms": [{"name": MACHINE, "host": "esx1.lab", "datastore": "ds1", "cpus": 1, "memory_mb": 512, "uuid": UUID, "mac": MAC,
                     "controllers": ["lsilogic", "lsilogic"],
                     "disks": [{"file": "second.vmdk", "size_mb": 1, "controller": 1, "unit": 0},
                               {"file": "first.vmdk", "size_mb": 1, "controller": 0, "unit": 3, "uuid": DISK_UUID}]}]}]},
                          on_power_on=f"{hook} on", on_power_off=f"{hook} off")
        try:
            self.check_hooks(vcenter, datastore / MACHINE)
        finally:
            vcenter.stop()

    def told_to(self, event):
        return dict(line.partition("=")[::2] for line in (self.directory / event).read_text().splitlines())

    def check_hooks(self, vcenter, files):
        state = f"""
vm = vms[{MACHINE!r}]
print(json.dumps([vm.runtime.powerState, vm.guest.toolsRunningStatus]))"""
        vcenter.ask(f"done(vms[{MACHINE!r}].PowerOn())")
        told = self.told_to("on")
        self.check("a guest is started with its disks in the order that it boots from them", told["VM_DISKS"] ==
                   f"{files}/first-flat.vmdk:{files}/second-flat.vmdk" and told["VM_DISK_UUIDS"].startswith(DISK_UUID + ":"), told)
        self.check("and with what its VM is", [told[f"VM_{name}"] for name in ("NAME", "UUID", "MAC", "HOST", "MEMORY_MB")] ==
                   [MACHINE, UUID, MAC, "esx1.lab", "512"], told)
        self.check("its tools run", vcenter.ask(state) == ["poweredOn", "guestToolsRunning"], vcenter.ask(state))
        vcenter.ask(f"vms[{MACHINE!r}].ShutdownGuest()")
        self.cluster.await_("the VM is off", lambda: vcenter.ask(state)[0] == "poweredOff")
        self.check("a shutdown through the tools ends it", self.told_to("off")["VM_OFF"] == "guest", self.told_to("off"))
        (self.directory / "fails").touch()
        try:
            vcenter.ask(f"done(vms[{MACHINE!r}].PowerOn())")
            said = "it was turned on"
        except RuntimeError as why:
            said = str(why)
        self.check("one that does not start is a fault with the reason", f"the guest of {MACHINE} did not start: the host has no memory left"
                   in said, said)
        self.check("and its VM is off", vcenter.ask(state)[0] == "poweredOff")

    # --- the story

    def set_up(self):
        self.cluster.start_config_server()
        self.cluster.add_process_server(host=HOST).start()
        self.datastore.mkdir()
        self.cluster.add_master_target(datastores=[self.datastore], host=HOST).start()
        self.cluster.await_servers(2)
        image.copy(self.base, self.raw)
        image.personalise(self.raw, {
            "/usr/bin/homeward-agent": (self.binaries / "homeward-agent", 0o755),
            "/etc/hostname": (MACHINE + "\n", 0o644),
            "/etc/homeward/enrolment": (self.cluster.enrolment, 0o600),
            "/usr/local/sbin/quiesce": ("#!/bin/sh\nexec systemctl stop ledger\n", 0o755),
            "/etc/homeward/agent.conf": (f"""join {{
  config_server: "{self.cluster.address}"
  enrolment_file: "/etc/homeward/enrolment"
  name: "{MACHINE}"
}}
state_directory: "/var/lib/homeward/agent"
hooks {{ quiesce: "/usr/local/sbin/quiesce" }}
guest {{ steps: NONE }}
""", 0o600)})

    def a_raw_image_boots(self):
        self.boot(self.raw, "raw")
        seen = self.await_up("raw image")
        self.check("its hardware and its disk are as VMware tells them", seen["admitted_copy"]["hardware_uuid"] == UUID and
                   [disk.get("uuid") for disk in seen["disks"]] == [DISK_UUID], seen)
        self.guest.kill()
        self.check_ledger("after the power failed", self.raw)

    def a_vmdk_boots(self):
        vmdk = self.directory / "machine.vmdk"
        disks.run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", self.raw, vmdk)
        self.flat = self.directory / "machine-flat.vmdk"
        host = self.machine()["machine_id"]
        self.boot(self.flat, "vmdk")
        self.check("the machine is the one that it was", self.await_up("flat VMDK")["machine_id"] == host)

    def its_root_disk_is_protected(self):
        began = time.monotonic()
        self.cluster.cli("machines", "protect", MACHINE, "--datastore", str(self.datastore), "--point-interval", "5s", "--wait")
        self.say(f"the first recovery point after {round(time.monotonic() - began, 1)} s")
        processor, then = self.guest.processor_seconds(), time.monotonic()
        points = len(self.points())
        self.await_("more points are made", lambda: len(self.points()) >= points + 2)
        self.say(f"while it replicates: {round(100 * (self.guest.processor_seconds() - processor) / (time.monotonic() - then))} % of a processor")
        self.check("it is healthy", not self.machine().get("health_errors"), self.machine().get("health_errors"))
        self.check("its root disk is tracked by BPF", "capture=bpf" in self.guest.console(), self.guest.console()[-3000:])

    def points(self):
        return self.cluster.try_json("points", "list", MACHINE).get("points", [])

    def the_replica_boots(self):
        self.cluster.cli("machines", "failback", MACHINE, "--point", "latest", "--wait")
        self.cluster.cli("machines", "commit", MACHINE, "--wait")
        self.guest.kill()
        replica = [path for path in self.datastore.rglob("*-flat.vmdk")]
        self.check("one disk was written", len(replica) == 1, replica)
        self.check_ledger("after the failback", replica[0])
        self.boot(replica[0], "replica", OTHER_UUID)
        self.await_up("replica")
        self.check("it goes down when its power button is pressed", self.guest.shut_down())
        self.check_ledger("after it went down", replica[0])

    def run(self):
        self.set_up()
        for step in (self.a_vcenter_starts_and_ends_guests, self.a_raw_image_boots, self.a_vmdk_boots, self.its_root_disk_is_protected, self.the_replica_boots):
            step()

    def told(self):
        return self.cluster.told() + (f"\n--- {MACHINE}\n{self.guest.console()[-4000:]}" if self.guest else "")

    def close(self):
        if self.guest is not None:
            self.guest.kill()
        self.cluster.stop()
        self.network.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True)
    binaries = parser.parse_args().binaries
    base = binaries.parents[1] / "lab" / "machine.img"  # as labs have it
    began = time.monotonic()
    image.build(base, binaries / "homeward-agent")  # while the network is there
    print(f"     the image: {round(time.monotonic() - began, 1)} s, {base.stat().st_blocks >> 11} MiB allocated", flush=True)
    be_alone_with_mounts()
    be_alone_on_the_network()
    directory = scratch("guest")
    test = Test(binaries, directory, base)
    try:
        test.run()
    except (TimeoutError, Refused, OSError, RuntimeError, ValueError, KeyError) as why:
        test.check(type(why).__name__, False, why)
    finally:
        if test.failed:
            print(test.told())
        test.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{test.failed} failed")
    sys.exit(1 if test.failed else 0)


if __name__ == "__main__":
    main()
