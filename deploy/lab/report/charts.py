"""Charts of values over time, one panel for each subject; and how registration delays are distributed."""
import math

from drawing import duration, escape, fitted, number, percentile, quantity, step_of, text_width, time_step, value_axis
from gantt import SIZE, SMALL, Scale

LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 24
GAP_FACTOR, GAP_SHARE = 5, 0.02  # a line is broken where nothing came for so many of its intervals, and this much of the run
PERCENTILES = (50, 95, 99)
BINS_LEAST = 6


def thinned(points, columns):
    """By time, and at most the lowest and the highest of each column: peaks stay."""
    points = sorted(points)
    if len(points) <= 2 * columns:
        return points
    first, span = points[0][0], (points[-1][0] - points[0][0]) or 1
    lowest, highest = {}, {}
    for point in points:
        column = min(columns - 1, int((point[0] - first) / span * columns))
        if column not in lowest or point[1] < lowest[column][1]:
            lowest[column] = point
        if column not in highest or point[1] > highest[column][1]:
            highest[column] = point
    return sorted({tuple(point) for point in [*lowest.values(), *highest.values()]})


def pieces(points, span):
    """The points, cut where samples were missing."""
    gaps = sorted(after[0] - before[0] for before, after in zip(points, points[1:]))
    limit = max(GAP_FACTOR * gaps[len(gaps) // 2], GAP_SHARE * span) if gaps else 0
    parts = [points[:1]]
    for before, after in zip(points, points[1:]):
        if after[0] - before[0] > limit:
            parts.append([])
        parts[-1].append(after)
    return parts


class Values:
    """Where a value is."""

    def __init__(self, values, unit, bottom, limit=None):
        low, high = min(0, *values), max(0, *values)
        # A limit far above all that was seen would leave a flat line: it is named at the edge instead.
        self.shows_limit = limit is not None and limit <= 4 * high
        if self.shows_limit:
            high = max(high, limit)
        self.bottom, self.unit = bottom, unit
        self.top, ticks = value_axis(max(high, -low) * 1.04, unit, 3 if bottom < 200 else 5)
        self.low = -self.top if low < 0 else 0
        self.ticks = ticks if low >= 0 else [(-value, "−" + label) for value, label in ticks[:0:-1]] + ticks

    def at(self, value):
        return self.bottom - (value - self.low) / (self.top - self.low) * (self.bottom - TOP)


def panel(series, index, seconds, width, height, values, limit=None):
    """`values` is the scale of the value axis; `limit`, where there is one, is the line that values are to stay under."""
    scale = Scale(LEFT, width - RIGHT, seconds)
    points = thinned(series["points"], round(width - LEFT - RIGHT))
    out = []
    for value, label in values.ticks:
        y = number(values.at(value))
        out.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y}" y2="{y}"/>'
                   f'<text class="tick" x="{LEFT - 7}" y="{number(values.at(value) + 4)}" text-anchor="end">{label}</text>')
    out += _times(scale, values.bottom)
    name = series["subject"] or "the run"
    if limit is not None:
        out.append(_over(points, scale, values, limit))
    for part in pieces(points, scale.span):
        line = [(number(scale.at(at)), number(values.at(value))) for at, value in part]
        if len(line) == 1:
            out.append(f'<circle class="dot" cx="{line[0][0]}" cy="{line[0][1]}" r="3"/>')
            continue
        path = "L".join(f"{x} {y}" for x, y in line)
        base = number(values.at(0))
        out.append(f'<path class="area" d="M{line[0][0]} {base}L{path}L{line[-1][0]} {base}z"/><path class="line" d="M{path}"/>')
    if limit is not None:
        out.append(_limit(values, width, limit))
    return (f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(series["series"])} of {escape(name)}, '
            f'{len(points)} points" {scale.attributes()} data-top="{TOP}" data-bottom="{values.bottom}" data-low="{values.low}" '
            f'data-high="{values.top}" data-series="{index}">{"".join(out)}</svg>')


def _times(scale, bottom):
    out = [f'<line class="base" x1="{number(scale.left)}" x2="{number(scale.right)}" y1="{bottom}" y2="{bottom}"/>']
    for left, label in scale.ticks(70):
        anchor = "end" if left > scale.right - 12 else "middle"
        out.append(f'<line class="base" x1="{number(left)}" x2="{number(left)}" y1="{bottom}" y2="{bottom + 4}"/>'
                   f'<text class="tick" x="{number(left)}" y="{bottom + 17}" text-anchor="{anchor}">{label}</text>')
    return out


def _limit(values, width, limit):
    text = f"threshold {duration(limit)}"
    y = values.at(limit) if values.shows_limit else TOP
    if not values.shows_limit:
        text += ", above this scale ↑"
        line = ""
    else:
        line = f'<line class="limit" x1="{LEFT}" x2="{width - RIGHT}" y1="{number(y)}" y2="{number(y)}"/>'
    below = y < TOP + 14
    return (f'{line}<text class="limit-name" x="{width - RIGHT}" y="{number(y + 12 if below else y - 4)}" text-anchor="end">'
            f'{escape(text)}</text>')


