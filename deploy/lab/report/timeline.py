#!/usr/bin/env python3
"""What happened in a run of the lab, and when: written while it runs, readable afterwards, also when it was killed.

usage: timeline.py finish FOLDER     makes FOLDER/timeline.json of the journal of a run that was killed, or that still runs

A run has a folder of its own. While it runs, each thing that is recorded is a line of journal.jsonl there, which a kill
leaves whole. At the end timeline.json is made of it. docs/formats/lab_timeline.md describes both.
"""
import argparse
import contextlib
import datetime
import fcntl
import json
import math
import os
import pathlib
import sys
import tempfile
import threading
import time

FORMAT = 1
JOURNAL, TIMELINE = "journal.jsonl", "timeline.json"
TEXT_LENGTH_MAX = 4000  # what is longer is cut: a whole log is no text of an event
RPO_THRESHOLD_SECONDS = 900


class Timeline:
    """The recorder of one run. Its times are seconds since the run began.

    Every method can be called from any thread. What comes after end() is left out: who takes samples may still be at it.
    As a context manager it ends the run, and an exception that leaves the block makes it a failed one.
    """

    def __init__(self, folder, scenario, topology, clock=time.monotonic, wall=time.time, time_scale=1,
                 rpo_threshold_seconds=RPO_THRESHOLD_SECONDS):
        """`clock` gives seconds that never go back, `wall` seconds since 1970.

        `time_scale`: how many seconds of the scenario one second of the run stands for. Nothing is converted by it.
        FileExistsError when the folder already has a run.
        """
        _finite("time_scale", time_scale)
        _finite("rpo_threshold_seconds", rpo_threshold_seconds)
        if time_scale <= 0:
            raise ValueError(f"time_scale is {time_scale}: it says how many seconds one second stands for, and is over 0")
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._lock = threading.Lock()  # guards what follows
        try:
            self._journal = open(self.folder / JOURNAL, "x", encoding="utf-8")
        except FileExistsError:
            raise FileExistsError(f"{self.folder} already has the journal of a run: give each run a folder of its own") from None
        fcntl.flock(self._journal, fcntl.LOCK_EX)  # held as long as the run lives: so a killed run is known
        self._phases = 0
        self._result = None
        self._began = clock()
        self._write("run", format=FORMAT, scenario=_text(scenario), topology=_text(topology), began=_wall(wall()),
                    time_scale=time_scale, rpo_threshold_seconds=rpo_threshold_seconds)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _trace):
        self.end(_error_text(error) if kind else "")

    def now(self):
        """Seconds since the run began."""
        return round(self._clock() - self._began, 6)

    @contextlib.contextmanager
    def phase(self, name, on=""):
        """A part of the run, of `on` (a machine, a daemon, a link) or of the whole run. An exception fails it, and goes on."""
        number = self.begin_phase(name, on)
        try:
            yield
        except BaseException as error:
            self.end_phase(number, error=_error_text(error))
            raise
        self.end_phase(number)

    def begin_phase(self, name, on=""):
        """For a phase that ends elsewhere. Returns what end_phase() wants."""
        with self._lock:
            self._phases += 1
            number = self._phases
            self._write("phase", phase=number, name=_text(name), subject=_text(on))
        return number

    def end_phase(self, number, error=""):
        """With an error the phase failed."""
        with self._lock:
            if not 1 <= number <= self._phases:
                raise ValueError(f"there is no phase {number!r}: end_phase() wants what begin_phase() returned")
            self._write("phase_end", phase=number, error=_text(error))

    def event(self, name, subject="", text=""):
        self._record("event", name=_text(name), subject=_text(subject), text=_text(text))

    def sample(self, series, subject, value, unit):
        """`series` is "rpo" (unit "seconds"), "throughput" (unit "bytes_per_second"), or another name."""
        _finite(f"sample of {series} of {subject}", value)
        self._record("sample", series=_text(series), subject=_text(subject), value=value, unit=_text(unit))

    def delay(self, subject, boot, power_on_at, registered_at):
        """How long a machine's agent took to register after a boot. None as `registered_at`: it never did."""
        for what, at in (("power_on_at", power_on_at), ("registered_at", registered_at)):
            if at is not None or what == "power_on_at":
                _finite(f"{what} of {subject}", at)
        self._record("delay", subject=_text(subject), boot=_text(boot), power_on_at=power_on_at, registered_at=registered_at)

    def expectation(self, text, held, seen=""):
        """One that did not hold makes the run a failed one."""
        self._record("expectation", text=_text(text), held=bool(held), seen=_text(seen))

    def refusal(self, subject, problem_id, text=""):
        self._record("refusal", subject=_text(subject), problem_id=_text(problem_id), text=_text(text))

    def acceptance(self, subject, problem_id):
        """What was refused of `subject` with this problem is accepted now."""
        self._record("acceptance", subject=_text(subject), problem_id=_text(problem_id))

    def answer(self, subject, line, text):
        """What a command that was asked said."""
        self._record("answer", subject=_text(subject), line=_text(line), text=_text(text))

    def end(self, error=""):
        """Writes timeline.json. Returns "passed", or "failed" after an expectation that did not hold, or with an error."""
        with self._lock:
            if self._result is None:
                self._write("end", error=_text(error))
                self._result = finish(self.folder, lives=False)["result"]
                self._journal.close()
            return self._result

    def _record(self, kind, **fields):
        with self._lock:
            self._write(kind, **fields)

    def _write(self, kind, **fields):
        """One line, in the kernel's hands when this returns. The lock is held."""
        if self._result is None:
            self._journal.write(json.dumps({"at": self.now(), "kind": kind, **fields}, allow_nan=False) + "\n")
            self._journal.flush()


