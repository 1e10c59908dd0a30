"""The report of a run of the lab, as Chromium shows it; and the arithmetic that its drawings rest on.

usage: report_test.py [-v] [NAME...]
"""
import itertools
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab" / "report"))
import browser  # noqa: E402
import charts  # noqa: E402
import folders  # noqa: E402
import gantt  # noqa: E402
import page  # noqa: E402
import sample_runs  # noqa: E402
import timeline  # noqa: E402
from drawing import binary, duration, fitted, percentile, text_width, time_tick, value_axis  # noqa: E402

WIDTHS = (1280, 900, 390)


class DrawingTest(unittest.TestCase):
    def test_numbers_read_as_they_are_said(self):
        for seconds, said in ((0, "0 s"), (0.04, "40 ms"), (0.42, "0.42 s"), (12.34, "12.3 s"), (59.96, "1 min"), (125, "2 min 05 s"),
                              (3600, "1 h"), (3725, "1 h 02 min"), (-3, "−3 s")):
            self.assertEqual(duration(seconds), said)
        for amount, said in ((0, "0 B"), (999, "999 B"), (1 << 20, "1.00 MiB"), (99.6 * (1 << 30), "100 GiB")):
            self.assertEqual(binary(amount), said)
        self.assertEqual([time_tick(75, 5, 80), time_tick(75, 15, 600), time_tick(3675, 15, 4000)], ["75 s", "1:15", "1:01:15"])

    def test_percentiles_are_values_that_were_seen(self):
        self.assertEqual([percentile([7], percent) for percent in (1, 50, 99)], [7, 7, 7])
        self.assertEqual([percentile(list(range(1, 101)), percent) for percent in (50, 95, 99)], [50, 95, 99])
        self.assertEqual(percentile([1, 2, 3], 50), 2)

    def test_an_axis_ends_above_what_it_shows(self):
        for high in (0, 0.003, 1, 7, 59, 899, 1e5, 1e9, 3 << 30):
            for unit in ("seconds", "bytes_per_second", "things"):
                top, ticks = value_axis(high, unit, 3)
                self.assertGreaterEqual(top, high)
                self.assertAlmostEqual(ticks[-1][0] / top, 1)
                self.assertEqual(len(ticks), len({label for _, label in ticks}), ticks)

    def test_a_text_that_is_cut_fits(self):
        for width in range(0, 300, 7):
            self.assertLessEqual(text_width(fitted(sample_runs.LONG_NAME, 12, width), 12), width)
        self.assertEqual(fitted("vm-1", 12, 100), "vm-1")

    def test_every_delay_is_in_a_bin(self):
        for delays in ([0], [5], [900.0], [3, 3, 3], [-1, 4], [0.001, 0.002], [10_000, 10_001], [k / 7 for k in range(10_000)]):
            first, width, numbers = charts.bins_of(delays, 24)
            self.assertEqual(sum(numbers), len(delays))
            self.assertLessEqual(len(numbers), 26)
            self.assertLessEqual(first * width, min(delays))
            self.assertGreaterEqual((first + len(numbers)) * width, max(delays) - 1e-6)

    def test_what_is_left_of_many_points_has_the_peaks(self):
        points = [[at, 900 if at == 5432 else at % 10] for at in range(10_000)]
        left = charts.thinned(points, 100)
        self.assertLessEqual(len(left), 200)
        self.assertIn((5432, 900), left)

    def test_a_line_is_broken_where_samples_are_missing(self):
        points = [(at, 1) for at in [*range(0, 50), *range(80, 100)]]
        self.assertEqual([len(part) for part in charts.pieces(points, 100)], [50, 20])
        self.assertEqual(charts.pieces([(3, 1)], 100), [[(3, 1)]])

    def test_bars_of_a_row_cover_nothing(self):
        phases = [{"name": "x", "subject": "", "began": began, "ended": ended} for began, ended in
                  ((0, 100), (0, 40), (40, 40), (40, 90), (40.001, 41), (90, None), (100, 100))]
        bars = gantt._packed(phases, gantt.Scale(0, 300, 100))
        self.assertEqual(len(bars), len(phases))
        for one, other in itertools.combinations(bars, 2):
            self.assertTrue(one.row != other.row or one.right <= other.left + 0.1 or other.right <= one.left + 0.1, (one, other))


