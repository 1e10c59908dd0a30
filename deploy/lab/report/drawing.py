"""What all drawings of a report share: how wide text is, what is written on an axis, how a number reads."""
import html
import math
import re

# Of DejaVu Sans, the widest of the fonts that the page names: what fits in it fits in the others.
_WIDTHS = {"il|'jI.,:;! ": 0.34, "ftr()[]/\\-": 0.42, "mwMW@%": 0.98, "ABCDEFGHKLNOPQRSTUVXYZ&<>": 0.74}
_WIDTH_OF = {letter: width for letters, width in _WIDTHS.items() for letter in letters}
# What no XML or HTML may have: control characters, halves of surrogate pairs.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_TIME_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600,
               7200, 14400, 21600, 43200, 86400)
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")


def escape(text):
    """For HTML, in text and in quoted attributes."""
    return html.escape(_NO_TEXT.sub("\ufffd", str(text)), quote=True)


def text_width(text, size):
    return size * sum(_WIDTH_OF.get(letter, 0.64 if ord(letter) < 0x1100 else 1.04) for letter in text)


def fitted(text, size, width):
    """The text, or as much of its beginning as fits; empty where not even three letters would."""
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    room, kept = width - text_width("…", size), 0
    while kept < len(text) and text_width(text[kept], size) <= room:
        room -= text_width(text[kept], size)
        kept += 1
    return text[:kept].rstrip() + "…" if kept >= 3 else ""


def duration(seconds):
    """As it is said: 40 ms, 0.42 s, 12.3 s, 2 min, 2 min 05 s, 1 h 02 min."""
    sign, seconds = ("−" if seconds < 0 else ""), abs(seconds)
    if seconds == 0:
        return "0 s"
    if seconds < 0.0995:
        return f"{sign}{seconds * 1000:.2g} ms"
    if seconds < 59.95:
        return f"{sign}{seconds:.{1 if seconds >= 0.995 else 2}f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 3600:
        return f"{sign}{whole // 60} min" + (f" {whole % 60:02d} s" if whole % 60 else "")
    return f"{sign}{whole // 3600:,} h" + (f" {whole % 3600 // 60:02d} min" if whole % 3600 >= 60 else "")


def quantity(value, unit):
    if unit == "seconds":
        return duration(value)
    if unit in ("bytes", "bytes_per_second"):
        return binary(value) + ("/s" if unit == "bytes_per_second" else "")
    return (f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}") + (f" {unit}" if unit else "")


def binary(value):
    power = _power(value)
    scaled = value / 1024 ** power
    digits = 0 if power == 0 or abs(scaled) >= 99.5 else 1 if abs(scaled) >= 9.95 else 2
    return f"{scaled:,.{digits}f} {_BINARY[power]}B"


def _power(value):
    power = 0
    while abs(value) / 1024 ** power >= 1000 and power + 1 < len(_BINARY):
        power += 1
    return power


def step_of(span, count):
    """1, 2 or 5 of a power of ten, so that at most `count` of them are in the span."""
    least = max(span, 1e-9) / count
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= least * (1 - 1e-9))


def time_step(span, count):
    least = max(span, 1e-9) / count
    for step in _TIME_STEPS:
        if step >= least:
            return step
    return 86400 * math.ceil(least / 86400)


def multiples(step, high):
    """From 0 to `high`, with it."""
    return [step * number for number in range(math.floor(high / step + 1e-9) + 1)]


def time_tick(seconds, step, span):
    """A time on an axis: 20 s in a short run, else 1:30 or 1:02:00."""
    if span <= 120:
        digits = 0 if step >= 1 else max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{seconds:.{digits}f} s"
    whole = round(seconds)
    if span < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}" if step < 60 else f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def value_axis(high, unit, count):
    """(the axis' end, [(value, what is written there)]), both from 0 on."""
    high = high if high > 0 else 1
    if unit == "seconds":
        step = time_step(high, count)
        top = step * math.ceil(high / step - 1e-9)
        return top, [(value, duration_tick(value, top)) for value in multiples(step, top)]
    factor = 1024 ** _power(high) if unit in ("bytes", "bytes_per_second") else 1
    step = step_of(high / factor, count)
    if unit in ("bytes", "bytes_per_second") and factor == 1:
        step = max(step, 1)
    top = step * math.ceil(high / factor / step - 1e-9)
    suffix = f" {_BINARY[_power(high)]}B{'/s' if unit == 'bytes_per_second' else ''}" if unit in ("bytes", "bytes_per_second") else ""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return top * factor, [(value * factor, f"{value:,.{digits}f}{suffix}" if value else "0") for value in multiples(step, top)]


def counted(number, one, more):
    return f"{number:,} {one if number == 1 else more}"


def duration_tick(value, top):
    if value == 0:
        return "0"
    if top <= 120:
        return f"{value:g} s"
    if top < 7200:
        return f"{value / 60:g} min"
    return f"{value / 3600:g} h" if top < 360_000 else f"{value / 86400:,.0f} d"


def percentile(ordered, percent):
    """By nearest rank: a value that was seen."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def number(value):
    """A coordinate."""
    return f"{value:.1f}".removesuffix(".0")
