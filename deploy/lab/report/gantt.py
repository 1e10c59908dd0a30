"""The phases of a run over time, a lane for each subject, with what happened beside them as marks."""
import collections

from drawing import duration, escape, fitted, multiples, number, text_width, time_step, time_tick

SIZE, SMALL = 12, 11  # of letters
BAR, BAR_STEP, BAR_LEAST = 20, 23, 4
MARK_STEP, MARK_ROWS_MAX, LABEL_MAX, TICKS_STEP = 16, 5, 210, 14
PAD, AXIS = 7, 24
COLOURS = 7  # names of phases with a colour of their own
WHOLE_RUN = "the run"

Bar = collections.namedtuple("Bar", "phase left right row")
Mark = collections.namedtuple("Mark", "left kind label title row anchor")


class Scale:
    """Where a time is."""

    def __init__(self, left, right, seconds):
        self.left, self.right, self.span = left, right, seconds if seconds > 0 else 1

    def at(self, seconds):
        return self.left + min(max(seconds / self.span, 0), 1) * (self.right - self.left)

    def ticks(self, room=74):
        step = time_step(self.span, max(2, (self.right - self.left) // room))
        return [(self.at(time), time_tick(time, step, self.span)) for time in multiples(step, self.span)]

    def attributes(self):
        """For the page's script, which finds the time under a pointer by them."""
        return f'data-left="{number(self.left)}" data-right="{number(self.right)}" data-span="{self.span}"'


def colours_of(phases):
    """name -> the number of its colour, 0 for the rest. Where there are many names, the most frequent have one."""
    count = collections.Counter(phase["name"] for phase in phases)
    chosen = {name for name, _ in count.most_common(COLOURS)}
    return {name: index + 1 for index, name in enumerate(name for name in count if name in chosen)} | {
        name: 0 for name in count if name not in chosen}


def marks_of(made):
    """(at, subject, kind, label, more) of each event, refusal and acceptance, by time."""
    marks = [(event["at"], event["subject"], "event", event["name"], event["text"]) for event in made["events"]]
    for refusal in made["refusals"]:
        marks.append((refusal["first_at"], refusal["subject"], "refused", refusal["problem_id"], refusal["text"]))
        if refusal["accepted_at"] is not None:
            marks.append((refusal["accepted_at"], refusal["subject"], "accepted", "accepted", refusal["problem_id"]))
    return sorted(marks, key=lambda mark: mark[0])


def draw(made, width, name):
    """An SVG of this width. `name` is of this drawing only: its patterns are called after it."""
    phases, marks = made["phases"], marks_of(made)
    subjects = list(dict.fromkeys([phase["subject"] for phase in sorted(phases, key=lambda phase: phase["began"])] +
                                  [mark[1] for mark in marks]))
    subjects.sort(key=lambda subject: subject != "")  # the run first
    gutter = 0 if width < 500 else _gutter(subjects, 110 if width < 900 else 190)
    scale = Scale(gutter + 2, width - 14, made["seconds"])
    colours, top, out = colours_of(phases), AXIS, []
    for index, subject in enumerate(subjects):
        bars = _packed([phase for phase in phases if phase["subject"] == subject], scale)
        placed, unlabelled = _placed([mark for mark in marks if mark[1] == subject], scale)
        height, drawn = _lane(subject, bars, placed, unlabelled, scale, gutter, colours, name, top)
        out += [f'<rect class="lane{index % 2}" x="0" y="{top}" width="{width}" height="{height}"/>', *drawn]
        top += height
    grid = []
    for left, label in scale.ticks():
        anchor = "start" if left < scale.left + 8 else "end" if left > width - 34 else "middle"
        grid.append(f'<line class="grid" x1="{number(left)}" x2="{number(left)}" y1="{AXIS - 4}" y2="{top + 4}"/>')
        grid += [f'<text class="tick" x="{number(left)}" y="{y}" text-anchor="{anchor}">{label}</text>' for y in (AXIS - 9, top + 17)]
    lanes = [text for text in out if text.startswith("<rect class=\"lane")]
    rest = [text for text in out if not text.startswith("<rect class=\"lane")]
    return (f'<svg class="gantt" viewBox="0 0 {width} {top + AXIS}" role="img" aria-label="{len(phases)} phases over '
            f'{duration(made["seconds"])}" {scale.attributes()} data-top="{AXIS}" data-bottom="{top}">'
            f'<defs>{_hatch(name, "failed", 45)}{_hatch(name, "unended", -45)}</defs>' + "".join([*lanes, *grid, *rest]) + "</svg>")


def _gutter(subjects, most):
    return min(most, max(text_width(subject or WHOLE_RUN, SIZE) for subject in subjects) + 26)


def _hatch(name, kind, angle):
    return (f'<pattern id="{name}-{kind}" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate({angle})">'
            f'<rect class="hatch-{kind}" width="2" height="7"/></pattern>')


def _packed(phases, scale):
    """Each phase in the first row where it covers none of those before: what is inside another is below it."""
    rows, bars = [], []
    end = scale.span
    for phase in sorted(phases, key=lambda phase: (phase["began"], -(end if phase["ended"] is None else phase["ended"]))):
        left = min(scale.at(phase["began"]), scale.right - BAR_LEAST)
        right = max(scale.at(end if phase["ended"] is None else phase["ended"]), left + BAR_LEAST)
        row = next((row for row, taken in enumerate(rows) if taken <= left + 0.01), len(rows))
        rows[row:row + 1] = [right]
        bars.append(Bar(phase, left, right, row))
    return bars


def _placed(marks, scale):
    """(marks with labels that cover nothing, the marks that there was no room to label)."""
    rows, placed, unlabelled = [[] for _ in range(MARK_ROWS_MAX)], [], []
    for at, _subject, kind, label, more in marks:
        left = scale.at(at)
        title = f"{_kind(kind)}{label} at {duration(at)}{': ' + more if more else ''}"
        shown = fitted(label, SMALL, min(LABEL_MAX, (scale.right - scale.left) * 0.6))
        width = text_width(shown, SMALL) + 6
        sides = [("start", left - 6, left + 9 + width), ("end", left - 9 - width, left + 6)]
        fits = [(row, anchor, begin, end) for row in range(MARK_ROWS_MAX) for anchor, begin, end in sides
                if begin >= scale.left - 7 and end <= scale.right + 12 and all(end <= b or e <= begin for b, e in rows[row])]
        if not shown or not fits:
            unlabelled.append(Mark(left, kind, "", title, 0, "start"))
            continue
        row, anchor, begin, end = fits[0]
        rows[row].append((begin, end))
        placed.append(Mark(left, kind, shown, title, row, anchor))
    return placed, unlabelled


def _kind(kind):
    return "refused: " if kind == "refused" else ""


def _lane(subject, bars, marks, unlabelled, scale, gutter, colours, name, top):
    """(its height, what is in it)."""
    out, y = [], top + PAD
    shown = subject or WHOLE_RUN
    if gutter:
        out.append(f'<text class="subject" x="8" y="{y + 14}">{escape(fitted(shown, SIZE, gutter - 16))}'
                   f'<title>{escape(shown)}</title></text>')
    else:
        out.append(f'<text class="subject" x="4" y="{y + 10}">{escape(fitted(shown, SIZE, scale.right - 8))}'
                   f'<title>{escape(shown)}</title></text>')
        y += 17
    ends = sorted(bars, key=lambda bar: bar.left)
    for bar in bars:
        after = next((other.left for other in ends if other.row == bar.row and other.left >= bar.right - 0.01 and other is not bar),
                     scale.right + 12)
        out.append(_bar(bar, y + bar.row * BAR_STEP, after, colours[bar.phase["name"]], name, scale))
    y += BAR_STEP * (max((bar.row for bar in bars), default=-1) + 1)
    for mark in marks:
        middle = y + mark.row * MARK_STEP + 7
        away = 9 if mark.anchor == "start" else -9
        out.append(f'<g class="mark {mark.kind}">{_shape(mark.kind, mark.left, middle)}<text class="label" x="{number(mark.left + away)}" '
                   f'y="{middle + 4}" text-anchor="{mark.anchor}">{escape(mark.label)}</text><title>{escape(mark.title)}</title></g>')
    y += MARK_STEP * (max((mark.row for mark in marks), default=-1) + 1)
    for mark in unlabelled:
        out.append(f'<g class="mark {mark.kind}"><rect class="tickmark" x="{number(mark.left - 1)}" y="{y}" width="2" height="9"/>'
                   f'<title>{escape(mark.title)}</title></g>')
    if unlabelled:
        out.append(_more(unlabelled, scale, y + 9))
        y += TICKS_STEP
    return max(y, top + PAD + BAR) + PAD - 3 - top, out


def _more(unlabelled, scale, y):
    """How many they are, beside them where there is room."""
    said = f"{len(unlabelled):,} more, in the tables"
    first, last, width = unlabelled[0].left, unlabelled[-1].left, text_width(said, SMALL)
    if last + 8 + width <= scale.right + 12:
        return f'<text class="more" x="{number(last + 8)}" y="{y}">{said}</text>'
    if first - 8 - width >= scale.left:
        return f'<text class="more" x="{number(first - 8)}" y="{y}" text-anchor="end">{said}</text>'
    return ""


def _shape(kind, x, y):
    if kind == "refused":
        return f'<path d="M{number(x - 4)} {y - 4}l8 8m0 -8l-8 8"/>'
    if kind == "accepted":
        return f'<path d="M{number(x - 4)} {y}l3 4l6 -8"/>'
    return f'<path d="M{number(x)} {y - 5}l5 5l-5 5l-5 -5z"/>'


def _bar(bar, y, after, colour, name, scale):
    phase, width = bar.phase, bar.right - bar.left
    state = "unended" if phase["ended"] is None else phase["outcome"]
    x, right = number(bar.left), number(bar.right)
    shape = f"M{x} {y}H{right}V{y + BAR}H{x}z"
    if state == "unended" and width > 12:  # as torn off
        shape = f"M{x} {y}H{right}l-4 3.4l4 3.3l-4 3.3l4 3.3l-4 3.3l4 3.4H{x}z"
    took = "did not end" if phase["ended"] is None else duration(phase["ended"] - phase["began"])
    title = f"{phase['name']}, {phase['subject'] or WHOLE_RUN}: {took}, from {duration(phase['began'])}"
    title += f"; failed: {phase['error']}" if phase["error"] else ""
    label = ("✕ " if state == "failed" else "") + phase["name"]
    out = [f'<g class="bar c{colour} {state}"><path class="body" d="{shape}"/>']
    if state != "ok":
        out.append(f'<path d="{shape}" fill="url(#{name}-{state})"/>')
    out.append(f'<rect class="edge" x="{x}" y="{y}" width="{number(min(4, width))}" height="{BAR}"/>')
    inside = fitted(label, SIZE, width - 14)
    whole = " ".join(label.split())
    left = bar.left + 8
    if inside != whole and text_width(whole, SIZE) + 10 <= min(after, scale.right + 12) - bar.right:
        inside, left = whole, bar.right + 5
    if inside:
        out.append(f'<text class="name{"" if left < bar.right else " beside"}" x="{number(left)}" y="{y + 14.5}">{escape(inside)}</text>')
    return "".join([*out, f"<title>{escape(title)}</title></g>"])
