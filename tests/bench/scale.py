"""Growth: first synchronisations of many machines at once, and the opening of a long recovery journal, as charts."""
import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

import row
import chart
from rows_net import ManyStreams

DOCS = row.ROOT / "docs" / "operations"
MIB = row.MIB


class Growth(ManyStreams):
    """The same bytes in all, from so many machines."""

    def __init__(self, arguments, directory, count):
        self.count = count
        super().__init__(arguments, directory)

    def measure(self):
        """MiB/s, and CPU seconds of process server and master target for each GiB."""
        rate = self.synchronise(self.images)
        return rate, self.server_cpu / (self.each * self.count / 1024)


def machines(arguments):
    rates, costs = [], []
    for count in map(int, arguments.machines.split(",")):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="homeward-scale-", dir="/var/tmp"))
        try:
            arguments.sources = row.Sources(directory)
            rate, cost = Growth(arguments, directory, count).measure()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        print(f"{count} machines: {rate:.0f} MiB/s in all, {cost:.2f} CPU s/GiB of both servers", flush=True)
        rates.append((count, rate))
        costs.append((count, cost))
    (DOCS / "scale-throughput.svg").write_text(chart.lines(
        "First synchronisation, one process server, one master target", "machines", "MiB/s in all", {"MiB/s": rates}, True))
    (DOCS / "scale-cpu.svg").write_text(chart.lines(
        "CPU of process server and master target", "machines", "CPU s/GiB", {"both servers": costs}, True))


def history(arguments):
    program = str(pathlib.Path(arguments.binaries) / "homeward-bench-keeper")
    opening = []
    for gibibytes, points in ((1, 288), (10, 288), (100, 288), (100, 10000), (100, 100000)):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            done = json.loads(subprocess.run([program, directory + "/j", "open", str(gibibytes * 1024), str(points)],
                                             check=True, capture_output=True, text=True).stdout)
        print(f"{gibibytes} GiB in {points} points: opened in {done['open_seconds'] * 1000:.1f} ms, listed in "
              f"{done['list_seconds'] * 1000:.2f} ms", flush=True)
        if points == 288:
            opening.append((gibibytes, done["open_seconds"] * 1000))
    (DOCS / "scale-journal.svg").write_text(chart.lines(
        "Opening a recovery journal with 288 points", "GiB of history", "ms", {"open": opening}, True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--machines", default="1,10,30,60")
    parser.add_argument("--megabytes", type=int, default=4096)
    arguments = parser.parse_args()
    arguments.small = False
    DOCS.mkdir(parents=True, exist_ok=True)
    history(arguments)
    machines(arguments)


if __name__ == "__main__":
    main()
