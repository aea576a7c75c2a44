// The daemon itself: whether it can be relied on, its queues, its journal and checkpoints, in the words of its metrics.

import { el } from "./dom.js";
import * as format from "./format.js";

export function show(context) {
  const { view } = context;
  const state = el("div", { class: "tiles" });
  const reasons = el("ul", { class: "said" });
  const sections = el("div", { class: "columns even" });
  view.replaceChildren(el("div", { class: "top" }, el("h1", { text: "Health" })), state, reasons, sections);

  const tile = (name, value, kind = "") => el("div", { class: `tile ${kind}` }, el("b", { text: value }), el("span", { text: name }));
  const shown = (figure, sample, now) => {
    if (figure.name.endsWith("timestamp_seconds")) return sample.value ? `${format.lasted(now - sample.value)} ago` : "never";
    if (figure.name.endsWith("_bytes")) return format.bytes(sample.value);
    return format.number(sample.value);
  };

  function draw(health) {
    const every = new Map(health.sections.flatMap((section) => section.figures.map((figure) => [figure.name, figure])));
    const sum = (name) => every.get(name)?.samples.reduce((total, sample) => total + (sample.value ?? 0), 0) ?? 0;
    const ratios = every.get("streamd_alarm_rate_ratio").samples.filter((sample) => sample.value !== null);
    const worst = ratios.length ? Math.max(...ratios.map((sample) => sample.value)) : null;
    const checkpoint = sum("streamd_checkpoint_timestamp_seconds");
    state.replaceChildren(
      tile("readiness", health.ready ? "ready" : "not ready", health.ready ? "ok" : "alarm"),
      tile("running for", format.lasted(health.time - health.since)),
      tile("readings taken in", sum("streamd_readings").toLocaleString("en")),
      tile("journal", format.bytes(sum("streamd_journal_bytes"))),
      tile("checkpoint", checkpoint ? `${format.lasted(health.time - checkpoint)} old` : "none yet"),
      tile("alarms over budget", worst === null ? "–" : `${format.number(worst, 3)} ×`, worst > 2 ? "uneasy" : ""),
      tile("open incidents", String(sum("streamd_incidents_open"))),
      tile("version", health.version));
    reasons.replaceChildren(...health.reasons.map((text) => el("li", { text })));
    sections.replaceChildren(...health.sections.map((section) => el("section", {}, el("h2", { text: section.title }),
      el("table", { class: "figures" }, el("tbody", {}, ...section.figures.flatMap((figure) => figure.samples.map((sample) =>
        el("tr", { title: figure.help },
          el("td", {}, figure.name.replace(/^streamd_/, "").replaceAll("_", " "), " ", el("span", { class: "quiet", text: Object.values(sample.labels).join(" · ") })),
          el("td", { class: "numeric", text: shown(figure, sample, health.time) })))))))));
  }

  const load = async () => draw(await context.get("health"));
  let beats = 0;
  context.follow({ view: "health" }, { pulse: () => { beats += 1; if (beats % 2 === 0) load(); } });
  load();
  return {
    title: "Health",
    key(event) {
      if (event.key !== "Escape") return false;
      context.back("streams");
      return true;
    },
    end() {},
  };
}
