"use strict";
// Draws the figures for what the reader chose. Each trace says under which choice it is shown; arrays are kept once.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const arrays = data.arrays.map(({ kind, data }) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    return kind === "f4" ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
  });
  const base = {
    margin: { l: 70, r: 20, t: 10, b: 45 },
    font: { family: "system-ui, DejaVu Sans, sans-serif", size: 13, color: "#1e293b" },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hovermode: "x unified",
    hoverlabel: { namelength: -1 },
    paper_bgcolor: "white",
    plot_bgcolor: "white",
  };
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const choice = { channel: 0, step: 0, origin: Math.max(0, Math.floor(data.origins.length * 0.7)) };

  const spec = (one) => {
    const made = { ...one };
    for (const axis of ["x", "y", "z"]) if (made[axis] && made[axis].array !== undefined) made[axis] = arrays[made[axis].array];
    return made;
  };
  const all = Math.max(...data.figures.errors.traces.map(({ when }) => when.channel ?? 0));

  const drawOne = (name) => {
    const figure = data.figures[name];
    const chosen = name === "errors" && find("all").checked ? { ...choice, channel: all } : choice;
    const shown = figure.traces.filter(({ when }) => Object.entries(when).every(([key, value]) => chosen[key] === value));
    // Copies, as Plotly writes into what it is given.
    const layout = structuredClone({ ...base, ...figure.layout });
    if (layout.uirevision) {
      // A zoom in time survives another choice, one in values does not: channels differ in their units.
      for (const axis of ["yaxis", "yaxis2"]) if (layout[axis]) layout[axis].uirevision = `${choice.channel} ${choice.step}`;
    }
    Plotly.react(name, shown.map((trace) => spec(trace.spec)), layout, config);
  };
  const uses = (name, key) => data.figures[name].traces.some(({ when }) => key in when);
  const draw = (key) => {
    for (const name of Object.keys(data.figures)) if (key === undefined || uses(name, key)) drawOne(name);
    find("moment").textContent = data.origins[choice.origin];
    find("origin").value = choice.origin;
    for (const row of document.querySelectorAll("tr[data-channel]"))
      row.classList.toggle("chosen", Number(row.dataset.channel) === choice.channel);
  };
  const choose = (key, value) => {
    choice[key] = value;
    draw(key);
  };

  for (const key of ["channel", "step"]) find(key).addEventListener("change", (event) => choose(key, Number(event.target.value)));
  const last = data.origins.length - 1;
  find("origin").max = last;
  find("origin").addEventListener("input", (event) => choose("origin", Number(event.target.value)));
  find("earlier").addEventListener("click", () => choose("origin", Math.max(0, choice.origin - 1)));
  find("later").addEventListener("click", () => choose("origin", Math.min(last, choice.origin + 1)));
  find("all").addEventListener("change", () => drawOne("errors"));
  for (const row of document.querySelectorAll("tr[data-channel]"))
    row.addEventListener("click", () => {
      const channel = Number(row.dataset.channel);
      if (channel >= find("channel").options.length) return;
      find("channel").value = channel;
      choose("channel", channel);
    });
  for (const row of document.querySelectorAll("tr[data-range]"))
    row.addEventListener("click", () => {
      const [begin, end] = row.dataset.range.split(" ").map(Number);
      const room = Math.max(end - begin, data.step * 20) * 2;
      Plotly.relayout("scores", { "xaxis.range": [begin - room, end + room], "yaxis.autorange": true });
      find("scores").scrollIntoView({ behavior: "smooth", block: "center" });
    });
  if (!data.figures.weights) find("weights").remove();
  draw();
})();
