#!/usr/bin/env python3
"""The report of a run of the lab: one file that shows its timeline, and needs nothing else.

usage: page.py FOLDER     makes FOLDER/report.html of the run's timeline
"""
import argparse
import json
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))
import charts  # noqa: E402
import gantt  # noqa: E402
from drawing import counted, duration, escape, percentile  # noqa: E402
from timeline import read  # noqa: E402

REPORT = "report.html"
# A drawing is made for each, so that its letters have one size; the page's style shows the one that fits the window.
WIDTHS = {"wide": 1120, "mid": 720, "narrow": 350}
GAP = 24  # between panels
OPEN_ROWS_MAX = 30  # of events and boots; more are a list to open
BOOT_ROWS_MAX = 400  # more are told by the histogram alone
POINTS_MAX = 700  # of a series, for the values under a pointer
RESULTS = {"passed": ("✓", "Passed"), "failed": ("✕", "Failed"), "killed": ("■", "Killed"), "running": ("▶", "Still running")}
SECTIONS = {"rpo": ("RPO", "Age of each machine's newest recovery point, all on one scale."),
            "throughput": ("Throughput", "Bytes per second of each link or stream. Each has its own scale.")}
# Nothing of it comes from, or goes to, anywhere else: the browser sees to it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def write(folder):
    """Makes report.html; returns its path. ValueError and OSError as timeline.read()."""
    path = pathlib.Path(folder) / REPORT
    handle, temporary = tempfile.mkstemp(prefix=f".{REPORT}.", dir=folder)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(html_of(read(folder)))
        os.chmod(temporary, 0o644)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def html_of(made):
    """The page of a timeline."""
    icon, word = RESULTS[made["result"]]
    body = [_head(made, icon, word), _expectations(made), _phases(made)]
    others = dict.fromkeys(one["series"] for one in made["series"] if one["series"] not in SECTIONS)
    body += [_series(made, name, name) for name in SECTIONS]
    body += [_series(made, name, f"series-{number}") for number, name in enumerate(others, 1)]
    body += [_delays(made), _refusals(made), _answers(made), _events(made)]
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">\n'
            f'<title>{escape(made["scenario"])}: {word}</title><link rel="icon" href="data:,">\n'
            f'<style>\n{(HERE / "page.css").read_text(encoding="utf-8")}</style></head>\n<body><main>\n' + "\n".join(body) +
            f'\n</main><div id="pointer" hidden></div>\n<script type="application/json" id="series">{_data(made)}</script>\n'
            f'<script>\n{(HERE / "page.js").read_text(encoding="utf-8")}</script></body></html>\n')


