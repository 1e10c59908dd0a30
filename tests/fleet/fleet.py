"""A fleet against one real configuration server: boot storm, steady heartbeats, a site that is cut and comes back, a restart.

usage: fleet.py --binaries DIR [--agents N] [--class COUNT:DELAY]... [--directory DIR] [...]

The agents are homeward-fleet's: one process, an identity and a TLS connection for each. The last lines are a table and RESULT {json}.
With --directory, what was enrolled there is used again: the first run of 10,000 agents takes minutes longer than the next.
"""
import argparse
import asyncio
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import HANG_SECONDS, Cluster, Refused, die_with_parent, free_port, scratch  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
# Beside one for each connection: what is listened on, the store, libraries.
OTHER_DESCRIPTORS = 500
POLL_SECONDS = 0.25
# What a configuration server must do for 10,000 agents, and so for any fewer.
RESTART_SECONDS_MAX, PEAK_MIB_MAX, STEADY_CORES_MAX = 60, 1536, 0.5
COLUMNS = (("phase", "phase"), ("registered", "registered"), ("last_s", "last, s"), ("p50_s", "p50"), ("p95_s", "p95"), ("p99_s", "p99"),
           ("attempts", "attempts"), ("need_a_human", "need a human"), ("cs_cpu_s", "CS CPU s"), ("cs_cores", "CS cores"),
           ("agents_cpu_s", "agents CPU s"), ("cs_rss_mib", "CS MiB"), ("cs_threads", "CS threads"))


class Site:
    """The way of some agents to the configuration server, carried from a port of its own. `cut` is silent, as where a site loses its
    line: nothing is carried any more, neither end is told. With `reset` both ends are."""

    def __init__(self, server):
        self.host, port = server.rsplit(":", 1)
        self.target, self.port = int(port), free_port()
        self.up, self.silent, self.pairs = True, False, set()
        self.loop, self.back = asyncio.new_event_loop(), asyncio.Event()
        ready = threading.Event()
        threading.Thread(target=self.run, args=(ready,), daemon=True, name="site").start()
        ready.wait()

    def run(self, ready):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(asyncio.start_server(self.carry, self.host, self.port, backlog=4096))
        ready.set()
        self.loop.run_forever()

    async def carry(self, reader, writer):
        if not self.up:
            if self.silent:
                self.pairs.add(writer)  # It waits for an answer that does not come.
            else:
                writer.transport.abort()
            return
        try:
            there, to = await asyncio.open_connection(self.host, self.target)
        except OSError:
            writer.transport.abort()
            return
        self.pairs |= {writer, to}
        await asyncio.gather(self.pump(reader, to), self.pump(there, writer))
        self.pairs -= {writer, to}

    async def pump(self, source, sink):
        try:
            while data := await source.read(65536):
                if self.silent:
                    await self.back.wait()
                    break
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        sink.transport.abort()

    def cut(self, silent):
        def now():
            self.up, self.silent = False, silent
            self.back.clear()
            for writer in () if silent else self.pairs:
                writer.transport.abort()
        self.loop.call_soon_threadsafe(now)

    def restore(self):
        def now():
            # What was open before is forgotten by whatever lost its power.
            for writer in self.pairs if self.silent else ():
                writer.transport.abort()
            self.up, self.silent = True, False
            self.back.set()
        self.loop.call_soon_threadsafe(now)


