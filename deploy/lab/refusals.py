"""Every rule about VMware VMs, broken one after the other: what an operator is told, and that nothing was touched."""
import subprocess

import disks
from cluster import Refused
from failback import MACHINE, MIB, Story
from stand_in import Enumerator, StandIn
from vcenter import PASSWORD

# Master targets beside mt-1, each with one thing wrong: name, host, controller, further disks.
TARGETS = {"mt-pvscsi": ("esx2.lab", "pvscsi", 0), "mt-far": ("esx3.lab", "lsilogic", 0), "mt-readonly": ("esx4.lab", "lsilogic", 0),
           "mt-full": ("esx2.lab", "lsilogic", 13)}
MAPPED = 90  # the number of that VM
OLD_SYSTEM = "Windows Server 2008 R2 SP1"


def uuid_of(number):
    return f"4207f072-edd8-4b16-8a4c-7b8c1f4e0b{number:02x}"


def hardware_of(name):
    """In Azure."""
    return f"azure-hardware-of-{name}"


class Refusals(Story):
    """A machine that runs in Azure and wants to come home."""

    def topology(self):
        made = super().topology()
        center = made["datacenters"][0]
        center["hosts"] += [{"name": "esx3.lab"}, {"name": "esx4.lab"}]
        stores = {store["name"]: store for store in center["datastores"]}
        stores["ds1"]["hosts"]["esx4.lab"] = "readOnly"
        near = {"esx1.lab": "readWrite", "esx2.lab": "readWrite"}
        for name, kind, size in (("nfs1", "NFS", 9000), ("vsan1", "vsan", 9000), ("small", "VMFS", 1)):
            center["datastores"].append({"name": name, "type": kind, "directory": str(self.work / name), "capacity_mb": size,
                                         "hosts": near})
        center["datastores"].append({"name": "local3", "type": "VMFS", "directory": str(self.work / "local3"), "capacity_mb": 9000,
                                     "hosts": {"esx3.lab": "readWrite", "esx4.lab": "readWrite"}})
        for number, (name, (host, controller, more)) in enumerate(TARGETS.items()):
            units = [unit for unit in range(16) if unit != 7][:1 + more]
            center["vms"].append({"name": name, "host": host, "datastore": "ds1" if host in near else "local3", "cpus": 1, "memory_mb": 256,
                                  "uuid": uuid_of(number), "controllers": [controller], "powered_on": True,
                                  "extra_config": {"disk.EnableUUID": "TRUE"},
                                  "disks": [{"file": f"{name}_{unit}.vmdk", "size_mb": 1, "controller": 0, "unit": unit} for unit in units]})
        center["vms"].append({"name": "mapped", "host": "esx1.lab", "datastore": "ds1", "cpus": 1, "memory_mb": 256, "uuid": uuid_of(MAPPED),
                              "controllers": ["lsilogic"], "powered_on": True,
                              "disks": [{"file": "mapped.vmdk", "size_mb": 8, "controller": 0, "unit": 0, "rdm": "physicalMode"}]})
        return made

    def set_up(self):
        self.rows = []  # id, refused, nothing touched
        self.windows = None
        super().set_up()
        full = self.work / "full"
        full.mkdir()
        disks.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", full)
        (full / "other").write_bytes(bytes(1020 * 1024))
        for number, name in enumerate(TARGETS):
            self.cluster.add_master_target(name, datastores=[self.work / "azure"], extra=f'hardware_uuid: "{uuid_of(number)}"\n').start()
        self.cluster.add_master_target("mt-nowhere", datastores=[self.work / "azure"], extra=f'hardware_uuid: "{uuid_of(99)}"\n').start()
        self.cluster.add_master_target("mt-no-room", datastores=[self.work / "azure"],
                                       extra=f'hardware_uuid: "{uuid_of(98)}"\nretention_directory: "{full}"\n').start()
        windows = self.cluster.add_master_target("mt-windows", datastores=[self.work / "azure"])
        windows.start()
        self.cluster.await_servers(3 + len(TARGETS) + 2)
        windows.stop()
        self.see("it is gone", lambda: not self.connected("mt-windows"))
        self.windows = StandIn(self.cluster, "mt-windows", role=Enumerator("MASTER_TARGET"), boot_id="1", os_type=Enumerator("WINDOWS"),
                               os_name="Windows Server 2022")
        self.see("the Windows master target registers", lambda: self.connected("mt-windows"))

    def connected(self, name):
        return any(server["connected"] for server in self.cluster.try_json("servers", "list").get("servers", []) if server["name"] == name)

    def vm(self, name):
        return {vm["name"]: vm for vm in self.cluster.try_json("inventory", "vms").get("vms", [])}.get(name, {})

    def see(self, what, holds):
        self.cluster.await_(what, holds, 30)

    def state(self):
        machine = self.machine()
        return machine.get("protection_state"), machine.get("vm"), machine.get("generation")

    def refused(self, problem, why, *command):
        """`problem` for the command, with causes and what to do, and everything as it was."""
        before = self.vcenter.vms(), self.state()
        try:
            self.cluster.cli(*command)
            text = "It was accepted."
        except Refused as refusal:
            text = refusal.text
        told = problem in text.splitlines()[0] and "why:" in text and "do:" in text
        same = (self.vcenter.vms(), self.state()) == before
        self.rows.append((problem, told, same))
        self.say(f"{why}:\n" + "\n".join("           " + line for line in text.splitlines()))

    def walk(self):
        """All of them; the machine is home at the end."""
        original = ("machines", "reprotect", MACHINE, "--location", "original", "--master-target")
        alternate = ("machines", "reprotect", MACHINE, "--location", "alternate", "--master-target", "master_target", "--datastore")
        vcenter = self.vcenter
        self.refused("VCENTER_READ_ONLY_ACCOUNT", "A vCenter is added with an account that may only look", "vcenters", "add", "vc2",
                     "--address", vcenter.address, "--user", "viewer", "--password-file", str(self.work / "password"),
                     "--thumbprint", vcenter.thumbprint)
        self.refused("MASTER_TARGET_OS_MISMATCH", "The machine runs Linux, and the master target Windows", *original, "mt-windows")
        self.refused("HYPERV_TARGET", "To Hyper-V", "machines", "reprotect", MACHINE, "--location", "hyperv", "--datastore", "ds2")
        self.refused("MASTER_TARGET_CONTROLLER", "The master target's VM has a paravirtual SCSI controller", *original, "mt-pvscsi")
        self.refused("DATASTORE_NOT_ACCESSIBLE", "The master target's host does not mount the VM's datastore", *original, "mt-far")
        self.refused("DATASTORE_NOT_ACCESSIBLE", "The master target's host mounts it read-only", *original, "mt-readonly")
        self.refused("MASTER_TARGET_DISK_LIMIT", "The master target's VM has one free place, and the machine two disks", *original, "mt-full")
        self.refused("HOST_NOT_DISCOVERED", "The master target is a VM of no vCenter that is known", *original, "mt-nowhere")
        for name, problem, whose in (("mt-1", "MASTER_TARGET_HAS_SNAPSHOTS", "The master target's VM"), (MACHINE, "VM_HAS_SNAPSHOTS", "The VM")):
            vcenter.ask(f'done(vms["{name}"].CreateSnapshot("s", "", False, False))')
            self.see("the snapshot is seen", lambda: int(self.vm(name).get("snapshot_count", 0)) > 0)
            self.refused(problem, f"{whose} has a snapshot", *original, "master_target")
            vcenter.ask(f'done(vms["{name}"].RemoveAllSnapshots())')
            self.see("its end is seen", lambda: int(self.vm(name).get("snapshot_count", 1)) == 0)
        self.set_option("FALSE")
        self.refused("MASTER_TARGET_ENABLE_UUID", "disk.EnableUUID is not set on the master target's VM", *original, "master_target")
        self.set_option("TRUE")
        self.refused("VM_NAME_EXISTS", "A new VM, while there is one of that name", *alternate, "ds2")
        for store, kind in (("nfs1", "NFS"), ("vsan1", "vSAN")):
            self.refused("DATASTORE_TYPE_UNSUPPORTED", f"A new VM, on {kind}", *alternate, store)
        self.refused("DATASTORE_FULL", "A new VM, on a datastore that is too small", *alternate, "small")
        self.refused("DATASTORE_NOT_ACCESSIBLE", "A new VM, on a datastore of another host", *alternate, "local3")
        vcenter.order(disconnect_host="esx1.lab")
        self.see("the host is gone", lambda: self.hosts()["esx1.lab"] != "connected")
        self.refused("HOST_NOT_DISCOVERED", "The VM's host is disconnected", *original, "master_target")
        vcenter.order(connect_host="esx1.lab")
        self.see("the host is back", lambda: self.hosts()["esx1.lab"] == "connected")
        self.outage(*original, "master_target")
        self.clash(*original, "master_target")
        self.refused("RETENTION_DRIVE_UNSUITABLE", "The retention drive of the master target is full", "machines", "reprotect", MACHINE,
                     "--location", "directory", "--datastore", str(self.work / "azure"), "--directory", "other", "--master-target", "mt-no-room")
        self.mapped()
        self.physical()

        # Of all these master targets one can; it is found.
        self.reprotect("original")
        failback = ("machines", "failback", MACHINE, "--point", "latest", "--wait")
        vcenter.ask('done(vms["mt-1"].CreateSnapshot("s", "", False, False))')
        self.see("the snapshot is seen", lambda: int(self.vm("mt-1").get("snapshot_count", 0)) > 0)
        self.refused("MASTER_TARGET_HAS_SNAPSHOTS", "Failback, and the master target's VM has a snapshot", *failback)
        vcenter.ask('done(vms["mt-1"].RemoveAllSnapshots())')
        self.see("its end is seen", lambda: int(self.vm("mt-1").get("snapshot_count", 1)) == 0)
        self.outage(*failback)
        self.power_on_fails(*failback)
        self.fail_back()
        self.cluster.cli("machines", "commit", MACHINE, "--wait")
        self.refused("AGENT_NOT_REGISTERED", "Reprotect, before the agent has registered from home", "machines", "reprotect", MACHINE,
                     "--location", "directory", "--datastore", str(self.work / "azure"), "--directory", "again")

    def hosts(self):
        return {host["name"]: host["connection_state"] for host in self.cluster.json("inventory", "hosts")["hosts"]}

    def set_option(self, value):
        self.vcenter.ask(f"""
spec = vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="disk.EnableUUID", value="{value}")])
done(vms["mt-1"].Reconfigure(spec))""")
        self.see("the setting is seen", lambda: bool(self.vm("mt-1").get("disk_enable_uuid")) == (value == "TRUE"))

    def outage(self, *command):
        """A vCenter that is away cannot be looked at: its state is compared before and after."""
        def state():
            return self.cluster.json("vcenters", "list")["vcenters"][0]["state"]
        before = self.vcenter.vms(), self.state()
        with self.vcenter.away():
            self.see("the vCenter is away", lambda: state() != "Connected")
            try:
                self.cluster.cli(*command)
                text = "It was accepted."
            except Refused as refusal:
                text = refusal.text
        self.see("the vCenter is back", lambda: state() == "Connected")
        self.rows.append(("VCENTER_DISCONNECTED", "VCENTER_DISCONNECTED" in text and "do:" in text,
                          (self.vcenter.vms(), self.state()) == before))
        self.say(f"The vCenter cannot be reached ({command[1]}):\n" + "\n".join("           " + line for line in text.splitlines()))

    def clash(self, *command):
        """Somebody attached the VM's disk to the master target by hand."""
        uuid = self.uuids[1]
        self.vcenter.ask(f"""
done(vms["{MACHINE}"].PowerOff())
controller = [one.key for one in vms["mt-1"].config.hardware.device if isinstance(one, vim.vm.device.VirtualSCSIController)][0]
disk = vim.vm.device.VirtualDisk(key=-1, controllerKey=controller, unitNumber=9, capacityInKB=0,
    backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="{self.places[uuid]['file']}", diskMode="persistent"))
done(vms["mt-1"].Reconfigure(vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)])))""")
        self.see("the disk is seen", lambda: len(self.vm("mt-1").get("disks", [])) == 2)
        self.refused("DISK_UUID_CLASH", "A disk of the VM is attached to the master target's VM already", *command)
        self.vcenter.ask(f"""
disk = [one for one in vms["mt-1"].config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk) and one.unitNumber == 9][0]
done(vms["mt-1"].Reconfigure(vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="remove", device=disk)])))
done(vms["{MACHINE}"].PowerOn())""")
        self.see("its end is seen", lambda: len(self.vm("mt-1").get("disks", [])) == 1)

    def in_azure(self, name, hardware_uuid):
        """A small machine beside the one of the story, failed over and committed; its agent, which runs there."""
        image = self.work / f"{name}.raw"
        with open(image, "wb") as file:
            file.truncate(8 * MIB)
        agent = self.cluster.add_agent(name, f'disks {{ path: "{image}" nbd_socket: "{self.work}/{name}.tap" }}\n'
                                       f'hardware_uuid: "{hardware_uuid}"\n')
        agent.start()
        self.registered(name)
        self.cluster.cli("machines", "protect", name, "--datastore", str(self.work / "azure"), "--master-target", "master_target", "--wait")
        self.cluster.cli("machines", "failback", name, "--point", "latest", "--wait")
        self.cluster.cli("machines", "commit", name, "--wait")
        agent.stop()
        boot = self.work / f"{name}.boot"
        boot.write_text("in-azure\n")
        agent.config.write_text(agent.config.read_text().replace(hardware_uuid, hardware_of(name)) + f'boot_id_file: "{boot}"\n')
        agent.start()
        self.registered(name)
        return agent

    def registered(self, name):
        self.cluster.await_("it registers", lambda: self.cluster.try_json("machines", "show", name).get("agent_connected"))

    def mapped(self):
        """A VM whose disk is a raw device mapping that cannot be attached elsewhere."""
        agent = self.in_azure("mapped", uuid_of(MAPPED))
        self.refused("RAW_DEVICE_UNSUPPORTED", "The VM's disk is a raw device mapping in physical mode", "machines", "reprotect", "mapped",
                     "--location", "original", "--master-target", "master_target")
        agent.stop()

    def physical(self):
        """A machine that never was a VM comes back to a new one only; with an old system, not at all."""
        agent = self.in_azure("physical", "4c4c4544-0042-3510-8052-b4c04f4e4d32")
        self.refused("VM_NOT_RECORDED", "A physical machine, to an original location", "machines", "reprotect", "physical", "--location", "original",
                     "--master-target", "master_target")
        agent.stop()
        old = StandIn(self.cluster, "physical", role=Enumerator("AGENT"), boot_id="in-azure-again", os_type=Enumerator("WINDOWS"),
                      os_name=OLD_SYSTEM, hardware_uuid=hardware_of("physical"))
        self.cluster.await_("it registers", lambda: self.cluster.try_json("machines", "show", "physical").get("os_name") == OLD_SYSTEM)
        self.refused("OS_NOT_SUPPORTED_FOR_FAILBACK", f"A physical machine with {OLD_SYSTEM}", "machines", "reprotect", "physical",
                     "--location", "alternate", "--master-target", "master_target", "--datastore", "ds2", "--vm-name", "physical")
        old.stop()

    def power_on_fails(self, *failback):
        """Not before anything was touched, but undone: the disks are the master target's again, and it follows."""
        self.vcenter.order(fault={"method": "PowerOnVM_Task", "entity": MACHINE, "fault": "InsufficientMemoryResourcesFault", "count": 50})
        before = self.state()
        try:
            self.cluster.cli(*failback)
            text = "It was accepted."
        except Refused as refusal:
            text = refusal.text
        self.vcenter.order(clear_faults=True)
        vms = self.vcenter.vms()
        undone = set(self.places) <= set(vms["mt-1"]["disks"]) and not vms[MACHINE]["on"] and self.state()[:2] == before[:2]
        self.rows.append(("VM_POWER_ON_FAILED", "VM_POWER_ON_FAILED (8038)" in text and "do:" in text, undone))
        self.say("The host cannot start the VM:\n" + "\n".join("           " + line for line in text.splitlines()))
        self.see("it follows again", lambda: (self.machine().get("rpo_seconds") or 99) < 5)

    def close(self):
        if self.windows is not None:
            self.windows.stop()
        super().close()
        subprocess.run(["umount", self.work / "full"], capture_output=True)
