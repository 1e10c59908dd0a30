"""Runs of the lab that never were, recorded as real ones are: for tests of the report, and to look at it.

usage: sample_runs.py KIND FOLDER     KIND: ordinary, one, fleet, odd, killed, empty, golden
"""
import pathlib
import random
import sys

REPORT = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "lab" / "report"
sys.path.insert(0, str(REPORT))
from timeline import Timeline  # noqa: E402

MIB = 1 << 20
BEGAN = 1_790_000_000.25
ODD_NAME = "<b onload=\"alert(1)\">vm & 'co'</b></script><script>throw 1</script>"
LONG_NAME = "a-machine-whose-owner-had-much-to-say-" * 6


class Clock:
    """Seconds that pass when it is told so."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds

    def to(self, timeline, at):
        self.seconds += at - timeline.now()


def begin(folder, scenario, topology, clock, **options):
    return Timeline(folder, scenario, topology, clock=clock, wall=lambda: BEGAN, **options)


class Script:
    """What is to happen at which time, in whatever order it is written down; play() records it in the order of time."""

    def __init__(self):
        self.steps = []

    def at(self, seconds, step):
        self.steps.append((seconds, step))

    def phase(self, name, on, began, ended, error=""):
        number = []
        self.at(began, lambda timeline: number.append(timeline.begin_phase(name, on)))
        if ended is not None:
            self.at(ended, lambda timeline: timeline.end_phase(number[0], error))

    def event(self, at, name, subject="", text=""):
        self.at(at, lambda timeline: timeline.event(name, subject, text))

    def sample(self, at, series, subject, value, unit):
        self.at(at, lambda timeline: timeline.sample(series, subject, value, unit))

    def registers(self, subject, boot, on, delay, refusals):
        """A machine boots, is refused while its agent has not registered, and then accepted."""
        self.phase("boot", subject, on, on + delay)
        for number in range(refusals):
            self.at(on + delay * (0.3 + 0.6 * number / refusals), lambda timeline: timeline.refusal(
                subject, "AGENT_NOT_REGISTERED", f"{subject} was booted, and its agent has not registered since"))
        self.at(on + delay, lambda timeline: timeline.delay(subject, boot, on, on + delay))
        if refusals:
            self.at(on + delay + 0.4, lambda timeline: timeline.acceptance(subject, "AGENT_NOT_REGISTERED"))

    def play(self, timeline, clock, until):
        for at, step in sorted(self.steps, key=lambda one: one[0]):
            if at <= until:
                clock.to(timeline, at)
                step(timeline)
        clock.to(timeline, until)


def traffic(script, chance, link, until, most, silent=()):
    for at in range(0, until):
        if not any(begin <= at < end for begin, end in silent):
            wave = 0.55 + 0.3 * ((at // 40) % 2) + 0.15 * chance.random()
            script.sample(at, "throughput", link, most * MIB * wave, "bytes_per_second")


def points_of(script, chance, machine, until, every, late=()):
    """The age of the newest point: it grows until the next one is there."""
    newest = 0
    for at in range(2, until, 2):
        age = at - newest
        script.sample(at, "rpo", machine, age, "seconds")
        if age >= every * (0.8 + 0.4 * chance.random()) and not any(begin <= at < end for begin, end in late):
            newest = at - 1


def ordinary(folder):
    """Three machines go to Azure and come home; a link is cut meanwhile."""
    clock, script, chance = Clock(), Script(), random.Random(1)
    with begin(folder, "a link is cut during the failback", "two sites, three machines", clock, rpo_threshold_seconds=60) as timeline:
        script.phase("bring up", "", 0, 14)
        script.phase("replication", "", 14, 420)
        script.phase("bring down", "", 560, 571)
        for index, machine in enumerate(("web-1", "database", "mail")):
            began = 14 + 6 * index
            script.phase("first synchronisation", machine, began, began + 70 + 25 * index)
            script.phase("follow changes", machine, began + 70 + 25 * index, 400)
            script.phase("compare", machine, began + 30, began + 55)
            script.phase("failback", machine, 420, 500 + 12 * index, "HEALTH_NOT_OK: the process server is gone" if index == 2 else "")
            script.phase("drain", machine, 424, 447)
            script.phase("detach and attach", machine, 452, 455)
            script.registers(machine, "2", 500 + 12 * index, 21 + 9 * index, 3 - index)
            points_of(script, chance, machine, 560, 24, late=[(225, 320)] if index == 1 else ())
        for link in ("site-1 to azure", "azure to site-1"):
            traffic(script, chance, link, 560, 90 if link.startswith("azure") else 34, silent=[(230, 310)])
        script.event(230, "link cut", "azure to site-1", "both directions, for 80 s")
        script.event(310, "link healed", "azure to site-1")
        script.event(232, "process server killed", "ps-1")
        script.event(234, "process server restarted", "ps-1", "with its spool")
        script.event(236, "first heartbeat", "ps-1")
        script.event(421, "failback asked for")
        script.play(timeline, clock, 571)
        timeline.expectation("every machine comes home", True, "3 of 3")
        timeline.expectation("no recovery point is older than 60 s at the end", True, "26 s")
        timeline.expectation("a reprotect before registration is refused with AGENT_NOT_REGISTERED", True, "6 times")
        timeline.expectation("the database's recovery points stay under the threshold", False, "119 s at 5 min 40 s")


def one(folder):
    """One machine, one phase, one sample of each, no time at all."""
    clock = Clock()
    with begin(folder, "one of each", "one machine", clock) as timeline:
        with timeline.phase("first synchronisation", "vm-1"):
            timeline.event("power on", "vm-1")
        timeline.sample("rpo", "vm-1", 12, "seconds")
        timeline.sample("throughput", "vm-1 to ps-1", 0, "bytes_per_second")
        timeline.delay("vm-1", "1", 0, 0)
        timeline.refusal("vm-1", "AGENT_NOT_REGISTERED")
        timeline.expectation("it comes home", True)


def fleet(folder):
    """A boot storm of twenty machines."""
    clock, script, chance = Clock(), Script(), random.Random(2)
    with begin(folder, "a boot storm of twenty machines", "one rack", clock, time_scale=10, rpo_threshold_seconds=90) as timeline:
        script.phase("bring up", "", 0, 20)
        script.phase("storm", "", 20, 700)
        for index in range(20):
            machine = f"vm-{index + 1:02d}"
            on = 22 + 3 * index
            delay = chance.lognormvariate(3.6, 0.6)
            script.phase("power on", machine, on - 2, on)
            script.registers(machine, "1", on, delay, index % 4)
            synced = on + delay + 60 + 90 * chance.random()
            script.phase("reprotect", machine, on + delay + 1, synced)
            script.phase("resynchronisation", machine, on + delay + 6, synced - 4)
            script.phase("follow changes", machine, synced, 690)
            points_of(script, chance, machine, 690, 30, late=[(300, 420)] if index in (4, 11) else ())
            traffic(script, chance, f"{machine} to ps-{index % 2 + 1}", 690, 4 + index)
            script.event(synced, "first recovery point", machine)
            for boot in range(2, 12):
                wait = chance.lognormvariate(3.6, 0.6)
                script.at(695, lambda timeline, machine=machine, boot=boot, wait=wait: timeline.delay(machine, str(boot), 0, wait))
        script.play(timeline, clock, 700)
        timeline.expectation("all twenty register", True, "20 of 20")
        timeline.answer("", "homeward fleet registrations", "BOOTS  P50\n20     1m2s\n")
        timeline.expectation("p95 of the registration delay is under 2 minutes", True, "98 s")


def odd(folder):
    """Names that are no names, and more of everything than a page has room for."""
    clock, script, chance = Clock(), Script(), random.Random(3)
    with begin(folder, ODD_NAME, LONG_NAME, clock, time_scale=60) as timeline:
        for index in range(12):
            script.phase(f"phase {index} {ODD_NAME}", ODD_NAME, 3 * index, 3 * index + 40, ODD_NAME if index % 3 == 0 else "")
            script.phase(LONG_NAME, LONG_NAME, 5 * index, 5 * index)  # no time
        for index in range(300):
            script.event(chance.random() * 100, f"{index} {LONG_NAME if index % 7 == 0 else ODD_NAME}", ODD_NAME, ODD_NAME)
        for index in range(60):
            script.event(50 + index / 1000, f"at once {index}", "vm-\udcff\x07")
        script.play(timeline, clock, 100)
        for _ in range(10_000):
            timeline.delay(ODD_NAME, "1", 0, chance.lognormvariate(2, 0.7))
        timeline.delay(LONG_NAME, "2", 0, None)
        timeline.sample("rpo", ODD_NAME, 1e9, "seconds")
        for at in range(5000):
            clock.to(timeline, 100 + at / 10)
            timeline.sample("rpo", LONG_NAME, at % 97, "seconds")
            timeline.sample(ODD_NAME, LONG_NAME, -at % 5, ODD_NAME)
            timeline.sample("below zero", LONG_NAME, 20 - at % 41, "things")
        timeline.refusal(ODD_NAME, ODD_NAME, ODD_NAME)
        timeline.refusal(LONG_NAME, LONG_NAME, LONG_NAME * 10)
        timeline.acceptance(LONG_NAME, LONG_NAME)
        timeline.expectation(ODD_NAME, False, LONG_NAME)
        timeline.expectation(LONG_NAME, True, ODD_NAME)


def killed(folder):
    """Its process is gone: nothing after its last line. A phase had failed, and two had not ended."""
    clock, script = Clock(), Script()
    timeline = begin(folder, "killed in the first synchronisation", "two sites", clock)
    script.phase("bring up", "", 0, 8)
    script.phase("first attempt", "vm-1", 8, 12, "UNAVAILABLE: connect to ps-1: connection refused")
    script.phase("replication", "", 8, None)
    script.phase("first synchronisation", "vm-1", 15, None)
    script.sample(20, "throughput", "vm-1 to ps-1", 30 * MIB, "bytes_per_second")
    script.play(timeline, clock, 33)
    timeline.event("the last that was heard", "vm-1")
    timeline._journal.close()  # as a kill does


def empty(folder):
    """Nothing was recorded."""
    begin(folder, "nothing", "", Clock()).end()


def golden(folder):
    """A little of each, for the page of the format."""
    clock = Clock()
    with begin(folder, "a machine comes home", "two sites", clock) as timeline:
        with timeline.phase("failback", "vm-1"):
            clock.to(timeline, 4)
            timeline.event("link cut", "azure to site-1", "both directions")
            timeline.sample("rpo", "vm-1", 4.5, "seconds")
            clock.to(timeline, 6.25)
            timeline.sample("rpo", "vm-1", 6.75, "seconds")
        with timeline.phase("registration", "vm-1"):
            for at in (7, 9):
                clock.to(timeline, at)
                timeline.refusal("vm-1", "AGENT_NOT_REGISTERED", "vm-1 boots")
            clock.to(timeline, 10)
            timeline.delay("vm-1", "2", 6.5, 10)
        clock.to(timeline, 11)
        timeline.acceptance("vm-1", "AGENT_NOT_REGISTERED")
        timeline.answer("", "homeward fleet registrations", "1 boot; p50 3.5s")
        timeline.expectation("its disk is equal", True, "2 GiB of 2 GiB")


KINDS = {kind.__name__: kind for kind in (ordinary, one, fleet, odd, killed, empty, golden)}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        sys.exit(__doc__)
    KINDS[sys.argv[1]](pathlib.Path(sys.argv[2]))
