"""What the simulated Resource Manager runs when a VM is powered on or off: tells the lab, and waits until that is done.

  azure_hook.py SOCKET on|off
"""
import json
import os
import socket
import sys

link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
with link.makefile("rw") as text:
    print(json.dumps({"event": sys.argv[2], "vm": {
        "name": os.environ["AZURE_VM_NAME"], "id": os.environ["AZURE_VM_ID"],
        "disks": os.environ["AZURE_VM_DISKS"].split(":"), "addresses": os.environ["AZURE_VM_ADDRESSES"].split(",")}}),
        file=text, flush=True)
    answer = json.loads(text.readline())
if "error" in answer:
    sys.exit(answer["error"])
