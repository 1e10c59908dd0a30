"""vCenters through the real configuration server and the command line: added only when they can be used, followed while they
are reached, told of when they are not, over restarts; no password anywhere but in the store.

  vcenters_test.py --binaries build/dev/bin
"""
import argparse
import pathlib
import shutil
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "lab"))
from cluster import HANG_SECONDS, Cluster, Refused, scratch  # noqa: E402
from vcenter import PASSWORD, Vcenter  # noqa: E402


def topology(directory, name):
    made = {"datacenters": [{
        "name": "dc1", "hosts": [{"name": f"esx1.{name}"}, {"name": f"esx2.{name}"}],
        "datastores": [{"name": "ds1", "type": "VMFS", "directory": str(directory / "ds1"), "capacity_mb": 9000,
                        "hosts": {f"esx1.{name}": "readWrite", f"esx2.{name}": "readOnly"}}],
        "vms": [{"name": "web-1", "host": f"esx1.{name}", "datastore": "ds1", "cpus": 2, "memory_mb": 512,
                 "controllers": ["lsilogic", "lsilogic"], "powered_on": True, "tools_running": True,
                 "disks": [{"file": "web-1.vmdk", "size_mb": 64, "controller": 0, "unit": 0},
                           {"file": "web-1_1.vmdk", "size_mb": 32, "controller": 1, "unit": 2}]}]}]}
    if name == "vc2":
        made["instance_uuid"] = "00000000-0000-0000-0000-000000000002"
    return made


def change_power(vcenter, on):
    """By a client of somebody else."""
    vcenter.ask(f'done(vms["web-1"].{"PowerOn" if on else "PowerOff"}())')


def refused(cluster, problem, *command):
    try:
        cluster.cli(*command)
    except Refused as why:
        assert problem in str(why), f"{command}: not {problem}, but {why}"
        assert PASSWORD not in str(why)
        return str(why)
    raise AssertionError(f"{command} was not refused")


def check(name, so):
    print(f"{'ok  ' if so else 'FAIL'} {name}", flush=True)
    assert so, name


