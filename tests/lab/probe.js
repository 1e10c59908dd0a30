// Put into a page by browser.py before everything else: notes what goes wrong, and measures what is seen.
"use strict";
const wrong = [];
addEventListener("error", (event) => wrong.push(`error: ${event.message}`));
addEventListener("unhandledrejection", (event) => wrong.push(`rejected: ${event.reason}`));
addEventListener("securitypolicyviolation", (event) => wrong.push(`forbidden: ${event.violatedDirective} ${event.blockedURI}`));

const isSeen = (element) => element.checkVisibility() && element.getClientRects().length > 0;

function measured() {
  const seen = (selector, root = document) => [...root.querySelectorAll(selector)].filter(isSeen);
  const size = (element) => {
    const {left, top, right, bottom, width, height} = element.getBoundingClientRect();
    return {left, top, right, bottom, width, height};
  };
  const overlap = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5;
  const brightness = (colour) => {
    const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const ground = brightness(getComputedStyle(document.documentElement).backgroundColor);

  const room = document.documentElement.clientWidth;
  const over = seen("body *").filter((element) => size(element).right > room + 0.5 || size(element).left < -0.5);
  const outside = [], covered = [];
  for (const svg of seen("svg")) {
    const box = size(svg);
    for (const text of seen("text", svg)) {
      const its = size(text);
      const is_inside = its.left >= box.left - 1 && its.right <= box.right + 1 && its.top >= box.top - 1 && its.bottom <= box.bottom + 1;
      if (!is_inside) outside.push(text.textContent);
    }
    const texts = seen("text", svg).map((text) => [text.textContent, size(text)]);
    for (const [index, [name, box]] of texts.entries()) {
      for (const [other, its] of texts.slice(index + 1)) if (overlap(box, its)) covered.push(`${name} | ${other}`);
    }
  }
  const texts = [...seen("h1, h2, p, dt, dd, th, td, summary, li, figcaption *"), ...seen("svg text")];
  const low = texts.filter((text) => {
    const style = getComputedStyle(text);
    return contrast(brightness(text instanceof SVGElement ? style.fill : style.color), ground) < 4.5;
  });
  // A column so thin that a word has a letter or two in each line.
  const written = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return range.getBoundingClientRect();
  };
  const thin = seen("td, dd, p, figcaption *").filter((cell) => written(cell).width < 40 && written(cell).height > 70);
  const sections = Object.fromEntries(seen("section").map((section) => [section.id, {
    title: section.querySelector("h2").textContent,
    svgs: seen("svg", section).map(size),
    curves: seen(".line, .dot", section).map(size),
    limits: seen(".limit, .limit-name", section).length,
    nothing: seen(".nothing", section).map((text) => text.textContent),
    rows: section.querySelectorAll("tbody tr").length,
    text: section.innerText,
  }]));
  return {
    width: innerWidth, room, needed: document.documentElement.scrollWidth, wrong, sections, ground, outside, covered,
    over: over.map((element) => `${element.tagName}.${element.getAttribute("class")}: ${element.textContent.slice(0, 60)}`),
    thin: thin.map((cell) => cell.textContent.slice(0, 60)),
    low: low.map((text) => text.textContent.slice(0, 60)),
    head: document.querySelector("header").innerText,
    bars: seen(".gantt .bar").map((bar) => ({...size(bar.querySelector(".body")), kind: bar.getAttribute("class")})),
    marks: seen(".gantt .mark").map((mark) => ({...size(mark), kind: mark.getAttribute("class")})),
    counts: seen(".histogram .count").map(size),
    percentiles: seen(".percentile-name").map((text) => text.textContent),
    letters: Math.min(...seen("svg text").map((text) => size(text).height)),
    pointed: point(seen),
  };
}

// Points into each drawing that is over time: what the note says, whether the line is there, whether both go again.
function point(seen) {
  return seen("svg[data-span]").map((svg) => {
    const box = svg.getBoundingClientRect();
    svg.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width * 0.6, clientY: box.top + 20, bubbles: true}));
    const line = svg.querySelector(".pointer-line");
    const note = document.getElementById("pointer");
    const said = note.hidden ? "" : note.textContent, line_is_there = line !== null && isSeen(line);
    svg.dispatchEvent(new PointerEvent("pointerleave"));
    return {said, line_is_there, goes: line !== null && note.hidden && !isSeen(line)};
  });
}
