"""A machine of the lab that is real: QEMU, which emulates every instruction, boots it from its disks.

What it says goes to files beside each other, which outlive it and go on with the next start: `serial`, its console, and
`acknowledged`, a line for each record of its ledger that was on its disk when the line was written.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from cluster import HANG_SECONDS, die_with_parent  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
QEMU = "qemu-system-x86_64"
MEMORY_MB = 384
# With "max" a boot takes a third more; with "max" less a feature systemd could not make the mounts of its own services.
PROCESSOR = "Westmere"
POWER_BUTTON_SECONDS = 5
# What a machine's firmware says of where it is; mobility_agent/guest/location.cc reads it.
FIRMWARE = {
    "vmware": ["type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform,uuid={uuid}"],
    "azure": ["type=1,manufacturer=Microsoft Corporation,product=Virtual Machine,uuid={uuid}",
              "type=3,manufacturer=Microsoft Corporation,asset=7783-7084-3265-9085-8269-3286-77"],
}


class Qmp:
    """QEMU's own control, one command after another."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rw")
        self.lines.readline()  # its greeting
        self.order("qmp_capabilities")

    def order(self, command, **arguments):
        print(json.dumps({"execute": command, "arguments": arguments}), file=self.lines, flush=True)
        while True:
            line = self.lines.readline()
            if not line:
                raise OSError(f"QEMU ended before it answered {command}")
            answer = json.loads(line)
            if "error" in answer:
                raise OSError(f"QEMU refused {command}: {answer['error']['desc']}")
            if "return" in answer:  # what is neither is an event
                return answer["return"]

    def close(self):
        self.lines.close()
        self.socket.close()


class Guest:
    """One machine. `disks`: raw images or flat files, in the order that it is to find them, the one that it boots from first.
    `disk_uuids`: as VMware tells a guest; "" where it is told none, as in Azure. Its network card is in `bridge`, which is in
    the network namespace that `prefix` leads to; without a bridge it has none. It ends with the thread that started it."""

    def __init__(self, name, directory, disks, uuid, location="vmware", disk_uuids=(), mac=None, bridge=None, prefix=(),
                 memory_mb=MEMORY_MB, cpus=1):
        self.name, self.directory = name, pathlib.Path(directory)
        self.disks, self.uuid, self.location = list(disks), uuid, location
        self.disk_uuids = list(disk_uuids) or [""] * len(self.disks)
        self.mac, self.bridge, self.prefix = mac, bridge, list(prefix)
        self.memory_mb, self.cpus = memory_mb, cpus
        self.directory.mkdir(parents=True, exist_ok=True)
        self.serial, self.acknowledged = self.directory / "serial", self.directory / "acknowledged"
        self.process = self.qmp = None

    def command(self):
        words = [*self.prefix, QEMU, "-name", self.name, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                 "-machine", "pc,usb=off,vmport=off", "-accel", "tcg,thread=multi", "-cpu", PROCESSOR,
                 "-smp", str(self.cpus), "-m", str(self.memory_mb), "-rtc", "base=utc",
                 "-qmp", f"unix:{self.directory / 'qmp'},server=on,wait=off",
                 "-chardev", f"file,id=console,path={self.serial},append=on", "-serial", "chardev:console",
                 "-device", "virtio-serial-pci", "-chardev", f"file,id=ledger,path={self.acknowledged},append=on",
                 "-device", "virtserialport,chardev=ledger,name=ledger", "-device", "virtio-rng-pci", "-device", "pvscsi,id=scsi"]
        for text in FIRMWARE[self.location]:
            words += ["-smbios", text.format(uuid=self.uuid)]
        for number, (disk, uuid) in enumerate(zip(self.disks, self.disk_uuids)):
            words += ["-blockdev", json.dumps({"driver": "raw", "node-name": f"disk{number}", "discard": "unmap",
                                               "file": {"driver": "file", "filename": str(disk), "discard": "unmap"}}),
                      "-device", f"scsi-hd,bus=scsi.0,scsi-id={number},drive=disk{number},write-cache=on" +
                      (f",serial={uuid}" if uuid else "") + (",bootindex=0" if number == 0 else "")]
        if self.bridge:
            words += ["-netdev", f"tap,id=network,script={HERE / 'join-bridge'},downscript=no",
                      "-device", "virtio-net-pci,id=card,netdev=network,romfile=" + (f",mac={self.mac}" if self.mac else "")]
        return words

    def start(self):
        """Turns it on. Does not wait for what runs in it."""
        (self.directory / "qmp").unlink(missing_ok=True)
        with open(self.directory / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent, env={**os.environ, "HOMEWARD_LAB_BRIDGE": self.bridge or ""})
        began = time.monotonic()
        while self.qmp is None:
            try:
                self.qmp = Qmp(self.directory / "qmp")
            except (FileNotFoundError, ConnectionRefusedError):
                if self.process.poll() is not None or time.monotonic() - began > HANG_SECONDS:
                    self.kill()
                    raise RuntimeError(f"QEMU did not start {self.name}: {self.log()[-1000:]}") from None
                time.sleep(0.02)

    def log(self):
        """What QEMU itself said."""
        return (self.directory / "qemu.log").read_text(errors="replace")

    def console(self):
        return self.serial.read_text(errors="replace") if self.serial.exists() else ""

    def acknowledgements(self):
        """(number, time) of each record that was durable, of all its starts."""
        lines = self.acknowledged.read_text().splitlines(keepends=True) if self.acknowledged.exists() else []
        return [(int(words[0]), float(words[1])) for words in (line.split() for line in lines if line.endswith("\n"))]

    def is_on(self):
        return self.process is not None and self.process.poll() is None

    def processor_seconds(self):
        """What it took so far of the host's processors."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def shut_down(self, limit=120):
        """Presses its power button, and turns it off when it is still on after `limit` seconds. True: it went down by itself."""
        began, pressed = time.monotonic(), -POWER_BUTTON_SECONDS
        while self.is_on() and time.monotonic() - began < limit:
            if time.monotonic() - began - pressed >= POWER_BUTTON_SECONDS:  # one who is still booting does not hear it
                pressed = time.monotonic() - began
                try:
                    self.qmp.order("system_powerdown")
                except OSError:
                    pass  # it has just ended
            time.sleep(0.05)
        by_itself = not self.is_on()
        self.kill()
        return by_itself

    def kill(self):
        """As when the power fails: what it had written to its disks, and no more, is there."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.qmp is not None:
            self.qmp.close()
            self.qmp = None

    def pause(self):
        self.qmp.order("stop")

    def resume(self):
        self.qmp.order("cont")

    def set_link(self, up):
        """Plugs its network cable in or out."""
        self.qmp.order("set_link", name="card", up=up)
