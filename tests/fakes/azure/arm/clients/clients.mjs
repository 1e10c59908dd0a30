// usage: clients.mjs ENDPOINT
// What an operator's scripts do with Azure's own clients: make a VM of imported disks, list, show, stop, deallocate, delete it.
import assert from "node:assert/strict";
import { ComputeManagementClient } from "@azure/arm-compute";
import { NetworkManagementClient } from "@azure/arm-network";

const endpoint = process.argv[2];
const tenant = "11111111-1111-1111-1111-111111111111";
const subscription = "33333333-3333-3333-3333-333333333333";
const group = "lab";
const location = "westeurope";

const credential = {
  async getToken() {
    const form = new URLSearchParams({
      grant_type: "client_credentials", client_id: "22222222-2222-2222-2222-222222222222", client_secret: "secret",
      scope: "https://management.azure.com/.default",
    });
    const reply = await fetch(`${endpoint}/${tenant}/oauth2/v2.0/token`, { method: "POST", body: form });
    assert.equal(reply.status, 200);
    const body = await reply.json();
    return { token: body.access_token, expiresOnTimestamp: Date.now() + 1000 * body.expires_in };
  },
};
const compute = new ComputeManagementClient(credential, subscription, { endpoint });
const network = new NetworkManagementClient(credential, subscription, { endpoint });

async function all(pages) {
  const out = [];
  for await (const each of pages) out.push(each);
  return out;
}
async function fails(work, code) {
  const error = await work.then(() => null, (e) => e);
  assert.ok(error, `nothing failed, and not with ${code}`);
  const told = error.code ?? error.details?.error?.code;
  assert.ok(told === code || String(error.message).includes(code), `${code} was expected, and not ${told}: ${error.message}`);
}
const power = async () => (await compute.virtualMachines.instanceView(group, "vm")).statuses.map((s) => s.code).find((c) => c.startsWith("PowerState/"));

const subnet = await network.subnets.get(group, "vnet", "prod");
assert.equal(subnet.addressPrefix, "10.20.1.0/24");
const nic = await network.networkInterfaces.createOrUpdate(group, "nic", {
  location, ipConfigurations: [{ name: "ipconfig1", subnet: { id: subnet.id }, primary: true, privateIPAllocationMethod: "Dynamic" }],
});
assert.equal(nic.provisioningState, "Succeeded");
assert.equal(nic.ipConfigurations[0].privateIPAddress, "10.20.1.4");

const disk = (name, os) => compute.disks.createOrUpdate(group, name, {
  location, sku: { name: "StandardSSD_LRS" },
  ...(os ? { osType: "Linux", hyperVGeneration: "V2" } : {}),
  creationData: { createOption: "Import", sourceUri: `${endpoint}/_blobs/${name}.vhd`, storageAccountId: "/subscriptions/s/x" },
});
const boot = await disk("os", true);
const data = await disk("data", false);
assert.equal(boot.provisioningState, "Succeeded");
assert.equal(boot.diskSizeBytes, 2 << 20);
await fails(disk("none", false), "BadRequest");

const made = await compute.virtualMachines.createOrUpdate(group, "vm", {
  location, tags: { purpose: "contract" },
  hardwareProfile: { vmSize: "Standard_B1s" },
  storageProfile: {
    osDisk: { osType: "Linux", createOption: "Attach", managedDisk: { id: boot.id }, deleteOption: "Detach" },
    dataDisks: [{ lun: 0, createOption: "Attach", managedDisk: { id: data.id }, deleteOption: "Delete" }],
  },
  networkProfile: { networkInterfaces: [{ id: nic.id, primary: true, deleteOption: "Delete" }] },
});
assert.equal(made.provisioningState, "Succeeded");
assert.match(made.vmId, /^[0-9a-f-]{36}$/);

assert.deepEqual((await all(compute.virtualMachines.list(group))).map((vm) => vm.name), ["vm"]);
assert.deepEqual((await all(compute.disks.listByResourceGroup(group))).map((d) => d.name), ["data", "os"]); // two pages
assert.deepEqual((await all(network.networkInterfaces.list(group))).map((n) => n.name), ["nic"]);
const shown = await compute.virtualMachines.get(group, "vm", { expand: "instanceView" });
assert.equal(shown.tags.purpose, "contract");
assert.equal(shown.storageProfile.dataDisks[0].lun, 0);
assert.equal(shown.instanceView.hyperVGeneration, "V2");
assert.equal(await power(), "PowerState/running");
assert.equal((await all(compute.virtualMachineSizes.list(location))).length, 3);

await fails(compute.disks.delete(group, "os"), "OperationNotAllowed");
await compute.virtualMachines.powerOff(group, "vm");
assert.equal(await power(), "PowerState/stopped");
await compute.virtualMachines.start(group, "vm");
assert.equal(await power(), "PowerState/running");
await compute.virtualMachines.restart(group, "vm");
await compute.virtualMachines.deallocate(group, "vm");
assert.equal(await power(), "PowerState/deallocated");
assert.equal((await compute.disks.get(group, "os")).diskState, "Reserved");

const access = await compute.disks.grantAccess(group, "os", { access: "Read", durationInSeconds: 300 });
const content = await (await fetch(access.accessSAS)).arrayBuffer();
assert.equal(content.byteLength, (2 << 20) + 512);
await compute.disks.revokeAccess(group, "os");

await compute.virtualMachines.delete(group, "vm");
await fails(compute.virtualMachines.get(group, "vm"), "ResourceNotFound");
assert.deepEqual((await all(compute.disks.listByResourceGroup(group))).map((d) => d.name), ["os"]); // the other went along
await compute.disks.delete(group, "os");
assert.equal((await all(network.networkInterfaces.list(group))).length, 0);
await compute.virtualMachines.delete(group, "vm"); // of what is not there
console.log("clients: all as Azure's own clients expect it");
