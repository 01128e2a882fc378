// Numbers, money and times as people read them. Missing values are a dash.
const NONE = "–";

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

/** US dollars from the API's decimal text or a number: `$1,234.50`, `$0.0021`, `-$0.40`. */
export function money(usd) {
  if (missing(usd)) return NONE;
  const value = Number(usd);
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size >= 1000) return `${sign}$${Math.round(size).toLocaleString("en-US")}`;
  if (size >= 1) return `${sign}$${size.toFixed(2)}`;
  if (size < 0.000001) return "≈$0";
  const digits = Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(size))));
  return `${sign}$${size.toFixed(digits)}`;
}

/** A share as `12.3%`, `−4.0%` or `1,423%`; small ones keep two digits that count. */
export function percent(share, digits = null) {
  if (missing(share)) return NONE;
  const value = Number(share) * 100;
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size >= 1000) return `${sign}${Math.round(size).toLocaleString("en-US")}%`;
  const shown = digits ?? (size === 0 || size >= 10 ? 0 : size >= 1 ? 1 : 2);
  return `${sign}${size.toFixed(size >= 99.5 && size < 100 ? 1 : shown)}%`;
}

/** A whole number with separators; from a million on `1.2M`. */
export function count(value) {
  if (missing(value)) return NONE;
  const number = Number(value);
  if (Math.abs(number) >= 1e6) return `${(number / 1e6).toFixed(1)}M`;
  return Math.round(number).toLocaleString("en-US");
}

/** A cosine or probability, three digits. */
export function ratio(value, digits = 3) {
  return missing(value) ? NONE : Number(value).toFixed(digits);
}

/** Bytes as `1.2 MB`. */
export function bytes(value) {
  if (missing(value)) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = Number(value);
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${size >= 10 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** Seconds as `350 µs`, `12 ms`, `3.2 s`, `5 min`, `2 h`, `3 d`. */
export function duration(seconds) {
  if (missing(seconds)) return NONE;
  const s = Number(seconds);
  if (s < 0) return `−${duration(-s)}`;
  if (s === 0) return "0 s";
  if (s < 0.001) return `${Math.round(s * 1e6)} µs`;
  if (s < 1) return `${s < 0.01 ? (s * 1000).toFixed(1) : Math.round(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

/** Unix seconds, or an ISO time, as a `Date`; null if there is none. */
export function date(value) {
  if (missing(value)) return null;
  const found = typeof value === "number" ? new Date(value * 1000) : new Date(value);
  return Number.isNaN(found.getTime()) ? null : found;
}

/** A moment as `2026-11-29 14:03:07`, in the browser's zone. */
export function moment(value) {
  const at = date(value);
  if (at === null) return NONE;
  const two = (n) => String(n).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** How long ago a moment was, or how far ahead it is: `3 min ago`, `in 2 h`. */
export function ago(value, now = Date.now()) {
  const at = date(value);
  if (at === null) return NONE;
  const seconds = (now - at.getTime()) / 1000;
  if (Math.abs(seconds) < 2) return "now";
  return seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

// What a validator says of a value, and the same in plain words.
const PLAIN = [
  [/greater than or equal to/, "at least"],
  [/less than or equal to/, "at most"],
  [/greater than/, "more than"],
  [/a valid integer.*/, "a whole number"],
  [/a valid (number|list|boolean).*/, "a $1"],
  [/a valid string.*/, "a text"],
];

/** The message of an error beside the field that it names: `must be at least 1`. */
export function fieldMessage(message) {
  const said = message.replace(/^`[^`]*`: /, "");
  if (!/^input should be /i.test(said)) return said;
  const rest = said.replace(/^input should be /i, "");
  const [wrong, plain] = PLAIN.find(([one]) => one.test(rest)) ?? [/^$/, ""];
  return `must be ${rest.replace(wrong, plain)}`;
}
