// Numbers and times as text. Times are UTC, as everywhere in streamd.

export function number(value, digits = 5) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-4)) return value.toExponential(digits - 2);
  return String(Number(value.toPrecision(digits)));
}

export function score(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1000 ? value.toExponential(1) : value.toFixed(2);
}

export function moment(epoch) {
  if (epoch === null || epoch === undefined) return "–";
  const date = new Date(epoch * 1000);
  if (Number.isNaN(date.getTime())) return `${epoch} s`;
  return date.toISOString().slice(0, 19).replace("T", " ");
}

export function lasted(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} d`;
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  for (; count >= 1000 && at < units.length - 1; at += 1) count /= 1000;
  return `${at === 0 ? count : count.toFixed(1)} ${units[at]}`;
}

export const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(share * 100)} %`);
