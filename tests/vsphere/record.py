"""Writes tests/golden/vsphere_*.xml anew: what the simulated vCenter answers, as it comes over the wire.

  python3 tests/vsphere/record.py build/dev/bin/homeward-fake-vcenter
"""
import json
import pathlib
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
ENVELOPE = ('<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>')
TOPOLOGY = {"accounts": [{"user": "homeward", "password": "secret"}], "datacenters": [{
    "name": "dc1", "hosts": [{"name": "esx1.lab"}],
    "datastores": [{"name": "ds1", "type": "VMFS", "capacity_mb": 1000, "hosts": {"esx1.lab": "readWrite"}}],
    "vms": [{"name": "web-1", "host": "esx1.lab", "datastore": "ds1", "cpus": 2, "memory_mb": 2048, "firmware": "efi",
             "controllers": ["lsilogic", "pvscsi"], "tools_running": True, "extra_config": {"disk.EnableUUID": "TRUE"},
             "disks": [{"file": "web-1.vmdk", "size_mb": 64, "controller": 0, "unit": 0},
                       {"file": "raw.vmdk", "size_mb": 32, "controller": 1, "unit": 2, "rdm": "physicalMode"}]}]}]}
PATHS = {"VirtualMachine": ["name", "parent", "runtime.host", "runtime.powerState", "config.uuid", "config.instanceUuid",
                            "config.files.vmPathName", "config.guestId", "config.firmware", "config.hardware.numCPU",
                            "config.hardware.memoryMB", "config.extraConfig", "config.hardware.device",
                            "guest.toolsRunningStatus", "snapshot"],
         "HostSystem": ["name", "parent", "runtime.connectionState", "runtime.inMaintenanceMode", "summary.hardware.uuid"],
         "Datastore": ["name", "parent", "summary.type", "summary.url", "summary.capacity", "summary.accessible", "host"],
         "Datacenter": ["name", "parent", "vmFolder"]}


class Client:
    def __init__(self, address):
        self.url, self.cookie = f"https://{address}/sdk", ""
        self.context = ssl._create_unverified_context()

    def call(self, method, kind, reference, arguments="", record=None):
        body = ENVELOPE.format(f'<{method} xmlns="urn:vim25"><_this type="{kind}">{reference}</_this>{arguments}</{method}>')
        request = urllib.request.Request(self.url, body.encode(), {"Content-Type": "text/xml", "Cookie": self.cookie})
        try:
            with urllib.request.urlopen(request, context=self.context) as reply:
                text = reply.read().decode()
                self.cookie = (reply.headers.get("Set-Cookie") or self.cookie).split(";")[0]
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        if record:
            (GOLDEN / f"vsphere_{record}.xml").write_text(text)
        return text


def main():
    with tempfile.TemporaryDirectory() as directory:
        TOPOLOGY["datacenters"][0]["datastores"][0]["directory"] = f"{directory}/ds1"
        path = pathlib.Path(directory) / "topology.json"
        path.write_text(json.dumps(TOPOLOGY))
        server = subprocess.Popen([sys.argv[1], "--topology", path], stdout=subprocess.PIPE, text=True)
        try:
            client = Client(json.loads(server.stdout.readline())["address"])
            client.call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance", record="service_content")
            login = "<userName>homeward</userName><password>{}</password>"
            client.call("Login", "SessionManager", "SessionManager", login.format("wrong"), record="invalid_login")
            client.call("Login", "SessionManager", "SessionManager", login.format("secret"))
            view = client.call("CreateContainerView", "ViewManager", "ViewManager",
                               '<container type="Folder">group-d1</container><recursive>true</recursive>')
            view = re.search(r'<returnval type="ContainerView">([^<]+)<', view)[1]
            properties = "".join("<propSet><type>{}</type>{}</propSet>".format(
                kind, "".join(f"<pathSet>{name}</pathSet>" for name in names)) for kind, names in PATHS.items())
            spec = (f'{properties}<objectSet><obj type="ContainerView">{view}</obj><skip>true</skip>'
                    '<selectSet xsi:type="TraversalSpec"><type>ContainerView</type><path>view</path></selectSet></objectSet>')
            seen = client.call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector",
                               f"<specSet>{spec}</specSet><options><maxObjects>3</maxObjects></options>", record="page")
            client.call("ContinueRetrievePropertiesEx", "PropertyCollector", "propertyCollector",
                        "<token>{}</token>".format(re.search("<token>([^<]+)<", seen)[1]), record="next_page")
            client.call("CreateFilter", "PropertyCollector", "propertyCollector",
                        f"<spec>{spec}</spec><partialUpdates>false</partialUpdates>")
            updates = client.call("WaitForUpdatesEx", "PropertyCollector", "propertyCollector", "<version></version>",
                                  record="updates")
            vm = re.search(r'<obj type="VirtualMachine">([^<]+)<', updates)[1]
            client.call("PowerOffVM_Task", "VirtualMachine", vm, record="task")
            client.call("RenameNothing", "VirtualMachine", vm, record="no_such_method")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
