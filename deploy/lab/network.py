"""Networks of a lab: a namespace for each host and each site's router, a bridge for each site, links between the routers.

All of it is there for as long as the process that made it, however that ends.
"""
import ipaddress
import json
import os
import socket
import subprocess
import time

from cluster import die_with_parent
from disks import run

BRIDGE = "br0"
# Of addresses that machines get while they are there. A lab's story is shorter than a lease.
LEASE = "12h"


class Namespace:
    """A network namespace. `prefix` before a command runs it there."""

    def __init__(self, name):
        self.name = name
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       preexec_fn=die_with_parent)
        self.holder.stdout.readline()
        self.path = f"/proc/{self.holder.pid}/ns/net"
        self.prefix = ["nsenter", f"--net={self.path}"]
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command):
        return run(*self.prefix, *command)

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Here:
    """The namespace of this process, as others find it."""
    path = f"/proc/{os.getpid()}/ns/net"
    prefix = []


class Link:
    """What carries packets between two routers (link/README.md). Its properties are changed while it runs."""

    def __init__(self, binaries, directory, site, other, described):
        self.name = f"{site.name}-{other.name}"
        self.sites = (site.name, other.name)
        self.socket = directory / f"{self.name}.link"
        # A namespace's path and a device's name at either end.
        ends = [word for letter, here, there in (("a", site, other), ("b", other, site))
                for word in (f"--namespace_{letter}", here.router.path, f"--device_{letter}", f"to-{there.name}")]
        with open(directory / f"link-{self.name}.log", "ab") as log:
            self.process = subprocess.Popen([binaries / "homeward-lab-link", *ends, "--offload", "--control_socket", self.socket], stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)
        self.wait(directory / f"link-{self.name}.log")
        for here, there in ((site, other), (other, site)):
            here.router.run("ip", "link", "set", f"to-{there.name}", "up")
        self.set(described.get("quality", {}), described.get("quality_back", {}))

    def wait(self, log):
        while not self.socket.exists():
            if self.process.poll() is not None:
                raise RuntimeError(f"link {self.name}: {log.read_text(errors='replace').strip()}")
            time.sleep(0.01)

    def other_end(self, site):
        """The site at its other end; None when it does not begin there."""
        if site not in self.sites:
            return None
        return self.sites[1 - self.sites.index(site)]

    def device_at(self, site):
        return f"to-{self.other_end(site)}"

    def order(self, words):
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.socket))
            control.sendall(f"{words}\n".encode())
            with control.makefile() as text:
                answer = json.loads(text.readline())
        if not answer["ok"]:
            raise RuntimeError(f"link {self.name}: {answer['error']}")
        return answer

    def set(self, there, back):
        for direction, quality in (("a-to-b", there), ("b-to-a", back)):
            if words := words_of(quality):
                self.order(f"set {direction} {words}")

    def cut(self):
        self.order("cut")

    def mend(self):
        self.order("mend")

    def carried(self):
        """Bytes so far, by direction."""
        seen = self.order("show")
        return {f"{self.sites[0]} to {self.sites[1]}": seen["a_to_b"]["bytes"], f"{self.sites[1]} to {self.sites[0]}": seen["b_to_a"]["bytes"]}

    def show(self):
        seen = self.order("show")
        told = []
        for words, one in zip((f"to {self.sites[1]}", f"to {self.sites[0]}"), (seen["a_to_b"], seen["b_to_a"])):
            rate = f"{one['bandwidth_bits_per_second'] / 1e6:g} Mbit/s" if one["bandwidth_bits_per_second"] else "no limit"
            lost = one["dropped_by_loss"] + one["dropped_by_queue"] + one["dropped_while_cut"]
            told.append(f"{words}: {'up' if one['up'] else 'CUT'}, {rate}, {one['latency_ms']:g} ms, {one['bytes'] >> 20} MiB carried, {lost} packets dropped")
        return {"name": self.name, "told": "; ".join(told), **seen}

    def close(self):
        self.process.kill()
        self.process.wait()


def words_of(quality):
    """A direction's properties, from JSON, as an order has them."""
    words = []
    if int(quality.get("bandwidth_bits_per_second", 0)):
        words.append(f"bandwidth={quality['bandwidth_bits_per_second']}bit")
    for key in ("latency", "jitter"):
        if key in quality:
            words.append(f"{key}={float(quality[key].rstrip('s')) * 1000:g}ms")
    if "loss_percent" in quality:
        words.append(f"loss={quality['loss_percent']}%")
    return " ".join(words)


class Site:
    """A router with a bridge; hosts and machines are attached to that."""

    def __init__(self, described, directory):
        self.name = described["name"]
        self.network = ipaddress.ip_network(described["network"])
        self.gateway = str(self.network.network_address + 1)
        self.router = Namespace(f"router of {self.name}")
        self.directory = directory
        self.dhcp = None
        self.router.run("ip", "link", "add", BRIDGE, "type", "bridge")
        self.router.run("ip", "address", "add", f"{self.gateway}/{self.network.prefixlen}", "dev", BRIDGE)
        self.router.run("ip", "link", "set", BRIDGE, "up")
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def attach(self, namespace, device, address):
        """A host, whose way to everywhere else is the router."""
        pid = str(namespace.holder.pid)
        self.router.run("ip", "link", "add", f"veth{device}", "type", "veth", "peer", "name", "eth0", "netns", pid)
        self.plug(f"veth{device}")
        namespace.run("ip", "address", "add", f"{address}/{self.network.prefixlen}", "dev", "eth0")
        namespace.run("ip", "link", "set", "eth0", "up")
        namespace.run("ip", "route", "add", "default", "via", self.gateway)

    def attach_self(self, address):
        """This process's own namespace, which must be one of its own."""
        self.router.run("ip", "link", "add", "vethself", "type", "veth", "peer", "name", "eth0", "netns", str(os.getpid()))
        self.plug("vethself")
        for words in (("address", "add", f"{address}/{self.network.prefixlen}", "dev", "eth0"), ("link", "set", "lo", "up"),
                      ("link", "set", "eth0", "up"), ("route", "add", "default", "via", self.gateway)):
            run("ip", *words)

    def reaches(self, address):
        """Whether its router knows a way to there."""
        return subprocess.run([*self.router.prefix, "ip", "route", "get", str(address)], capture_output=True).returncode == 0

    def plug(self, device):
        self.router.run("ip", "link", "set", device, "master", BRIDGE, "up")

    def serve_addresses(self):
        """Machines ask for theirs, as in any site; they get those of the upper half of the network."""
        half = self.network.network_address + self.network.num_addresses // 2
        self.dhcp = subprocess.Popen(
            [*self.router.prefix, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--interface={BRIDGE}", "--bind-interfaces",
             "--except-interface=lo", "--port=0", f"--dhcp-range={half},{self.network.broadcast_address - 1},{LEASE}", f"--dhcp-option=option:router,{self.gateway}",
             "--dhcp-authoritative", "--no-ping", f"--dhcp-leasefile={self.directory}/leases-{self.name}", "--pid-file",
             # As another user or group it would no longer end with this process.
             "--user=root", "--group=root",
             f"--log-facility={self.directory}/dhcp-{self.name}.log"], preexec_fn=die_with_parent)

    def close(self):
        if self.dhcp is not None:
            self.dhcp.kill()
            self.dhcp.wait()
        self.router.close()
