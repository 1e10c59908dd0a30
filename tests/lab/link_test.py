"""The lab's link between sites: what it is asked for is what traffic over it sees. Needs root.

usage: link_test.py --binaries DIR

Nothing fails for being late, with one exception: a latency has an upper bound that only a link which adds far too much exceeds.
"""
import argparse
import math
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from wire import HANG_SECONDS, Datagrams, Pinger, Transfer, Wire, await_  # noqa: E402
from cluster import scratch  # noqa: E402

MEGABIT = 1_000_000
# What a slow and busy machine may add to a round trip.
LATE_SECONDS_MAX = 0.25
# The kernel says a few words of its own on a new device: neighbours and groups of IPv6.
KERNEL_PACKETS_MAX = 20


class LinkTest:
    def __init__(self, binaries, directory):
        self.binaries, self.directory, self.failed = binaries, directory, 0
        self.wire = Wire(binaries, directory)

    def check(self, name, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + str(detail)[-900:] if detail != '' else ''}", flush=True)
        self.failed += not holds

    def clear(self):
        self.wire.do("set both bandwidth=0 latency=0 jitter=0 loss=0 queue=100ms burst=0 reorder=no")

    def latency(self):
        pinger = Pinger(self.wire)
        trips = [pinger.round_trip() for _ in range(50)]
        self.check("unshaped, it adds little", statistics.median(trips) < LATE_SECONDS_MAX,
                   f"median {statistics.median(trips) * 1e6:.0f} us there and back")
        for order, least in (("set both latency=25ms", 0.05), ("set a-to-b latency=100ms", 0.125), ("set both latency=0", 0)):
            self.wire.do(order)
            trips = [pinger.round_trip() for _ in range(20)]
            self.check(f"{order}: never sooner, and not much later",
                       min(trips) >= least and statistics.median(trips) < least + LATE_SECONDS_MAX,
                       f"least {min(trips) * 1e3:.2f} ms, median {statistics.median(trips) * 1e3:.2f} ms")

    def jitter(self):
        datagrams = Datagrams(self.wire)
        for order, in_order in (("reorder=no", True), ("reorder=yes", False)):
            self.wire.do(f"set a-to-b latency=10ms jitter=20ms {order}")
            for number in range(500):
                datagrams.send(number)
            came = datagrams.receive(500)
            self.check(f"jitter with {order}", sorted(came) == list(range(500)) and (came == sorted(came)) == in_order)
        self.clear()

    def bandwidth(self):
        for megabits in (5, 20, 100):
            self.wire.do(f"set both bandwidth={megabits}mbit latency=2ms")
            rate = Transfer(self.wire, megabits * MEGABIT // 8 * 2).join() / MEGABIT
            self.check(f"{megabits} Mbit/s are not exceeded, and used", megabits / 4 < rate <= megabits,
                       f"{rate:.2f} Mbit/s of content")
        self.clear()

    def queue(self):
        self.wire.do("set a-to-b bandwidth=1mbit queue=20KiB")
        before = self.wire.show()
        datagrams = Datagrams(self.wire)
        for number in range(200):
            datagrams.send(number, 1000)

        def all_told():
            now = self.wire.show()
            passed, dropped = (now[key] - before[key] for key in ("packets", "dropped_by_queue"))
            return now if passed + dropped >= 200 else None
        now = await_("each datagram departs or is dropped", all_told)
        dropped = now["dropped_by_queue"] - before["dropped_by_queue"]
        self.check("a full queue drops, and counts it", 100 < dropped < 200, dropped)
        self.check("a queue keeps its bound", 19_000 < now["queue_bytes_peak"] <= 20 * 1024, now["queue_bytes_peak"])
        came = datagrams.receive(200 - dropped)
        self.check("what was not dropped came in order", came == sorted(came) and came[:5] == [0, 1, 2, 3, 4])
        self.clear()

    def loss(self):
        datagrams, count, share = Datagrams(self.wire), 5000, 0.2
        self.wire.do(f"set a-to-b loss={share * 100}%")
        before = self.wire.show()["dropped_by_loss"]
        for number in range(count):
            datagrams.send(number)
        # Through a link that loses nothing any more, and behind all the others.
        self.clear()
        datagrams.send(count)
        came = 0
        while datagrams.receive(1) != [count]:
            came += 1
        lost, counted = count - came, self.wire.show()["dropped_by_loss"] - before
        deviation = math.sqrt(count * share * (1 - share))
        self.check("it loses the share that was asked for", abs(lost - count * share) < 5 * deviation, f"{lost} of {count}")
        self.check("what is lost is counted", lost <= counted <= lost + KERNEL_PACKETS_MAX, counted)

    def cut(self):
        datagrams, back = Datagrams(self.wire), Datagrams(self.wire, back=True)
        self.wire.do("set both latency=5ms")
        self.wire.do("cut a-to-b")
        before = self.wire.show()["dropped_while_cut"]
        for number in range(100):
            datagrams.send(number)
        back.send(1)
        self.check("a cut of one direction leaves the other", back.receive(1) == [1])
        await_("the cut has dropped all", lambda: self.wire.show()["dropped_while_cut"] >= before + 100)
        self.check("the cut shows", not self.wire.show()["up"] and self.wire.show("b_to_a")["up"])
        self.wire.do("mend")
        datagrams.send(1000)
        self.check("nothing of a cut comes later", datagrams.receive(1) == [1000])
        self.clear()

    def resumes(self):
        for family, name in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")):
            self.wire.do("set both bandwidth=50mbit latency=2ms")
            transfer = Transfer(self.wire, 8 << 20, family)
            await_("the transfer is under way", lambda: transfer.received_bytes > 1 << 20)
            self.wire.do("cut")
            await_("TCP tries again", lambda: transfer.unanswered() >= 1)
            at_cut = transfer.received_bytes
            await_("TCP goes on trying", lambda: transfer.unanswered() >= 2)
            self.check(f"{name}: the transfer stands still while cut",
                       transfer.received_bytes == at_cut < transfer.size_bytes, f"at {at_cut} bytes")
            self.wire.do("mend")
            transfer.join()
            self.check(f"{name}: mended, the same connection brings the rest, byte for byte", True)
        self.clear()

    def orders(self):
        before = self.wire.order("show")
        for wrong in ("set a-to-b latency=1ms loss=200%", "set everything loss=1%", "burn", "", "x" * 3000):
            answer = self.wire.order(wrong)
            self.check(f"refused: {wrong[:40]!r}", not answer["ok"], answer.get("error", "")[:80])
        after = self.wire.order("show")
        self.check("a wrong order changes nothing", all(before[way][key] == after[way][key] for way in ("a_to_b", "b_to_a")
                                                       for key in ("latency_ms", "loss_percent", "up")))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.wire.control))
            client.sendall(b"x" * 10_000)
            self.check("who says too much without an end is hung up on", self.hung_up(client))
        told = self.wire.run("--order", "show")
        self.check("an order from the command line", told.returncode == 0 and told.stdout.startswith('{"ok":true'))
        self.check("a wrong one ends with 1", self.wire.run("--order", "burn").returncode == 1)

    @staticmethod
    def hung_up(client):
        client.settimeout(HANG_SECONDS)
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True

    def life(self):
        second = self.wire.run()
        self.check("a second link of the same devices is refused", second.returncode == 1 and
                   "there is a device of that name" in second.stderr, second.stderr)
        self.wire.end(signal.SIGKILL)
        await_("a killed link leaves no devices",
               lambda: "wan0" not in self.wire.a.devices() | self.wire.b.devices())
        self.check("a killed link leaves no devices", self.wire.control.exists())
        self.wire.start("--both", "latency=3ms", "--a_to_b", "latency=7ms")
        self.check("another takes its place, socket and all", Pinger(self.wire).round_trip() >= 0.010)
        self.wire.a.ip("link", "del", "wan0")
        code, log = self.wire.process.wait(HANG_SECONDS), (self.directory / "link.log").read_text()
        self.check("a link whose device is deleted ends and says so", code == 1 and "was it deleted?" in log, log[-200:])
        self.wire.start("--offload", "--mtu", "9000")
        self.with_offload()
        code = self.wire.end()
        self.check("stopped, it ends with 0 and leaves neither devices nor socket", code == 0 and not self.wire.control.exists()
                   and "wan0" not in self.wire.a.devices() | self.wire.b.devices(), code)

    def with_offload(self):
        rate = Transfer(self.wire, 256 << 20).join() / MEGABIT
        self.check("with offload, content is right", True, f"{rate:.0f} Mbit/s, MTU 9000")
        for family in (socket.AF_INET, socket.AF_INET6):
            self.wire.do("set both bandwidth=100mbit latency=1ms")
            rate = Transfer(self.wire, 16 << 20, family).join() / MEGABIT
            self.check("with offload, the bandwidth holds", 25 < rate <= 100, f"{rate:.2f} Mbit/s of content")
        self.wire.do("set both loss=1%")
        Transfer(self.wire, 4 << 20).join()
        self.check("with offload and loss, content is right", self.wire.show()["dropped_by_loss"] > 0)

    def config(self):
        path = self.directory / "link.conf"
        path.write_text('a { namespace_path: "/run/netns/none" device: "wan0" }\nb { device: "wan0" }\nmtu_bytes: 7\n')
        told = subprocess.run([str(self.wire.binary), "--config", str(path)], capture_output=True, text=True)
        self.check("every problem of a file is told with its line", told.returncode == 2 and
                   all(text in told.stderr for text in (f"{path}:2: b.namespace_path", f"{path}:3: mtu_bytes")), told.stderr)
        path.write_text('a { namespace_path: "/run/netns/none" device: "wan0" }\nb { namespace_path: "/run/netns/no" device: "wan0" }\n')
        told = subprocess.run([str(self.wire.binary), "--config", str(path)], capture_output=True, text=True)
        self.check("a namespace that is not there is named", told.returncode == 1 and "/run/netns/none" in told.stderr, told.stderr)

    def run(self):
        for part in (self.latency, self.jitter, self.queue, self.bandwidth, self.loss, self.cut, self.resumes, self.orders,
                     self.life, self.config):
            part()
        return self.failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True, type=pathlib.Path)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("link_test.py makes network namespaces and devices: run it as root")
    directory = scratch("link")
    try:
        failed = LinkTest(options.binaries, directory).run()
    finally:
        shutil.rmtree(directory)
    print("RESULT", "failed" if failed else "passed")
    sys.exit(failed != 0)


main()
