// One stream, live: what came beside what was expected, what is expected now, what is strange, and whom the mix trusts.

import { badge, bar, el, setText } from "./dom.js";
import { alarmLine, band, Chart, colour, dates, plain } from "./charts.js";
import * as format from "./format.js";

const KEPT = 600; // frames
const MARGIN = { l: 64, r: 12, t: 26, b: 32 };

export function show(context, group, stream) {
  const { view } = context;
  let about = null; // channels, terms, experts, coverage
  let frames = []; // {seq, time, values, mean, lower, upper, score, terms}, oldest first
  let last = null; // parts, forecast, weights of the newest
  let channel = 0;
  let picked = false; // by the reader

  const state = el("span");
  const facts = el("p", { class: "quiet", id: "facts" });
  const incidents = el("p", { class: "links" });
  const channels = el("tbody");
  const weights = el("div", { class: "bars", id: "weights" });
  const terms = el("div", { class: "bars", id: "terms" });
  const values = new Chart(330, "Values and forecast", composeValues);
  const scores = new Chart(210, "Score and its terms", composeScores);
  const title = el("h2", { text: "…" });

  view.replaceChildren(
    el("div", { class: "top" },
      el("h1", {}, el("span", { text: stream }), " ", state),
      el("span", { class: "buttons" },
        el("a", { class: "button", href: context.link("model", group, stream), text: "What the memory keeps" }),
        context.freezing(group))),
    facts, incidents,
    el("section", {}, title, values.node, scores.node),
    el("div", { class: "columns" },
      el("section", {}, el("h2", { text: "Channels" }),
        el("div", { class: "wide" },
          el("table", { class: "channels" },
            el("thead", {}, el("tr", {}, ...["Channel", "Last value", "Expected was", "Next", "Interval", "Part in the score"].map((text) => el("th", { text })))),
            channels))),
      el("section", {}, el("h2", { text: "The score's terms" }), terms,
        el("h2", { text: "Whom the forecast trusts" }), weights)));

  function begin(look) {
    about = look;
    frames = [];
    add(look.frames);
  }

  function add(news) {
    const known = frames.length ? frames[frames.length - 1].seq : -1;
    news.time.forEach((time, i) => {
      const seq = news.seq + i;
      if (seq <= known) return;
      const frame = { seq, time };
      for (const key of ["values", "mean", "lower", "upper", "score", "terms"]) frame[key] = news[key][i];
      frames.push(frame);
    });
    if (frames.length > KEPT) frames.splice(0, frames.length - KEPT);
    last = { ...news, parts: news.parts ?? last?.parts ?? null };
    if (!picked && news.parts) channel = Math.max(0, news.parts.indexOf(Math.max(...news.parts.map((part) => part ?? -1))));
    draw();
  }

  function draw() {
    const frame = frames[frames.length - 1];
    if (frame === undefined || about.channels.length === 0) {
      setText(facts, "No reading since it was begun anew.");
      return;
    }
    if (state.dataset.state !== last.state) {
      state.dataset.state = last.state;
      state.replaceChildren(badge(last.state));
    }
    setText(facts, `group ${group} · reading ${frame.seq} at ${format.moment(frame.time)} · score ${format.score(frame.score)} · a reading each ${format.lasted(about.interval)}${last.warming < 1 ? ` · warmed up by ${format.percent(last.warming)}` : ""}`);
    Object.assign(facts.dataset, { seq: frame.seq, score: frame.score });
    setText(title, about.channels[channel]);
    drawChannels(frame);
    const top = Math.max(1, ...frame.terms.map((term) => term ?? 0));
    terms.replaceChildren(...about.terms.map((term, i) => line(term, bar(frame.terms[i] / top, format.score(frame.terms[i]), frame.terms[i] >= 1 ? "alarm" : ""))));
    weights.replaceChildren(...about.experts.map((expert, i) =>
      line(expert === "network" ? "network's correction" : expert, bar(last.weights[i]?.[channel], format.percent(last.weights[i]?.[channel])))));
    values.draw();
    scores.draw();
  }

  const line = (name, what) => el("div", { class: "line" }, el("span", { text: name }), what);

  function drawChannels(frame) {
    const next = last.forecast;
    const cell = (c, key, value, exact) => el("td", { class: "numeric", text: value, data: { key, exact: exact ?? "", channel: about.channels[c] } });
    channels.replaceChildren(...about.channels.map((name, c) =>
      el("tr", { "aria-selected": c === channel, on: { click: () => pick(c) } },
        el("td", {}, el("button", { type: "button", class: "plain", text: name })),
        cell(c, "value", format.number(frame.values[c]), frame.values[c]),
        cell(c, "was", format.number(frame.mean[c]), frame.mean[c]),
        cell(c, "mean", format.number(next?.mean[0]?.[c]), next?.mean[0]?.[c]),
        el("td", { class: "numeric" },
          el("span", { text: format.number(next?.lower[0]?.[c], 4), data: { key: "lower", exact: next?.lower[0]?.[c] ?? "", channel: name } }),
          " … ",
          el("span", { text: format.number(next?.upper[0]?.[c], 4), data: { key: "upper", exact: next?.upper[0]?.[c] ?? "", channel: name } })),
        el("td", { data: { key: "part", exact: last.parts?.[c] ?? "", channel: name } },
          last.parts ? bar(last.parts[c] / Math.max(1, ...last.parts), format.score(last.parts[c]), last.parts[c] >= 1 ? "alarm" : "") : "with the next reading"))));
  }

  function pick(c) {
    picked = true;
    channel = c;
    draw();
  }

  function composeValues() {
    if (!frames.length || !about.channels.length) return null;
    const x = dates(frames.map((frame) => frame.time));
    const of = (key) => frames.map((frame) => frame[key][channel]);
    const traces = [
      ...band(x, of("lower"), of("upper"), colour("band"), `${format.percent(about.coverage)} interval`),
      { x, y: of("mean"), mode: "lines", name: "expected", line: { color: colour("accent"), width: 1 } },
      { x, y: of("values"), mode: "lines+markers", name: "came", line: { color: colour("text"), width: 2 }, marker: { size: 3 } },
    ];
    const fan = last.forecast;
    if (fan && fan.times.every((time) => time !== null)) {
      const now = frames[frames.length - 1]; // where the fan opens
      const ahead = dates([now.time, ...fan.times]);
      const each = (key) => [now.values[channel], ...fan[key].map((row) => row[channel])];
      traces.push(...band(ahead, each("lower"), each("upper"), colour("fan"), "forecast interval"),
        { x: ahead, y: each("mean"), mode: "lines", name: "forecast", line: { color: colour("fan-line"), width: 2, dash: "dot" } });
    }
    return [traces, { xaxis: { range: reach() }, yaxis: { title: { text: plain(about.channels[channel]) } }, margin: MARGIN }];
  }

  function composeScores() {
    if (!frames.length) return null;
    const x = dates(frames.map((frame) => frame.time));
    const colours = ["term-1", "term-2", "term-3", "term-4"];
    const traces = about.terms.map((term, i) => ({
      x, y: frames.map((frame) => frame.terms[i]), mode: "lines", name: term, line: { color: colour(colours[i]), width: 1.5 },
    }));
    // below the terms, the largest of which it is
    traces.unshift({ x, y: frames.map((frame) => frame.score), mode: "lines", name: "score", line: { color: colour("under"), width: 5 } });
    const top = Math.max(1.2, ...frames.map((frame) => frame.score ?? 0));
    return [traces, { xaxis: { range: reach() }, yaxis: { title: { text: "score" }, range: [0, top * 1.05] }, shapes: [alarmLine()], margin: MARGIN }];
  }

  // Both charts have the same times above each other.
  function reach() {
    const ends = [frames[frames.length - 1].time, ...(last.forecast?.times ?? [])].filter((time) => time !== null);
    return dates([frames[0].time, Math.max(...ends)]);
  }

  async function listIncidents() {
    const all = (await context.get("incidents")).filter((one) => one.group === group && one.incident.stream === stream);
    incidents.replaceChildren(...(all.length ? ["Incidents: "] : []), ...all.slice(0, 8).flatMap((one) => [
      el("a", { class: one.incident.end === null ? "open" : "", href: context.link("incident", group, one.incident.id), text: `${one.incident.id}${one.incident.end === null ? " (open)" : ""}` }), " "]));
  }

  const sayWhy = () => context.get("stream", { group, stream }).catch((error) => setText(facts, `Nothing to show: ${error.message}.`));
  const follow = () => context.follow({ view: "stream", group, stream }, { stream: begin, frame: add, missed: follow, incident: listIncidents, refused: sayWhy });
  follow();
  listIncidents();
  return {
    title: stream,
    redraw: draw,
    key(event) {
      if (event.key === "Escape") context.back("streams");
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        if (about) pick((channel + (event.key === "ArrowDown" ? 1 : -1) + about.channels.length) % about.channels.length);
      } else return false;
      return true;
    },
    end() {
      values.end();
      scores.end();
    },
  };
}
