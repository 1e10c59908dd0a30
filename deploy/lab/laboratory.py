"""A topology, brought up on this machine: each host in a network namespace with an address of its own, sites with a router each,
links between those, daemons, a simulated vCenter and Azure, and machines that boot.

It is there for as long as this process, whose own network is that of an operator at the configuration server's site.
"""
import concurrent.futures
import ipaddress
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import threading
import time
import uuid

from azure import TEST_NETWORK, Guests, ResourceManager, Sdk, Storage, install_clients
from cluster import Daemon, Operator
from failback import be_alone_on_the_network, be_alone_with_mounts
from guest import image
from machines import Machine
from network import Here, Link, Namespace, Site
from report import page
from topology_file import DAEMONS, Wrong, policy_words, read
from vcenter import PASSWORD, Vcenter

# The second where something else on the host has the first.
VCENTER_PORTS, MANAGER_PORTS, STORAGE_PORT = (443, 8443), (443, 8444), 10000
# The operator's address in the site of the configuration server: hosts have those behind it.
OPERATOR = 2
AZURE_SITE = "azure"
# The network of test failovers. No site's name is as long.
ISOLATED = "tests-in-azure"
LOOK_SECONDS = 0.3  # between two looks at up to five machines; each is a program that starts


def seconds(duration):
    """Of a duration as JSON has it."""
    return float(duration.rstrip("s")) if duration else 0.0


def prepared(binaries, cache, with_azure):
    """What labs on this machine need and have from the network once: the disk image of a machine, and clients of Azure."""
    base = cache / "machine.img"
    try:
        image.build(base, binaries / "homeward-agent")
    except subprocess.CalledProcessError as why:
        raise Wrong("the disk image of the lab's machines could not be made; what failed is said above") from why
    return base, install_clients() if with_azure else ()


class Host:
    """One host of the topology, with what runs on it."""

    def __init__(self, described, site, directory):
        self.name, self.described, self.site = described["name"], described, site
        self.address = described["address"]
        self.directory = directory / "hosts" / self.name
        self.directory.mkdir(parents=True)
        self.namespace = Namespace(self.name)
        site.attach(self.namespace, self.name, self.address)
        self.daemons = {}

    def kill(self):
        for daemon in self.daemons.values():
            daemon.kill()

    def destroy(self):
        """And all that is on its disk."""
        self.kill()
        shutil.rmtree(self.directory / "state", ignore_errors=True)

    def start(self):
        for daemon in self.daemons.values():
            if daemon.process is None:
                daemon.start()


