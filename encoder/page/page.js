"use strict";
// The data is a tree of all stacks in flat arrays (see encoder/flamegraph.c): node i has parent i - parents[i] (0: a root) and shows
// frames[5 * nodes[i] ...]. Only what is visible is drawn, on one canvas, so that a redraw costs as much as there is to see. Names come
// from the profiled program and are only ever used as text.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const N = data.nodes.length;
const F = data.frames.length / 5;
const T = data.types.length;
const STEP = 3 + T;
const ROOT = N; // everything; a node of its own behind the others

const parent = new Int32Array(N + 1);
const frameOf = new Int32Array(N + 1);
const depth = new Int32Array(N + 1);
for (let i = 0; i < N; i++) {
  parent[i] = data.parents[i] === 0 ? ROOT : i - data.parents[i];
  frameOf[i] = data.nodes[i];
  depth[i] = parent[i] === ROOT ? 1 : depth[parent[i]] + 1;
}
parent[ROOT] = -1;
frameOf[ROOT] = -1;

const nameOf = (frame) => (frame < 0 ? "all" : data.texts[data.frames[5 * frame]]);
const moduleOf = (frame) => (frame < 0 ? "" : data.texts[data.frames[5 * frame + 1]]);
const fileOf = (frame) => (frame < 0 ? "" : data.texts[data.frames[5 * frame + 2]]);
const lineOf = (frame) => (frame < 0 ? 0 : data.frames[5 * frame + 3]);
const isNamed = (frame) => frame < 0 || data.frames[5 * frame + 4] !== 0;
const isMadeUp = (frame) => frame >= 0 && moduleOf(frame) === "" && /^\[.*\]$/.test(nameOf(frame));
const baseName = (path) => path.replace(/\/+$/, "").split("/").pop() || path;
const nodeName = (node) => nameOf(frameOf[node]);

// ---- values for people ----

const SCALES = {
  nanoseconds: [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]],
  microseconds: [[1e6, "s"], [1e3, "ms"], [1, "µs"]],
  milliseconds: [[1e3, "s"], [1, "ms"]],
  bytes: [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "kB"], [1, "B"]],
};

function valueText(value) {
  const unit = data.types[state.type][1];
  const scales = Object.hasOwn(SCALES, unit) && SCALES[unit];
  if (!scales) return value.toLocaleString("en") + (unit && unit !== "count" ? " " + unit : "");
  const [size, name] = scales.find(([s]) => Math.abs(value) >= s) || scales[scales.length - 1];
  const scaled = value / size;
  return (size === 1 ? String(scaled) : scaled.toFixed(Math.abs(scaled) < 10 ? 2 : 1)) + " " + name;
}

const percent = (part, whole) => (whole ? (100 * part / whole).toFixed(100 * part / whole < 9.995 ? 2 : 1) : "0") + " %";
const signed = (points) => (points >= 0 ? "+" : "−") + Math.abs(points).toFixed(2);

// ---- what is shown ----

const state = {
  type: Math.min(data.type, T - 1), colour: "module", flame: true, bySize: false, zoom: ROOT, selected: -1, query: "", sortKey: "self",
  hiddenThreads: new Set(), hiddenStates: new Set(), hovered: -1,
};
let self = new Float64Array(N + 1), total = new Float64Array(N + 1); // under the filters
let totalBefore = null; // of the profile that this one is compared with
let byState = []; // by state: [number of the text, total of each node]
let childStart, children; // children[childStart[n] .. childStart[n + 1]), in the order of drawing
let matched = new Uint8Array(F), hasMatch = false;

// Threads by name: their TIDs are told apart in the tooltip of the menu only, where there may be thousands.
const threadText = (thread) => data.texts[data.threads[2 * thread]] || "TID " + data.threads[2 * thread + 1];

function sumSamples(samples, into) {
  into.fill(0);
  for (let i = 0; i < samples.length; i += STEP) {
    const thread = samples[i + 1], st = samples[i + 2];
    if (state.hiddenThreads.size && state.hiddenThreads.has(thread < 0 ? "" : threadText(thread))) continue;
    if (state.hiddenStates.size && state.hiddenStates.has(st)) continue;
    into[samples[i] < 0 ? ROOT : samples[i]] += samples[i + 3 + state.type];
  }
}

