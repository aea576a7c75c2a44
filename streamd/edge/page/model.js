// A group's network: how it learns, what became of each training job, and what its memory of a stream keeps.

import { el, setText } from "./dom.js";
import { Chart, colour, dates } from "./charts.js";
import * as format from "./format.js";

const GATES = { kept: "forget gate: what is kept", taken: "input gate: what is taken in", shown: "output gate: what is shown", cell: "cell" };

export function show(context, group = context.about.groups[0].name, stream = null) {
  const { view, about } = context;
  let model = null;
  let memory = null;
  let gate = "kept";
  const groups = el("select", { "aria-label": "Group", on: { change: () => context.go("model", groups.value) } },
    ...about.groups.map(({ name }) => el("option", { value: name, text: name, selected: name === group })));
  const facts = el("div", { class: "tiles" });
  const since = el("p", { class: "quiet" });
  const losses = new Chart(260, "Losses of the training jobs", composeLosses);
  const gates = new Chart(420, "Gate activations over the last frames", composeGates);
  const lives = new Chart(180, "How long cells keep what they hold", composeLives);
  const which = el("input", { type: "text", "aria-label": "Stream", placeholder: "stream", value: stream ?? "", on: { change: () => look() } });
  const layer = el("select", { "aria-label": "Layer", on: { change: () => look() } });
  const kind = el("select", { "aria-label": "Gate", on: { change: () => { gate = kind.value; gates.draw(); } } },
    ...Object.entries(GATES).map(([value, text]) => el("option", { value, text })));
  const told = el("p", { class: "quiet" });

  view.replaceChildren(
    el("div", { class: "top" }, el("h1", { text: "Model" }), el("span", { class: "buttons" }, groups, context.freezing(group))),
    facts,
    el("section", {}, el("h2", { text: "Training" }), since, losses.node),
    el("section", {}, el("h2", { text: "What the memory keeps" }),
      el("p", { class: "quiet", text: "The LSTM's cells over the last frames of one stream, through the weights in use; each line is a cell, those that keep most on top." }),
      el("p", { class: "choice" }, "Stream ", which, " Layer ", layer, " ", kind, " ",
        el("button", { type: "button", text: "Look again", on: { click: () => look() } })),
      told, gates.node, lives.node));

  const tile = (name, value) => el("div", { class: "tile" }, el("b", { text: value }), el("span", { text: name }));

  async function load() {
    model = await context.get("model", { group });
    const jobs = model.jobs;
    const taken = jobs.filter((job) => job[2]).length;
    facts.replaceChildren(
      tile("state", model.frozen ? "frozen" : model.enabled ? "learning" : "switched off"),
      tile("frames seen", model.frames.toLocaleString("en")),
      tile("jobs since the start", String(jobs.length)),
      tile("installed", jobs.length ? `${taken} (${format.percent(taken / jobs.length)})` : "0"),
      tile("windows in memory", `${model.windows} of ${model.most_windows}`),
      tile("frames to the next job", model.enabled && !model.frozen ? Math.max(0, model.due_at - model.frames).toLocaleString("en") : "–"),
      tile("schedule stretched", model.stretch ? `${format.number(model.stretch, 3)} ×` : "held: readings are late"),
      tile("weights", model.weights.toLocaleString("en")));
    setText(since, jobs.length
      ? `${model.layers} layers of ${model.hidden} cells, ${model.channels} channels. The newest ${jobs.length} jobs since the daemon was started; a candidate is installed when it is no worse on windows held back.`
      : `${model.layers} layers of ${model.hidden} cells, ${model.channels} channels. No training job has ended since the daemon was started.`);
    if (layer.options.length !== model.layers) {
      layer.replaceChildren(...Array.from({ length: model.layers }, (_, i) => el("option", { value: i, text: i + 1 })));
      layer.value = model.layers - 1;
    }
    losses.draw();
  }

  async function look() {
    if (which.value === "") return;
    try {
      memory = await context.get("memory", { group, stream: which.value, layer: layer.value || 0 });
    } catch (error) {
      setText(told, error.message);
      return;
    }
    const half = [...memory.half_life].sort((a, b) => a - b);
    setText(told, `${memory.time.length} frames up to reading ${memory.seq + memory.time.length - 1}; half of the cells keep half of what they hold for more than ${format.number(half[half.length >> 1], 3)} frames, the longest for ${format.number(half[half.length - 1], 3)}.`);
    gates.draw();
    lives.draw();
  }

  function composeLosses() {
    if (!model?.jobs.length) return null;
    const x = model.jobs.map((job) => job[1]);
    const line = (at, name, tone) => ({ x, y: model.jobs.map((job) => job[at]), mode: "lines", name, line: { color: colour(tone), width: 1.5 } });
    const dropped = model.jobs.filter((job) => !job[2]);
    return [[
      line(4, "trained windows", "quiet"), line(5, "held back, before", "term-3"), line(6, "held back, candidate", "accent"),
      { x: dropped.map((job) => job[1]), y: dropped.map((job) => job[6]), mode: "markers", name: "not installed", text: dropped.map((job) => job[3].replace("_", " ")), marker: { color: colour("alarm"), symbol: "x", size: 7 } },
    ], { xaxis: { title: { text: "frames" } }, yaxis: { title: { text: "loss" } } }];
  }

  function composeGates() {
    if (!memory) return null;
    const scale = gate === "cell" ? [[0, colour("term-3")], [0.5, colour("raised")], [1, colour("accent")]] : [[0, colour("raised")], [1, colour("accent")]];
    const bound = gate === "cell" ? Math.max(0.01, ...memory.cell.flat().map(Math.abs)) : 1;
    return [[{
      type: "heatmap", z: memory[gate], x: dates(memory.time), colorscale: scale, zmin: gate === "cell" ? -bound : 0, zmax: bound,
      text: undefined, hovertemplate: "cell %{customdata}, %{x}: %{z}<extra></extra>",
      customdata: memory.cells.map((cell) => memory.time.map(() => cell)), colorbar: { thickness: 10, outlinewidth: 0 },
    }], { hovermode: "closest", yaxis: { autorange: "reversed", showticklabels: false, ticks: "", title: { text: "cells" } }, margin: { l: 40, r: 10, t: 10, b: 32 } }];
  }

  function composeLives() {
    if (!memory) return null;
    return [[{ x: memory.cells.map((_, i) => i + 1), y: memory.half_life, type: "bar", marker: { color: colour("accent") }, customdata: memory.cells, hovertemplate: "cell %{customdata}: %{y} frames<extra></extra>" }],
      { hovermode: "closest", xaxis: { title: { text: "cells, in the same order" } }, yaxis: { title: { text: "half-life, frames" }, type: "log" } }];
  }

  async function begin() {
    await load();
    if (which.value === "") which.value = (await context.anyStream(group)) ?? "";
    await look();
  }

  let beats = 0;
  context.follow({ view: "model" }, { pulse: () => { beats += 1; if (beats % 3 === 0) load(); } });
  begin();
  return {
    title: "Model",
    redraw: () => [losses, gates, lives].forEach((chart) => chart.draw()),
    key(event) {
      if (event.key !== "Escape") return false;
      if (stream !== null) context.back("stream", group, stream);
      else context.back("streams");
      return true;
    },
    end: () => [losses, gates, lives].forEach((chart) => chart.end()),
  };
}