class Laboratory(Operator):
    def __init__(self, topology_file, binaries, directory, say=print, time_scale=None):
        self.binaries, self.directory, self.say = pathlib.Path(binaries), directory, say
        self.topology_file = topology_file
        self.topology = json.loads(read(self.binaries, topology_file))
        self.time_scale = time_scale or self.topology["time_scale"]
        self.sites, self.hosts, self.links, self.machines, self.vcenters = {}, {}, {}, {}, {}
        self.storage = self.manager = self.supervisor = self.isolated = None
        self.looking = threading.Lock()  # guards what follows
        self.looked_at, self.looked = None, {}
        self.watchers = []  # called with (machine, what happened)
        self.closed = False

    # --- coming up

    def up(self, cache):
        """`cache`: a directory of what labs have from the network, which is kept."""
        self.image, self.npm = prepared(self.binaries, cache, any("azure" in host for site in self.topology["sites"] for host in site.get("hosts", [])))
        be_alone_with_mounts()
        be_alone_on_the_network()
        self.make_network()
        super().__init__(self.binaries, f"{self.config_host().address}:443", self.config_host().directory / "state" / "config-server" / "operator")
        self.lasting_thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        # Both tell of machines that are powered on and off, and wait until that has happened.
        self.events = Guests(self.directory / "events", at_once=True, on=self.powered_on, off=self.powered_off)
        for host in self.hosts.values():
            if "vcenter" in host.described:
                self.start_vcenter(host)
            if "azure" in host.described:
                self.start_azure(host)
        self.start_daemons()
        self.make_known()
        self.boot_machines()

    def config_host(self):
        return next(host for host in self.hosts.values() if "config_server" in host.described)

    def make_network(self):
        for described in self.topology["sites"]:
            site = self.sites[described["name"]] = Site(described, self.directory)
            for one in described.get("hosts", []):
                self.hosts[one["name"]] = Host(one, site, self.directory)
        home = self.config_host().site
        self.operator_namespace = Here()
        home.attach_self(home.network.network_address + OPERATOR)
        for described in self.topology.get("links", []):
            link = Link(self.binaries, self.directory, self.sites[described["site"]], self.sites[described["other_site"]], described)
            self.links[link.name] = link
        self.route()
        if any("azure" in host.described for host in self.hosts.values()):
            self.isolated = Site({"name": ISOLATED, "network": TEST_NETWORK}, self.directory)
        for site in self.all_sites():
            site.serve_addresses()

    def all_sites(self):
        return [*self.sites.values(), *([self.isolated] if self.isolated else [])]

    def route(self):
        """Each router knows over which of its links a site is reached, by the fewest."""
        for site in self.sites.values():
            first = {site.name: None}  # by site: the link that the way to it begins with
            at_hand = [site.name]
            while at_hand:
                here = at_hand.pop(0)
                for link in self.links.values():
                    there = link.other_end(here)
                    if there is None or there in first:
                        continue
                    first[there] = first[here] or link
                    at_hand.append(there)
            for name, link in first.items():
                if link is not None:
                    site.router.run("ip", "route", "add", str(self.sites[name].network), "dev", link.device_at(site.name))

    def directory_of(self, vcenter, datastore):
        return self.directory / "datastores" / vcenter / datastore

    def start_vcenter(self, host):
        described = host.described["vcenter"]
        stores = []
        for one in described.get("datastores", []):
            where = self.directory_of(host.name, one["name"])
            where.mkdir(parents=True)
            kind = {"VSAN": "vsan"}.get(one["type"], one["type"])
            mounts = {**{name: "readWrite" for name in one.get("esx_hosts", [])},
                      **{name: "readOnly" for name in one.get("read_only_esx_hosts", [])}}
            stores.append({"name": one["name"], "type": kind, "directory": str(where), "capacity_mb": int(one["capacity_mb"]), "hosts": mounts})
        vms = [self.vm_of_target(one) for one in self.hosts.values()
               if one.described.get("master_target", {}).get("place", {}).get("vcenter") == host.name]
        vms += [self.vm_of_machine(one) for one in self.topology.get("machines", []) if one["place"]["vcenter"] == host.name]
        # By its instance UUID a vCenter is known from any other.
        inventory = {"instance_uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, host.name)), "datacenters": [{"name": "dc1", "hosts": [
            {"name": one["name"], "memory_mb": int(one.get("memory_mb", 0))} for one in described["esx_hosts"]],
            "datastores": stores, "vms": vms}]}
        hooks = self.events.hooks("vcenter", host.name)
        self.vcenters[host.name] = Vcenter(self.binaries, host.directory / "vcenter", inventory, f"{host.address}:{self.port_of(host, VCENTER_PORTS, 'config_server')}",
                                           host.namespace.prefix, hooks["on"], hooks["off"])
        self.vcenters[host.name].ask("pass")  # its client lasts as long as this thread

    @staticmethod
    def port_of(host, ports, *others):
        """The second when one of the others is on the host as well."""
        return ports[1 if any(other in host.described for other in others) else 0]

    def vm_of_target(self, host):
        place = host.described["master_target"]["place"]
        return {"name": host.name, "host": place["esx_host"], "datastore": place["datastore"], "cpus": 2, "memory_mb": 1024,
                "uuid": host.described["master_target"]["uuid"], "controllers": ["lsilogic"], "powered_on": True,
                "extra_config": {"disk.EnableUUID": "TRUE"}, "hardware": str(self.directory / "hardware" / host.name), "hardware_kind": "loop",
                "disks": [{"file": f"{host.name}.vmdk", "size_mb": 16, "controller": 0, "unit": 0}]}

    def vm_of_machine(self, machine):
        settings = machine["settings"]
        sizes = [self.image.stat().st_size >> 20, *(int(one["size_mb"]) for one in settings.get("data_disks", []))]
        return {"name": machine["name"], "host": machine["place"]["esx_host"], "datastore": machine["place"]["datastore"],
                "cpus": settings["cpus"], "memory_mb": int(settings["memory_mb"]), "uuid": machine["uuid"], "controllers": ["lsilogic"],
                "tools_running": False, "extra_config": {"disk.EnableUUID": "TRUE"},
                "disks": [{"file": f"{machine['name']}{'_' + str(unit) if unit else ''}.vmdk", "size_mb": size, "controller": 0,
                           "unit": unit if unit < 7 else unit + 1} for unit, size in enumerate(sizes)]}

    def start_azure(self, host):
        described = host.described["azure"]
        operation_ms = round(seconds(described.get("operation")) * 1000) or 500
        prefix = host.namespace.prefix
        self.storage = Storage(self.binaries, host.directory / "storage", self.npm[0], f"{host.address}:{STORAGE_PORT}", prefix)
        self.manager = ResourceManager(self.binaries, host.directory / "manager", self.storage, self.events.hooks("azure", host.name), operation_ms,
                                       f"{host.address}:{self.port_of(host, MANAGER_PORTS, 'config_server', 'vcenter')}", prefix, host.site.network)
        self.azure_host = host

    def config_files(self):
        places = {"state_root": self.directory / "hosts" / "{host}" / "state", "enrolment_file": self.directory / "hosts" / "{host}" / "enrolment",
                  "directory_root": self.directory / "datastores" / "{host}", "disk_links_directory": self.directory / "hardware" / "{host}",
                  "simulated_hardware": "true", "time_scale": self.time_scale}
        if self.storage is not None:
            places |= {"container_url": self.storage.url, "key_file": self.storage.key_file,
                       "trusted_certificates_file": self.storage.certificate}
        return json.loads(read(self.binaries, self.topology_file, "--configs", *(f"{key}={value}" for key, value in places.items())))["files"]

    def start_daemons(self):
        self.configs = {}
        for file in self.config_files():
            self.configs[file["host"], file["daemon"]] = file["text"]
            if file["daemon"] not in DAEMONS:
                continue
            host = self.hosts[file["host"]]
            for name in host.described.get("master_target", {}).get("directories", []):
                (self.directory / "datastores" / host.name / name).mkdir(parents=True, exist_ok=True)
            daemon = Daemon(f"{host.name} {file['daemon']}", str(self.binaries / f"homeward-{file['daemon']}"), host.directory / file["daemon"],
                            file["text"])
            daemon.prefix = host.namespace.prefix
            host.daemons[file["daemon"]] = daemon
        config = self.config_host()
        config.daemons["config-server"].start()
        self.await_("the configuration server answers", lambda: self.try_cli("version"))
        self.enrolment = self.cli("enrol", "passphrase", "show")
        for host in self.hosts.values():
            (host.directory / "enrolment").write_text(self.enrolment)
            host.start()
        wanted = sum(len(host.daemons) for host in self.hosts.values()) - 1
        self.await_("the servers register", lambda: len([one for one in self.try_json("servers", "list").get("servers", [])
                                                         if one["connected"]]) >= wanted)

    def make_known(self):
        """What an operator does with a new deployment."""
        for name, vcenter in self.vcenters.items():
            password = self.directory / "vcenter-password"
            password.write_text(PASSWORD + "\n")
            self.cli("vcenters", "add", name, "--address", vcenter.address, "--user", "homeward", "--password-file", str(password),
                     "--thumbprint", vcenter.thumbprint)
        if self.manager is not None:
            self.manager.add_to(self, AZURE_SITE)
        for policy in self.topology.get("policies", []):
            self.cli(*policy_words(policy, there=policy["name"] == "failback"))
        wanted = len(self.topology.get("machines", []))
        self.await_("the inventory is there", lambda: len(self.try_json("inventory", "vms").get("vms", [])) >= wanted)

    # --- machines

    def boot_machines(self):
        for described in self.topology.get("machines", []):
            machine = self.machines[described["name"]] = Machine(self, described)
            machine.install()
            machine.power_on_at_home()
        threading.Thread(target=self.give_policies, daemon=True).start()

    def give_policies(self):
        """To each machine its own, once the configuration server knows it."""
        waiting = {name: machine.described["policy"] for name, machine in self.machines.items() if "policy" in machine.described}
        while waiting and not self.closed:
            known = {one["name"] for one in self.try_json("machines", "list").get("machines", [])}
            for name in known & waiting.keys():
                if self.try_cli("machines", "set-policy", name, waiting[name]):
                    self.say(f"  {name}: follows policy {waiting.pop(name)}")
            time.sleep(LOOK_SECONDS)

    def powered_on(self, vm):
        machine = self.machine_of(vm)
        if machine is not None:
            self.lasting(machine.boot, vm)

    def lasting(self, does, *arguments):
        """Calls it on a thread that lasts as long as the lab: what a thread starts ends with it."""
        return self.lasting_thread.submit(does, *arguments).result()

    def powered_off(self, vm):
        """Azure asks the guest to shut down; a vCenter says whether it does."""
        machine = self.machine_of(vm)
        if machine is not None:
            machine.off(vm, gently=vm["kind"] == "azure" or vm["how"] == "guest")

    def machine_of(self, vm):
        """A VM of a machine is named after it, at home and in Azure."""
        if vm["name"] in self.hosts:
            return None
        names = [name for name in self.machines if vm["name"] == name or vm["name"].startswith(name + "-")]
        return self.machines[max(names, key=len)] if names else None

    def place_of(self, vm):
        """Its network card says whether it is a copy that a test failover started."""
        if vm["kind"] == "vcenter":
            return "home"
        return "test" if any(ipaddress.ip_address(one) in self.isolated.network for one in vm["addresses"]) else "azure"

    def site_of(self, vm):
        return {"home": lambda: self.hosts[vm["where"]].site, "azure": lambda: self.azure_host.site, "test": lambda: self.isolated}[self.place_of(vm)]()

    def seen(self, machine):
        """What the configuration server knows of it."""
        return self.try_json("machines", "show", machine)

    def seen_since(self, since):
        """Of all machines, by name, a moment old at most, but of no time before `since` (of the monotonic clock). Who asks at the same time
        is told by one look."""
        with self.looking:
            now = time.monotonic()
            if self.looked_at is None or self.looked_at < max(since, now - LOOK_SECONDS * max(1, len(self.machines) / 5)):
                self.looked_at = now
                self.looked = {one["name"]: one for one in self.try_json("machines", "list").get("machines", [])}
            return self.looked

    def in_azure(self):
        """Names of all that the resource group has."""
        return Sdk(self.storage, self.manager, *self.npm).left()

    def delay_of(self, delay, seed):
        """Seconds of the experiment's clock; a machine's boot always has the same."""
        if not delay:
            return 0
        chance = random.Random(f"{delay.get('seed', 0)} {seed}")
        if "uniform" in delay:
            long = chance.uniform(seconds(delay["uniform"].get("min")), seconds(delay["uniform"]["max"]))
        elif "log_normal" in delay:
            kind = delay["log_normal"]
            long = min(seconds(kind["median"]) * math.exp(chance.gauss(0, kind.get("sigma", 0))), seconds(kind.get("max")) or math.inf)
        elif "exponential" in delay:
            kind = delay["exponential"]
            long = min(chance.expovariate(1 / seconds(kind["mean"])), seconds(kind.get("max")) or math.inf)
        else:
            long = seconds(delay.get("fixed"))
        return long / self.time_scale

    def link_between(self, site, other):
        for link in self.links.values():
            if set(link.sites) == {site, other}:
                return link
        raise Wrong(f"there is no link between \"{site}\" and \"{other}\"; there are {', '.join(self.links) or 'none'}")

    # --- what is told

    def tell(self, machine, what):
        self.say(f"  {machine}: {what}")
        for watcher in list(self.watchers):
            watcher(machine, what)

    def orders(self):
        """What can be asked of it while it is up, by name."""
        return {"status": lambda _say: self.status(), "namespace": lambda _say, host: self.namespace_of(host).path,
                "operator": lambda _say: self.command(), "pid": lambda _say: os.getpid(), "logs": lambda _say, **of: self.logs(**of),
                "link": lambda _say, **change: self.change_link(**change),
                "run": self.run_scenario, "down": lambda _say: self.go_down()}

    def namespace_of(self, host):
        kind, _, site = host.partition(":")
        for one in self.all_sites():
            if kind == "router" and one.name == site:
                return one.router
        if host == "operator":
            return self.operator_namespace
        if host not in self.hosts:
            raise Wrong(f"there is no host \"{host}\"; there are {', '.join(self.hosts)}, operator, and router:SITE")
        return self.hosts[host].namespace

    def logs(self, host, daemon=None):
        """Files of what it said."""
        where = self.directory / ("machines" if host in self.machines else "hosts") / host
        if host not in self.machines and host not in self.hosts:
            raise Wrong(f"there is no host or machine \"{host}\"")
        found = sorted(str(path) for path in where.rglob("*log") if path.is_file() and (daemon is None or daemon in str(path.relative_to(where))))
        if not found:
            raise Wrong(f"{host} has said nothing{f' of {daemon}' if daemon else ''}")
        return found

    def change_link(self, site, other_site, change):
        link = self.link_between(site, other_site)
        if change == "cut":
            link.cut()
        elif change == "mend":
            link.mend()
        else:
            link.order(f"set both {change}")
        return link.show()["told"]

    def run_scenario(self, say, scenario, folder=None, patience=1):
        from scenario import Run, folder_name  # it knows laboratories
        described = json.loads(read(self.binaries, self.topology_file, scenario))
        name = pathlib.Path(scenario).stem
        folder = pathlib.Path(folder) if folder else self.directory / "runs" / folder_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        before, self.say = self.say, say
        try:
            held = Run(self, name, described, folder, say, patience).run()
        finally:
            self.say = before
        page.write(folder)
        return {"held": held, "folder": str(folder)}

    def go_down(self):
        self.supervisor.ended.set()
        return os.getpid()

    def status(self):
        servers = self.try_json("servers", "list").get("servers", [])
        machines = self.try_json("machines", "list").get("machines", [])
        return {"topology": self.topology.get("description", ""), "time_scale": self.time_scale,
                "hosts": [{"name": host.name, "site": host.site.name, "address": host.address,
                           "daemons": {name: daemon.state() for name, daemon in host.daemons.items()}} for host in self.hosts.values()],
                "links": [link.show() for link in self.links.values()],
                "machines": [machine.status() for machine in self.machines.values()],
                "servers": servers, "known_machines": machines}

    def close(self):
        if self.closed:
            return
        self.closed = True
        for machine in self.machines.values():
            machine.close()
        for host in self.hosts.values():
            host.kill()
        for vcenter in self.vcenters.values():
            vcenter.stop()
        for program in (self.manager, self.storage):
            if program is not None:
                program.stop()
        for thing in (*self.links.values(), *self.all_sites()):
            thing.close()
        for host in self.hosts.values():
            host.namespace.close()
