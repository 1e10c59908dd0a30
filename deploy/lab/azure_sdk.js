// Looks at a simulated Azure, and does what an operator does there by hand, with Azure's own SDK. The order comes on standard
// input, the answer goes to standard output, both as JSON; see azure.py.
"use strict";
const crypto = require("crypto");
const order = JSON.parse(require("fs").readFileSync(0, "utf8"));
const load = (modules, name) => require(`${modules}/${name}`);

const credential = {
  async getToken() {
    const form = new URLSearchParams({
      grant_type: "client_credentials", client_id: order.client, client_secret: order.secret,
      scope: "https://management.azure.com/.default",
    });
    const reply = await fetch(`${order.endpoint}/${order.tenant}/oauth2/v2.0/token`, { method: "POST", body: form });
    if (reply.status !== 200) throw new Error(`no token: ${reply.status}`);
    const body = await reply.json();
    return { token: body.access_token, expiresOnTimestamp: Date.now() + 1000 * body.expires_in };
  },
};
const options = { endpoint: order.endpoint };
const compute = () => new (load(order.manager_modules, "@azure/arm-compute").ComputeManagementClient)(credential, order.subscription, options);
const network = () => new (load(order.manager_modules, "@azure/arm-network").NetworkManagementClient)(credential, order.subscription, options);
const container = () => {
  const storage = load(order.storage_modules, "@azure/storage-blob");
  return new storage.ContainerClient(order.url, new storage.StorageSharedKeyCredential(order.account, order.key));
};

async function all(pages) {
  const out = [];
  for await (const each of pages) out.push(each);
  return out;
}

async function power(name) {
  const statuses = (await compute().virtualMachines.instanceView(order.group, name)).statuses || [];
  return (statuses.map((one) => one.code).find((code) => code.startsWith("PowerState/")) || "").slice("PowerState/".length);
}

const FOOTER_BYTES = 512;

// A blob is its disk, zeroes up to a whole MiB, and a footer.
async function digestOf(blob) {
  const { contentLength } = await blob.getProperties();
  const hash = crypto.createHash("sha256");
  const reply = await blob.download(0, contentLength - FOOTER_BYTES);
  for await (const part of reply.readableStreamBody) hash.update(part);
  return hash.digest("hex");
}

const orders = {
  async resources() {
    const vms = [];
    for (const vm of await all(compute().virtualMachines.list(order.group)))
      vms.push({ name: vm.name, power: await power(vm.name), tags: vm.tags || {} });
    const names = (list) => list.map((one) => one.name);
    return {
      vms, disks: names(await all(compute().disks.listByResourceGroup(order.group))),
      nics: names(await all(network().networkInterfaces.list(order.group))),
    };
  },
  async start() {
    await compute().virtualMachines.start(order.group, order.vm);
    return power(order.vm);
  },
  async deallocate() {
    await compute().virtualMachines.deallocate(order.group, order.vm);
    return power(order.vm);
  },
  async digests() {
    const newest = new Map();
    for (const one of await all(container().listBlobsFlat({ prefix: order.prefix, includeSnapshots: true }))) {
      const seen = newest.get(one.name);
      if (one.snapshot && (!seen || seen < one.snapshot)) newest.set(one.name, one.snapshot);
    }
    const out = {};
    for (const [name, snapshot] of newest) out[name] = await digestOf(container().getBlobClient(name).withSnapshot(snapshot));
    return out;
  },
};

orders[order.do]().then(
  (answer) => process.stdout.write(JSON.stringify(answer)),
  (error) => {
    console.error(error.stack || error);
    process.exit(1);
  }
);
