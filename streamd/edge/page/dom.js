// Makes elements. All text is set as text: what comes from a device can never become markup.

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "on") for (const [event, call] of Object.entries(value)) made.addEventListener(event, call);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A table from texts or elements; `rows` may hold either.
export function table(head, rows, caption) {
  const row = (cells, tag) => el("tr", {}, ...cells.map((cell) => el(tag, {}, cell)));
  return el("div", { class: "wide" },
    el("table", {},
      caption ? el("caption", { text: caption }) : null,
      el("thead", {}, row(head, "th")),
      el("tbody", {}, ...rows.map((cells) => row(cells, "td")))));
}

// A share or a size as a bar, with the number beside it.
export function bar(share, text, kind = "") {
  const fill = el("span", { class: `fill ${kind}` });
  fill.style.width = `${Math.max(0, Math.min(1, share || 0)) * 100}%`;
  return el("span", { class: "bar" }, el("span", { class: "track" }, fill), el("span", { class: "number", text }));
}

export const badge = (state) => el("span", { class: `badge ${state}`, text: `${SIGNS[state] ?? ""} ${state}` });
export const SIGNS = { alarm: "▲", silent: "○", uneasy: "△", warming: "…", ok: "●", open: "▲", over: "✓" };

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
