"""Machines of a lab: virtual machines that boot for real, at home or in Azure, from the very disks that are there."""
import hashlib
import pathlib
import re
import threading
import time

from cluster import seconds_of
from guest import image
from guest.guest import Guest
from network import BRIDGE

LEDGER_BYTES = 64 << 20
SHUTDOWN_SECONDS = 60
CLOCK_SECONDS_MAX = 2  # between a guest's clock, which begins at a whole second, and the host's
LEDGER_UNIT = """[Service]
ExecStart=
ExecStart=/usr/bin/python3 /usr/local/lib/lab/disks.py /var/lib/ledger/ledger 0 {limit} /dev/virtio-ports/ledger {churn} {interval}
"""
# Of services and devices: on a host that has much to do, a machine is slow, and nothing of it is broken.
TIMEOUTS = """[Manager]
DefaultTimeoutStartSec=15min
DefaultDeviceTimeoutSec=15min
"""


def scaled_trace(path, scale):
    """A file of delays, each divided."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001, "us": 1e-6, "ns": 1e-9}
    lines = [line.partition("#")[0].strip() for line in pathlib.Path(path).read_text().splitlines()]
    return "".join(f"{sum(float(number) * units[unit] for number, unit in re.findall(r'([0-9.]+)(ms|us|ns|h|m|s)', line)) / scale:.6f}s\n"
                   for line in lines if line)


def mac_of(uuid):
    """A VM's network card has the same address each time, in QEMU's range."""
    return ":".join(["52", "54", "00", *(hashlib.sha256(uuid.encode()).hexdigest()[at:at + 2] for at in (0, 2, 4))])


def last_words(boot):
    return boot.guest.console()[-300:] if boot else "it was never on"


class Boot:
    """One power-on of a machine, or of a copy of it, until it is off."""

    def __init__(self, label, running, before, boot_id_before):
        self.label, self.guest = label, running
        self.powered_on = time.time()
        self.acknowledged_before = before      # records of the ledger that it must find
        self.boot_id_before = boot_id_before   # of the copy that was the machine until then
        self.registered_at = None              # seconds since 1970

    def found(self):
        """How many records of its ledger it found when it booted, in an unbroken chain; None until it has added one."""
        noted = self.guest.acknowledgements()
        return noted[0][0] if noted else None

    def records(self):
        """How many there are that its guest has said are durable."""
        noted = self.guest.acknowledgements()
        return noted[-1][0] + 1 if noted else self.acknowledged_before


class Machine:
    """One machine of the topology. Its VM at home and the one in Azure may both be on."""

    def __init__(self, lab, described):
        self.lab, self.described, self.name = lab, described, described["name"]
        self.directory = lab.directory / "machines" / self.name
        self.directory.mkdir(parents=True)
        self.lock = threading.RLock()
        self.boots = []    # all of them, in order
        self.copies = []   # boots of copies that test failovers started
        self.running = {}  # by "home", "azure" and "test": the boot that goes on there
        self.current = None  # the boot that is the machine: the last one that began while no other went on
        self.in_newest_point = 0  # records of its ledger that the newest point surely had when a test failover was begun

    # --- its VM at home

    def vcenter(self):
        return self.lab.vcenters[self.described["place"]["vcenter"]]

    def install(self):
        """Puts the system on its first disk, with what is its own."""
        place = self.described["place"]
        flat = self.lab.directory_of(place["vcenter"], place["datastore"]) / self.name / f"{self.name}-flat.vmdk"
        image.copy(self.lab.image, flat)
        workload = self.described["settings"]["workload"]
        unit = LEDGER_UNIT.format(limit=LEDGER_BYTES, churn=int(workload.get("churn_mb", 0)) << 20, interval=workload["ledger_interval"].rstrip("s"))
        trace = self.described["settings"].get("agent", {}).get("registration", {}).get("delay", {}).get("trace")
        beside = pathlib.Path(self.lab.topology_file).parent
        delays = {"/etc/homeward/delays": (scaled_trace(beside / trace["file"], self.lab.time_scale), 0o644)} if trace else {}
        image.personalise(flat, {
            **delays,
            "/etc/hostname": (self.name + "\n", 0o644),
            # What two machines had alike, a site's router would take for one machine.
            "/etc/machine-id": (hashlib.sha256(self.described["uuid"].encode()).hexdigest()[:32] + "\n", 0o444),
            "/etc/systemd/system.conf.d/lab.conf": (TIMEOUTS, 0o644),
            "/etc/homeward/agent.conf": (self.lab.configs[self.name, "agent"], 0o644),
            "/etc/homeward/enrolment": (self.lab.enrolment, 0o600),
            "/etc/systemd/system/ledger.service.d/lab.conf": (unit, 0o644),
            "/usr/bin/homeward-agent": (self.lab.binaries / "homeward-agent", 0o755)})

    def power(self, what):
        self.vcenter().ask(f"done(vms[{self.name!r}].{what}())")

    def power_on_at_home(self):
        self.power("PowerOn")

    def power_off_at_home(self):
        self.power("PowerOff")

    def delete_at_home(self):
        """With its disks, by somebody else's client."""
        if "home" in self.running:
            self.power_off_at_home()
        self.power("Destroy")

    # --- boots

    def boot(self, vm):
        """Its VM is powered on there."""
        with self.lock:
            number = len(self.boots) + len(self.copies) + 1
            where = self.lab.place_of(vm)
            label = f"{where} {number}"
            site = self.lab.site_of(vm)
            is_copy = where == "test"
            settings = self.described["settings"]
            running = Guest(self.name, self.directory / f"boot-{number}", vm["disks"], vm["id"], "vmware" if where == "home" else "azure",
                            vm.get("uuids", ()), next(filter(None, vm.get("mac", [])), mac_of(vm["id"])), BRIDGE, site.router.prefix, int(settings["memory_mb"]), settings["cpus"])
            delay = self.lab.delay_of(settings.get("network_ready"), f"{self.name} {number}")
            alone = not is_copy and set(self.running) <= {"test"}
            before = self.in_newest_point if is_copy else self.acknowledged_count()
            boot = Boot(label, running, before, self.lab.seen(self.name).get("admitted_copy", {}).get("boot_id", ""))
            running.start()
            (self.copies if is_copy else self.boots).append(boot)
            self.running[where] = boot
            if alone:
                self.current = boot
            if delay:
                running.set_link(False)
                timer = threading.Timer(delay, self.plug_in, (running,))
                timer.daemon = True
                timer.start()
        self.lab.tell(self.name, f"powered on ({label})")

    def plug_in(self, running):
        with self.lock:
            if running.is_on():
                running.set_link(True)

    def off(self, vm, gently):
        """Its VM is powered off there, or shut down."""
        with self.lock:
            boot = self.running.pop(self.lab.place_of(vm), None)
        if boot is None:
            return
        if gently:
            boot.guest.shut_down(SHUTDOWN_SECONDS)
        else:
            boot.guest.kill()
        self.lab.tell(self.name, f"off ({boot.label})")

    # --- what became of them

    def note_registration(self, seen):
        """`seen`: what the configuration server knows of the machine."""
        boot = self.current
        copy = seen.get("admitted_copy", {}).get("boot_id", "")
        if boot is None or boot.registered_at is not None or not seen.get("agent_connected") or not copy or copy == boot.boot_id_before:
            return
        boot.registered_at = max(seconds_of(seen["registered_at"]), boot.powered_on)
        self.lab.tell(self.name, f"registered, {boot.registered_at - boot.powered_on:.1f} s after power-on ({boot.label})")

    def has_registered(self, seen):
        self.note_registration(seen)
        return self.current is not None and self.current.registered_at is not None and seen.get("agent_connected", False)

    def note_newest_point(self, seen):
        """A test failover is about to be begun: what the copy is to have of the ledger at least."""
        if self.current is None or "newest_point" not in seen:
            return
        limit = seconds_of(seen["newest_point"]["time"]) - CLOCK_SECONDS_MAX
        self.in_newest_point = 1 + max((number for number, at in self.current.guest.acknowledgements() if at < limit), default=-1)

    def acknowledged_count(self):
        return self.current.records() if self.current else 0

    def owns_copy(self, resource):
        """Whether what has that name in Azure was made for a copy of it."""
        return resource.startswith(self.name + "-") and "-test-" in resource

    def last_words(self):
        return last_words(self.current)

    def status(self):
        on = ", ".join(boot.label for boot in self.running.values()) or "off"
        return {"name": self.name, "told": f"{on}; {self.acknowledged_count()} records of its ledger"}

    def close(self):
        for boot in (*self.boots, *self.copies):
            boot.guest.kill()