function addUp(from, into) {
  into.set(from);
  for (let i = N - 1; i >= 0; i--) into[parent[i]] += into[i]; // children come behind their parents
}

function sumStates() {
  byState = [];
  const found = new Set();
  for (let i = 2; i < data.samples.length; i += STEP) if (data.samples[i] >= 0) found.add(data.samples[i]);
  for (const st of found) {
    const sums = new Float64Array(N + 1);
    for (let i = 0; i < data.samples.length; i += STEP) {
      if (data.samples[i + 2] !== st || state.hiddenStates.has(st)) continue;
      const thread = data.samples[i + 1];
      if (state.hiddenThreads.size && state.hiddenThreads.has(thread < 0 ? "" : threadText(thread))) continue;
      sums[data.samples[i] < 0 ? ROOT : data.samples[i]] += data.samples[i + 3 + state.type];
    }
    addUp(sums, sums);
    byState.push([st, sums]);
  }
}

function orderChildren() {
  childStart = new Int32Array(N + 3);
  for (let i = 0; i < N; i++) childStart[parent[i] + 2]++;
  for (let i = 1; i < N + 3; i++) childStart[i] += childStart[i - 1];
  children = new Int32Array(N);
  const rank = new Int32Array(F);
  Array.from({ length: F }, (_, i) => i).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : a - b))
    .forEach((frame, i) => { rank[frame] = i; });
  // Whoever comes first in the order of all is put first among its siblings.
  const order = new Int32Array(N).map((_, i) => i);
  order.sort(state.bySize ? (a, b) => total[b] - total[a] || rank[frameOf[a]] - rank[frameOf[b]] : (a, b) => rank[frameOf[a]] - rank[frameOf[b]] || a - b);
  for (const i of order) children[childStart[parent[i] + 1]++] = i;
}

function recount() {
  sumSamples(data.samples, self);
  addUp(self, total);
  if (data.before) {
    const selfBefore = new Float64Array(N + 1);
    totalBefore = new Float64Array(N + 1);
    sumSamples(data.before, selfBefore);
    addUp(selfBefore, totalBefore);
  }
  sumStates();
  orderChildren();
  maxDepth = 0;
  for (let i = 0; i < N; i++) if (total[i] !== 0 && depth[i] > maxDepth) maxDepth = depth[i];
  if (state.zoom !== ROOT && total[state.zoom] === 0) state.zoom = ROOT;
  makeRows();
}

// ---- colours ----

function hash(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return h >>> 0;
}

const STATE_COLOURS = { running: [18, 85, 60], runnable: [44, 90, 56], sleeping: [212, 45, 68], disk: [285, 40, 64], stopped: [0, 0, 65] };
const stateColour = (name) => (Object.hasOwn(STATE_COLOURS, name) && STATE_COLOURS[name]) || [hash(name) % 360, 40, 66];
const isDark = () => document.documentElement.classList.contains("dark");
const hsl = ([h, s, l], shift = 0) => `hsl(${h} ${s}% ${Math.max(0, Math.min(96, l + shift - (isDark() ? 6 : 0)))}%)`;

const modules = new Map(); // by total, so that the largest have the most different colours
function moduleColours() {
  const sums = new Map();
  for (let i = 0; i < N; i++) sums.set(moduleOf(frameOf[i]), (sums.get(moduleOf(frameOf[i])) || 0) + self[i]);
  modules.clear();
  const hues = [22, 205, 145, 48, 285, 175, 335, 95, 245, 5];
  [...sums].sort((a, b) => b[1] - a[1]).forEach(([name], i) => modules.set(name, i < hues.length ? hues[i] : hash(name) % 360));
}

function colourOf(node) {
  const frame = frameOf[node];
  if (node === ROOT) return isDark() ? "#8b8983" : "#d8d3cb";
  const shift = (hash(nameOf(frame)) % 9) - 4;
  if (state.colour === "change" && totalBefore) {
    const points = total[node] / (total[ROOT] || 1) - totalBefore[node] / (totalBefore[ROOT] || 1);
    const strength = Math.min(1, Math.sqrt(Math.abs(points)) * 2.2);
    if (Math.abs(points) < 0.0005) return isDark() ? "#a5a29d" : "#eae7e2";
    return hsl([points > 0 ? 8 : 212, 40 + 45 * strength, 86 - 28 * strength]);
  }
  if (isMadeUp(frame)) return isDark() ? "#8b8983" : "#cfcbc4";
  if (state.colour === "state" && byState.length) {
    let best = null;
    for (const [st, sums] of byState) if (!best || sums[node] > best[1][node]) best = [st, sums];
    return hsl(stateColour(data.texts[best[0]]), shift);
  }
  if (state.colour === "function") return hsl([hash(nameOf(frame)) % 360, 55, 68]);
  const module = moduleOf(frame);
  return hsl([modules.has(module) ? modules.get(module) : hash(module) % 360, module ? 62 : 8, 67], shift);
}

