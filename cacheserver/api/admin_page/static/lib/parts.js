// Small parts that all screens are made of.
import { html, useEffect, useRef, useState } from "./html.js";
import { onConnection } from "./api.js";
import { ago, moment } from "./format.js";

/** A screen's head: title, one line about it, and what can be done. */
export function ScreenHead({ title, lead, children }) {
  useEffect(() => {
    document.title = `${title} · cacheserver`;
  }, [title]);
  return html`<header class="screen-head">
    <div>
      <h1 tabindex="-1">${title}</h1>
      ${lead && html`<p class="lead">${lead}</p>`}
    </div>
    ${children && html`<div class="actions">${children}</div>`}
  </header>`;
}

/** A titled area. `api` is the address of the call that gives its figures. */
export function Card({ title, hint, api, actions, class: more = "", children }) {
  return html`<section class=${`card ${more}`} aria-label=${title}>
    ${(title || actions) &&
    html`<div class="card-head">
      <h2>${title}</h2>
      ${api && html`<${ApiLink} href=${api} />`}
      ${actions && html`<div class="actions">${actions}</div>`}
    </div>`}
    ${hint && html`<p class="hint">${hint}</p>`}
    ${children}
  </section>`;
}

/** The link to the API call behind a figure. */
export function ApiLink({ href }) {
  return html`<a class="api-link" href=${href} target="_blank" rel="noopener" title=${`GET ${href}`}
    >API<span class="sr-only"> call that gives these figures</span></a
  >`;
}

/** One figure: a label, a value, and what to compare it with. `tone`: "good", "bad", "warn". */
export function Figure({ label, value, note, tone, api, title }) {
  return html`<div class="figure">
    <div class="figure-label">${label}${api && html` <${ApiLink} href=${api} />`}</div>
    <div class=${`figure-value ${tone ? `tone-${tone}` : ""}`} title=${title}>${value}</div>
    ${note && html`<div class="figure-note">${note}</div>`}
  </div>`;
}

/** Figures side by side. */
export function Figures({ children }) {
  return html`<div class="figures">${children}</div>`;
}

/** A word with a colour: outcomes (`exact`, `semantic`, ...), states, or a `tone`. */
export function Badge({ kind, tone, children }) {
  return html`<span class=${`badge ${kind ? `kind-${kind}` : ""} ${tone ? `tone-${tone}` : ""}`}
    >${children ?? kind}</span
  >`;
}

/** A moment, as how long ago it was; the whole of it on hover. */
export function Time({ at }) {
  return html`<time title=${moment(at)}>${ago(at)}</time>`;
}

/** A button. `kind`: "primary", "danger" or plain; `busy` shows that it works. */
export function Button({ kind = "", busy = false, disabled, children, ...rest }) {
  return html`<button type="button" class=${`button ${kind}`} aria-busy=${busy}
    disabled=${disabled || busy} ...${rest}>${children}</button>`;
}

/** Grey bars in place of what is being read. */
export function Skeleton({ lines = 3 }) {
  return html`<div class="skeleton" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, (_, i) => html`<div key=${i}></div>`)}
  </div>`;
}

/** An area without data: what that means and what to do next. */
export function Empty({ title, children }) {
  return html`<div class="empty">
    <p class="empty-title">${title}</p>
    ${children && html`<div>${children}</div>`}
  </div>`;
}

/**
 * What went wrong, and a way to try again if that can help: a refusal stays one. It tries by itself
 * when the server can be reached again, or somebody has signed in again.
 */
export function ErrorBox({ error, retry }) {
  const again = useRef(null);
  again.current = retry;
  useEffect(() => {
    const cure = { 0: "online", 401: "signed-in" }[error.status];
    return cure && onConnection((state) => state === cure && again.current?.());
  }, [error.status]);
  const { status = 0 } = error; // 0: the server was not reached
  const helps = retry && (status === 0 || status === 429 || status >= 500);
  return html`<div class="error-box" role="alert">
    <p>${error.message}</p>
    ${error.requestId && html`<p class="hint">Request ${error.requestId}</p>`}
    ${helps && html`<${Button} onClick=${retry}>Try again<//>`}
  </div>`;
}

/** What `useApi` found: loading, an error, or `children(data)`. Old data stay while it is read. */
export function Loaded({ of, lines = 3, children }) {
  if (of.data !== null) {
    return html`${of.error && html`<${ErrorBox} error=${of.error} retry=${of.reload} />`}
    ${children(of.data)}`;
  }
  if (of.error) return html`<${ErrorBox} error=${of.error} retry=${of.reload} />`;
  return html`<${Skeleton} lines=${lines} />`;
}

/** A part of a whole, 0..1, with its text beside it. */
export function Meter({ share, label, tone }) {
  const width = Math.max(0, Math.min(1, share || 0)) * 100;
  return html`<div class="meter" role="img" aria-label=${label}>
    <div class=${tone ? `tone-${tone}` : ""} style=${{ width: `${width}%` }}></div>
  </div>`;
}

/** One of several views; `tabs` is `[[name, label], ...]`. */
export function Tabs({ tabs, value, onChange, label }) {
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex(([name]) => name === value);
    const next = tabs[(at + step + tabs.length) % tabs.length][0];
    onChange(next);
    event.currentTarget.querySelector(`[data-tab="${next}"]`)?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} onKeyDown=${move}>
    ${tabs.map(
      ([name, text]) => html`<button key=${name} type="button" role="tab" data-tab=${name}
        aria-selected=${name === value} tabindex=${name === value ? 0 : -1}
        onClick=${() => onChange(name)}>${text}</button>`,
    )}
  </div>`;
}

/** Text in a monospaced font with a button that copies it, or selects it where a page may not copy. */
export function Copyable({ text }) {
  const [said, setSaid] = useState("Copy");
  const code = useRef(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      // there is no clipboard for a page over plain HTTP, and a person may refuse it
      getSelection().selectAllChildren(code.current);
      setSaid("Press Ctrl+C");
    }
    setTimeout(() => setSaid("Copy"), 4000);
  };
  return html`<span class="copyable"><code ref=${code}>${text}</code>
    <${Button} onClick=${copy}><span aria-live="polite">${said}</span><//></span>`;
}

let announce = () => {};

/** Say something briefly at the foot of the page, aloud for screen readers. */
export function notify(text, tone = "good") {
  announce({ text, tone });
}

/** Where `notify` shows. Once, in the frame. */
export function Notices() {
  const [notice, setNotice] = useState(null);
  useEffect(() => {
    announce = setNotice;
    return () => {
      announce = () => {};
    };
  }, []);
  useEffect(() => {
    if (notice === null) return undefined;
    const timer = setTimeout(() => setNotice(null), 5000);
    return () => clearTimeout(timer);
  }, [notice]);
  return html`<div class="notices" role="status" aria-live="polite">
    ${notice && html`<div class=${`notice tone-${notice.tone}`}>${notice.text}</div>`}
  </div>`;
}
