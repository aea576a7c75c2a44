// One incident: why it was raised, in words, numbers and pictures, and what earlier was like it.

import { badge, el, table } from "./dom.js";
import { alarmLine, band, Chart, colour, dates, plain } from "./charts.js";
import { buttons, where } from "./incidents.js";
import * as format from "./format.js";

const PANELS = 3; // channels that are drawn at first

export function show(context, group, id) {
  const { view } = context;
  const body = el("div");
  const top = el("div", { class: "top" });
  view.replaceChildren(top, body);
  let charts = [];
  let again = 0;

  function head(entry) {
    const { incident } = entry;
    top.replaceChildren(
      el("h1", {},
        incident.stream ? el("a", { href: context.link("stream", group, incident.stream), text: where(incident) }) : where(incident),
        " ", badge(incident.end === null ? "open" : "over")),
      el("span", { class: "buttons" }, buttons(context, entry, load), context.freezing(group)));
  }

  async function load() {
    clearTimeout(again);
    const entry = (await context.get("incidents")).find((one) => one.group === group && one.incident.id === id);
    if (entry) head(entry);
    const why = await context.get("incident", { group, id });
    if (why === null) {
      const text = entry ? "Its frames get to the archive a second or two after it was told." : "There is no such incident in the archive.";
      body.replaceChildren(el("p", { class: "quiet", text }));
      if (entry) again = setTimeout(load, 1500);
      return;
    }
    if (!entry) head(why);
    charts.forEach((chart) => chart.end());
    charts = why.around ? drawn(why) : [];
    const members = why.incident.streams;
    body.replaceChildren(
      el("p", { class: "quiet", text: `group ${group} · ${id}${why.incident.part_of ? ` · part of ${why.incident.part_of}` : ""}` }),
      el("ul", { class: "said" }, ...why.sentences.map((text) => el("li", { text }))),
      ...(members.length ? [el("section", {}, el("h2", { text: "Streams that went together" }),
        el("p", { class: "links" }, ...members.flatMap((name) => [el("a", { href: context.link("stream", group, name), text: name }), " "])))] : []),
      ...(charts.length ? [el("section", {}, el("h2", { text: "What came, and what was expected" }), ...charts.map((chart) => chart.node))] : []),
      ...(why.peak.length ? [el("section", {}, el("h2", { text: "At the peak" }), table(why.peak_head, why.peak))] : []),
      el("section", {}, el("h2", { text: "Earlier ones, the nearest first" }),
        why.like.length ? table(why.like_head, why.like.map(([name, ...rest]) => [el("a", { href: context.link("incident", group, name), text: name }), ...rest]))
          : el("p", { class: "quiet", text: `None of the ${why.compared} that came before can be compared with it.` })));
    charts.forEach((chart) => chart.draw());
  }

  function drawn(why) {
    const { around, incident } = why;
    const x = dates(around.time);
    const end = incident.end ?? around.time[around.time.length - 1];
    const span = () => ({ type: "rect", yref: "paper", y0: 0, y1: 1, x0: dates([incident.start])[0], x1: dates([end])[0], fillcolor: colour("alarm-soft"), line: { width: 0 }, layer: "below" });
    const panels = around.channels.slice(0, PANELS).map((name, c) => new Chart(210, `Channel ${name}`, () => {
      const of = (key) => around[key].map((row) => row[c]);
      return [[
        ...band(x, of("lower"), of("upper"), colour("band"), "expected interval"),
        { x, y: of("mean"), mode: "lines", name: "expected", line: { color: colour("accent"), width: 1 } },
        { x, y: of("values"), mode: "lines", name: "came", line: { color: colour("text"), width: 2 } },
      ], { yaxis: { title: { text: plain(name) } }, shapes: [span()] }];
    }));
    const scores = new Chart(200, "Score and its terms", () => {
      const names = Object.keys(around.scores).filter((name) => name !== "score");
      const traces = names.map((name, i) => ({ x, y: around.scores[name], mode: "lines", name, line: { color: colour(`term-${i + 1}`), width: 1.5 } }));
      traces.unshift({ x, y: around.scores.score, mode: "lines", name: "score", line: { color: colour("under"), width: 5 } });
      return [traces, { yaxis: { title: { text: "score" }, rangemode: "tozero" }, shapes: [span(), alarmLine()] }];
    });
    return [...panels, scores];
  }

  context.follow({ view: "incidents" }, {
    incident: (entry) => {
      if (entry.group === group && entry.incident.id === id) {
        head(entry);
        again = setTimeout(load, 2500); // the frames get to the archive a second or two later
      }
    },
    missed: load,
  });
  load();
  return {
    title: id,
    redraw: () => charts.forEach((chart) => chart.draw()),
    key(event) {
      if (event.key !== "Escape") return false;
      context.back("incidents");
      return true;
    },
    end() {
      clearTimeout(again);
      charts.forEach((chart) => chart.end());
    },
  };
}