def finish(folder, lives=None):
    """Makes timeline.json of the journal, whatever the run came to. Returns its content.

    `lives`: whether the run goes on; None asks the journal's lock. ValueError when the journal is not one.
    """
    path = pathlib.Path(folder) / JOURNAL
    try:
        made = _timeline(list(_lines(path)), _is_held(path) if lives is None else lives)
    except KeyError as error:
        raise ValueError(f"{path}: a line has no {error}: a copy of the journal may be whole") from None
    handle, temporary = tempfile.mkstemp(prefix=f".{TIMELINE}.", dir=folder)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(_laid_out(made))
        os.chmod(temporary, 0o644)
        os.rename(temporary, pathlib.Path(folder) / TIMELINE)
    except BaseException:
        os.unlink(temporary)
        raise
    return made


def read(folder):
    """The timeline of a run. One that was killed, or that still runs, is made from its journal first."""
    path = pathlib.Path(folder) / TIMELINE
    if not path.exists():
        return finish(folder)
    made = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(made, dict) or made.get("format") != FORMAT:
        raise ValueError(f"{path} is not a timeline of format {FORMAT}: make it anew with timeline.py finish {folder}")
    return finish(folder) if made["result"] == "running" else made


def _lines(path):
    """What the journal has. A last line without its end was being written when the run was killed: it is left out."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            return
        try:
            record = json.loads(line)
            kind = record["kind"]
            if number == 1 and (kind != "run" or record["format"] != FORMAT):
                raise ValueError(f"it is to begin with a run of format {FORMAT}")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}, is no line of a run's journal ({error}): a copy of it may be whole") from None
        yield record


def _is_held(path):
    """By a run that lives."""
    with open(path, encoding="utf-8") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _timeline(records, lives):
    """The content of timeline.json."""
    if not records:
        raise ValueError("the journal is empty: the run was killed before it began")
    phases, series, refusals = {}, {}, []
    made = {"events": [], "delays": [], "expectations": [], "answers": []}
    end = None
    for record in records:
        kind = record.pop("kind")
        if kind == "phase":
            phases[record["phase"]] = {"name": record["name"], "subject": record["subject"], "began": record["at"], "ended": None,
                                       "outcome": None, "error": ""}
        elif kind == "phase_end":
            outcome = "failed" if record["error"] else "ok"
            phases[record["phase"]].update(ended=record["at"], outcome=outcome, error=record["error"])
        elif kind == "sample":
            key = (record["series"], record["subject"], record["unit"])
            series.setdefault(key, []).append([record["at"], record["value"]])
        elif kind in ("refusal", "acceptance"):
            _refuse(refusals, kind, record)
        elif kind == "end":
            end = record
        elif kind + "s" in made:
            made[kind + "s"].append(record)
    run, last = records[0], records[-1]["at"]
    result = "passed"
    if end is None:
        result = "running" if lives else "killed"
    elif end["error"] or not all(expectation["held"] for expectation in made["expectations"]):
        result = "failed"
    return {"format": FORMAT, "scenario": run["scenario"], "topology": run["topology"], "began": run["began"],
            "seconds": last, "result": result, "error": end["error"] if end else "", "time_scale": run["time_scale"],
            "rpo_threshold_seconds": run["rpo_threshold_seconds"], "expectations": made["expectations"],
            "phases": list(phases.values()), "events": made["events"],
            "series": [{"series": name, "subject": subject, "unit": unit, "points": points}
                       for (name, subject, unit), points in series.items()],
            "delays": made["delays"], "refusals": refusals, "answers": made["answers"]}


def _refuse(refusals, kind, record):
    """Refusals of one thing for one reason are one entry, until it is accepted."""
    key = (record["subject"], record["problem_id"])
    open_one = next((one for one in reversed(refusals) if (one["subject"], one["problem_id"]) == key and one["accepted_at"] is None),
                    None)
    if kind == "acceptance":
        if open_one is not None:
            open_one["accepted_at"] = record["at"]
    elif open_one is None:
        refusals.append({"subject": key[0], "problem_id": key[1], "text": record["text"], "first_at": record["at"],
                         "last_at": record["at"], "times": 1, "accepted_at": None})
    else:
        open_one.update(text=record["text"], last_at=record["at"], times=open_one["times"] + 1)


def _laid_out(made):
    """As JSON with a line for each field and for each entry of a list."""
    fields = []
    for name, value in made.items():
        shown = json.dumps(value, allow_nan=False)
        if isinstance(value, list) and value:
            shown = "[\n" + ",\n".join("  " + json.dumps(entry, allow_nan=False) for entry in value) + "\n ]"
        fields.append(f" {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _text(value):
    text = str(value)
    return text if len(text) <= TEXT_LENGTH_MAX else text[:TEXT_LENGTH_MAX - 1] + "…"


def _error_text(error):
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _finite(what, value):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{what} is {value!r}: it is to be a finite number")


def _wall(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["finish"])
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path)
    folder = parser.parse_args().folder
    try:
        made = finish(folder)
    except FileNotFoundError:
        sys.exit(f"{folder} has no {JOURNAL}: name the folder of a run")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"{folder / TIMELINE}: {made['result']}, {made['seconds']:.1f} s, {len(made['phases'])} phases")


if __name__ == "__main__":
    main()
