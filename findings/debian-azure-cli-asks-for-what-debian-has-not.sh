#!/usr/bin/env bash
# Debian 12's azure-cli 2.45.0 asks its libraries, of python3-azure in the same Debian, for versions of Azure's API that they do not
# have: Compute's of 2022-11-01 and Network's of 2022-01-01. So with the profile that it has unless told otherwise, "latest", `az vm
# list` and all else about VMs and networks ends with a traceback, after a login that went well. `az cloud update --profile
# 2020-09-01-hybrid`, meant for Azure Stack, brings VMs and lists of networks back.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq python3-azure=20230112+git-1 python3-azure-cli-core=2.45.0-1 python3-requests python3-urllib3 python3-idna \
  python3-certifi python3-chardet python3-charset-normalizer python3-msrest python3-isodate python3-six python3-typing-extensions python3-knack python3-argcomplete \
  python3-jmespath python3-ply python3-pygments python3-tabulate python3-yaml python3-packaging 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
cat >ask.py <<'PYTHON'
import importlib.util, runpy, sys
from azure.mgmt.compute import ComputeManagementClient

told = runpy.run_path(sys.argv[1])
kinds = told["ResourceType"]
class Nobody:
    def get_token(self, *_, **__):
        raise NotImplementedError
for profile in ("latest", "2020-09-01-hybrid"):
    versions = told["AZURE_API_PROFILES"][profile]
    compute, network = versions[kinds.MGMT_COMPUTE].default_api_version, versions[kinds.MGMT_NETWORK]
    try:
        ComputeManagementClient(Nobody(), "subscription", api_version=compute).virtual_machines
        has = "there"
    except ValueError as why:
        has = why
    print(f"{profile}: Compute {compute}: {has}")
    found = importlib.util.find_spec(f"azure.mgmt.network.v{network.replace('-', '_')}")
    print(f"{profile}: Network {network}: {'there' if found else 'no such module'}")
PYTHON
echo "azure-cli $(dpkg-deb -f python3-azure-cli-core_*.deb Version), python3-azure $(dpkg-deb -f python3-azure_*.deb Version)"
told=$(PYTHONPATH=root/usr/lib/python3/dist-packages /usr/bin/python3 -S ask.py root/usr/lib/python3/dist-packages/azure/cli/core/profiles/_shared.py)
echo "$told"
[ "$told" = "latest: Compute 2022-11-01: API version 2022-11-01 does not have operation group 'virtual_machines'
latest: Network 2022-01-01: no such module
2020-09-01-hybrid: Compute 2020-06-01: there
2020-09-01-hybrid: Network 2018-11-01: there" ]
