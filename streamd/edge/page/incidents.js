// Incidents, the open ones first: what was to blame, and what people say of it.

import { badge, el } from "./dom.js";
import * as format from "./format.js";

const SAID = { false: "false alarm", real: "real" };
export const where = (incident) => incident.stream || `${incident.streams.length} streams at once`;

// The buttons about one incident; those of many streams are judged by their members'.
export function buttons(context, entry, after) {
  const { group, incident, verdict } = entry;
  if (!incident.stream) return el("span", { class: "quiet", text: "judged by its members' incidents" });
  const say = (verb, body) => async (event) => {
    event.stopPropagation();
    if ((await context.order(verb, { group, incident: incident.id, ...body })) !== null) after();
  };
  const button = (text, verb, body, pressed) =>
    el("button", { type: "button", text, "aria-pressed": pressed, data: { verb, verdict: body.verdict ?? "" }, on: { click: say(verb, body) } });
  return el("span", { class: "buttons" },
    button("False alarm", "feedback", { verdict: "false" }, verdict === "false"),
    button("Real", "feedback", { verdict: "real" }, verdict === "real"),
    verdict ? button("Take back", "withdraw", {}, false) : null);
}

export function show(context) {
  const { view, about } = context;
  let all = [];
  let chosen = 0;
  const search = el("input", { type: "search", placeholder: "Search incidents ( / )", "aria-label": "Search incidents" });
  const list = el("div", { class: "cards" });
  const said = el("span", { class: "quiet", role: "status" });
  view.replaceChildren(
    el("div", { class: "bar-top" }, search, said,
      el("span", { class: "buttons" }, ...about.groups.map((group) => context.freezing(group.name)))),
    list);

  const matching = () => {
    const text = search.value.toLowerCase();
    return all.filter(({ group, incident }) => `${group} ${incident.id} ${where(incident)}`.toLowerCase().includes(text));
  };

  function draw() {
    const found = matching();
    const open = found.filter(({ incident }) => incident.end === null).length;
    said.textContent = `${open} open, ${found.length - open} past`;
    list.replaceChildren(...found.slice(0, 200).map(card));
    if (!found.length) list.append(el("p", { class: "quiet", text: all.length ? "None matches." : "There was no incident yet." }));
  }

  function card(entry, place) {
    const { group, incident, verdict } = entry;
    const open = incident.end === null;
    const blamed = Object.entries(incident.channels).sort((a, b) => b[1] - a[1]).filter(([, share]) => share >= 0.05).slice(0, 3);
    const spoke = Object.entries(incident.terms).filter(([, term]) => term >= 1).map(([name]) => name);
    return el("article", {
      class: `card ${open ? "open" : "over"}`, "aria-selected": place === chosen, data: { incident: incident.id, group },
      on: { click: () => context.go("incident", group, incident.id) },
    },
      el("div", { class: "first" },
        badge(open ? "open" : "over"),
        el("a", { href: context.link("incident", group, incident.id), text: where(incident) }),
        el("span", { class: "quiet", text: `${group} · ${incident.id}` }),
        verdict ? el("span", { class: "verdict", text: SAID[verdict] }) : null),
      el("div", { class: "second" },
        el("span", { text: `score ${format.score(incident.score)}` }),
        el("span", { text: spoke.join(", ") }),
        el("span", { text: blamed.map(([name, share]) => `${name} ${format.percent(share)}`).join(", ") }),
        el("span", { class: "quiet", text: `${format.moment(incident.start)} ${open ? "→ now" : `for ${format.lasted(incident.end - incident.start)}${incident.reason ? `, ${incident.reason}` : ""}`}` })),
      buttons(context, entry, reload));
  }

  function sortAll() {
    all.sort((a, b) => (a.incident.end === null ? 0 : 1) - (b.incident.end === null ? 0 : 1));
  }

  function hear(entry) {
    all = all.filter((one) => !(one.group === entry.group && one.incident.id === entry.incident.id));
    all.unshift(entry);
    sortAll();
    draw();
  }

  async function reload() {
    all = await context.get("incidents");
    sortAll();
    draw();
  }

  search.addEventListener("input", () => {
    chosen = 0;
    draw();
  });
  context.follow({ view: "incidents" }, { incident: hear, missed: reload });
  reload();
  return {
    title: "Incidents",
    key(event) {
      const found = matching();
      if (event.key === "/" && document.activeElement !== search) search.focus();
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        chosen = Math.max(0, Math.min(found.length - 1, chosen + (event.key === "ArrowDown" ? 1 : -1)));
        draw();
        list.children[chosen]?.scrollIntoView({ block: "nearest" });
      } else if (event.key === "Enter" && found[chosen]) context.go("incident", found[chosen].group, found[chosen].incident.id);
      else if (event.key === "Escape") {
        if (search.value === "") context.back("streams");
        search.value = "";
        search.blur();
        draw();
      } else return false;
      return true;
    },
    end() {},
  };
}
