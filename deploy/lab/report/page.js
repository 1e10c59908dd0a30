// One line at the same time in all drawings that are over time, and the value there. The page needs none of it.
"use strict";
(() => {
  const series = JSON.parse(document.getElementById("series").textContent);
  const note = document.getElementById("pointer");
  const drawings = [...document.querySelectorAll("svg[data-span]")].map((svg) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "pointer-line");
    line.setAttribute("y1", svg.dataset.top);
    line.setAttribute("y2", svg.dataset.bottom);
    line.style.display = "none";
    svg.append(line);
    return {svg, line, left: +svg.dataset.left, right: +svg.dataset.right, span: +svg.dataset.span};
  });

  const time = (seconds) => {
    if (seconds < 60) return `${+seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
    const whole = Math.round(seconds), two = (value) => String(value).padStart(2, "0");
    return whole < 3600 ? `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
                        : `${Math.floor(whole / 3600)} h ${two(Math.floor(whole % 3600 / 60))} min`;
  };
  const amount = (value, unit) => {
    if (unit === "seconds") return time(value);
    if (unit !== "bytes" && unit !== "bytes_per_second") return `${+value.toPrecision(4)} ${unit}`;
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let power = 0;
    while (value >= 1000 && power < units.length - 1) { value /= 1024; power += 1; }
    return `${+value.toPrecision(3)} ${units[power]}${unit === "bytes" ? "" : "/s"}`;
  };
  const nearest = (points, at) => points.reduce((best, point) => Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best);

  const hide = () => {
    note.hidden = true;
    for (const {line} of drawings) line.style.display = "none";
  };
  const show = (from, event) => {
    const box = from.svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * from.svg.viewBox.baseVal.width;
    if (x < from.left || x > from.right) return hide();
    const at = (x - from.left) / (from.right - from.left) * from.span;
    for (const {line, left, right} of drawings) {
      const there = left + at / from.span * (right - left);
      line.setAttribute("x1", there);
      line.setAttribute("x2", there);
      line.style.display = "";
    }
    const chosen = series[from.svg.dataset.series];
    const point = chosen && nearest(chosen.points, at);
    note.textContent = point ? `${time(point[0])}: ${amount(point[1], chosen.unit)}` : time(at);
    note.hidden = false;
    const room = document.documentElement.clientWidth - note.offsetWidth - 8;
    note.style.left = `${Math.max(8, Math.min(event.clientX + 14, room))}px`;
    note.style.top = `${Math.max(8, event.clientY - note.offsetHeight - 12)}px`;
  };
  for (const drawing of drawings) {
    drawing.svg.addEventListener("pointermove", (event) => show(drawing, event));
    drawing.svg.addEventListener("pointerleave", hide);
  }

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });
})();