class PageTest(folders.Folders):
    """Each kind of run in Chromium, in a wide window, one of a tablet, one of a phone."""

    def shown(self, kind, dark=False, widths=WIDTHS, change=lambda text: text):
        """(the run's timeline, what is seen of its page in each width, the console)."""
        sample_runs.KINDS[kind](self.folder)
        text = page.write(self.folder).read_text(encoding="utf-8")
        seen, console = browser.measure(change(text), widths, dark)
        self.assertEqual([one["width"] for one in seen], list(widths))
        return timeline.read(self.folder), seen, console

    def assert_sound(self, made, seen, console):
        """What holds of the page of every run."""
        self.assertEqual(console, [])
        for one in seen:
            with self.subTest(width=one["width"]):
                self.assertEqual(one["wrong"], [])
                self.assertLessEqual(one["needed"], one["room"])
                self.assertEqual([one[fault] for fault in ("over", "outside", "covered", "low", "thin")], [[]] * 5)
                self.assertEqual(len(one["bars"]), len(made["phases"]))
                for bar in one["bars"]:
                    self.assertGreater(min(bar["width"], bar["height"]), 2)
                for name, section in one["sections"].items():
                    for svg in section["svgs"]:
                        self.assertGreater(min(svg["width"], svg["height"]), 100, name)
                    if not section["svgs"] and not section["rows"]:
                        self.assertEqual(len(section["nothing"]), 1, name)
                self.assertEqual(len(one["pointed"]), bool(made["phases"]) + len(made["series"]))
                for pointed in one["pointed"]:
                    self.assertTrue(pointed["said"] and pointed["line_is_there"] and pointed["goes"], pointed)

    def drawn(self, seen, name):
        return [len(one["sections"][name]["svgs"]) for one in seen]

    def test_an_ordinary_run_has_all_its_charts(self):
        made, seen, console = self.shown("ordinary")
        self.assert_sound(made, seen, console)
        self.assertEqual((self.drawn(seen, "phases"), self.drawn(seen, "rpo"), self.drawn(seen, "throughput"), self.drawn(seen, "delays")),
                         ([1] * 3, [3] * 3, [2] * 3, [1] * 3))
        for one in seen:
            sections = one["sections"]
            self.assertIn("a link is cut during the failback", one["head"])
            self.assertIn("Failed", one["head"])
            self.assertIn("3 of 4 held", one["head"])
            self.assertIn("1 of 3 went over the threshold of 1 min", sections["rpo"]["text"])
            self.assertEqual((len(sections["rpo"]["curves"]), sections["rpo"]["limits"]), (3, 6))
            self.assertEqual(len(sections["throughput"]["curves"]), 4)  # each is broken once
            self.assertEqual((sections["expectations"]["rows"], sections["refusals"]["rows"], sections["events"]["rows"]), (4, 3, 6))
            self.assertIn("AGENT_NOT_REGISTERED", sections["refusals"]["text"])
            self.assertIn("after the first refusal", sections["refusals"]["text"])
            self.assertEqual(one["percentiles"], ["p50 30 s", "p95 39 s", "p99 39 s"])
            self.assertEqual(sum("failed" in bar["kind"] for bar in one["bars"]), 1)
            self.assertEqual(len(one["marks"]), 12)
            self.assertGreaterEqual(one["letters"], 11)

    def test_twenty_machines_can_be_read(self):
        made, seen, console = self.shown("fleet")
        self.assert_sound(made, seen, console)
        self.assertEqual((self.drawn(seen, "rpo"), self.drawn(seen, "throughput")), ([20] * 3, [20] * 3))
        for one in seen:
            self.assertIn("1 s stands for 10 s", one["head"])
            self.assertIn("homeward fleet registrations", one["sections"]["answers"]["text"])
            self.assertIn("220 boots", one["sections"]["delays"]["text"])
            self.assertGreaterEqual(one["letters"], 11)
            for curve in one["sections"]["rpo"]["curves"]:
                self.assertGreater(min(curve["width"], curve["height"]), 10)

    def test_one_of_each_is_enough(self):
        made, seen, console = self.shown("one")
        self.assert_sound(made, seen, console)
        for one in seen:
            self.assertEqual((len(one["sections"]["rpo"]["curves"]), len(one["counts"])), (1, 1))
            self.assertIn("not accepted in this run", one["sections"]["refusals"]["text"])

    def test_odd_names_and_very_much_of_everything(self):
        made, seen, console = self.shown("odd")
        self.assert_sound(made, seen, console)
        self.assertEqual(len(made["delays"]), 10_001)
        for one in seen:
            self.assertIn(sample_runs.ODD_NAME, one["head"])
            self.assertIn("1 of 10,001 boots", one["sections"]["delays"]["text"])
            self.assertEqual(len(one["marks"]), 300 + 60 + 3)

    def test_a_killed_run_shows_what_did_not_end(self):
        made, seen, console = self.shown("killed")
        self.assert_sound(made, seen, console)
        for one in seen:
            self.assertIn("Killed", one["head"])
            self.assertEqual(sum("unended" in bar["kind"] for bar in one["bars"]), 2)

    def test_what_was_not_recorded_is_said(self):
        made, seen, console = self.shown("empty")
        self.assert_sound(made, seen, console)
        for one in seen:
            self.assertEqual([name for name, section in one["sections"].items() if not section["nothing"]], [])

    def test_dark_windows_have_a_dark_page(self):
        made, seen, console = self.shown("ordinary", dark=True)
        self.assert_sound(made, seen, console)
        self.assertLess(max(one["ground"] for one in seen), 0.02)
        self.assertGreater(browser.measure(page.html_of(made), [1280])[0][0]["ground"], 0.8)

    def test_it_names_nothing_outside_of_itself(self):
        sample_runs.ordinary(self.folder)
        text = page.write(self.folder).read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"(?:src|href)=\"(?!data:,\")[^\"]*|@import|url\((?!#)[^)]*\)", text), [])
        self.assertIn("default-src 'none'", text)

    def test_a_page_with_a_fault_is_found(self):
        """What the other tests rest on: each fault, put in on purpose, is seen."""
        made, (sound,), _ = self.shown("ordinary", widths=[390])
        text = page.html_of(made)

        def measured(change):
            changed = change(text)
            self.assertNotEqual(changed, text)
            (seen,), console = browser.measure(changed, [390])
            return seen, console

        seen, _ = measured(lambda text: text.replace("<header>", '<header><div style="width:400px">wide</div>', 1))
        self.assertTrue(seen["over"])
        self.assertGreater(seen["needed"], seen["room"])
        seen, console = measured(lambda text: text.replace('"use strict";', '"use strict"; nothing.there();', 1))
        self.assertIn("nothing is not defined", str(seen["wrong"]) + str(console))
        seen, _ = measured(lambda text: text.replace("<header>", '<header><img src="https://127.0.0.1:9/x.png" alt="">', 1))
        self.assertIn("forbidden: img-src", str(seen["wrong"]))
        seen, _ = measured(lambda text: text.replace("</style>", ".gantt .c1 { display: none }</style>", 1))
        self.assertLess(len(seen["bars"]), len(sound["bars"]))
        seen, _ = measured(lambda text: text.replace("</style>", ".narrow { display: none }</style>", 1))
        self.assertEqual(seen["sections"]["rpo"]["svgs"], [])
        faults = ".mark .label { font-size: 22px } svg .tick { fill: #aaa } td.figure { width: 1% }"
        seen, _ = measured(lambda text: text.replace("</style>", f"{faults}</style>", 1))
        for fault in ("covered", "outside", "low", "thin"):
            self.assertTrue(seen[fault], fault)


if __name__ == "__main__":
    folders.main()
