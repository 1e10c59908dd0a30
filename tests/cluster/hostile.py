"""Connections that mean no good, for tests/cluster and tests/bench: they stall at every stage, or flood."""
import socket
import ssl
import subprocess

DATA_CHANNEL = "homeward-lane/1"
SERVERS = ("process_server", "master_target")


class Peers:
    def __init__(self, cluster, identity):
        """`identity`: the directory of the key and certificate that were stolen."""
        self.cluster, self.identity = cluster, identity
        self.open = []

    def ports(self):
        """(port, whether it is a data channel) of the servers that take streams."""
        listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout.splitlines()
        out = []
        for name in SERVERS:
            daemon = self.cluster.daemons[name]
            grpc = int(daemon.config.read_text().split('listen_address: "')[1].split('"')[0].rsplit(":", 1)[1])
            monitoring = daemon.config.read_text().split("monitoring { listen_address: ")[1:]
            for line in listening:
                port = int(line.split()[3].rsplit(":", 1)[1])
                if f"pid={daemon.process.pid}," in line and not any(f":{port}\"" in text for text in monitoring):
                    out.append((port, port != grpc))
        return out

    def connect(self, port):
        raw = socket.create_connection(("127.0.0.1", port), 10)
        self.open.append(raw)
        return raw

    def greeted(self, port, is_data_channel):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.identity / "certificate.pem", self.identity / "key.pem")
        context.set_alpn_protocols([DATA_CHANNEL if is_data_channel else "h2"])
        raw = self.connect(port)
        raw.settimeout(60)
        self.open[-1] = context.wrap_socket(raw)
        return self.open[-1]

    def stall(self, port, is_data_channel, count):
        """Returns how many connections of each stage were made."""
        hello = b"\x16\x03\x01\x02\x00\x01\x00"  # the beginning of a TLS hello of 512 bytes
        # A frame of 4 GiB; for gRPC an HTTP/2 frame of 16 MiB.
        frame = b"\xff\xff\xff\xff\x02\x00\x00\x00" + bytes(8) if is_data_channel else \
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"
        made = {"silent": 0, "half a handshake": 0, "no hello": 0, "absurd length": 0}
        for number in range(count):
            stage = list(made)[number % 4]
            try:
                if stage == "silent":
                    self.connect(port)
                elif stage == "half a handshake":
                    self.connect(port).sendall(hello)
                elif stage == "no hello":
                    self.greeted(port, is_data_channel)
                else:
                    self.greeted(port, is_data_channel).sendall(frame)
                made[stage] += 1
            except OSError:
                pass  # It defends itself.
        return made

    def flood(self, port, count):
        """Hellos for a machine that is not, to a data channel: each ends its connection."""
        hello = bytes([0x0A, 11, 0x08, 1, 0x1A, 7]) + b"nowhere"
        for _ in range(count):
            try:
                secure = self.greeted(port, is_data_channel=True)
                secure.sendall(len(hello).to_bytes(4, "little") + b"\x01\x00\x00\x00" + bytes(8) + hello)
                while secure.recv(4096):
                    pass
            except OSError:
                pass
            self.open.pop().close()

    def close(self):
        for connection in self.open:
            connection.close()
        self.open.clear()