const LEGEND = 6;

// What the colours mean; the largest first.
function legend() {
  let entries = [];
  if (state.colour === "module") {
    entries = [...modules].slice(0, LEGEND).map(([name]) => [name ? baseName(name) : "made up", name ? hsl([modules.get(name), 62, 67]) : "#cfcbc4"]);
  } else if (state.colour === "state") {
    entries = byState.filter(([, sums]) => sums[ROOT] > 0).sort((a, b) => b[1][ROOT] - a[1][ROOT]).map(([st]) => [data.texts[st], hsl(stateColour(data.texts[st]))]);
  } else if (state.colour === "change") {
    entries = [["more than before", hsl([8, 85, 62])], ["less", hsl([212, 85, 62])]];
  }
  $("legend").replaceChildren(...entries.map(([name, colour]) => {
    const made = element("span"), swatch = element("span", undefined, "swatch");
    swatch.style.background = colour;
    made.append(swatch, name);
    return made;
  }));
}

// ---- drawing ----

const ROW = 19;
const canvas = $("canvas"), scroll = $("scroll"), context = canvas.getContext("2d");
let maxDepth = 0, drawn = [], firstRow = 0, frameRequest = 0, lastDrawMs = 0, wantedRows = 0;

const rowsInAll = () => Math.max(1, wantedRows);
const yOf = (row) => (state.flame ? (rowsInAll() - 1 - row) * ROW : row * ROW);

function draw() {
  frameRequest = 0;
  const began = performance.now();
  const width = scroll.clientWidth, height = scroll.clientHeight, ratio = window.devicePixelRatio || 1;
  const zoom = state.zoom, above = [];
  for (let n = zoom; n !== -1; n = parent[n]) above.unshift(n);
  measureRows(zoom, above.length, width);
  $("space").style.height = Math.max(0, rowsInAll() * ROW - height) + "px";
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
  context.textBaseline = "middle";
  drawn = [];
  const slack = state.flame ? Math.max(0, height - rowsInAll() * ROW) : 0; // a flame stands on the ground
  const top = scroll.scrollTop - slack;
  const visible = (row) => yOf(row) + ROW > top && yOf(row) < top + height;
  const put = (node, row, x, w, dim) => { if (visible(row)) drawFrame(node, x, yOf(row) - top, w, dim, row); };
  above.forEach((node, row) => put(node, row, 0, width, node !== zoom));
  const scale = total[zoom] ? width / total[zoom] : 0;
  const stack = [[zoom, above.length, 0]];
  while (stack.length) {
    const [node, row, x0] = stack.pop();
    let x = x0;
    for (let i = childStart[node]; i < childStart[node + 1]; i++) {
      const child = children[i], w = total[child] * scale;
      if (w >= 0.4) {
        put(child, row, x, w, false);
        stack.push([child, row + 1, x]);
      }
      x += w;
    }
  }
  lastDrawMs = performance.now() - began;
}

// How many rows there are at this zoom; what is too narrow to be seen needs none.
function measureRows(zoom, first, width) {
  const scale = total[zoom] ? width / total[zoom] : 0;
  let most = first;
  const stack = [[zoom, first]];
  while (stack.length) {
    const [node, row] = stack.pop();
    for (let i = childStart[node]; i < childStart[node + 1]; i++) {
      if (total[children[i]] * scale < 0.4) continue;
      if (row + 1 > most) most = row + 1;
      stack.push([children[i], row + 1]);
    }
  }
  wantedRows = most;
}

