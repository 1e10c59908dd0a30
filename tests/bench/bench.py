"""Rows of the benchmark: each runs Homeward and its peer alternately on the same data and prints medians and ratio."""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import Cluster, die_with_parent, free_port  # noqa: E402

MIB = 1 << 20


def run(*command, **more):
    subprocess.run([str(part) for part in command], check=True, capture_output=True, **more)


def make_source(path, megabytes):
    """Half real files, half random bytes; nothing of it is a hole."""
    with open(path, "wb") as out:
        written = 0
        for top in ("/usr/bin", "/usr/lib", "/usr/share"):
            for file in sorted(pathlib.Path(top).rglob("*")):
                if written >= megabytes * MIB // 2:
                    break
                try:
                    if file.is_file() and not file.is_symlink():
                        written += out.write(file.read_bytes())
                except OSError:
                    continue
        while written < megabytes * MIB:
            written += out.write(os.urandom(min(MIB, megabytes * MIB - written)))
        out.truncate(megabytes * MIB)
        os.fsync(out.fileno())


class FirstSync:
    name, unit, target = "first_sync", "MiB/s", 1.5
    says = "agent -> process server -> master target, to a synced VMDK, two TLS hops; beside nbdcopy over TLS, one hop"

    def __init__(self, arguments, directory):
        self.arguments, self.directory = arguments, directory
        self.source = directory / "source.raw"
        make_source(self.source, arguments.megabytes)
        self.make_certificates()

    def make_certificates(self):
        pki = self.directory / "pki"
        pki.mkdir()
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=bench", "-keyout", "ca-key.pem", "-out", "ca-cert.pem", cwd=pki)
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server-key.pem", "-out", "server.csr", cwd=pki)
        (pki / "names").write_text("subjectAltName=DNS:localhost\n")
        run("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-days", "2",
            "-CAcreateserial", "-extfile", "names", "-out", "server-cert.pem", cwd=pki)

    def ours(self):
        directory = self.directory / "ours"
        directory.mkdir()
        cluster = Cluster(self.arguments.binaries, directory)
        try:
            cluster.start_config_server()
            (directory / "datastore").mkdir()
            cluster.add_process_server().start()
            cluster.add_master_target(datastores=[directory / "datastore"]).start()
            cluster.await_servers(2)
            cluster.add_agent("bench", f'disks {{ path: "{self.source}" nbd_socket: "{directory}/tap" }}\n').start()
            cluster.await_("the agent registers", lambda: cluster.try_json("machines", "show", "bench").get(
                "agent_connected"))
            began = time.monotonic()
            cluster.cli("machines", "protect", "bench", "--wait", limit=3600)
            return self.arguments.megabytes / (time.monotonic() - began)
        finally:
            cluster.stop()
            shutil.rmtree(directory)

    def peer(self):
        out = self.directory / "copy.raw"
        port = free_port()
        server = subprocess.Popen(["nbdkit", "--foreground", "--exit-with-parent", "--tls=require",
                                   f"--tls-certificates={self.directory}/pki", "-i", "127.0.0.1", "-p", str(port),
                                   "file", str(self.source)], preexec_fn=die_with_parent)
        try:
            for _attempt in range(100):
                time.sleep(0.05)
                if subprocess.run(["nbdinfo", "--size", self.uri(port)], capture_output=True).returncode == 0:
                    break
            began = time.monotonic()
            run("nbdcopy", "--flush", self.uri(port), out)
            run("sync", "--data", out)
            return self.arguments.megabytes / (time.monotonic() - began)
        finally:
            server.kill()
            server.wait()
            out.unlink(missing_ok=True)

    def uri(self, port):
        return f"nbds://localhost:{port}/?tls-certificates={self.directory}/pki"


ROWS = {row.name: row for row in (FirstSync,)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--row", choices=sorted(ROWS), action="append")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=4096)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.row or sorted(ROWS):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="homeward-bench-", dir="/var/tmp"))
        try:
            row = ROWS[name](arguments, directory)
            ours, peer = [], []
            for _run in range(arguments.runs):
                ours.append(row.ours())
                peer.append(row.peer())
            ratios = [a / b for a, b in zip(ours, peer)]
            ratio = statistics.median(ratios)
            rows.append({"name": name, "ours": round(statistics.median(ours), 1),
                         "peer": round(statistics.median(peer), 1), "unit": row.unit, "ratio": round(ratio, 2),
                         "spread": [round(min(ratios), 2), round(max(ratios), 2)], "target": row.target,
                         "holds": ratio >= row.target, "runs": arguments.runs})
            if not arguments.json:
                last = rows[-1]
                print(f"{name}: ours {last['ours']}, peer {last['peer']} {row.unit}, ratio {last['ratio']} "
                      f"({last['spread'][0]} to {last['spread'][1]}), target {row.target}: "
                      f"{'holds' if last['holds'] else 'does not hold'}\n  {row.says}", flush=True)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    if arguments.json:
        uname = os.uname()
        print(json.dumps({"machine": {"cpus": os.cpu_count(), "kernel": uname.release, "arch": uname.machine},
                          "rows": rows}))


if __name__ == "__main__":
    main()
