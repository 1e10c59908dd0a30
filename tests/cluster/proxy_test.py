"""Proxies: a component never asks one to reach another component, whatever its environment says; a vCenter is reached through the one
that the configuration names, and through no other.

  proxy_test.py --binaries build/dev/bin

Every daemon and the command line run with all proxy variables set: first to a proxy that records who asks, then to a port
where nobody listens.
"""
import argparse
import os
import pathlib
import shutil
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "lab"))
from cluster import HANG_SECONDS, Cluster, Refused, free_port, scratch, straight  # noqa: E402
from nbd import Nbd  # noqa: E402
from vcenter import PASSWORD, Vcenter  # noqa: E402

MIB = 1 << 20
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Proxy:
    """An HTTP proxy that keeps the first line of each request, and does what CONNECT asks."""

    def __init__(self):
        self.asked = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            client, _ = self.server.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        request = b""
        while b"\r\n\r\n" not in request:
            more = client.recv(4096)
            if not more:
                break
            request += more
        line = request.split(b"\r\n")[0].decode(errors="replace")
        self.asked.append(line)
        words = line.split()
        if len(words) < 2 or words[0] != "CONNECT":
            client.close()
            return
        host, port = words[1].rsplit(":", 1)
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=self.pump, args=(server, client), daemon=True)
        back.start()
        self.pump(client, server)

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def point_to(url):
    """For everything that is started from here on."""
    for name in VARIABLES:
        os.environ[name] = url
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        os.environ.pop(name, None)


def topology(directory):
    return {"datacenters": [{
        "name": "dc1", "hosts": [{"name": "esx1.lab"}],
        "datastores": [{"name": "ds1", "type": "VMFS", "directory": str(directory / "ds1"), "capacity_mb": 9000,
                        "hosts": {"esx1.lab": "readWrite"}}],
        "vms": [{"name": "web-1", "host": "esx1.lab", "datastore": "ds1", "cpus": 1, "memory_mb": 512,
                 "controllers": ["lsilogic"], "disks": [{"file": "web-1.vmdk", "size_mb": 8, "controller": 0, "unit": 0}]}]}]}


def check(what, holds, detail=""):
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
    assert holds, f"{what}: {detail}"


class Proxies:
    def __init__(self, binaries, directory):
        self.directory = directory
        self.cluster = Cluster(binaries, directory / "cluster")
        self.proxy = Proxy()
        self.vcenter = Vcenter(binaries, directory / "vc", topology(directory / "vc"))
        self.password = directory / "password"
        self.password.write_text(PASSWORD + "\n")
        config = self.cluster.daemons["config_server"].config
        self.plain = config.read_text()

    def seen(self):
        return self.cluster.try_json("machines", "show", "web")

    def vcenters(self):
        return {one["name"]: one["state"] for one in self.cluster.json("vcenters", "list").get("vcenters", [])}

    def add(self, name="vc"):
        self.cluster.cli("vcenters", "add", name, "--address", self.vcenter.address, "--user", "homeward", "--password-file",
                         str(self.password), "--thumbprint", self.vcenter.thumbprint)

    def make_points(self, tap):
        """New data is in a new point: the whole road from the disk to the keeper is there."""
        before = int(self.seen().get("received_bytes", 0))
        tap.write(MIB, os.urandom(MIB))
        self.cluster.cli("points", "create", "web", "--wait")
        self.cluster.await_("what was written has come", lambda: int(self.seen().get("received_bytes", 0)) > before)

    def between_parts(self):
        cluster, directory = self.cluster, self.directory
        point_to(self.proxy.url)
        cluster.start_config_server()
        (directory / "datastore").mkdir()
        monitoring = free_port()
        cluster.add_process_server(extra=f'monitoring {{ listen_address: "127.0.0.1:{monitoring}" }}\n').start()
        cluster.add_master_target(datastores=[directory / "datastore"]).start()
        cluster.await_servers(2)
        image, tap = directory / "web.raw", directory / "web.tap"
        image.write_bytes(os.urandom(8 * MIB))
        cluster.add_agent("web", f'disks {{ path: "{image}" nbd_socket: "{tap}" }}\n').start()
        cluster.await_("the agent registers", lambda: self.seen().get("agent_connected"))
        cluster.cli("machines", "protect", "web", "--point-interval", "1s", "--wait")
        disk = Nbd(str(tap))
        self.make_points(disk)
        page = straight().open(f"http://127.0.0.1:{monitoring}/metrics", timeout=HANG_SECONDS)
        check("the monitoring page answers", page.status == 200)
        self.add()
        cluster.await_("the vCenter is followed", lambda: self.vcenters().get("vc") == "Connected")
        check("no component asked the proxy of the environment", self.proxy.asked == [], self.proxy.asked)

        point_to(f"http://127.0.0.1:{free_port()}")
        for name in ("config_server", "process_server", "master_target"):
            cluster.daemons[name].kill()
            cluster.daemons[name].start()
        cluster.await_servers(2)
        cluster.await_("the agent is back", lambda: self.seen().get("agent_connected"))
        self.make_points(disk)
        cluster.await_("the vCenter is followed", lambda: self.vcenters().get("vc") == "Connected")
        check("a proxy that is not there keeps no component from another", True)
        disk.close()

    def configure(self, lines):
        server = self.cluster.daemons["config_server"]
        server.kill()
        server.config.write_text(self.plain + lines)
        self.cluster.start_config_server()

    def to_a_vcenter(self):
        connect = f"CONNECT {self.vcenter.address} HTTP/1.1"
        self.configure(f'proxy {{ address: "{self.proxy.url.removeprefix("http://")}" }}\n')
        self.cluster.await_("followed through the proxy", lambda: self.vcenters().get("vc") == "Connected")
        check("the configured proxy is asked for the vCenter, and for nothing else", set(self.proxy.asked) == {connect},
              self.proxy.asked)

        self.cluster.cli("vcenters", "remove", "vc")
        asked = len(self.proxy.asked)
        self.add()
        check("also where one is added", len(self.proxy.asked) > asked)

        for exception in ("127.0.0.1", "127.0.0.0/8"):
            self.configure(f'proxy {{ address: "{self.proxy.url.removeprefix("http://")}" except: "elsewhere.lab" '
                           f'except: "{exception}" }}\n')
            asked = len(self.proxy.asked)
            self.cluster.await_("followed directly", lambda: self.vcenters().get("vc") == "Connected")
            check(f"an exception for {exception} is reached directly", len(self.proxy.asked) == asked, self.proxy.asked)

        # The environment's exceptions are no more heard than its proxies.
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*"
        self.configure(f'proxy {{ address: "127.0.0.1:{free_port()}" }}\n')
        self.cluster.await_("it is told that the proxy does not answer", lambda: self.vcenters().get("vc") != "Connected")
        check("a configured proxy that is not there is not gone around", True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True)
    arguments = parser.parse_args()
    directory = scratch("proxy")
    proxies = None
    try:
        proxies = Proxies(arguments.binaries, directory)
        proxies.between_parts()
        proxies.to_a_vcenter()
    except (TimeoutError, Refused, AssertionError) as error:
        if proxies:
            print(proxies.cluster.told())
        sys.exit(f"FAILED: {error}")
    finally:
        if proxies is not None:
            proxies.cluster.stop()
            proxies.vcenter.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