def _over(points, scale, values, limit):
    """What was above the limit, as an area."""
    out = []
    for part in pieces(points, scale.span):
        crossed = _with_crossings(part, limit)
        line = [f"{number(scale.at(at))} {number(values.at(max(value, limit)))}" for at, value in crossed]
        if any(value > limit for _, value in crossed) and len(line) > 1:
            base = number(values.at(limit))
            out.append(f'<path class="over" d="M{number(scale.at(crossed[0][0]))} {base}L{"L".join(line)}'
                       f'L{number(scale.at(crossed[-1][0]))} {base}z"/>')
    return "".join(out)


def _with_crossings(part, limit):
    out = list(part[:1])
    for (at, value), (next_at, next_value) in zip(part, part[1:]):
        if (value - limit) * (next_value - limit) < 0:
            out.append((at + (limit - value) / (next_value - value) * (next_at - at), limit))
        out.append((next_at, next_value))
    return out


def bins_of(delays, count):
    """(number of the first bin, width of each, [how many are in each]). They begin at 0, unless all are far from it."""
    low, high = min(delays), max(delays)
    begin = low if low < 0 or low > 4 * (high - low) > 0 else 0
    width = time_step((high - begin) or 1, count)
    first, last = (math.floor(value / width + 1e-9) for value in (begin, high))
    numbers = [0] * (max(last, first + BINS_LEAST - 1) - first + 1)
    for delay in delays:
        numbers[math.floor(delay / width + 1e-9) - first] += 1
    return first, width, numbers


def histogram(delays, width, height):
    """Of delays in seconds; at least one."""
    few = max(6, math.ceil(4 * math.sqrt(len(delays))))
    first, step, numbers = bins_of(delays, min(few, 36 if width > 900 else 24 if width > 500 else 14))
    left, right, bottom, top = 52, width - 14, height - 40, 22 + 15 * len(PERCENTILES)
    low, high = first * step, (first + len(numbers)) * step
    count_step = max(1, round(step_of(max(numbers) * 1.04, 4)))
    count_top = count_step * math.ceil(max(numbers) / count_step)

    def x(seconds):
        return left + (seconds - low) / (high - low) * (right - left)

    def y(count):
        return bottom - count / count_top * (bottom - top)

    out = []
    for count in range(0, count_top + 1, count_step):
        out.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{number(y(count))}" y2="{number(y(count))}"/>'
                   f'<text class="tick" x="{left - 7}" y="{number(y(count) + 4)}" text-anchor="end">{count:,}</text>')
    for index, count in enumerate(numbers):
        if count:
            begin, end = low + index * step, low + (index + 1) * step
            wide = max(1, x(end) - x(begin) - 1.5)
            out.append(f'<rect class="count" x="{number(x(begin) + 0.75)}" y="{number(y(count))}" width="{number(wide)}" '
                       f'height="{number(bottom - y(count))}"><title>{count:,} from {duration(begin)} to {duration(end)}</title></rect>')
    out.append(f'<line class="base" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    every = max(1, math.ceil(len(numbers) / max(1, (right - left) // 78)))
    for index in range(0, len(numbers) + 1, every):
        at = x(low + index * step)
        anchor = "end" if at > right - 14 else "middle"
        out.append(f'<line class="base" x1="{number(at)}" x2="{number(at)}" y1="{bottom}" y2="{bottom + 4}"/>'
                   f'<text class="tick" x="{number(at)}" y="{bottom + 17}" text-anchor="{anchor}">{duration(low + index * step)}</text>')
    out.append(f'<text class="tick" x="{number((left + right) / 2)}" y="{height - 5}" text-anchor="middle">'
               f'{escape(fitted("from power-on to a registered agent", SMALL, right - left))}</text>')
    out += _percentiles(sorted(delays), x, left, right, bottom)
    return (f'<svg class="histogram" viewBox="0 0 {width} {height}" role="img" aria-label="distribution of {len(delays)} '
            f'registration delays">{"".join(out)}</svg>')


def _percentiles(ordered, x, left, right, bottom):
    """Each on a line of its own above the bars, so that their names cover nothing."""
    out = []
    for index, percent in enumerate(PERCENTILES):
        value = percentile(ordered, percent)
        at, y = x(value), 14 + 15 * index
        text = f"p{percent} {duration(value)}"
        ends = at + 6 + text_width(text, SIZE) > right
        out.append(f'<line class="percentile" x1="{number(at)}" x2="{number(at)}" y1="{y - 9}" y2="{bottom}"/>'
                   f'<text class="percentile-name" x="{number(at - 5 if ends else at + 5)}" y="{y}" '
                   f'text-anchor="{"end" if ends else "start"}">{text}</text>')
    return out


def summary(series, limit):
    """What a panel's heading says of its values."""
    values = [value for _, value in series["points"]]
    said = [f"max {quantity(max(values), series['unit'])}", f"mean {quantity(sum(values) / len(values), series['unit'])}"]
    if limit is not None:
        said = [f"last {quantity(sorted(series['points'])[-1][1], series['unit'])}", said[0]]
    return " · ".join(said)
