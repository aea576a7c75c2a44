// Asks the daemon, and gives it commands. The token lives in this tab only, and goes out in a header only.

const KEY = "streamd-token";
let rights = { writable: false, charts: false };

export class Refused extends Error {}

export async function get(name, parameters = {}) {
  const answer = await fetch(`/api/${name}?${new URLSearchParams(parameters)}`, { credentials: "omit" });
  if (!answer.ok) throw new Refused((await answer.text()).trim() || `status ${answer.status}`);
  return answer.json();
}

export async function loadRights() {
  rights = await get("rights");
  return rights;
}

export const mayWrite = () => rights.writable;
export const hasCharts = () => rights.charts;
export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const setToken = (token) => (token ? sessionStorage.setItem(KEY, token) : sessionStorage.removeItem(KEY));

// The daemon's words on what it did. Throws Refused with its reason.
export async function command(verb, body) {
  const token = sessionStorage.getItem(KEY);
  if (!token) throw new Refused("no token was given");
  const answer = await fetch(`/api/command/${verb}`, {
    method: "POST",
    credentials: "omit",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (answer.status === 401) setToken(null);
  if (!answer.headers.get("Content-Type")?.startsWith("application/json")) throw new Refused(text.trim());
  const said = JSON.parse(text);
  if (!said.ok) throw new Refused(said.text);
  return said.text;
}
