// What Azure's own SDK says of what Homeward wrote. usage: sdk.js NODE_MODULES ORDER.json
// The order: {url, account, key, do: "sas", file}, which writes a shared access signature to a file, or
// {url, account, key, do: "check", blob, snapshot, bytes, content: base64 of all of it, metadata, ranges: [[offset, bytes]]}.
// Ends with 1, and says why, when it is otherwise.
"use strict";
const fs = require("fs");
const assert = require("assert");
const storage = require(process.argv[2] + "/@azure/storage-blob");
const order = JSON.parse(fs.readFileSync(process.argv[3], "utf8"));

const credential = new storage.StorageSharedKeyCredential(order.account, order.key);
const container = new storage.ContainerClient(order.url, credential);

function makeSignature() {
  const parameters = storage.generateBlobSASQueryParameters(
    {
      containerName: container.containerName,
      permissions: storage.ContainerSASPermissions.parse("rwdlac"),
      startsOn: new Date(Date.now() - 3600000),
      expiresOn: new Date(Date.now() + 3600000),
      version: "2021-12-02",
    },
    credential
  );
  fs.writeFileSync(order.file, "?" + parameters.toString() + "\n");
}

async function check() {
  let blob = container.getPageBlobClient(order.blob);
  if (order.snapshot) blob = blob.withSnapshot(order.snapshot);
  const properties = await blob.getProperties();
  assert.strictEqual(properties.blobType, "PageBlob");
  assert.strictEqual(properties.contentLength, order.bytes);
  assert.deepStrictEqual(properties.metadata, order.metadata);
  const content = await blob.downloadToBuffer();
  assert.ok(content.equals(Buffer.from(order.content, "base64")), "the content is another");
  let ranges = [];
  for await (const range of blob.listPageRanges()) {
    const last = ranges[ranges.length - 1];
    if (last && last[0] + last[1] === range.start) last[1] = range.end + 1 - last[0];
    else ranges.push([range.start, range.end + 1 - range.start]);
  }
  assert.deepStrictEqual(ranges, order.ranges);
}

Promise.resolve(order.do === "sas" ? makeSignature() : check()).catch((error) => {
  console.error(error.message || error);
  process.exit(1);
});
