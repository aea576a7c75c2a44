// All streams: searchable, sorted by trouble, and only as many rows in the document as can be seen.

import { el, setText, SIGNS } from "./dom.js";
import * as format from "./format.js";

const ROW = 40; // px, as in page.css
const TROUBLE = 3; // states before this place are trouble

const COLUMNS = [
  ["state", "State", (a, b) => a.state - b.state],
  ["stream", "Stream", (a, b) => (a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : 0)],
  ["group", "Group", (a, b) => a.group - b.group],
  ["score", "Score", (a, b) => (b.score ?? -1) - (a.score ?? -1)],
  ["term", "Term", (a, b) => a.term - b.term],
  ["time", "Last reading", (a, b) => b.time - a.time],
];
const byName = COLUMNS[1][2];

// What is calm stands still: scores count only where there is trouble.
function byTrouble(a, b) {
  if (a.state !== b.state) return a.state - b.state;
  if (a.state < TROUBLE && a.score !== b.score) return (b.score ?? -1) - (a.score ?? -1);
  return byName(a, b) || a.id - b.id;
}

export function show(context) {
  const { about, view } = context;
  const rows = new Map(); // id -> row
  let shown = []; // rows that match, in order
  let sort = null; // [compare, sign]; null: by trouble
  let only = null; // state
  let chosen = null; // id
  let leftOut = 0;
  let stale = true; // the order has to be made anew
  let asked = false;
  const marks = { events: 0, rows: 0, drawn: 0 };

  const search = el("input", { type: "search", placeholder: "Search streams ( / )", "aria-label": "Search streams", id: "search" });
  const counts = el("div", { class: "counts" });
  const said = el("span", { class: "quiet", role: "status" });
  const head = el("div", { class: "row head", role: "row" });
  const space = el("div", { class: "space" });
  const port = el("div", { class: "port", tabindex: "0", role: "grid", "aria-label": "Streams" }, space);
  const pool = [];

  for (const [key, title, compare] of COLUMNS)
    head.append(el("button", { type: "button", class: `cell ${key}`, text: title, role: "columnheader", on: { click: () => sortBy(compare) } }));
  const trouble = el("button", { type: "button", class: "chip", text: "by trouble", title: "Sort the worst first", on: { click: () => sortBy(null) } });
  const chips = about.states.map((state, place) =>
    el("button", { type: "button", class: `chip ${state}`, on: { click: () => choose(place) } }));
  counts.append(...chips, trouble, said);
  view.replaceChildren(el("div", { class: "bar-top" }, search, counts), el("div", { class: "grid" }, head, port));

  function sortBy(compare) {
    if (compare === null) sort = null;
    else sort = sort !== null && sort[0] === compare ? [compare, -sort[1]] : [compare, 1];
    stale = true;
    port.scrollTop = 0;
    ask();
  }

  function choose(place) {
    only = only === place ? null : place;
    stale = true;
    ask();
  }

  function take(news) {
    marks.events += 1;
    marks.rows += news.id.length;
    if (news.whole) rows.clear();
    for (const id of news.gone) rows.delete(id);
    for (const [id, group, stream] of news.new)
      rows.set(id, { id, group, stream, seq: -1, state: -1, score: null, term: -1, time: 0, warming: 0 });
    if (news.whole || news.gone.length || news.new.length) stale = true;
    for (let i = 0; i < news.id.length; i += 1) {
      const row = rows.get(news.id[i]);
      if (row === undefined) continue;
      const state = news.state[i];
      if (row.state !== state || (state < TROUBLE && row.score !== news.score[i]) || sort !== null || only !== null) stale = true;
      row.seq = news.seq[i];
      row.state = state;
      row.score = news.score[i];
      row.term = news.term[i];
      row.time = news.time[i];
      row.warming = news.warming[i];
    }
    leftOut = news.left_out;
    news.counts.forEach((count, place) => setText(chips[place], `${SIGNS[about.states[place]]} ${count} ${about.states[place]}`));
    ask();
  }

  function arrange() {
    stale = false;
    const text = search.value.toLowerCase();
    const matches = (row) =>
      (only === null || row.state === only) &&
      (text === "" || row.stream.toLowerCase().includes(text) || about.groups[row.group].name.toLowerCase().includes(text));
    shown = [...rows.values()].filter(matches);
    shown.sort(sort === null ? byTrouble : (a, b) => sort[1] * sort[0](a, b) || byTrouble(a, b));
    space.style.height = `${shown.length * ROW}px`;
    port.setAttribute("aria-rowcount", shown.length);
    chips.forEach((chip, place) => chip.setAttribute("aria-pressed", only === place));
    trouble.setAttribute("aria-pressed", sort === null);
    const more = leftOut ? `; ${leftOut} more are not listed: search` : "";
    setText(said, shown.length === rows.size && !more ? `${rows.size} streams` : `${shown.length} of ${rows.size}${more}`);
  }

  function made() {
    const cells = Object.fromEntries(COLUMNS.map(([key]) => [key, el("span", { class: `cell ${key}`, role: "gridcell" })]));
    const mark = el("span", { class: "badge" });
    const fill = el("span", { class: "fill" });
    const value = el("span", { class: "number" });
    cells.state.append(mark);
    cells.score.append(value, el("span", { class: "track" }, fill));
    const row = el("div", { class: "row", role: "row" }, ...Object.values(cells));
    row.addEventListener("click", () => open(row.item));
    space.append(row);
    return Object.assign(row, { cells, mark, fill, value, item: null });
  }

  function draw() {
    asked = false;
    if (!port.isConnected) return;
    if (stale) arrange();
    const first = Math.max(0, Math.floor(port.scrollTop / ROW) - 4);
    const last = Math.min(shown.length, Math.ceil((port.scrollTop + port.clientHeight) / ROW) + 4);
    while (pool.length < last - first) pool.push(made());
    pool.forEach((row, i) => {
      const item = i < last - first ? shown[first + i] : null;
      row.hidden = item === null;
      if (item !== null) fill(row, item, first + i);
    });
    marks.drawn += 1;
  }

  function fill(row, item, place) {
    const state = about.states[item.state];
    row.item = item;
    row.id = `row-${item.id}`;
    row.style.transform = `translateY(${place * ROW}px)`;
    row.setAttribute("aria-rowindex", place + 1);
    row.setAttribute("aria-selected", item.id === chosen);
    row.dataset.stream = item.stream;
    row.dataset.seq = item.seq;
    row.dataset.score = item.score;
    if (row.mark.className !== `badge ${state}`) row.mark.className = `badge ${state}`;
    setText(row.mark, `${SIGNS[state]} ${state}${state === "warming" ? ` ${Math.floor(item.warming * 100)} %` : ""}`);
    setText(row.cells.stream, item.stream);
    setText(row.cells.group, about.groups[item.group].name);
    setText(row.value, format.score(item.score));
    row.fill.style.width = `${Math.min(item.score ?? 0, 2) * 50}%`;
    row.fill.className = `fill ${state === "warming" ? state : item.score >= 1 ? "alarm" : item.score >= 0.7 ? "uneasy" : "ok"}`;
    setText(row.cells.term, about.terms[item.term] ?? "–");
    setText(row.cells.time, item.seq < 0 ? "–" : format.moment(item.time));
  }

  function ask() {
    if (!asked) {
      asked = true;
      requestAnimationFrame(draw);
    }
  }

  function open(item) {
    if (item) context.go("stream", about.groups[item.group].name, item.stream);
  }

  function move(by) {
    const at = shown.findIndex((row) => row.id === chosen);
    const place = Math.max(0, Math.min(shown.length - 1, at < 0 ? 0 : at + by));
    if (!shown[place]) return;
    chosen = shown[place].id;
    port.setAttribute("aria-activedescendant", `row-${chosen}`);
    if (place * ROW < port.scrollTop) port.scrollTop = place * ROW;
    else if ((place + 1) * ROW > port.scrollTop + port.clientHeight) port.scrollTop = (place + 1) * ROW - port.clientHeight;
    ask();
  }

  const follow = () => context.follow({ view: "streams", ...(leftOut && search.value ? { search: search.value } : {}) }, { streams: take });
  let later = 0;
  search.addEventListener("input", () => {
    stale = true;
    port.scrollTop = 0;
    ask();
    clearTimeout(later);
    if (leftOut) later = setTimeout(follow, 300); // what is not listed can only be found there
  });
  port.addEventListener("scroll", ask, { passive: true });
  const resized = new ResizeObserver(ask);
  resized.observe(port);
  follow();

  return {
    title: "Streams",
    marks,
    key(event) {
      const page = Math.max(1, Math.floor(port.clientHeight / ROW) - 1);
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
      if (event.key === "/" && document.activeElement !== search) search.focus();
      else if (event.key in steps) move(steps[event.key]);
      else if (event.key === "Enter") open(shown.find((row) => row.id === chosen) ?? (search.value ? shown[0] : undefined));
      else if (event.key === "Escape") {
        search.value = "";
        only = null;
        stale = true;
        search.blur();
        ask();
      } else return false;
      return true;
    },
    end: () => resized.disconnect(),
  };
}
