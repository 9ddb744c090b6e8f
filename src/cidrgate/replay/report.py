"""The report of a replay for a browser: one file that loads nothing, with plots that can be zoomed.

What is in it comes from logs, which clients write: it goes into the page as data, and the page shows it as text only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cidrgate.replay.replaying import ReplayReport

__all__ = ["html_report"]


def html_report(report: ReplayReport, title: str) -> str:
    """Return a report as a page.

    Args:
        report: What was counted.
        title: What was replayed, and with which lists.
    """
    data = json.dumps({**report.record(), "title": title})
    # A browser ends a script at the first `</script`, wherever it stands.
    for character in "<>&\u2028\u2029":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return _PAGE.replace("@DATA@", data)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Replay</title>
<style>
:root { color-scheme: light dark; --line: #8884; --muted: #777; --back: #fff; --text: #1b1f24; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --text: #e4e7eb; --muted: #9aa2ab; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem;
  background: var(--back); color: var(--text); }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .2rem 0; } .muted { color: var(--muted); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th button { all: unset; cursor: pointer; font-weight: 600; } th button:focus-visible { outline: 2px solid; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .85rem ui-monospace, monospace; }
.key { display: inline-flex; align-items: center; gap: .4rem; margin-right: 1rem; }
.swatch { width: .8rem; height: .8rem; border-radius: 2px; display: inline-block; }
svg { width: 100%; height: 16rem; display: block; touch-action: none; cursor: crosshair; }
svg text { fill: var(--muted); font-size: 11px; }
input, button.plain { font: inherit; padding: .2rem .5rem; }
</style>
</head>
<body>
<h1>Replay</h1>
<p id="title"></p>
<p id="summary" class="muted"></p>
<div id="unknown"></div>
<h2>Verdicts</h2>
<table id="verdicts"><thead><tr><th>verdict</th><th class="number">requests</th><th class="number">share</th></tr>
</thead><tbody></tbody></table>
<div id="time" hidden>
<h2>Over time</h2>
<p class="muted">Drag over the plot to zoom in, double-click to zoom out. Choose verdicts below it.</p>
<svg id="plot" role="img" aria-label="Requests over time, by verdict"></svg>
<p id="keys"></p>
<p id="at" class="muted" aria-live="polite">&nbsp;</p>
</div>
<h2 id="changes-title"></h2>
<p><label>Search <input id="search" type="search"></label> <span id="shown" class="muted"></span></p>
<table id="changes"><thead><tr></tr></thead><tbody></tbody></table>
<div id="bad" hidden><h2>Bad lines</h2><table><thead><tr><th>line</th><th>reason</th><th>text</th></tr></thead>
<tbody></tbody></table></div>
<script>
"use strict";
const data = @DATA@;
const MEANING = {allowed: ["allowed", "#3b82c4"], denied: ["denied", "#8a8f98"],
  newly_denied: ["newly denied", "#d1443a"], newly_allowed: ["newly allowed", "#2f9e62"],
  unknown_account: ["unknown account", "#b7791f"], no_account: ["no account", "#9f7aea"],
  no_address: ["no client address", "#5f6b7a"]};
const element = id => document.getElementById(id);
const number = value => value.toLocaleString("en");
function row(body, cells, head) {
  const line = body.insertRow();
  cells.forEach((cell, place) => {
    const made = line.insertCell();
    made.textContent = cell;
    if (head[place]) made.className = "number";
  });
}
element("title").textContent = data.title;
const rate = data.seconds ? ", " + number(Math.round(data.lines / data.seconds)) + " lines a second" : "";
element("summary").textContent = number(data.lines) + " lines, " + number(data.requests) + " requests, " +
  number(data.bad_lines) + " bad lines" + rate;
for (const text of [...data.unknown.map(one => "Not known: " + one.text), ...data.notes]) {
  const line = document.createElement("p");
  line.textContent = text;
  element("unknown").append(line);
}
const present = Object.keys(MEANING).filter(name => data.verdicts[name]);
for (const name of present) {
  const share = (100 * data.verdicts[name] / data.requests).toFixed(3) + " %";
  row(element("verdicts").tBodies[0], [MEANING[name][0], number(data.verdicts[name]), share], [0, 1, 1]);
}
// Over time
const periods = data.periods.map(one => ({...one, at: Date.parse(one.start)}));
const chosen = new Set(present.filter(name => !data.compared || name !== "allowed" || present.length === 1));
if (!chosen.size) present.forEach(name => chosen.add(name));
const step = (data.period_seconds || 1) * 1000;
const all = periods.length ? [periods[0].at, periods[periods.length - 1].at + step] : [0, 1];
let view = all.slice(), from = null;
const plot = element("plot"), SPACE = {left: 64, right: 8, top: 8, bottom: 22};
function made(name, attributes, text) {
  const one = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) one.setAttribute(key, attributes[key]);
  if (text !== undefined) one.textContent = text;
  plot.append(one);
  return one;
}
const size = () => [plot.clientWidth || 900, plot.clientHeight || 256];
const LAST = Date.parse("9999-12-31T23:59:59Z"); // a period may end later, and no time is written so
function moment(at) { return new Date(Math.min(at, LAST)).toISOString().slice(0, 16).replace("T", " "); }
function draw() {
  plot.replaceChildren();
  const [width, height] = size(), inner = [width - SPACE.left - SPACE.right, height - SPACE.top - SPACE.bottom];
  const seen = periods.filter(one => one.at + step > view[0] && one.at < view[1]);
  const total = one => [...chosen].reduce((sum, name) => sum + one[name], 0);
  const top = Math.max(1, ...seen.map(total));
  const x = at => SPACE.left + inner[0] * (at - view[0]) / (view[1] - view[0]);
  const y = count => SPACE.top + inner[1] * (1 - count / top);
  for (const part of [0, 0.5, 1]) {
    made("line", {x1: SPACE.left, x2: width - SPACE.right, y1: y(top * part), y2: y(top * part), stroke: "#8884"});
    made("text", {x: SPACE.left - 6, y: y(top * part) + 4, "text-anchor": "end"}, number(Math.round(top * part)));
  }
  for (const one of seen) {
    let under = 0;
    const left = Math.max(x(one.at), SPACE.left), right = Math.min(x(one.at + step), width - SPACE.right);
    for (const name of present) {
      if (!chosen.has(name) || !one[name]) continue;
      made("rect", {x: left, width: Math.max(right - left - 0.5, 0.5), y: y(under + one[name]),
        height: y(under) - y(under + one[name]), fill: MEANING[name][1]});
      under += one[name];
    }
  }
  made("text", {x: SPACE.left, y: height - 6}, moment(view[0]));
  made("text", {x: width - SPACE.right, y: height - 6, "text-anchor": "end"}, moment(view[1]) + " UTC");
  made("rect", {id: "drag", x: 0, y: SPACE.top, width: 0, height: inner[1], fill: "#8886"});
}
function time(event) {
  const [width] = size(), inside = width - SPACE.left - SPACE.right;
  const part = (event.clientX - plot.getBoundingClientRect().left - SPACE.left) / inside;
  return view[0] + Math.min(1, Math.max(0, part)) * (view[1] - view[0]);
}
plot.addEventListener("pointerdown", event => { from = event; plot.setPointerCapture(event.pointerId); });
plot.addEventListener("pointermove", event => {
  const at = time(event), one = periods.findLast(period => period.at <= at);
  if (one && at < one.at + step) element("at").textContent = moment(one.at) + " UTC: " +
    present.filter(name => one[name]).map(name => MEANING[name][0] + " " + number(one[name])).join(", ");
  if (from === null) return;
  const edge = plot.getBoundingClientRect().left, drag = element("drag");
  drag.setAttribute("x", Math.min(from.clientX, event.clientX) - edge);
  drag.setAttribute("width", Math.abs(from.clientX - event.clientX));
});
plot.addEventListener("pointerup", event => {
  if (from === null) return;
  const ends = [time(from), time(event)].sort((a, b) => a - b);
  if (Math.abs(from.clientX - event.clientX) > 4) view = [ends[0], Math.max(ends[1], ends[0] + step)];
  from = null;
  draw();
});
plot.addEventListener("dblclick", () => { view = all.slice(); draw(); });
if (periods.length) {
  element("time").hidden = false;
  for (const name of present) {
    const key = document.createElement("label"), box = document.createElement("input");
    const swatch = document.createElement("span");
    key.className = "key"; swatch.className = "swatch"; swatch.style.background = MEANING[name][1];
    box.type = "checkbox"; box.checked = chosen.has(name);
    box.addEventListener("change", () => { chosen[box.checked ? "add" : "delete"](name); draw(); });
    key.append(box, swatch, MEANING[name][0]);
    element("keys").append(key);
  }
  draw();
  addEventListener("resize", draw);
}
// Changes
const COLUMNS = [["account", "account"], ["network", "network"], ["verdict", "verdict"],
  ["addresses", "addresses", 1], ["requests", "requests", 1], ["first_seen", "first"], ["last_seen", "last"]];
let order = null, down = true;
element("changes-title").textContent = data.compared ? "Newly denied and newly allowed" : "Denied";
for (const [name, title, right] of COLUMNS) {
  const head = document.createElement("th"), button = document.createElement("button");
  button.textContent = title;
  if (right) head.className = "number";
  button.addEventListener("click", () => { down = order === name ? !down : true; order = name; list(); });
  head.append(button);
  element("changes").tHead.rows[0].append(head);
}
const networkText = one => one.network === null ? MEANING.no_address[0] : one.network;
function list() {
  const text = element("search").value.toLowerCase();
  const found = data.changes.filter(one => (one.account + " " + networkText(one) + " " + one.verdict)
    .toLowerCase().includes(text));
  if (order) found.sort((a, b) => (a[order] < b[order] ? 1 : a[order] > b[order] ? -1 : 0) * (down ? 1 : -1));
  const body = element("changes").tBodies[0];
  body.replaceChildren();
  for (const one of found) row(body, COLUMNS.map(([name, , right]) => right ? number(one[name]) :
    name === "verdict" ? MEANING[one[name]][0] : name === "network" ? networkText(one) :
    (one[name] || "").replace("T", " ").slice(0, 40)),
    COLUMNS.map(column => column[2]));
  element("shown").textContent = number(found.length) + " of " + number(data.changes.length + data.more_changes) +
    " networks of " + number(data.accounts) + " accounts";
}
element("search").addEventListener("input", list);
list();
if (data.first_bad_lines.length) {
  element("bad").hidden = false;
  for (const one of data.first_bad_lines) row(element("bad").querySelector("tbody"),
    [one.file + ":" + one.line, one.reason, one.text], [0, 0, 0]);
}
</script>
</body>
</html>
"""
