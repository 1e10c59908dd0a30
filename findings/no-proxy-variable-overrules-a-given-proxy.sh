#!/usr/bin/env bash
# A proxy that curl is given on its command line (or a program gives libcurl with CURLOPT_PROXY) is not the last word: the
# variable no_proxy of the environment still takes hosts out of it, and the request goes to the server directly. Only an
# explicit --noproxy (CURLOPT_NOPROXY), also an empty one, keeps the environment out. Debian 12's curl 7.88.1-10+deb12u15.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq curl=7.88.1-10+deb12u15 libcurl4=7.88.1-10+deb12u15 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu"
cat >ask.py <<'PYTHON'
import http.server, os, subprocess, threading

def start(name):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(name.encode())
        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"

proxy, server = start("the proxy"), start("the server")
for variable, *more in ((None,), ("no_proxy",), ("no_proxy", "--noproxy", "")):
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    if variable:
        environment[variable] = "127.0.0.1"
    done = subprocess.run(["root/usr/bin/curl", "-s", "--proxy", proxy, *more, server], env=environment,
                          capture_output=True, text=True)
    print(f"{'no_proxy=127.0.0.1 ' if variable else ''}curl --proxy P {'--noproxy `` ' if more else ''}S: {done.stdout} answers")
PYTHON
root/usr/bin/curl --version | head -1
told=$(/usr/bin/python3 ask.py)
echo "$told"
[ "$told" = 'curl --proxy P S: the proxy answers
no_proxy=127.0.0.1 curl --proxy P S: the server answers
no_proxy=127.0.0.1 curl --proxy P --noproxy `` S: the proxy answers' ]
