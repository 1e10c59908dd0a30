#!/usr/bin/env bash
# Azurite, Microsoft's emulator of Azure storage: List Blobs with include=snapshots, in pages, is not whole. The marker of the next page
# is only the name that the page ended with. So where a page ends among a blob and its snapshots, the next one begins after that
# name, and what was left of them is in no page, although every page was read. Nothing says so, and the same list in one page has
# all. Azurite 3.35.0, asked by Azure's @azure/storage-blob 12.27.0.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
emulator=
trap '[ -z "$emulator" ] || kill "$emulator"; wait; rm -rf "$work"' EXIT
cd "$work"
npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error azurite@3.35.0 @azure/storage-blob@12.27.0 \
  @azure/core-rest-pipeline@1.21.0 @typespec/ts-http-runtime@0.2.3 >&2
mkdir data
node node_modules/azurite/dist/src/blob/main.js --blobHost 127.0.0.1 --blobPort 0 --disableTelemetry --skipApiVersionCheck --silent \
  --location data >said &
emulator=$!
until grep -q 'listens on' said; do
  kill -0 "$emulator"
  sleep 0.2
done
cat >list.cjs <<'JS'
const storage = require("@azure/storage-blob");
// The account and the key that Azurite documents.
const account = "devstoreaccount1";
const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
async function main() {
  const container = new storage.ContainerClient(`${process.argv[2]}/${account}/disks`, new storage.StorageSharedKeyCredential(account, key));
  await container.create();
  for (const name of ["a", "b"]) {
    const blob = container.getPageBlobClient(name);
    await blob.create(512);
    await blob.createSnapshot();
    await blob.createSnapshot();
  }
  for (const maxPageSize of [100, 2]) {
    const seen = [];
    for await (const page of container.listBlobsFlat({ includeSnapshots: true }).byPage({ maxPageSize }))
      seen.push(page.segment.blobItems.map((item) => item.name + (item.snapshot ? "'" : "")).join(" "));
    console.log(`pages of ${maxPageSize}: ${seen.join(" | ")}`);
  }
}
main().catch((error) => { console.error(error.message); process.exit(1); });
JS
echo "Azurite $(node -p 'require("azurite/package.json").version'), @azure/storage-blob 12.27.0, Node.js $(node --version)"
told=$(node list.cjs "$(grep -o 'http://[0-9.:]*' said | head -1)")
echo "$told"
[ "$told" = "pages of 100: a a' a' b b' b'
pages of 2: a a' | b b' | " ]
