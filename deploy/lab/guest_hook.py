"""What a simulated vCenter or Resource Manager runs when a VM is powered on or off: tells the lab, and waits until that is done.

  guest_hook.py SOCKET EVENT [vcenter|azure [HOST]]     HOST: of the lab, on which that vCenter or Azure runs
"""
import json
import os
import socket
import sys

# What the two say of a VM, in the environment.
NAMES = {"azure": {"name": "AZURE_VM_NAME", "id": "AZURE_VM_ID", "disks": "AZURE_VM_DISKS", "addresses": "AZURE_VM_ADDRESSES"},
         "vcenter": {"name": "VM_NAME", "id": "VM_UUID", "disks": "VM_DISKS", "uuids": "VM_DISK_UUIDS", "mac": "VM_MAC", "how": "VM_OFF"}}
LISTS = {"disks": ":", "uuids": ":", "addresses": ",", "mac": ","}

kind = sys.argv[3] if len(sys.argv) > 3 else "azure"
vm = {"kind": kind, "where": sys.argv[4] if len(sys.argv) > 4 else ""}
for key, name in NAMES[kind].items():
    value = os.environ.get(name, "")
    vm[key] = value.split(LISTS[key]) if key in LISTS else value
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
with link.makefile("rw") as text:
    print(json.dumps({"event": sys.argv[2], "vm": vm}), file=text, flush=True)
    answer = json.loads(text.readline())
if "error" in answer:
    sys.exit(answer["error"])
