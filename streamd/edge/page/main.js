// The page's frame: which view is shown, the keyboard, the theme, the token, and how the daemon is doing.

import { command, get, hasToken, loadRights, mayWrite, Refused, setToken } from "./api.js";
import { el, setText } from "./dom.js";
import { follow, watchState } from "./live.js";

const find = (id) => document.getElementById(id);
const VIEWS = {
  streams: () => import("./streams.js"),
  stream: () => import("./stream.js"),
  incidents: () => import("./incidents.js"),
  incident: () => import("./incident.js"),
  model: () => import("./model.js"),
  health: () => import("./health.js"),
};
const TABS = { stream: "streams", incident: "incidents" };

let about = null;
let current = null;
let asked = 0; // so that a view that took long to load does not replace a later one
let frozen = new Set();
let lostAt = null;
const freezers = new Set(); // buttons

const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;
const go = (...parts) => {
  location.hash = link(...parts);
};

const context = {
  get view() { return find("view"); },
  get about() { return about; },
  get,
  link,
  go,
  back: go,
  order,
  freezing,
  // Follow live; every view hears how the daemon is doing.
  follow(parameters, handlers) {
    follow(parameters, { ...handlers, pulse: (news) => { beat(news); handlers.pulse?.(news); } });
  },
  async anyStream(group) {
    const found = await new Promise((done) => {
      const source = new EventSource("/api/live?view=streams");
      source.addEventListener("streams", (event) => { source.close(); done(JSON.parse(event.data)); });
    });
    return found.new.find(([, place]) => about.groups[place].name === group)?.[2];
  },
};

function parse() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  try {
    return parts.map(decodeURIComponent);
  } catch {
    return [];
  }
}

async function route() {
  const mine = (asked += 1);
  const [name = "streams", ...parts] = parse();
  const known = Object.hasOwn(VIEWS, name) ? name : "streams";
  for (const tab of document.querySelectorAll("nav a"))
    tab.toggleAttribute("aria-current", tab.hash === link(TABS[known] ?? known));
  let module;
  try {
    [module, about] = await Promise.all([VIEWS[known](), get("about")]); // channels may have come
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    find("view").replaceChildren(el("p", { class: "quiet", text: `The daemon is not there yet: ${error.message}.` }));
    setTimeout(() => mine === asked && route(), 1000);
    return;
  }
  if (mine !== asked) return;
  current?.end();
  freezers.clear();
  current = module.show(context, ...parts);
  window.streamd = { marks: current.marks ?? null };
  document.title = `${current.title} · streamd`;
  document.body.dataset.view = known;
  find("view").focus({ preventScroll: true });
  if (known !== "streams") scrollTo(0, 0);
}

function beat(news) {
  lostAt = null;
  const pulse = find("pulse");
  pulse.className = `pulse ${news.reasons.length ? "alarm" : "ok"}`;
  setText(pulse, news.reasons.length ? news.reasons[0] : `live · ${news.known.toLocaleString("en")} streams`);
  pulse.title = news.reasons.join("\n");
  find("open").hidden = news.open === 0;
  setText(find("open"), String(news.open));
  frozen = new Set(news.frozen);
  freezers.forEach((button) => button.tell());
}

watchState((state) => {
  if (state !== "lost") return;
  lostAt ??= Date.now();
  const pulse = find("pulse");
  pulse.className = "pulse alarm";
  setText(pulse, "no connection to the daemon");
});

// A button that freezes a group's network, or lets it learn again.
function freezing(group) {
  const button = el("button", {
    type: "button", data: { group, verb: "freeze" },
    on: { click: async (event) => {
      event.stopPropagation();
      if ((await order(button.dataset.verb, { group })) === null) return;
      if (button.dataset.verb === "freeze") frozen.add(group);
      else frozen.delete(group);
      freezers.forEach((one) => one.tell());
    } },
  });
  button.tell = () => {
    const is = frozen.has(group);
    button.dataset.verb = is ? "thaw" : "freeze";
    button.title = is ? `The network of ${group} does not learn` : `Stop training the network of ${group}; forecasts and scores go on`;
    setText(button, `${is ? "Thaw" : "Freeze"}${about.groups.length > 1 ? ` ${group}` : ""}`);
  };
  button.tell();
  freezers.add(button);
  return button;
}

// Carry out a command, after asking for the token where there is none; what the daemon said, or null.
async function order(verb, body) {
  if (!mayWrite()) {
    notice("This page only shows: the config's [http] names no token_file.", true);
    return null;
  }
  if (!hasToken() && !(await askToken())) return null;
  try {
    const said = await command(verb, body);
    notice(said === "done" ? `${verb}: done` : `${verb}: ${said}`);
    return said;
  } catch (error) {
    notice(`${verb}: ${error.message}`, true);
    return null;
  } finally {
    tellToken();
  }
}

function askToken() {
  const dialog = find("ask");
  find("given").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      const given = find("given").value.trim();
      find("given").value = "";
      if (dialog.returnValue === "yes") setToken(given);
      tellToken();
      done(hasToken());
    }, { once: true });
  });
}

function tellToken() {
  const button = find("token");
  setText(button, !mayWrite() ? "Read-only" : hasToken() ? "Forget token" : "Enter token");
  button.disabled = !mayWrite();
  button.title = mayWrite() ? "What changes something needs the token" : "The config's [http] names no token_file";
}

let fading = 0;
function notice(text, wrong = false) {
  const box = find("notice");
  setText(box, text);
  box.className = `notice ${wrong ? "wrong" : ""}`;
  box.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { box.hidden = true; }, 6000);
}

const THEMES = ["auto", "light", "dark"];
function setTheme(theme) {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem("streamd-theme", theme);
  setText(find("theme"), theme[0].toUpperCase() + theme.slice(1));
  current?.redraw?.();
}

function start() {
  const stored = localStorage.getItem("streamd-theme");
  setTheme(THEMES.includes(stored) ? stored : "auto");
  find("theme").addEventListener("click", () => {
    const now = localStorage.getItem("streamd-theme");
    setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => current?.redraw?.());
  find("cancel").addEventListener("click", () => find("ask").close("no"));
  find("token").addEventListener("click", () => {
    if (hasToken()) {
      setToken(null);
      tellToken();
    } else askToken();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || find("ask").open || current === null) return;
    const tag = event.target.tagName;
    const writes = tag === "INPUT" && event.key !== "Escape" && event.key !== "Enter" && !event.key.startsWith("Arrow");
    const acts = (tag === "BUTTON" || tag === "A" || tag === "SELECT") && event.key !== "Escape" && event.key !== "/";
    const chooses = tag === "SELECT" && event.key !== "Escape";
    if (writes || chooses || (acts && event.key === "Enter")) return;
    if (current.key(event)) event.preventDefault();
  });
  window.addEventListener("hashchange", route);
  route();
  loadRights().then(tellToken);
}

start();