function drawFrame(node, x, y, w, dim, row) {
  const frame = frameOf[node], gap = w > 3 ? 0.6 : 0;
  const isMatch = hasMatch && frame >= 0 && matched[frame];
  context.globalAlpha = dim ? 0.55 : hasMatch && !isMatch ? 0.35 : 1;
  context.fillStyle = isMatch ? (isDark() ? "#c58cff" : "#b98cf0") : colourOf(node);
  context.fillRect(x, y, Math.max(0.4, w - gap), ROW - 1);
  if (isMadeUp(frame) && w > 6) hatch(x, y, w - gap);
  context.globalAlpha = 1;
  if (node === state.hovered || node === state.selected) {
    context.strokeStyle = isDark() ? "#fff" : "#000";
    context.lineWidth = node === state.selected ? 2 : 1;
    context.strokeRect(x + 0.5, y + 0.5, Math.max(0, w - gap - 1), ROW - 2);
  }
  if (w > 26) {
    context.fillStyle = isDark() ? "#14110d" : "#221a12";
    context.fillText(fit(nodeName(node), w - 8), x + 4, y + ROW / 2);
  }
  drawn.push({ node, x, y, w, row });
}

function hatch(x, y, w) {
  context.save();
  context.beginPath();
  context.rect(x, y, w, ROW - 1);
  context.clip();
  context.strokeStyle = "#0002";
  context.lineWidth = 3;
  context.beginPath();
  for (let at = x - ROW; at < x + w; at += 9) {
    context.moveTo(at, y + ROW);
    context.lineTo(at + ROW, y);
  }
  context.stroke();
  context.restore();
}

const CHAR = 6.4; // about; exact widths are only measured where they decide
function fit(text, width) {
  if (text.length * 9 < width || context.measureText(text).width <= width) return text;
  let n = Math.min(text.length, Math.floor(width / CHAR) + 4);
  while (n > 1 && context.measureText(text.slice(0, n) + "…").width > width) n--;
  return n > 1 ? text.slice(0, n) + "…" : "";
}

function redraw() {
  if (!frameRequest) frameRequest = requestAnimationFrame(draw);
}

const frameAt = (event) => {
  const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  for (let i = drawn.length - 1; i >= 0; i--) {
    const d = drawn[i];
    if (x >= d.x && x < d.x + Math.max(1, d.w) && y >= d.y && y < d.y + ROW) return d.node;
  }
  return -1;
};

// ---- what a frame is ----

