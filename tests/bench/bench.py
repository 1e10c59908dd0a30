"""Runs rows of the benchmark: Homeward and its peer alternately on the same data, then medians and ratio."""
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

import row as row_module
import rows_azure
import rows_disk
import rows_live
import rows_net

ROWS = {row.name: row for row in (
    rows_disk.FirstSync, rows_disk.FirstSyncRelayed, rows_disk.FirstSyncSparse, rows_disk.Resync, rows_disk.CpuPerGib,
    rows_live.TrackingIops, rows_live.TapIops, rows_live.ForegroundP99, rows_live.Rpo, rows_live.Freeze,
    rows_disk.FailbackLatest, rows_live.FailbackOlder, rows_live.KeeperOverwrite, rows_live.IdleFleet, rows_net.Wan, rows_net.ManyStreams,
    rows_net.HostilePeers, rows_net.SealedOffPath, rows_azure.AzureFirstSync, rows_azure.AzureFirstSyncFar, rows_azure.AzureReprotectDelta,
    rows_azure.FailoverToRunning, rows_disk.MemoryAgent, rows_disk.MemoryProcessServer, rows_disk.MemoryMasterTarget)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--row", choices=sorted(ROWS), action="append")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=4096)
    parser.add_argument("--seconds", type=int, default=8, help="of the rows that run for a time")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--small", action="store_true", help="each row once and tiny: shows that the harness works, no more")
    parser.add_argument("--against", metavar="DIR", help="programs of another build: each row is measured with both in turn, without its peer")
    parser.add_argument("--clear", action="store_true", help="streams are not encrypted on the machine")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # without its peer
    arguments = parser.parse_args()
    if arguments.small:
        arguments.runs, arguments.megabytes, arguments.seconds = 1, 64, 3
    if arguments.against:
        compare(arguments)
        return
    with tempfile.TemporaryDirectory(prefix="homeward-bench-", dir="/var/tmp") as sources:
        arguments.sources = row_module.Sources(pathlib.Path(sources))
        rows = measure(arguments)
    if arguments.json:
        uname = os.uname()
        print(json.dumps({"machine": {"cpus": os.cpu_count(), "kernel": uname.release, "arch": uname.machine},
                          "rows": rows}))


def compare(arguments):
    """Each row wanted with the programs of two builds, in pairs whose order alternates."""
    def once(row, binaries):
        out = subprocess.run([sys.executable, __file__, "--binaries", binaries, "--row", row, "--runs", "1", "--json", "--alone",
                              "--megabytes", str(arguments.megabytes), "--seconds", str(arguments.seconds), *["--clear"] * arguments.clear],
                             check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        return next(iter(json.loads(out)["rows"]), None)

    for name in arguments.row or ROWS:
        pairs = []
        for run in range(arguments.runs):
            order = (arguments.binaries, arguments.against)
            figures = {binaries: once(name, binaries) for binaries in (order if run % 2 == 0 else order[::-1])}
            if None in figures.values():
                print(f"{name}: not here", flush=True)
                break
            pairs.append([figures[binaries]["ours"] for binaries in order])
            unit = figures[arguments.binaries]["unit"]
        else:
            ratios = [this / that for this, that in pairs]
            this, that = (statistics.median(side) for side in zip(*pairs))
            print(f"{name}: this build {this:.2f}, the other {that:.2f} {unit}, ratio {statistics.median(ratios):.3f} "
                  f"({min(ratios):.2f} to {max(ratios):.2f}); {'more' if ROWS[name].at_least else 'less'} is better", flush=True)


def measure(arguments):
    """Each row wanted, as the table has it."""
    rows = []
    for name in arguments.row or ROWS:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="homeward-bench-", dir="/var/tmp"))
        row, began = None, time.monotonic()
        try:
            row = ROWS[name](arguments, directory)
            ours, peer = [], []
            for _run in range(arguments.runs):
                ours.append(row.ours())
                peer.append(row.peer() if row.has_peer and not arguments.alone else 1)
            ratios = [a / b for a, b in zip(ours, peer)]
            ratio = statistics.median(ratios)
            rows.append({"name": name, "ours": round(statistics.median(ours), 2),
                         "peer": round(statistics.median(peer), 2) if row.has_peer else None, "unit": row.unit, "ratio": round(ratio, 2),
                         "spread": [round(min(ratios), 2), round(max(ratios), 2)], "target": row.target,
                         "holds": row.holds(ratio), "runs": arguments.runs})
            if not arguments.json:
                last = rows[-1]
                beside = f"peer {last['peer']} {row.unit}, ratio" if row.has_peer else row.unit
                print(f"{name}: ours {last['ours']}, {beside} {last['ratio'] if row.has_peer else ''} "
                      f"({last['spread'][0]} to {last['spread'][1]}), target {'>=' if row.at_least else '<='} {row.target}: "
                      f"{'holds' if last['holds'] else 'does not hold'}\n  {row.says}", flush=True)
        except row_module.Cannot as reason:
            print(f"{name}: not here: {reason}", file=sys.stderr, flush=True)
        finally:
            if row is not None:
                row.keep.close()
            print(f"{name}: took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            shutil.rmtree(directory, ignore_errors=True)
    return rows


if __name__ == "__main__":
    main()
