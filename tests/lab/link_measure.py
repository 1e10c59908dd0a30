"""How fast and how exact the lab's link is on this machine: the figures of deploy/lab/link/README.md. Needs root.

usage: link_measure.py --binaries DIR [--seconds 4]

Each line is one figure. For figures worth writing down nothing else may run.
"""
import argparse
import os
import pathlib
import shutil
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from wire import Datagrams, Pinger, Transfer, Wire  # noqa: E402
from cluster import scratch  # noqa: E402

MEGABIT = 1_000_000
WARM_BYTES = 8 << 20
PINGS = 500


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Measure:
    def __init__(self, binaries, directory, seconds):
        self.wire = Wire(binaries, directory)
        self.seconds = seconds

    def again(self, *flags):
        self.wire.end()
        self.wire.start(*flags)

    def transfer(self, expected_bits):
        """Mbit/s of content, and the share of a processor that the link took."""
        Transfer(self.wire, WARM_BYTES).join()
        size = max(int(expected_bits / 8 * self.seconds), 1 << 20) // 8 * 8
        began, before = time.monotonic(), processor_seconds(self.wire.process.pid)
        rate = Transfer(self.wire, size).join() / MEGABIT
        return rate, (processor_seconds(self.wire.process.pid) - before) / (time.monotonic() - began) * 100

    def throughput(self):
        for offload in ((), ("--offload",)):
            for mtu in (1500, 9000, 65000):
                self.again("--mtu", str(mtu), *offload)
                rough, _ = self.transfer(500 * MEGABIT)
                rate, processor = self.transfer(rough * MEGABIT)
                show = self.wire.show()
                print(f"unshaped, MTU {mtu}{', offload' if offload else ''}: {rate:.0f} Mbit/s of content, link {processor:.0f} % of a "
                      f"processor, dropped by sender {show['dropped_by_sender']}", flush=True)

    def latency(self):
        self.again()
        for asked in (0, 1, 20, 100):
            self.wire.do(f"set both latency={asked}ms")
            pinger = Pinger(self.wire)
            trips = sorted(pinger.round_trip() for _ in range(PINGS if asked < 100 else 50))
            over = [(trip - 2 * asked / 1e3) * 1e6 for trip in trips]
            print(f"latency {asked} ms each way, there and back over it: least {over[0]:.0f} us, median {statistics.median(over):.0f} us, "
                  f"99 % {over[int(len(over) * 0.99)]:.0f} us", flush=True)

    def accuracy(self):
        for mtu, offload in ((1500, ()), (1500, ("--offload",)), (9000, ())):
            self.again("--mtu", str(mtu), *offload)
            for megabits in (20, 100, 1000):
                self.wire.do(f"set both bandwidth={megabits}mbit latency=1ms queue=50ms")
                before = self.wire.show()
                began = time.monotonic()
                rate, processor = self.transfer(megabits * MEGABIT)
                after, took = self.wire.show(), time.monotonic() - began
                # All that departed over all the time, the beginnings of two connections included.
                line = (after["bytes"] - before["bytes"]) * 8 / took / MEGABIT
                print(f"{megabits} Mbit/s, MTU {mtu}{', offload' if offload else ''}: {rate:.1f} Mbit/s of content, {line:.1f} on the line, link "
                      f"{processor:.0f} % of a processor, late {after['late_us_mean']:.0f} us on average, {after['late_us_max']:.0f} at most", flush=True)

    def steady(self):
        """A line that is always full of datagrams, looked at between two of its own counters."""
        for megabits in (20, 100, 1000):
            self.again()
            self.wire.do(f"set a-to-b bandwidth={megabits}mbit queue=50ms")
            datagrams = Datagrams(self.wire)
            datagrams.receiver.close()
            datagrams.sender = self.wire.a.socket(socket.AF_INET, socket.SOCK_DGRAM)
            child = os.fork()
            if child == 0:
                end = time.monotonic() + self.seconds + 1
                while time.monotonic() < end:
                    datagrams.sender.sendto(b"." * 1472, ("10.99.0.3", 9))
                os._exit(0)
            while self.wire.show()["dropped_by_queue"] == 0:
                pass
            began, first = time.monotonic(), self.wire.show()
            os.waitpid(child, 0)
            # The queue is full to the last, and a little longer.
            last, took = self.wire.show(), time.monotonic() - began
            rate = (last["bytes"] - first["bytes"]) * 8 / took / MEGABIT
            print(f"{megabits} Mbit/s, always full: {rate:.3f} Mbit/s on the line ({(rate / megabits - 1) * 100:+.2f} %), late "
                  f"{last['late_us_mean']:.0f} us on average, dropped by queue {last['dropped_by_queue']}, by sender {last['dropped_by_sender']}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    directory = scratch("link")
    try:
        measure = Measure(options.binaries, directory, options.seconds)
        for part in (measure.latency, measure.throughput, measure.accuracy, measure.steady):
            part()
    finally:
        shutil.rmtree(directory)


main()