function describe(node) {
  const frame = frameOf[node], parts = [];
  parts.push(valueText(total[node]) + " (" + percent(total[node], total[ROOT]) + ")");
  if (self[node] && total[node] !== self[node]) parts.push("itself " + valueText(self[node]));
  if (parent[node] >= 0 && parent[node] !== ROOT) parts.push(percent(total[node], total[parent[node]]) + " of its caller");
  if (totalBefore) {
    const now = 100 * total[node] / (total[ROOT] || 1), was = 100 * totalBefore[node] / (totalBefore[ROOT] || 1);
    parts.push(`${was.toFixed(2)} % before, ${signed(now - was)} points`);
  }
  const where = [];
  if (frame >= 0 && fileOf(frame)) where.push(fileOf(frame) + (lineOf(frame) ? ":" + lineOf(frame) : ""));
  if (frame >= 0 && moduleOf(frame)) where.push(moduleOf(frame));
  const states = byState.map(([st, sums]) => [data.texts[st], sums[node]]).filter(([, v]) => v > 0).sort((a, b) => b[1] - a[1]);
  return { name: nodeName(node), value: parts.join(", "), where: where.join("   "),
    states: states.length ? states.map(([name, v]) => name + " " + percent(v, total[node])).join(", ") : "" };
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function showTip(event) {
  const tip = $("tip"), node = state.hovered;
  tip.hidden = node < 0;
  if (node < 0) {
    $("details").textContent = state.selected >= 0 ? detailsText(state.selected) : "\u00a0";
    return;
  }
  const is = describe(node);
  tip.replaceChildren(element("b", is.name), element("div", is.value));
  if (is.where) tip.append(element("div", is.where, "dim"));
  if (is.states) tip.append(element("div", is.states, "dim"));
  const box = $("chart").getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  tip.style.left = Math.max(4, Math.min(x + 14, box.width - tip.offsetWidth - 8)) + "px";
  tip.style.top = (y + 22 + tip.offsetHeight < box.height ? y + 18 : Math.max(2, y - tip.offsetHeight - 10)) + "px";
  $("details").textContent = detailsText(node);
}

const detailsText = (node) => { const is = describe(node); return [is.name, is.value, is.where].filter(Boolean).join("  ·  "); };

// ---- zoom, selection ----

function zoomTo(node) {
  state.zoom = node;
  state.selected = node === ROOT ? -1 : node;
  drawPath();
  draw();
  // The zoomed frame comes into view.
  const row = node === ROOT ? 0 : depth[node];
  const y = yOf(row);
  if (y < scroll.scrollTop || y + ROW > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = state.flame ? y + 2 * ROW - scroll.clientHeight : Math.max(0, y - ROW);
  if (node === ROOT) scroll.scrollTop = state.flame ? scroll.scrollHeight : 0;
  draw();
}

function drawPath() {
  legend();
  const path = $("path");
  path.replaceChildren();
  if (state.zoom === ROOT) {
    path.textContent = "Click a frame to zoom in.";
    return;
  }
  const nodes = [];
  for (let n = state.zoom; n !== -1; n = parent[n]) nodes.unshift(n);
  const shown = nodes.length > 7 ? [nodes[0], nodes[1], null, ...nodes.slice(-4)] : nodes;
  shown.forEach((node, i) => {
    if (i) path.append(" › ");
    if (node === null) path.append("…");
    else if (node === state.zoom) path.append(element("b", nodeName(node)));
    else {
      const button = element("button", nodeName(node));
      button.onclick = () => zoomTo(node);
      path.append(button);
    }
  });
}

function select(node) {
  if (node < 0) return;
  state.selected = node;
  const y = yOf(node === ROOT ? 0 : depth[node]);
  if (y < scroll.scrollTop) scroll.scrollTop = y;
  if (y + ROW > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = y + ROW - scroll.clientHeight;
  $("details").textContent = detailsText(node);
  redraw();
}

const visibleChildren = (node) => Array.from(children.slice(childStart[node], childStart[node + 1])).filter((n) => total[n] > 0);

function move(direction) {
  const at = state.selected >= 0 ? state.selected : state.zoom;
  if (state.selected < 0) return select(at);
  const deeper = state.flame ? "ArrowUp" : "ArrowDown", back = state.flame ? "ArrowDown" : "ArrowUp";
  if (direction === back) return select(parent[at]);
  if (direction === deeper) return select(visibleChildren(at).reduce((best, n) => (best < 0 || total[n] > total[best] ? n : best), -1));
  if (at === ROOT) return undefined;
  const siblings = visibleChildren(parent[at]), i = siblings.indexOf(at) + (direction === "ArrowRight" ? 1 : -1);
  return select(i >= 0 && i < siblings.length ? siblings[i] : -1);
}

// ---- search ----

function search(query) {
  state.query = query;
  matched.fill(0);
  hasMatch = false;
  let regex = null;
  const input = $("search");
  input.setCustomValidity("");
  try {
    regex = query ? new RegExp(query, /[A-Z]/.test(query) ? "" : "i") : null;
  } catch (error) {
    $("matched").textContent = "not a regular expression";
    input.setCustomValidity(error.message);
  }
  if (regex) for (let i = 0; i < F; i++) matched[i] = regex.test(nameOf(i)) ? 1 : 0;
  hasMatch = regex !== null;
  if (regex) $("matched").textContent = percent(matchedTotal(), total[ROOT]) + " matched";
  else if (!query) $("matched").textContent = "";
  makeRows();
  redraw();
}

// Each stack counts once, however many of its frames match.
function matchedTotal() {
  const inside = new Uint8Array(N + 1);
  let sum = 0;
  for (let i = 0; i < N; i++) {
    if (inside[parent[i]]) inside[i] = 1;
    else if (matched[frameOf[i]]) {
      inside[i] = 1;
      sum += total[i];
    }
  }
  return sum;
}

// ---- the table of functions ----

const ROWS = 300;
let functions = [];

function makeRows() {
  const numbers = new Map(), ofFrame = new Int32Array(F), found = [];
  for (let i = 0; i < F; i++) {
    const name = nameOf(i);
    if (!numbers.has(name)) {
      numbers.set(name, found.length);
      found.push({ name, self: 0, total: 0, matched: false, before: 0 });
    }
    ofFrame[i] = numbers.get(name);
    if (hasMatch && matched[i]) found[ofFrame[i]].matched = true;
  }
  // A stack counts once for a function: not where it is below itself.
  const within = recursion(ofFrame);
  for (let i = 0; i < N; i++) {
    const f = found[ofFrame[frameOf[i]]];
    f.self += self[i];
    if (!within[i]) {
      f.total += total[i];
      if (totalBefore) f.before += totalBefore[i];
    }
  }
  functions = found.filter((f) => f.total !== 0 && (!hasMatch || f.matched));
  fillTable();
}

let recursionCache = null;
function recursion(ofFrame) {
  if (recursionCache) return recursionCache;
  recursionCache = new Uint8Array(N);
  // Depth first, with the functions on the way counted.
  const on = new Int32Array(F + 1), start = new Int32Array(N + 3), below = new Int32Array(N);
  for (let i = 0; i < N; i++) start[parent[i] + 2]++;
  for (let i = 1; i < N + 3; i++) start[i] += start[i - 1];
  for (let i = 0; i < N; i++) below[start[parent[i] + 1]++] = i;
  const stack = [];
  for (let i = start[ROOT]; i < start[ROOT + 1]; i++) stack.push(below[i]);
  while (stack.length) {
    const node = stack.pop();
    if (node < 0) {
      on[ofFrame[frameOf[~node]]]--;
      continue;
    }
    const f = ofFrame[frameOf[node]];
    recursionCache[node] = on[f] > 0 ? 1 : 0;
    on[f]++;
    stack.push(~node);
    for (let i = start[node]; i < start[node + 1]; i++) stack.push(below[i]);
  }
  return recursionCache;
}

function fillTable() {
  const key = state.sortKey, rows = $("rows"), whole = total[ROOT];
  functions.sort(key === "name" ? (a, b) => (a.name < b.name ? -1 : 1) : (a, b) => b[key] - a[key] || b.total - a.total || (a.name < b.name ? -1 : 1));
  document.querySelectorAll("th").forEach((th) => th.classList.toggle("by", th.dataset.key === key));
  const made = functions.slice(0, ROWS).map((f) => {
    const row = document.createElement("tr");
    row.style.setProperty("--bar", (whole ? Math.max(0, 100 * (key === "total" ? f.total : f.self) / whole) : 0) + "%");
    const was = totalBefore ? 100 * f.total / (whole || 1) - 100 * f.before / (totalBefore[ROOT] || 1) : 0;
    row.append(element("td", percent(f.self, whole)), element("td", totalBefore ? signed(was) + " pts" : percent(f.total, whole)), element("td", f.name));
    row.title = `${f.name}\nitself ${valueText(f.self)}, with all that it calls ${valueText(f.total)}`;
    row.classList.toggle("on", f.matched);
    row.onclick = () => {
      const exact = "^" + f.name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + "$";
      $("search").value = state.query === exact ? "" : exact;
      search($("search").value);
    };
    return row;
  });
  rows.replaceChildren(...made);
  $("more").textContent = functions.length > ROWS ? `and ${functions.length - ROWS} more functions; search narrows them down` : "";
}

// ---- threads and states ----

function menu(details, entries, hidden, changed) {
  const panel = details.querySelector(".panel");
  details.hidden = entries.length < 2;
  const boxes = [];
  const all = element("div", undefined, "all");
  for (const [text, on] of [["All", true], ["None", false]]) {
    const button = element("button", text);
    button.onclick = () => {
      boxes.forEach(([box, key]) => { if (box.parentNode.hidden) return; box.checked = on; if (on) hidden.delete(key); else hidden.add(key); });
      changed();
    };
    all.append(button);
  }
  panel.replaceChildren(all);
  if (entries.length > 12) {
    const filter = element("input");
    filter.type = "search";
    filter.placeholder = "Filter";
    filter.oninput = () => boxes.forEach(([box, , text]) => { box.parentNode.hidden = !text.toLowerCase().includes(filter.value.toLowerCase()); });
    panel.append(filter);
  }
  for (const { key, text, share, colour, title } of entries) {
    const label = element("label"), box = element("input");
    box.type = "checkbox";
    box.checked = !hidden.has(key);
    box.onchange = () => { if (box.checked) hidden.delete(key); else hidden.add(key); changed(); };
    label.append(box);
    if (colour) {
      const swatch = element("span", undefined, "swatch");
      swatch.style.background = colour;
      label.append(swatch);
    }
    label.append(element("span", text), element("span", share, "share"));
    if (title) label.title = title;
    boxes.push([box, key, text]);
    panel.append(label);
  }
}

function makeMenus() {
  const threads = new Map(), states = new Map();
  let whole = 0;
  for (let i = 0; i < data.samples.length; i += STEP) {
    const value = data.samples[i + 3 + state.type], thread = data.samples[i + 1], key = thread < 0 ? "" : threadText(thread);
    whole += value;
    if (!threads.has(key)) threads.set(key, { value: 0, tids: new Set() });
    threads.get(key).value += value;
    if (thread >= 0 && data.threads[2 * thread + 1] > 0) threads.get(key).tids.add(data.threads[2 * thread + 1]);
    states.set(data.samples[i + 2], (states.get(data.samples[i + 2]) || 0) + value);
  }
  const changed = () => {
    recount();
    search(state.query);
    drawPath();
    draw();
    $("threads").querySelector("summary").textContent = label("Threads", state.hiddenThreads, threads.size);
    $("states").querySelector("summary").textContent = label("States", state.hiddenStates, states.size);
  };
  const label = (name, hidden, n) => (hidden.size ? `${name}: ${n - hidden.size} of ${n}` : `${name} (${n})`);
  menu($("threads"), [...threads].sort((a, b) => b[1].value - a[1].value).map(([key, { value, tids }]) => ({
    key, text: (key || "(no thread's own)") + (tids.size > 1 ? ` ×${tids.size}` : ""), share: percent(value, whole),
    title: tids.size ? "TID " + [...tids].slice(0, 40).join(", ") : "" })), state.hiddenThreads, changed);
  menu($("states"), [...states].sort((a, b) => b[1] - a[1]).map(([key, value]) => ({
    key, text: key < 0 ? "(none)" : data.texts[key], share: percent(value, whole), colour: key < 0 ? "" : hsl(stateColour(data.texts[key])) })),
  state.hiddenStates, changed);
  $("threads").querySelector("summary").textContent = label("Threads", state.hiddenThreads, threads.size);
  $("states").querySelector("summary").textContent = label("States", state.hiddenStates, states.size);
}

// ---- dialogs ----

function dialog(title, fill) {
  const text = $("text");
  text.replaceChildren(element("h2", title));
  fill(text);
  $("dialog").showModal();
}

const KEYS = [["/", "search (a regular expression; capitals make it exact)"], ["Esc", "clear the search, then the zoom"], ["r", "whole profile"],
  ["arrows", "select a frame: caller, callee, neighbours"], ["Enter", "zoom to the selected frame"], ["Backspace", "zoom out by one frame"],
  ["i", "root at the top (icicle) or at the bottom (flame)"], ["s", "neighbours by name or by size"], ["c", "next colours"], ["t", "table of functions"],
  ["d", "light or dark"], ["?", "this help"]];

function showHelp() {
  dialog("Keys", (text) => {
    for (const [key, meaning] of KEYS) {
      const line = element("p");
      line.append(element("kbd", key), " " + meaning);
      text.append(line);
    }
    text.append(element("p", "The width of a frame is what it and all that it called used; its colour tells what the menu says. Stacks are merged where they begin alike: " +
      "time goes up, not to the right. Grey hatched frames are made up: what could not be seen, and why.", "dim"));
  });
}

function showAbout() {
  dialog("About this profile", (text) => text.append(element("pre", [data.name, ...data.comments].join("\n"))));
}

// ---- wiring ----

const colours = [["module", "Colour: module"], ["function", "Colour: function"]];

function setUp() {
  const first = data.comments[0] || "", is = /^cprof-attach \S+ of (.+), PID (\d+) \((.*)\), kind (\w+)/.exec(first);
  const title = (data.beforeName ? `${baseName(data.beforeName)} → ` : "") + (is ? `${is[1]} (PID ${is[2]})` : baseName(data.name));
  document.title = title + " – flame graph";
  $("title").textContent = title;
  data.types.forEach(([type, unit], i) => {
    const option = element("option", unit === "nanoseconds" ? type + " time" : type);
    option.value = i;
    $("type").append(option);
  });
  $("type").value = state.type;
  $("type").hidden = T < 2;
  if (data.samples.some((v, i) => i % STEP === 2 && v >= 0)) colours.splice(1, 0, ["state", "Colour: state"]);
  if (data.before) colours.unshift(["change", "Colour: change"]);
  colours.forEach(([key, text]) => { const option = element("option", text); option.value = key; $("colour").append(option); });
  state.colour = colours[0][0];
  if (window.matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.classList.add("dark");
  if (window.innerWidth < 700) $("side").classList.add("off");
}

function subtitle() {
  const parts = [];
  parts.push(valueText(total[ROOT]) + (data.duration ? ` in ${(data.duration / 1e9).toFixed(1)} s` : ""));
  if (data.time) parts.push(new Date(data.time).toLocaleString());
  $("subtitle").textContent = parts.join("  ·  ");
}

function refresh() {
  recount();
  moduleColours();
  subtitle();
  search(state.query);
  drawPath();
  draw();
}

function setOrder() {
  $("order").textContent = state.flame ? "Icicle" : "Flame";
  $("sort").textContent = state.bySize ? "By name" : "By size";
}

const actions = {
  "/": () => { $("search").focus(); $("search").select(); },
  r: () => zoomTo(ROOT),
  i: () => { state.flame = !state.flame; setOrder(); zoomTo(state.zoom); },
  s: () => { state.bySize = !state.bySize; setOrder(); orderChildren(); draw(); },
  c: () => { const at = colours.findIndex(([key]) => key === state.colour); state.colour = colours[(at + 1) % colours.length][0]; $("colour").value = state.colour; legend(); draw(); },
  t: () => { $("side").classList.toggle("off"); $("table").classList.toggle("on", !$("side").classList.contains("off")); draw(); },
  d: () => { document.documentElement.classList.toggle("dark"); makeMenus(); legend(); draw(); },
  "?": showHelp,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  if (event.key === "Escape") {
    document.querySelectorAll("details[open]").forEach((d) => { d.open = false; });
    if ($("search").value) { $("search").value = ""; search(""); } else if (state.zoom !== ROOT) zoomTo(ROOT);
    scroll.focus();
    return;
  }
  if (/^(INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox") return;
  if (event.key.startsWith("Arrow")) move(event.key);
  else if (event.key === "Enter" && state.selected >= 0 && event.target === scroll) zoomTo(state.selected);
  else if (event.key === "Backspace" && state.zoom !== ROOT) zoomTo(parent[state.zoom]);
  else if (actions[event.key]) actions[event.key]();
  else return;
  event.preventDefault();
}

function wire() {
  $("search").addEventListener("input", (event) => search(event.target.value));
  $("search").addEventListener("keydown", (event) => { if (event.key === "Enter") scroll.focus(); });
  $("type").onchange = (event) => { state.type = Number(event.target.value); makeMenus(); refresh(); };
  $("colour").onchange = (event) => { state.colour = event.target.value; legend(); draw(); };
  for (const [id, key] of [["order", "i"], ["sort", "s"], ["reset", "r"], ["table", "t"], ["dark", "d"], ["help", "?"]]) $(id).onclick = actions[key];
  $("about").onclick = showAbout;
  document.querySelectorAll("th").forEach((th) => { th.onclick = () => { state.sortKey = th.dataset.key; fillTable(); }; });
  document.addEventListener("click", (event) => document.querySelectorAll("details[open]").forEach((d) => { if (!d.contains(event.target)) d.open = false; }));
  document.addEventListener("keydown", onKey);
  canvas.addEventListener("mousemove", (event) => { const node = frameAt(event); if (node !== state.hovered) { state.hovered = node; redraw(); } showTip(event); });
  canvas.addEventListener("mouseleave", (event) => { state.hovered = -1; showTip(event); redraw(); });
  canvas.addEventListener("click", (event) => { const node = frameAt(event); if (node >= 0) zoomTo(node); });
  scroll.addEventListener("scroll", redraw);
  new ResizeObserver(redraw).observe(scroll);
  $("table").classList.toggle("on", !$("side").classList.contains("off"));
}

setUp();
makeMenus();
setOrder();
refresh();
wire();
zoomTo(ROOT);
