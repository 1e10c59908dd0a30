#!/usr/bin/env bash
# A gRPC channel to 127.0.0.1 goes through the proxy that https_proxy or http_proxy names, also when the channel is not
# encrypted, and with https_proxy although nothing there is HTTPS. Programs that speak gRPC between processes of one host
# stop working in a shell that has the variable set. What gRPC does not look at is all_proxy. Debian 12's python3-grpcio
# 1.51.1-3+b1.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq python3-grpcio=1.51.1-3+b1 libabsl20220623=20220623.1-1+deb12u2 libc-ares2 libre2-9 python3-protobuf \
  python3-six 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu" PYTHONPATH="$work/root/usr/lib/python3/dist-packages"
cat >ask.py <<'PYTHON'
import os, socket, sys, threading
from concurrent import futures

asked = []
proxy = socket.create_server(("127.0.0.1", 0))

def answer():
    while True:
        peer, _ = proxy.accept()
        asked.append(peer.recv(4096).split(b"\r\n")[0].decode())
        peer.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        peer.close()

threading.Thread(target=answer, daemon=True).start()
for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)
os.environ[sys.argv[1]] = f"http://127.0.0.1:{proxy.getsockname()[1]}"
import grpc

class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Echo()])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
try:
    grpc.insecure_channel(f"127.0.0.1:{port}").unary_unary("/finding/Echo")(b"hello", timeout=60)
    said = "answered directly"
except grpc.RpcError as error:
    said = error.code().name
line = asked[0].replace(str(port), "PORT") if asked else "nothing"
print(f"{sys.argv[1]}: {said}, the proxy was asked {line}")
PYTHON
echo "python3-grpcio $(dpkg-deb -f python3-grpcio_*.deb Version)"
told=$(for name in https_proxy http_proxy all_proxy; do /usr/bin/python3 ask.py "$name"; done)
echo "$told"
[ "$told" = "https_proxy: UNAVAILABLE, the proxy was asked CONNECT 127.0.0.1:PORT HTTP/1.1
http_proxy: UNAVAILABLE, the proxy was asked CONNECT 127.0.0.1:PORT HTTP/1.1
all_proxy: answered directly, the proxy was asked nothing" ]
