#!/usr/bin/env bash
# Azure's SDK for JavaScript, and the Retry-After of a long-running operation. The 202 that begins one says how long to wait before
# it is asked for. The SDK asks at once; only the Retry-After of each answer to that is waited for. So a server that begins an
# operation is asked for it within milliseconds, whatever its 202 said: who simulates or counts such requests has to expect it.
# @azure/arm-compute 24.1.0 with @azure/core-lro 3.2.0; the server here is a few lines of Node.js.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >package.json <<'JSON'
{"private": true, "dependencies": {"@azure/arm-compute": "24.1.0"}, "overrides": {"@azure-rest/core-client": "2.4.0",
 "@azure/core-auth": "1.9.0", "@azure/core-lro": "3.2.0", "@azure/core-rest-pipeline": "1.21.0", "@azure/core-util": "1.12.0",
 "@typespec/ts-http-runtime": "0.2.3"}}
JSON
npm install --ignore-scripts --no-audit --no-fund --loglevel=error >&2
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
  -keyout key.pem -out certificate.pem 2>/dev/null
cat >ask.mjs <<'JS'
import fs from "node:fs";
import https from "node:https";
import { ComputeManagementClient } from "@azure/arm-compute";
let begun, asked = [];
const server = https.createServer({ key: fs.readFileSync("key.pem"), cert: fs.readFileSync("certificate.pem") }, (request, reply) => {
  const json = (status, body, headers) => {
    reply.writeHead(status, { "content-type": "application/json", ...headers });
    reply.end(body && JSON.stringify(body));
  };
  if (request.method === "POST") {
    begun = Date.now();
    return json(202, undefined, { "azure-asyncoperation": `${url}/operations/1?api-version=2024-11-01`, "retry-after": "3" });
  }
  asked.push((Date.now() - begun) / 1000);
  json(200, { name: "1", status: asked.length < 3 ? "InProgress" : "Succeeded" }, { "retry-after": "3" });
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `https://127.0.0.1:${server.address().port}`;
const credential = { getToken: async () => ({ token: "t", expiresOnTimestamp: Date.now() + 3600000 }) };
const compute = new ComputeManagementClient(credential, "s", { endpoint: url });
await compute.virtualMachines.start("g", "vm");
server.close();
console.log(`Retry-After: 3; asked after ${asked.map((seconds) => (seconds < 1 ? "less than 1" : String(Math.floor(seconds)))).join(", ")} s`);
process.exit(0);
JS
echo "@azure/arm-compute 24.1.0, @azure/core-lro $(jq -r .version node_modules/@azure/core-lro/package.json), Node.js $(node --version)"
told=$(NODE_EXTRA_CA_CERTS=certificate.pem node ask.mjs)
echo "$told"
[ "$told" = 'Retry-After: 3; asked after less than 1, 3, 6 s' ]
