// Plotly, fetched when the first chart is drawn, in the page's colours. Without it charts say what to install.

import { el } from "./dom.js";
import { hasCharts } from "./api.js";

let loading = null;

function plotly() {
  loading ??= new Promise((done, failed) => {
    const script = el("script", { src: "/page/plotly.min.js", on: { load: () => done(window.Plotly), error: failed } });
    document.head.append(script);
  });
  return loading;
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Plotly reads a little markup in texts; a name from a device is none.
export const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

export class Chart {
  // `compose` gives traces and layout when it is drawn, in the colours of then.
  constructor(height, label, compose) {
    this.node = el("div", { class: "chart", role: "img", "aria-label": label });
    this.node.style.height = `${height}px`;
    this.compose = compose;
    this.waiting = false;
    this.last = 0;
    if (!hasCharts())
      this.node.replaceChildren(el("p", { class: "quiet", text: "No charts: they need Plotly. On the daemon's machine: pip install 'streamd[web]', and start it again." }));
  }

  // At most five times a second, however often it is asked for.
  draw() {
    if (this.waiting || !hasCharts()) return;
    this.waiting = true;
    setTimeout(() => requestAnimationFrame(() => this.now()), Math.max(0, 200 - (performance.now() - this.last)));
  }

  async now() {
    const library = await plotly().catch(() => null);
    this.waiting = false;
    if (library === null) {
      loading = null; // another time
      return;
    }
    if (!this.node.isConnected) return;
    this.last = performance.now();
    const made = this.compose();
    if (made === null) return;
    const [traces, layout] = made;
    const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true };
    const base = {
      margin: { l: 52, r: 12, t: 26, b: 32 },
      font: { family: "system-ui, DejaVu Sans, sans-serif", size: 12, color: colour("text") },
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0, bgcolor: "transparent" },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      hovermode: "x unified",
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("text") }, namelength: -1 },
      ...layout,
    };
    if (this.node.clientWidth < 480) Object.assign(base.legend, { entrywidth: 84, font: { size: 10 } });
    for (const key of Object.keys(base)) if (/^[xy]axis\d*$/.test(key)) base[key] = { ...axis, ...base[key] };
    base.xaxis ??= axis;
    base.yaxis ??= axis;
    await library.react(this.node, traces, base, { responsive: true, displayModeBar: false });
  }

  end() {
    if (window.Plotly && this.node.classList.contains("js-plotly-plot")) window.Plotly.purge(this.node);
  }
}

export const dates = (times) => times.map((time) => new Date(time * 1000).toISOString());

// The area between two lines, as two traces.
export function band(x, lower, upper, fillcolor, name) {
  const edge = { x, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
  return [
    { ...edge, y: lower, showlegend: false },
    { ...edge, y: upper, fill: "tonexty", fillcolor, name },
  ];
}

export const alarmLine = () => ({
  type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("alarm"), width: 1, dash: "dot" },
});
