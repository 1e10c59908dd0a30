#!/usr/bin/env bash
# gRPC's channel argument grpc.min_reconnect_backoff_ms is described as the least time between two attempts to connect. It is
# also the longest that one attempt may take, with its handshakes: a server that is reached at once but answers its first
# bytes later than that is never connected to, however long the call waits. With the default (20 s) the same server is used.
# Debian 12's python3-grpcio 1.51.1-3+b1.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq python3-grpcio=1.51.1-3+b1 libabsl20220623=20220623.1-1+deb12u2 libc-ares2 libre2-9 python3-protobuf \
  python3-six 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu" PYTHONPATH="$work/root/usr/lib/python3/dist-packages"
env -u http_proxy -u https_proxy -u all_proxy -u grpc_proxy /usr/bin/python3 - <<'PYTHON'
import socket, sys, threading, time
from concurrent import futures
import grpc

DELAY = 3  # seconds that everything the server says is on its way

class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Echo()])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
road = socket.create_server(("127.0.0.1", 0))
attempts = []

def pump(source, sink, delay):
    try:
        while data := source.recv(65536):
            time.sleep(delay)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def take():
    while True:
        near, _ = road.accept()
        attempts.append(time.monotonic())
        far = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=pump, args=(near, far, 0), daemon=True).start()
        threading.Thread(target=pump, args=(far, near, DELAY), daemon=True).start()

threading.Thread(target=take, daemon=True).start()

def call(options):
    attempts.clear()
    channel = grpc.insecure_channel(f"127.0.0.1:{road.getsockname()[1]}", options)
    try:
        channel.unary_unary("/finding/Echo")(b"hello", timeout=25, wait_for_ready=True)
        said = "answered"
    except grpc.RpcError as error:
        said = error.code().name
    channel.close()
    return said, len(attempts)

print(f"python3-grpcio {grpc.__version__}; a server whose every answer takes {DELAY} s, a call that waits 25 s")
common = [("grpc.use_local_subchannel_pool", 1)]
plain, tries = call(common)
print(f"by default: {plain} after {tries} connection(s)")
limited, limited_tries = call(common + [("grpc.min_reconnect_backoff_ms", 1000), ("grpc.initial_reconnect_backoff_ms", 100),
                                        ("grpc.max_reconnect_backoff_ms", 500)])
print(f"with grpc.min_reconnect_backoff_ms=1000: {limited} after {limited_tries} connections")
sys.exit(0 if (plain, limited) == ("answered", "DEADLINE_EXCEEDED") and limited_tries > 3 else 1)
PYTHON
