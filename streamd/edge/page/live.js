// One live connection at a time, for the view that is shown. It rests while nobody can see the page.

let source = null;
let wanted = null; // [parameters, handlers]
let onState = () => {};

export function watchState(call) {
  onState = call;
}

// Follow until the next call; handlers by the event's name get what it holds.
export function follow(parameters, handlers) {
  wanted = [parameters, handlers];
  connect();
}

function connect() {
  source?.close();
  if (document.hidden || wanted === null) return;
  const [parameters, handlers] = wanted;
  const mine = (source = new EventSource(`/api/live?${new URLSearchParams(parameters)}`));
  for (const [name, call] of Object.entries(handlers))
    if (name !== "refused") mine.addEventListener(name, (event) => {
      if (mine === source) call(JSON.parse(event.data));
    });
  mine.addEventListener("open", () => onState("live"));
  mine.addEventListener("error", () => {
    if (mine !== source) return;
    // the browser tries again by itself, but not where it was refused
    if (mine.readyState !== EventSource.CLOSED) onState("lost");
    else {
      handlers.refused?.();
      setTimeout(() => mine === source && connect(), 5000);
    }
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
  } else connect();
});