def run(binaries, directory):
    vcenter = Vcenter(binaries, directory / "vc1", topology(directory / "vc1", "vc1"))
    cluster = Cluster(binaries, directory / "cluster")
    cluster.start_config_server()
    password = directory / "password"
    password.write_text(PASSWORD + "\n")

    def add(name, address, *more, user="homeward", file=password):
        return ("vcenters", "add", name, "--address", address, "--user", user, "--password-file", str(file), *more)

    def state(name="vc1"):
        return {one["name"]: one for one in cluster.json("vcenters", "list").get("vcenters", [])}.get(name, {})

    text = refused(cluster, "VCENTER_CERTIFICATE", *add("vc1", vcenter.address))
    check("without a thumbprint it is shown", vcenter.thumbprint in text)
    refused(cluster, "VCENTER_CERTIFICATE", *add("vc1", vcenter.address, "--thumbprint", "AA:" + vcenter.thumbprint[3:]))
    wrong = directory / "wrong"
    wrong.write_text("wrong")
    refused(cluster, "VCENTER_LOGIN", *add("vc1", vcenter.address, "--thumbprint", vcenter.thumbprint, file=wrong))
    text = refused(cluster, "VCENTER_READ_ONLY_ACCOUNT", *add("vc1", vcenter.address, "--thumbprint", vcenter.thumbprint, user="viewer"))
    check("the privileges that are missing are named", "VirtualMachine.Config.AddExistingDisk" in text)
    refused(cluster, "VCENTER_DISCONNECTED", *add("vc1", "127.0.0.1:1", "--thumbprint", vcenter.thumbprint))
    check("what was refused was not kept", cluster.json("vcenters", "list").get("vcenters", []) == [])

    cluster.cli(*add("vc1", vcenter.address, "--thumbprint", vcenter.thumbprint))
    cluster.await_("the inventory is there", lambda: state().get("vm_count") == 1)
    check("connected", state()["state"] == "Connected" and state()["host_count"] == 2)
    refused(cluster, "VCENTER_EXISTS", *add("vc1", vcenter.address, "--thumbprint", vcenter.thumbprint))
    refused(cluster, "VCENTER_EXISTS", *add("other", vcenter.address, "--thumbprint", vcenter.thumbprint))

    store = cluster.json("inventory", "datastores")["datastores"][0]
    check("datastores with their type and who mounts them",
          store["type"] == "VMFS" and store["read_write_hosts"] == ["esx1.vc1"] and store["read_only_hosts"] == ["esx2.vc1"])
    vm = cluster.json("inventory", "vms", "--vcenter", "vc1")["vms"][0]
    check("a VM with its disks at their places", [(disk["bus"], disk["unit"]) for disk in vm["disks"]] == [(0, 0), (1, 2)] and
          all(disk["uuid"].lower().startswith("6000c29") for disk in vm["disks"]))
    check("hosts as a table", "esx2.vc1" in cluster.cli("inventory", "hosts"))

    change_power(vcenter, on=False)
    began = time.monotonic()
    cluster.await_("the change is seen", lambda: cluster.json("inventory", "vms")["vms"][0]["power_state"] == "poweredOff")
    print(f"     a change by another client is seen after {time.monotonic() - began:.1f} s", flush=True)

    # A second one beside it; the first goes away and comes back.
    second = Vcenter(binaries, directory / "vc2", topology(directory / "vc2", "vc2"))
    cluster.cli(*add("vc2", second.address, "--thumbprint", second.thumbprint))
    cluster.await_("both are there", lambda: len(cluster.json("inventory", "vms").get("vms", [])) == 2)
    with vcenter.away():
        cluster.await_("it is stale", lambda: state()["state"] == "Stale" and state()["error"])
        check("what was known of it is still shown", len(cluster.json("inventory", "vms", "--vcenter", "vc1")["vms"]) == 1)
        check("the other is connected", state("vc2")["state"] == "Connected")
    cluster.await_("it is back", lambda: state()["state"] == "Connected")
    vcenter.order(expire_sessions=True)
    change_power(vcenter, on=True)
    cluster.await_("a session that ended is opened again",
                   lambda: cluster.json("inventory", "vms", "--vcenter", "vc1")["vms"][0]["power_state"] == "poweredOn")

    cluster.daemons["config_server"].kill()
    cluster.start_config_server()
    cluster.await_("both are followed after a kill", lambda: state().get("vm_count") == 1 and state("vc2").get("vm_count") == 1)
    before = vcenter.order()["calls"]["CreateFilter"]
    cluster.cli("vcenters", "refresh", "vc1")
    cluster.await_("a refresh reads anew", lambda: vcenter.order()["calls"]["CreateFilter"] > before)
    cluster.cli("vcenters", "remove", "vc1")
    check("removed", state() == {} and len(cluster.json("inventory", "vms")["vms"]) == 1)
    refused(cluster, "VCENTER_UNKNOWN", "vcenters", "remove", "vc1")
    refused(cluster, "VCENTER_UNKNOWN", "inventory", "vms", "--vcenter", "vc1")

    # One that takes connections and says nothing: nobody waits for it.
    second.process.kill()
    second.process.wait()
    host, port = second.address.split(":")
    with socket.create_server((host, int(port))) as silent:
        silent.settimeout(HANG_SECONDS)
        silent.accept()[0].close()  # of the session that was
        while True:  # A goodbye gives up soon; a new session waits for the certificate.
            connection = silent.accept()[0]
            connection.settimeout(3)
            try:
                while connection.recv(4096):
                    pass
            except TimeoutError:
                break
        began = time.monotonic()
        cluster.cli("vcenters", "list")
        usual = time.monotonic() - began
        began = time.monotonic()
        cluster.cli("vcenters", "remove", "vc2")
        # Whoever waited for it would wait 10 s, however fast this machine is.
        check("one that says nothing is removed at once", time.monotonic() - began < 5 + 10 * usual and state("vc2") == {})
        connection.close()

    told = [path for path in (directory / "cluster").rglob("*") if path.is_file() and "store" not in path.parts and
            PASSWORD.encode() in path.read_bytes()]
    check("the password is in no log and no file beside the store", told == [])
    cluster.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True)
    arguments = parser.parse_args()
    directory = scratch("vcenters")
    try:
        run(arguments.binaries, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
