"""Line charts as SVG, without anything to install."""
import html
import math

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 70, 150, 36, 46


def _ticks(low, high):
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9) / 4))
    while (high - low) / step > 6:
        step *= 2.5 if str(step)[0] == "2" else 2
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def _number(value):
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"


def lines(title, x_label, y_label, series, log_x=False):
    """`series`: name -> [(x, y)]. The y axis begins at 0. Returns the text of an SVG."""
    points = [point for line in series.values() for point in line]
    place = (lambda x: math.log10(x)) if log_x else (lambda x: x)
    x_low, x_high = min(place(x) for x, _ in points), max(place(x) for x, _ in points)
    y_high = max(y for _, y in points) * 1.08 or 1
    x_high = x_high if x_high > x_low else x_low + 1

    def at(x, y):
        return (LEFT + (place(x) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - y / y_high * (HEIGHT - TOP - BOTTOM))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
           f'font-size="12"><rect width="100%" height="100%" fill="white"/>',
           f'<text x="{LEFT}" y="20" font-size="14">{html.escape(title)}</text>']
    for y in _ticks(0, y_high):
        _, top = at(points[0][0], y)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top:.1f}" y2="{top:.1f}" stroke="#d8dee4"/>'
                   f'<text x="{LEFT - 6}" y="{top + 4:.1f}" text-anchor="end">{_number(y)}</text>')
    marks = sorted({x for x, _ in points}) if log_x else _ticks(x_low, x_high)
    for x in marks:
        left, _ = at(x, 0)
        out.append(f'<text x="{left:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_number(x)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x_label)}</text>')
    out.append(f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{html.escape(y_label)}</text>')
    for index, (name, line) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in (at(x, y) for x, y in line))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if log_x:
            out += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{colour}"/>'
                    for left, top in (at(x, y) for x, y in line)]
        out.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{TOP + 20 * index}" width="12" height="4" fill="{colour}"/>'
                   f'<text x="{WIDTH - RIGHT + 30}" y="{TOP + 6 + 20 * index}">{html.escape(name)}</text>')
    return "\n".join(out) + "\n</svg>\n"
