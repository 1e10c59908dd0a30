"""Two network namespaces with a homeward-lab-link between them, and traffic over it.

Both namespaces belong to this process alone and go with it, and so does the link.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import HANG_SECONDS, die_with_parent  # noqa: E402

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
PIECE_BYTES = 1 << 18
ECHO_REQUEST, ECHO_REPLY = 8, 0
TCPI_RETRANSMITS = 2  # where it is in struct tcp_info
SOCKET_BUFFER_BYTES = 16 << 20


def succeed(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}; this needs root")


def await_(what, holds, limit=HANG_SECONDS):
    end = time.monotonic() + limit
    while True:
        result = holds()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {limit} s")
        time.sleep(0.01)


class Namespace:
    """A network namespace without a name, kept by a descriptor. Sockets that are made inside stay there."""

    def __init__(self):
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        succeed(LIBC.unshare(CLONE_NEWNET), "make a network namespace")
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        succeed(LIBC.setns(own, CLONE_NEWNET), "come back from a network namespace")
        os.close(own)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.ip("link", "set", "lo", "up")

    @contextlib.contextmanager
    def inside(self):
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        succeed(LIBC.setns(self.fd, CLONE_NEWNET), "enter a network namespace")
        try:
            yield
        finally:
            succeed(LIBC.setns(own, CLONE_NEWNET), "leave a network namespace")
            os.close(own)

    def ip(self, *arguments):
        with self.inside():
            return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout

    def devices(self):
        return {link["ifname"] for link in json.loads(self.ip("-json", "link"))}

    def socket(self, family, kind, protocol=0):
        with self.inside():
            return socket.socket(family, kind, protocol)


class Wire:
    """A link with an end in each of two namespaces: A at 10.99.0.1 and fd99::1, B at .2 and ::2."""

    def __init__(self, binaries, directory, *flags, device="wan0"):
        self.binary, self.directory, self.device = pathlib.Path(binaries) / "homeward-lab-link", directory, device
        self.a, self.b = Namespace(), Namespace()
        self.process = None
        self.start(*flags)

    @property
    def control(self):
        return self.directory / "link.sock"

    def command(self, *flags):
        return [str(self.binary), "--namespace_a", self.a.path, "--device_a", self.device, "--namespace_b", self.b.path,
                "--device_b", self.device, "--control_socket", str(self.control), *flags]

    def run(self, *flags):
        """Of one that ends by itself."""
        return subprocess.run(self.command(*flags), capture_output=True, text=True, timeout=HANG_SECONDS)

    def start(self, *flags):
        with open(self.directory / "link.log", "ab") as log:
            self.process = subprocess.Popen(self.command(*flags), stderr=log, preexec_fn=die_with_parent)
        await_("the link answers", self.answers)
        for number, namespace in ((1, self.a), (2, self.b)):
            namespace.ip("addr", "add", f"10.99.0.{number}/24", "dev", self.device)
            namespace.ip("addr", "add", f"fd99::{number}/64", "dev", self.device, "nodad")

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the link ended: {(self.directory / 'link.log').read_text()[-900:]}")
        with contextlib.suppress(OSError):
            return self.order("show")["ok"]
        return False

    def order(self, text):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.control))
            client.sendall(text.encode() + b"\n")
            return json.loads(client.makefile().readline())

    def do(self, text):
        answer = self.order(text)
        if not answer["ok"]:
            raise RuntimeError(f"{text}: {answer['error']}")

    def show(self, direction="a_to_b"):
        return self.order("show")[direction]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(HANG_SECONDS)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Pinger:
    """Echo requests from A to B, which its kernel answers."""

    def __init__(self, wire):
        self.socket = wire.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.sequence = 0

    def send(self):
        self.sequence += 1
        head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, os.getpid() & 0xFFFF, self.sequence)
        body = b"homeward" * 7
        packet = struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(head + body), os.getpid() & 0xFFFF, self.sequence) + body
        self.socket.sendto(packet, ("10.99.0.2", 0))

    def round_trip(self):
        """Seconds."""
        began = time.monotonic()
        self.send()
        self.socket.settimeout(HANG_SECONDS)
        while True:
            packet = self.socket.recv(4096)
            kind, _, _, ident, sequence = struct.unpack("!BBHHH", packet[20:28])
            if (kind, ident, sequence) == (ECHO_REPLY, os.getpid() & 0xFFFF, self.sequence):
                return time.monotonic() - began


class Datagrams:
    """Numbered UDP datagrams, one way."""

    def __init__(self, wire, back=False):
        sender, receiver, address = (wire.b, wire.a, "10.99.0.1") if back else (wire.a, wire.b, "10.99.0.2")
        self.receiver = receiver.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), SOCKET_BUFFER_BYTES)
        self.receiver.bind((address, 0))
        self.sender = sender.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_SNDBUFFORCE", 32), SOCKET_BUFFER_BYTES)
        self.sender.connect(self.receiver.getsockname())

    def send(self, number, size_bytes=100):
        self.sender.send(struct.pack("!Q", number).ljust(size_bytes, b"."))

    def receive(self, count):
        """The numbers of the next datagrams, as they come."""
        self.receiver.settimeout(HANG_SECONDS)
        return [struct.unpack("!Q", self.receiver.recv(65536)[:8])[0] for _ in range(count)]


class Transfer:
    """Bytes over one TCP connection from A to B, sent by a process of their own and received by a thread."""

    def __init__(self, wire, size_bytes, family=socket.AF_INET):
        self.size_bytes, self.received_bytes, self.is_right = size_bytes, 0, True
        address = "10.99.0.2" if family == socket.AF_INET else "fd99::2"
        listener = wire.b.socket(family, socket.SOCK_STREAM)
        listener.bind((address, 0))
        listener.listen()
        self.client = client = wire.a.socket(family, socket.SOCK_STREAM)
        self.began = time.monotonic()
        client.connect(listener.getsockname()[:2])
        self.server, _ = listener.accept()
        self.sender = os.fork()
        if self.sender == 0:
            code = 1
            try:
                die_with_parent()
                self.server.close()
                for offset in range(0, size_bytes, PIECE_BYTES):
                    client.sendall(self.piece(offset))
                client.shutdown(socket.SHUT_WR)
                code = 0
            finally:
                os._exit(code)
        listener.close()
        self.seconds = 0
        self.thread = threading.Thread(target=self.receive)
        self.thread.start()

    def unanswered(self):
        """How often TCP has sent the same again since it last had an answer."""
        return self.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[TCPI_RETRANSMITS]

    def piece(self, offset):
        """What belongs at `offset`, a multiple of PIECE_BYTES: no piece is like another."""
        return struct.pack("!Q", offset) * (min(PIECE_BYTES, self.size_bytes - offset) // 8)

    def receive(self):
        held = bytearray()
        while data := self.server.recv(PIECE_BYTES):
            held += data
            while held and len(held) >= min(PIECE_BYTES, self.size_bytes - self.received_bytes):
                wanted = self.piece(self.received_bytes)
                self.is_right = self.is_right and held[:len(wanted)] == wanted
                del held[:len(wanted)]
                self.received_bytes += len(wanted)
        self.seconds = time.monotonic() - self.began
        self.server.close()

    def join(self):
        """Bits of content a second. Raises where what came is not what was sent."""
        self.thread.join(HANG_SECONDS)
        os.waitpid(self.sender, 0)
        self.client.close()
        if self.thread.is_alive() or not self.is_right or self.received_bytes != self.size_bytes:
            raise RuntimeError(f"{self.received_bytes} of {self.size_bytes} bytes came, {'right' if self.is_right else 'wrong'}")
        return self.size_bytes * 8 / self.seconds