def _data(made):
    points = [{"unit": one["unit"], "points": charts.thinned(one["points"], POINTS_MAX // 2)} for one in made["series"]]
    return json.dumps(points, separators=(",", ":")).replace("<", "\\u003c")


def _variants(draw):
    """`draw(width, name of the drawing)` for each width of the page."""
    return "".join(f'<div class="{name}">{draw(width, name)}</div>' for name, width in WIDTHS.items())


def _section(name, title, note, content):
    note = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{note}{content}</section>'


def _nothing(text):
    return f'<p class="nothing">{text}</p>'


def _table(heads, rows, classes=()):
    """`rows` are of HTML. On a narrow page a row is a block, and each cell names its column."""
    head = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join("<tr>" + "".join(f'<td data-head="{head}"{_class(classes, index)}><div>{cell}</div></td>' for index, (head, cell)
                                    in enumerate(zip(heads, row))) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _class(classes, index):
    return f' class="{classes[index]}"' if index < len(classes) and classes[index] else ""


def _head(made, icon, word):
    held = sum(one["held"] for one in made["expectations"])
    facts = [("Topology", escape(made["topology"]) or "not named"), ("Began", made["began"].replace("T", " ").replace("Z", " UTC")),
             ("Took" if made["result"] in ("passed", "failed") else "Recorded", duration(made["seconds"])),
             ("Expectations", f'{held} of {len(made["expectations"])} held' if made["expectations"] else "none")]
    if made["time_scale"] != 1:
        facts.append(("Time scale", f'1 s stands for {duration(made["time_scale"])}'))
    error = f'<p class="error">{escape(made["error"])}</p>' if made["error"] else ""
    if made["result"] == "killed":
        error = '<p class="error">The run was killed: this is what it had recorded until then.</p>'
    return (f'<header><p class="kind">Homeward lab run</p><div class="title"><h1>{escape(made["scenario"])}</h1>'
            f'<p class="result {made["result"]}"><span aria-hidden="true">{icon}</span> {word}</p></div>{error}<dl>' +
            "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts) + "</dl></header>")


def _expectations(made):
    rows = [[f'<span class="{"held" if one["held"] else "not-held"}">{"✓ held" if one["held"] else "✕ failed"}</span>',
             escape(one["text"]), escape(one["seen"]) or "–", duration(one["at"])]
            for one in sorted(made["expectations"], key=lambda one: one["held"])]
    table = _table(("Result", "Expectation", "Seen", "At"), rows, ("", "", "", "figure"))
    return _section("expectations", "Expectations", "", table if rows else _nothing("No expectation was recorded."))


def _phases(made):
    if not made["phases"] and not gantt.marks_of(made):
        return _section("phases", "Phases", "", _nothing("No phase was recorded."))
    rows = [[escape(phase["name"]), escape(phase["subject"]) or gantt.WHOLE_RUN, duration(phase["began"]),
             "–" if phase["ended"] is None else duration(phase["ended"] - phase["began"]),
             "did not end" if phase["ended"] is None else escape(phase["error"]) and f'✕ {escape(phase["error"])}' or "ok"]
            for phase in sorted(made["phases"], key=lambda phase: phase["began"])]
    table = _details(counted(len(rows), "phase", "phases") + " as a table",
                     _table(("Phase", "Of", "Began", "Took", "Outcome"), rows, ("", "", "figure", "figure"))) if rows else ""
    drawings = _variants(lambda width, name: gantt.draw(made, width, f"phases-{name}"))
    return _section("phases", "Phases", "", _legend(made) + drawings + table)


def _legend(made):
    colours = gantt.colours_of(made["phases"])
    keys = [(f"c{colour}", "■", name) for name, colour in colours.items() if colour]
    keys += [("c0", "■", "other phases")] if 0 in colours.values() else []
    states = {"unended" if phase["ended"] is None else phase["outcome"] for phase in made["phases"]}
    keys += [("failed", "▨", "failed")] if "failed" in states else []
    keys += [("unended", "▨", "did not end")] if "unended" in states else []
    kinds = {mark[2] for mark in gantt.marks_of(made)}
    keys += [(kind, icon, word) for kind, icon, word in (("event", "◆", "event"), ("refused", "✕", "refused"),
                                                         ("accepted", "✓", "accepted after a refusal")) if kind in kinds]
    items = "".join(f'<li title="{escape(name)}"><span class="key {kind}" aria-hidden="true">{icon}</span> {escape(name)}</li>'
                     for kind, icon, name in keys)
    return f'<ul class="legend">{items}</ul>'


def _details(summary, content, is_open=False):
    return f'<details{" open" if is_open else ""}><summary>{summary}</summary>{content}</details>'


def _series(made, name, ident):
    title, note = SECTIONS.get(name, (name, ""))
    chosen = [(index, one) for index, one in enumerate(made["series"]) if one["series"] == name]
    if not chosen:
        return _section(ident, title, "", _nothing("No sample was recorded."))
    limit = made["rpo_threshold_seconds"] if name == "rpo" else None
    if limit is not None:
        over = sum(any(value > limit for _, value in one["points"]) for _, one in chosen)
        note += f" {over or 'None'} of {len(chosen)} went over the threshold of {duration(limit)}."
    panels = "".join(_panel(made, index, one, chosen, limit) for index, one in chosen)
    count = min(len(chosen), 3)
    return _section(ident, title, note, f'<div class="panels of{count}">{panels}</div>')


def _panel(made, index, one, chosen, limit):
    """A machine's recovery points are drawn to one scale with the others', so that one look compares them."""
    height = 260 if len(chosen) == 1 else 164
    alike = [other for _, other in chosen if other["unit"] == one["unit"]] if limit is not None else [one]
    scale = charts.Values([value for other in alike for _, value in other["points"]], one["unit"], height - charts.BOTTOM, limit)

    def draw(width):
        return charts.panel(one, index, made["seconds"], width, height, scale, limit)

    columns = {"wide": min(len(chosen), 3), "mid": min(len(chosen), 2), "narrow": 1}
    drawn = "".join(f'<div class="{name}">{draw(round((width + GAP) / columns[name]) - GAP)}</div>' for name, width in WIDTHS.items())
    subject = escape(one["subject"]) or gantt.WHOLE_RUN
    return (f'<figure><figcaption><b title="{subject}">{subject}</b> <span>{escape(charts.summary(one, limit))}</span></figcaption>'
            f"{drawn}</figure>")


def _delays(made):
    title = "Registration delay"
    delays = sorted(one["registered_at"] - one["power_on_at"] for one in made["delays"] if one["registered_at"] is not None)
    never = len(made["delays"]) - len(delays)
    missing = f"{never:,} of {len(made['delays']):,} boots were not followed by a registration." if never else ""
    if not delays:
        return _section("delays", title, missing, _nothing("No registration was recorded."))
    facts = [("boots", f"{len(made['delays']):,}"), ("shortest", duration(delays[0]))]
    facts += [(f"p{percent}", duration(percentile(delays, percent))) for percent in (50, 90, *charts.PERCENTILES[1:])]
    facts.append(("longest", duration(delays[-1])))
    figures = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    if made["time_scale"] != 1:
        missing += (f" One second stands for {duration(made['time_scale'])}: the longest for "
                    f"{duration(delays[-1] * made['time_scale'])}.")
    return _section("delays", title, missing, f'<dl class="figures">{figures}</dl>' +
                    _variants(lambda width, _name: charts.histogram(delays, width, 260)) + _boots(made))


def _boots(made):
    """Each machine's, one after the other."""
    if len(made["delays"]) > BOOT_ROWS_MAX:
        return ""
    rows = []
    for one in sorted(made["delays"], key=lambda one: (one["subject"], one["power_on_at"])):
        if one["registered_at"] is None:
            registered, took = "–", '<span class="not-held">did not register</span>'
        else:
            registered, took = duration(one["registered_at"]), duration(one["registered_at"] - one["power_on_at"])
        rows.append([escape(one["subject"]) or gantt.WHOLE_RUN, escape(one["boot"]), duration(one["power_on_at"]), registered, took])
    table = _table(("Machine", "Boot", "Powered on", "Registered", "Took"), rows, ("", "", "figure", "figure"))
    return _details(counted(len(rows), "boot", "boots"), table, len(rows) <= OPEN_ROWS_MAX)


def _refusals(made):
    title = "Refusals"
    if not made["refusals"]:
        return _section("refusals", title, "", _nothing("No refusal was recorded."))
    rows = []
    for one in made["refusals"]:
        accepted = '<span class="not-held">✕ not accepted in this run</span>'
        if one["accepted_at"] is not None:
            accepted = (f'<span class="held">✓ at {duration(one["accepted_at"])}</span>, '
                        f'{duration(one["accepted_at"] - one["first_at"])} after the first refusal')
        times = f'{one["times"]:,}' + (f', last at {duration(one["last_at"])}' if one["times"] > 1 else "")
        problem = escape(one["problem_id"]).replace("_", "_<wbr>")
        rows.append([escape(one["subject"]) or gantt.WHOLE_RUN, f"<code>{problem}</code>", escape(one["text"]) or "–",
                     duration(one["first_at"]), times, accepted])
    return _section("refusals", title, "", _table(("Subject", "Problem", "Text", "First at", "Times", "Accepted"), rows,
                                                  ("", "", "", "figure")))


def _answers(made):
    """What was asked, and what was said."""
    if not made.get("answers"):
        return ""
    rows = [[duration(one["at"]), f'{escape(one["line"])}<pre>{escape(one["text"])}</pre>'] for one in made["answers"]]
    return _section("answers", "Answers", "", _table(("At", "Command and answer"), rows, ("figure",)))


def _events(made):
    if not made["events"]:
        return _section("events", "Events", "", _nothing("No event was recorded."))
    rows = [[duration(one["at"]), escape(one["name"]), escape(one["subject"]) or gantt.WHOLE_RUN, escape(one["text"]) or "–"]
            for one in sorted(made["events"], key=lambda one: one["at"])]
    table = _table(("At", "Event", "Of", "Text"), rows, ("figure",))
    return _section("events", "Events", "", _details(counted(len(rows), "event", "events"), table, len(rows) <= OPEN_ROWS_MAX))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path)
    folder = parser.parse_args().folder
    try:
        print(write(folder))
    except FileNotFoundError:
        sys.exit(f"{folder} has no journal of a run: name the folder of one")
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
