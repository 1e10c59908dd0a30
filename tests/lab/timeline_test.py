"""What is recorded of a run of the lab is there afterwards, also after a kill.

usage: timeline_test.py [-v] [NAME...]
"""
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPORT = ROOT / "deploy" / "lab" / "report"
GOLDEN = ROOT / "tests" / "golden"
sys.path[:0] = [str(ROOT / "deploy" / "lab"), str(REPORT)]
import folders  # noqa: E402
import sample_runs  # noqa: E402
import timeline  # noqa: E402
from cluster import die_with_parent  # noqa: E402
from timeline import JOURNAL, TIMELINE, Timeline  # noqa: E402

DEAD_MIDWAY = """
import sys
sys.path.insert(0, sys.argv[1])
from timeline import Timeline
with Timeline(sys.argv[2], "a scenario", "a topology") as recorded:
    with recorded.phase("bring up"):
        recorded.sample("rpo", "vm-1", 3, "seconds")
    with recorded.phase("first synchronisation", "vm-1"):
        print("there", flush=True)
        sys.stdin.read()
"""


class TimelineTest(folders.Folders):
    def begin(self, **options):
        return sample_runs.begin(self.folder, "a scenario", "a topology", self.clock, **options)

    def written(self):
        return json.loads((self.folder / TIMELINE).read_text())

    def test_phases_inside_and_beside_each_other_keep_their_times(self):
        with self.begin() as recorded:
            with recorded.phase("replication"):
                self.clock.seconds += 2
                one = recorded.begin_phase("first synchronisation", "vm-1")
                with recorded.phase("first synchronisation", "vm-2"):
                    self.clock.seconds += 3
                recorded.end_phase(one)
        phases = [(phase["name"], phase["subject"], phase["began"], phase["ended"], phase["outcome"]) for phase in self.written()["phases"]]
        self.assertEqual(phases, [("replication", "", 0, 5, "ok"), ("first synchronisation", "vm-1", 2, 5, "ok"),
                                  ("first synchronisation", "vm-2", 2, 5, "ok")])

    def test_an_exception_fails_its_phase_and_the_run_and_goes_on(self):
        with self.assertRaises(KeyError):
            with self.begin() as recorded:
                with recorded.phase("failback", "vm-1"):
                    raise KeyError("disk-2")
        made = self.written()
        self.assertEqual((made["result"], made["error"]), ("failed", "KeyError: 'disk-2'"))
        self.assertEqual((made["phases"][0]["outcome"], made["phases"][0]["error"]), ("failed", "KeyError: 'disk-2'"))

    def test_a_phase_that_failed_as_it_should_does_not_fail_the_run(self):
        recorded = self.begin()
        recorded.end_phase(recorded.begin_phase("reprotect", "vm-1"), error="AGENT_NOT_REGISTERED")
        recorded.expectation("it is refused", True)
        self.assertEqual(recorded.end(), "passed")

    def test_one_expectation_that_does_not_hold_fails_the_run(self):
        recorded = self.begin()
        recorded.expectation("it comes home", True, "1 of 1")
        recorded.expectation("in time", False, "12 s late")
        self.assertEqual(recorded.end(), "failed")
        self.assertEqual(recorded.end(), "failed")
        self.assertEqual([one["held"] for one in self.written()["expectations"]], [True, False])

    def test_refusals_for_one_reason_are_one_until_it_is_accepted(self):
        with self.begin() as recorded:
            for step in ("refusal", "refusal", "acceptance", "refusal"):
                self.clock.seconds += 1
                getattr(recorded, step)("vm-1", "AGENT_NOT_REGISTERED")
            recorded.refusal("vm-2", "AGENT_NOT_REGISTERED", "it boots")
            recorded.acceptance("vm-2", "VM_NAME_EXISTS")
        seen = [(one["subject"], one["first_at"], one["last_at"], one["times"], one["accepted_at"]) for one in self.written()["refusals"]]
        self.assertEqual(seen, [("vm-1", 1, 2, 2, 3), ("vm-1", 4, 4, 1, None), ("vm-2", 4, 4, 1, None)])

    def test_a_killed_run_is_read_up_to_its_last_whole_line(self):
        self.folder.mkdir()
        process = subprocess.Popen([sys.executable, "-c", DEAD_MIDWAY, REPORT, self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   preexec_fn=die_with_parent)
        with process:
            self.assertEqual(process.stdout.readline(), b"there\n")
            self.assertEqual(timeline.read(self.folder)["result"], "running")
            process.send_signal(signal.SIGKILL)
        with open(self.folder / JOURNAL, "a") as journal:
            journal.write('{"at": 1.5, "kind": "eve')
        said = subprocess.run([sys.executable, REPORT / "timeline.py", "finish", self.folder], capture_output=True, text=True, check=True)
        self.assertIn("killed", said.stdout)
        made = self.written()
        self.assertEqual([(phase["name"], phase["outcome"]) for phase in made["phases"]],
                         [("bring up", "ok"), ("first synchronisation", None)])
        self.assertEqual((made["result"], made["series"][0]["points"][0][1], made["events"]), ("killed", 3, []))

    def test_a_journal_that_is_damaged_is_refused_by_line(self):
        self.begin().end()
        journal = self.folder / JOURNAL
        whole = journal.read_text()
        for damaged, line in ((whole.replace('"kind": "run"', '"kind": "ran"'), 1), ("[]\n" + whole, 1),
                              (whole.replace('"format": 1', '"format": 9'), 1), (whole.replace('{"at": 0.0, "kind": "end"', '{"at"'), 2)):
            journal.write_text(damaged)
            said = subprocess.run([sys.executable, REPORT / "timeline.py", "finish", self.folder], capture_output=True, text=True)
            self.assertEqual(said.returncode, 1)
            self.assertIn(f"{journal}, line {line},", said.stderr)

    def test_a_folder_has_one_run(self):
        self.begin().end()
        with self.assertRaisesRegex(FileExistsError, "a folder of its own"):
            self.begin()

    def test_a_folder_without_a_run_is_named(self):
        for program in (("timeline.py", "finish"), ("page.py",)):
            said = subprocess.run([sys.executable, REPORT / program[0], *program[1:], self.base], capture_output=True, text=True)
            self.assertEqual((said.returncode, str(self.base) in said.stderr), (1, True), said.stderr)
        self.assertEqual(list(self.base.iterdir()), [])

    def test_only_finite_numbers_are_recorded(self):
        recorded = self.begin()
        for value in (float("nan"), float("inf"), "12", None, True):
            with self.assertRaisesRegex(ValueError, "finite number"):
                recorded.sample("rpo", "vm-1", value, "seconds")
            with self.assertRaisesRegex(ValueError, "finite number"):
                recorded.delay("vm-1", "1", value, 1)
        with self.assertRaisesRegex(ValueError, "no phase 1"):
            recorded.end_phase(1)
        recorded.end()
        self.assertEqual((self.written()["series"], self.written()["delays"]), ([], []))

    def test_what_comes_after_the_end_is_left_out(self):
        recorded = self.begin()
        recorded.end()
        before = (self.folder / JOURNAL).read_bytes()
        recorded.sample("rpo", "vm-1", 1, "seconds")
        with recorded.phase("late"):
            pass
        self.assertEqual((self.folder / JOURNAL).read_bytes(), before)

    def test_threads_record_beside_each_other(self):
        recorded = Timeline(self.folder, "threads", "none")

        def work(name):
            for number in range(400):
                with recorded.phase("step", name):
                    recorded.sample("rpo", name, number, "seconds")

        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)  # they take turns within every step
        threads = [threading.Thread(target=work, args=(f"vm-{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorded.end()
        made = self.written()
        self.assertEqual({phase["outcome"] for phase in made["phases"]}, {"ok"})
        self.assertEqual((len(made["phases"]), len(made["series"])), (3200, 8))
        for series in made["series"]:
            self.assertEqual([value for _, value in series["points"]], list(range(400)))
        times = [json.loads(line)["at"] for line in (self.folder / JOURNAL).read_text().splitlines()]
        self.assertEqual(times, sorted(times))

    def test_the_page_of_the_format_names_what_is_written(self):
        sample_runs.ordinary(self.folder)
        named = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "formats" / "lab_timeline.md").read_text()))

        def keys(value):
            if isinstance(value, dict):
                return set(value) | set().union(*map(keys, value.values()))
            return set().union(*map(keys, value)) if isinstance(value, list) else set()

        for line in (self.folder / JOURNAL).read_text().splitlines():
            self.assertLessEqual(keys(json.loads(line)) | {json.loads(line)["kind"]}, named)
        self.assertLessEqual(keys(self.written()), named)

    def test_the_format_is_as_recorded(self):
        sample_runs.golden(self.folder)
        self.assertEqual((self.folder / JOURNAL).read_text(), (GOLDEN / "lab_timeline_v1_journal.txt").read_text())
        self.assertEqual((self.folder / TIMELINE).read_text(), (GOLDEN / "lab_timeline_v1.txt").read_text())

    def test_a_recorded_journal_of_this_format_is_read(self):
        self.folder.mkdir()
        shutil.copy(GOLDEN / "lab_timeline_v1_journal.txt", self.folder / JOURNAL)
        timeline.finish(self.folder)
        self.assertEqual((self.folder / TIMELINE).read_text(), (GOLDEN / "lab_timeline_v1.txt").read_text())


if __name__ == "__main__":
    folders.main()
