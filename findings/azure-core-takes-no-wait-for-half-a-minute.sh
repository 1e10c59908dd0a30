#!/usr/bin/env bash
# Azure's SDK for Python (azure-core, so also Azure's command line), and an answer that says "Retry-After: 0": ask again at once. It
# is taken as one that says nothing, and the next question comes after the client's own interval, 30 seconds unless it was told
# otherwise. With "Retry-After: 1" it comes after one. Debian 12's python3-azure 20230112+git-1 (azure-core 1.26.3).
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq python3-azure=20230112+git-1 python3-requests python3-urllib3 python3-idna python3-certifi python3-chardet \
  python3-charset-normalizer python3-msrest python3-isodate python3-six python3-typing-extensions 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
cat >ask.py <<'PYTHON'
import http.server, threading, time
import azure.core
from azure.core import PipelineClient
from azure.core.pipeline.transport import HttpRequest
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import LROBasePolling

asked = []

class Server(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), "Retry-After": wait, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.answer(202, b"", Operation_Location=f"{url}/operation")
    def do_GET(self):
        asked.append(time.monotonic())
        self.answer(200, b'{"status": "%s"}' % (b"Succeeded" if len(asked) > 1 else b"InProgress"))
    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
print("azure-core", azure.core.__version__)
for wait in ("1", "0"):
    asked.clear()
    client = PipelineClient(url)
    begun = client._pipeline.run(HttpRequest("POST", url + "/begin"))
    LROPoller(client, begun, lambda reply: None, LROBasePolling()).result()
    print(f"Retry-After: {wait}: asked again after {asked[1] - asked[0]:.0f} s")
PYTHON
told=$(PYTHONPATH=root/usr/lib/python3/dist-packages /usr/bin/python3 -S ask.py)
echo "$told"
[ "$told" = 'azure-core 1.26.3
Retry-After: 1: asked again after 1 s
Retry-After: 0: asked again after 30 s' ]
