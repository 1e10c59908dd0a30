"""A small NBD client, fixed newstyle: what the demonstration writes through when it may not use loop devices."""
import socket
import struct

REQUEST, REPLY = 0x25609513, 0x67446698
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1


class Nbd:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        magic, option, _flags = struct.unpack(">QQH", self.take(18))
        if magic != 0x4E42444D41474943 or option != 0x49484156454F5054:
            raise OSError("not an NBD server")
        self.socket.sendall(struct.pack(">I", 3))  # fixed newstyle, no zeroes
        self.socket.sendall(struct.pack(">QII", option, 1, 0))  # export name: the default one
        self.size, self.flags = struct.unpack(">QH", self.take(10))
        self.cookie = 0

    def take(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise OSError("the NBD server went away")
            data += part
        return data

    def request(self, kind, offset, length, data=b"", flags=0):
        self.cookie += 1
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST, flags, kind, self.cookie, offset, length) + data)
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        if magic != REPLY or cookie != self.cookie:
            raise OSError("an NBD reply out of order")
        if error:
            raise OSError(error, "NBD")

    def write(self, offset, data, durable=True):
        self.request(WRITE, offset, len(data), data, FUA if durable else 0)

    def close(self):
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST, 0, DISCONNECT, 0, 0, 0))
        self.socket.close()
