// Uploads a file as a page blob with Azure's own SDK, as azcopy does: pages that are not all zero, 4 MiB at a time, several at once.
// On standard input: {modules, url, account, key, file, puts}. Prints {"seconds"}, from the creation of the blob to the last answer.
"use strict";
const fs = require("fs");
const crypto = require("crypto");
const order = JSON.parse(fs.readFileSync(0, "utf8"));
const storage = require(order.modules + "/@azure/storage-blob");

const PUT_BYTES = 4 << 20; // the most that Put Page takes

async function main() {
  const file = await fs.promises.open(order.file, "r");
  const bytes = (await file.stat()).size;
  const container = new storage.ContainerClient(order.url, new storage.StorageSharedKeyCredential(order.account, order.key));
  const zeros = Buffer.alloc(PUT_BYTES);
  const began = process.hrtime.bigint();
  const blob = container.getPageBlobClient("upload.vhd");
  await blob.create(bytes);
  let next = 0;
  async function work() {
    const buffer = Buffer.alloc(PUT_BYTES);
    for (let at = next; at < bytes; at = next) {
      next = at + PUT_BYTES;
      const piece = buffer.subarray(0, Math.min(PUT_BYTES, bytes - at));
      await file.read(piece, 0, piece.length, at);
      if (piece.equals(zeros.subarray(0, piece.length))) continue;
      const transactionalContentMD5 = crypto.createHash("md5").update(piece).digest(); // which the front wants
      await blob.uploadPages(piece, at, piece.length, { transactionalContentMD5 });
    }
  }
  await Promise.all(Array.from({ length: order.puts }, work));
  console.log(JSON.stringify({ seconds: Number(process.hrtime.bigint() - began) / 1e9 }));
  await file.close();
}

main().catch((error) => {
  console.error(error.message || error);
  process.exit(1);
});