class Agents:
    """The process with the agents."""

    def __init__(self, program, classes, directory):
        self.log = open(directory / "fleet.log", "ab")
        self.process = subprocess.Popen([str(program), *classes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        text=True, preexec_fn=die_with_parent)
        self.log_path = directory / "fleet.log"

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"homeward-fleet ended at {command}: {self.log_path.read_text()[-2000:]}")
        return json.loads(answer)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def status_of(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


class Fleet:
    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.cluster = Cluster(arguments.binaries, directory, heartbeat=f"{arguments.heartbeat}s",
                               extra="certificate_validity { seconds: 31536000 }\n")
        self.server, self.directory = self.cluster.daemons["config_server"], directory
        self.rows, self.missed, self.peak_kib = [], [], 0
        self.agents, self.site, self.counts = None, None, []

    def class_files(self):
        """Of each class two, where a part of it is in the site: COUNT:FILE."""
        classes = [text.partition(":")[::2] for text in self.arguments.classes or [f"{self.arguments.agents}:"]]
        self.counts = [int(count) for count, _ in classes]
        total, made = sum(self.counts), []
        at_site = total * self.arguments.site_percent // 100
        self.site = Site(self.cluster.address) if at_site else None
        for index, (count, delay) in enumerate(classes):
            count = int(count)
            there = min(at_site, count)
            at_site -= there
            for name, number, address in ((f"class{index}", count - there, self.cluster.address),
                                          (f"site{index}", there, f"{self.site.host}:{self.site.port}" if there else "")):
                if number == 0:
                    continue
                path = self.directory / f"{name}.conf"
                path.write_text(f"""join {{ config_server: "{address}" enrolment_file: "{self.cluster.enrolment}" name: "{name}" }}
state_directory: "{self.directory}/agents/{name}"
""" + (f"registration {{ delay {{ {delay} }} }}\n" if delay else ""))
                made.append(f"{number}:{path}")
        return made, total

    def phase(self, name, began, report, **more):
        """Notes what came of one: how long until the last agent was registered, and what was in the way."""
        seconds = sorted(report["seconds"])
        row = {"phase": name, "registered": report["registered"], "seconds": round(time.monotonic() - began, 1),
               "last_s": round(seconds[-1], 2) if seconds else None,
               **{f"p{int(share * 100)}_s": round(percentile(seconds, share), 2) for share in (0.5, 0.9, 0.95, 0.99) if seconds},
               "attempts": report["attempts"], "ended": report["ended"], "need_a_human": len(report["need_a_human"]), **more}
        if self.server.process is not None:
            pid = self.server.process.pid
            row |= {"cs_rss_mib": round(status_of(pid, "VmRSS") / 1024), "cs_threads": status_of(pid, "Threads")}
            self.peak_kib = max(self.peak_kib, status_of(pid, "VmHWM"))
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        if report["need_a_human"]:
            self.missed.append(f"{name}: {report['need_a_human'][:5]}")
        return row

    def await_registered(self, count, what):
        deadline = time.monotonic() + self.arguments.limit
        while True:
            report = self.agents.ask("report")
            if report["registered"] >= count:
                return report
            if self.server.has_ended():
                raise RuntimeError(f"the configuration server ended: {self.server.log()[-3000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {report['registered']} of {count} within {self.arguments.limit} s; {report['ended']}")
            time.sleep(POLL_SECONDS)

    def cpu(self):
        return cpu_seconds(self.server.process.pid), cpu_seconds(self.agents.process.pid)

    def timed(self, name, count, begin, **more):
        before, began = self.cpu(), time.monotonic()
        begin()
        report = self.await_registered(count, name)
        after = self.cpu()
        return self.phase(name, began, report, cs_cpu_s=round(after[0] - before[0], 2),
                          agents_cpu_s=round(after[1] - before[1], 2), **more)

    def run(self):
        arguments = self.arguments
        self.cluster.start_config_server()
        classes, total = self.class_files()
        need = total + OTHER_DESCRIPTORS
        raise_descriptors(need)
        self.agents = Agents(self.cluster.binaries / "homeward-fleet", classes, self.directory)
        began, before = time.monotonic(), self.cpu()
        self.agents.ask("enrol")
        print(f"enrolled: {total} agents in {time.monotonic() - began:.1f} s, CS CPU {self.cpu()[0] - before[0]:.1f} s", flush=True)
        self.timed("boot storm", total, lambda: self.agents.ask("power_on"))
        self.storm_began = time.monotonic()
        self.timed("boot storm again", total, lambda: self.agents.ask("power_on"))
        self.registrations(total)
        self.steady(total)
        if self.site:
            self.cut_site(total)
        self.restart(total)

    def registrations(self, total):
        """What the server itself says of the last storm is what the agents saw."""
        seen = sorted(self.agents.ask("report")["seconds"])
        # A second more, for the time until the server is asked.
        since = f"{time.monotonic() - self.storm_began + 1:.1f}s"
        told = self.cluster.json("fleet", "registrations", "--count", "3", "--within", since)["all"]
        p99 = float(told["p99"].rstrip("s"))
        self.must(f"fleet registrations: {told} of {total} machines", int(told["count"]) >= total)
        longest = max([*seen, *(row["last_s"] for row in self.rows)])
        self.must(f"fleet registrations: p99 {p99} s, seen at most {longest} s", p99 <= longest + 1)
        print(self.cluster.cli("fleet", "registrations", "--count", "3", "--within", since), flush=True)

    def steady(self, total):
        time.sleep(self.arguments.heartbeat)  # What the storm left is over by then.
        self.agents.ask("mark")
        before, began = self.cpu(), time.monotonic()
        time.sleep(self.arguments.steady)
        report, after, took = self.agents.ask("report"), self.cpu(), time.monotonic() - began
        row = self.phase("steady", began, report, heartbeats=report["heartbeats"],
                         heartbeats_per_s=round(report["heartbeats"] / took, 1), cs_cores=round((after[0] - before[0]) / took, 3),
                         agents_cores=round((after[1] - before[1]) / took, 3))
        self.must("steady: all stay registered", row["registered"] == total)
        self.must(f"steady: less than {STEADY_CORES_MAX} cores", row["cs_cores"] < STEADY_CORES_MAX)

    def cut_site(self, total):
        self.agents.ask("mark")
        self.site.cut(self.arguments.cut == "silent")
        time.sleep(self.arguments.cut_seconds)
        lost = total - self.agents.ask("report")["registered"]
        self.must("site cut: agents there lose their sessions", lost > 0)
        self.agents.ask("mark")

        self.timed("site is back", total, self.site.restore, lost=lost)

    def restart(self, total):
        self.server.note_memory()
        self.agents.ask("mark")
        began = time.monotonic()
        before = cpu_seconds(self.agents.process.pid)
        self.server.process.kill()
        self.server.process.wait()
        self.server.process = None
        if self.arguments.down_seconds:
            time.sleep(self.arguments.down_seconds)
            self.agents.ask("mark")
            began = time.monotonic()
        self.cluster.start_config_server()
        answered = time.monotonic() - began
        report = self.await_registered(total, "restart")
        row = self.phase("restart", began, report, answered_s=round(answered, 2), cs_cpu_s=round(cpu_seconds(self.server.process.pid), 2),
                   agents_cpu_s=round(cpu_seconds(self.agents.process.pid) - before, 2))
        self.must(f"restart: all are back within {RESTART_SECONDS_MAX} s", row["last_s"] is not None and row["last_s"] <= RESTART_SECONDS_MAX)

    def must(self, what, holds):
        if not holds:
            self.missed.append(what)

    def show(self, total):
        """A table for docs/operations/scale.md, and RESULT."""
        self.peak_kib = max(self.peak_kib, self.server.peak_kib)
        peak_mib = round(self.peak_kib / 1024)
        self.must(f"memory of the configuration server: {peak_mib} MiB, at most {PEAK_MIB_MAX}", peak_mib < PEAK_MIB_MAX)
        shown = [column for column in COLUMNS if any(column[0] in row for row in self.rows)]
        print("\n| " + " | ".join(title for _, title in shown) + " |\n" + "|---" * len(shown) + "|")
        for row in self.rows:
            print("| " + " | ".join("" if row.get(key) is None else str(row[key]) for key, _ in shown) + " |")
        for missed in self.missed:
            print(f"MISSED {missed}")
        print("RESULT " + json.dumps({"agents": total, "heartbeat_s": self.arguments.heartbeat, "cs_peak_mib": peak_mib,
                                      "cores": os.cpu_count(), "phases": self.rows, "missed": self.missed}))

    def close(self):
        if self.agents is not None:
            self.agents.close()
        self.cluster.stop()


def raise_descriptors(need):
    """Of this process, and so of those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard >= need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, need))
    except (ValueError, OSError) as why:
        raise SystemExit(f"{need} open files are needed, one for each connection, and the limit is {hard} ({why}): run this as root, or after "
                         f"ulimit -n {need}, or with fewer --agents") from why


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True, help=argparse.SUPPRESS)
    parser.add_argument("--agents", type=int, default=10000)
    parser.add_argument("--class", dest="classes", action="append", metavar="COUNT:DELAY",
                        help="instead of --agents: so many with this registration delay, as in an agent's configuration")
    parser.add_argument("--directory", type=pathlib.Path, help="keeps what was enrolled; default: a new one, which is removed")
    parser.add_argument("--heartbeat", type=int, default=15, help="seconds")
    parser.add_argument("--steady", type=float, default=60, help="seconds of heartbeats that are measured")
    parser.add_argument("--site-percent", type=int, default=20, help="of the agents, are in the site that is cut; 0: none is")
    parser.add_argument("--cut", choices=("silent", "reset"), default="silent")
    parser.add_argument("--cut-seconds", type=float, default=60)
    parser.add_argument("--down-seconds", type=float, default=0, help="between the server's end and its start; then it is counted from there")
    parser.add_argument("--limit", type=float, default=HANG_SECONDS, help="seconds that a phase may take at the most")
    arguments = parser.parse_args()
    directory = arguments.directory or scratch("fleet")
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    fleet = Fleet(arguments, directory)
    try:
        fleet.run()
    except (TimeoutError, Refused, RuntimeError, OSError) as error:
        fleet.missed.append(f"{type(error).__name__}: {error}")
    finally:
        fleet.close()
        if not arguments.directory:
            shutil.rmtree(directory, ignore_errors=True)
    fleet.show(sum(fleet.counts))
    sys.exit(1 if fleet.missed else 0)


if __name__ == "__main__":
    main()
