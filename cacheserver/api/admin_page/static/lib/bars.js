// Bars: how they read, what is set, and the dialog that tries a bar before it is set.
import { html, useEffect, useState } from "./html.js";
import { send } from "./api.js";
import { Dialog } from "./dialog.js";
import { Form, useForm } from "./form.js";
import { count, money, percent, ratio } from "./format.js";
import { Badge, ErrorBox, Skeleton } from "./parts.js";
import { VETOES } from "./reasons.js";
import { useApi } from "./use.js";
import { visible } from "./visible.js";

/** A bar in words. null: that of the level above. */
export function barText(bar) {
  if (!bar) return "as the level above";
  if (bar.similarity !== null && bar.similarity !== undefined) return `similarity ${ratio(bar.similarity)}`;
  if (bar.target !== null && bar.target !== undefined) return `at most ${percent(bar.target)} wrong`;
  return "exact hits only";
}

/** Where a bar is set, in words. */
export function placeText(level, name) {
  if (level === "tenant") return "the tenant";
  return level === "namespace" ? `namespace ${name}` : "this scope";
}

/** What to send for a step of the slider: what else was set of the bar in force stays, but `vetoesOff`. */
export function barOf(step, inForce, vetoesOff = inForce.vetoes_off) {
  if (step.set.exact_only) return { exact_only: true };
  const kept = inForce.exact_only ? {} : { top_k: inForce.top_k };
  if (vetoesOff.length > 0) kept.vetoes_off = vetoesOff;
  if (inForce.audit_share !== null) kept.audit_share = inForce.audit_share;
  return { ...kept, ...step.set };
}

const LEAST_LABELS = 5; // as for the alert: one verdict is no reason for red

/** The tone of a share of wrong hits against a target: bad and good only where enough labels tell. */
export function wrongTone({ low, high, labels }, target) {
  if (target === null || target === undefined || labels < LEAST_LABELS) return "";
  return low > target ? "bad" : high <= target ? "good" : "warn";
}

/** A number of labels in words. */
export function labelsText(labels) {
  return labels === 1 ? "1 label" : `${count(labels)} labels`;
}

/** The points of a scope's curve that labels tell of, the strictest bar first: one line for every screen. */
export function curvePoints({ curve, steps }) {
  return [...curve, ...steps].filter((point) => point.wrong_rate !== null && point.hit_rate !== null)
    .sort((a, b) => a.hit_rate - b.hit_rate || b.bar - a.bar);
}

/** The path of a tenant's bars. */
export function barsPath(tenant) {
  return `/admin/v1/tenants/${encodeURIComponent(tenant)}/bars`;
}

const LEVELS = ["scope", "namespace", "tenant"];
const VETOED = 20; // questions of a dry run that are looked through for vetoes, the latest
const MOST_SCOPES = 50; // counted for the button's words: each takes milliseconds

/**
 * Ask where the bar of `step` shall hold, at first in its scope alone, and which vetoes under a
 * similarity; show a dry run, and set it.
 */
export function SetBar({ report, step, onClose, onSet }) {
  const unmoved = report.in_force !== null && report.steps[report.in_force] === step;
  const { tenant, scope, namespace } = report;
  const [level, setLevel] = useState("scope");
  const [vetoesOff, setVetoesOff] = useState(report.bar.vetoes_off);
  const bar = barOf(step, report.bar, vetoesOff);
  const name = { scope, namespace }[level];
  const change = { level, ...(name ? { name } : {}), bar };
  const [tried, setTried] = useState({ found: null, error: null });
  useEffect(() => {
    const control = new AbortController();
    setTried({ found: null, error: null });
    send("PUT", barsPath(tenant), { ...change, dry_run: true, limit: VETOED }, { signal: control.signal }).then(
      ({ would_have: found }) => setTried({ found, error: null }),
      (error) => error.name !== "AbortError" && setTried({ found: null, error }),
    );
    return () => control.abort();
  }, [level, vetoesOff]);
  const form = useForm({}, async () => {
    await send("PUT", barsPath(tenant), change);
    onSet(`Set for ${placeText(level, name)}: ${barText(bar)}.`);
  });
  const scopes = useApi("/admin/v1/scopes", { tenant, limit: MOST_SCOPES }).data;
  const reach = reached(scopes, level, report);
  const hidden = LEVELS.indexOf(report.bar.level) < LEVELS.indexOf(level);
  return html`<${Dialog} title=${`Set the bar: ${barText(bar)}`} onClose=${onClose}>
    <fieldset class="levels">
      <legend>Where it holds</legend>
      ${LEVELS.filter((one) => one !== "namespace" || namespace).map((one) => html`<label key=${one}>
        <input type="radio" name="level" value=${one} checked=${one === level} onChange=${() => setLevel(one)} />
        <span>${{ scope: "This scope", namespace: `Namespace ${namespace}`, tenant: `All of ${tenant}` }[one]}</span>
      </label>`)}
    </fieldset>
    ${hidden && html`<p class="note">This scope has a bar on a narrower level (${report.bar.level}), which stays in force here.</p>`}
    ${bar.similarity !== undefined && html`<${Vetoes} off=${vetoesOff} onChange=${setVetoesOff} open=${unmoved} />`}
    ${tried.error && html`<${ErrorBox} error=${tried.error} />`}
    ${!tried.error && (tried.found ? html`<${Tried} found=${tried.found} same=${unmoved && vetoesOff === report.bar.vetoes_off} />` : html`<${Skeleton} lines=${4} />`)}
    <${Form} form=${form} submit=${reach} cancel=${onClose} />
  <//>`;
}

/** The vetoes of a bar by similarity, as switches: under a target all of them count as evidence. */
function Vetoes({ off, onChange, open }) {
  const names = Object.keys(VETOES).filter((name) => name !== "unreadable" || off.includes(name));
  const set = (name, holds) => onChange(holds ? off.filter((one) => one !== name) : [...off, name]);
  const text = off.length === 0 ? "all hold" : `off: ${off.join(", ")}`;
  return html`<details class="more-options" open=${open}><summary>Vetoes, ${text}</summary>
    <p class="hint">A veto keeps a stored answer from a question that differs in this way, however similar they are. Switch one off only where such answers serve: the figures below show what begins.</p>
    <fieldset class="levels vetoes">
      <legend>Vetoes that hold</legend>
      ${names.map((name) => html`<label key=${name}>
        <input type="checkbox" checked=${!off.includes(name)} onChange=${(event) => set(name, event.currentTarget.checked)} />
        <span>${name} <span class="hint">${VETOES[name]}</span></span>
      </label>`)}
    </fieldset>
  </details>`;
}

const WIDTH = { tenant: 0, namespace: 1, scope: 2 }; // a bar of a narrower level stays in force

/** The words of the button: how many scopes of the last day the bar will hold in. */
function reached(scopes, level, { tenant, namespace }) {
  if (level === "scope") return "Set for this scope";
  const name = level === "tenant" ? `all of ${tenant}` : `namespace ${namespace}`;
  if (!scopes) return `Set for ${name}`;
  const held = scopes.items.filter((one) =>
    (level === "tenant" || one.namespace === namespace) && WIDTH[one.bar.level] <= WIDTH[level]).length;
  return `Set for ${name}, ${held === 1 ? "1 scope" : `${scopes.next ? "more than " : ""}${count(held)} scopes`}`;
}

/** What a dry run found: before and after, side by side. */
function Tried({ found, same }) {
  const { replayed, per_day: day } = found;
  const vetoed = found.questions.items.filter((one) => one.veto && one.asked);
  if (replayed.decisions === 0) {
    return html`<p class="note">${same
      ? "This bar is in force here: nothing changes until a veto is switched."
      : "No decision of the last day depended on this bar, so nothing can be foreseen."}</p>`;
  }
  const rows = [
    day
      ? ["Similar hits a day", count(day.hits_before), count(day.hits_after)]
      : ["Similar hits", count(replayed.hits_before), count(replayed.hits_after)],
    day
      ? ["Saved a day", money(day.saved_before_usd), money(day.saved_after_usd)]
      : ["Saved", money(replayed.saved_before_usd), money(replayed.saved_after_usd)],
    ["Wrong of similar hits", wrongText(found.wrong_before), wrongText(found.wrong_after)],
  ];
  return html`<table class="compare">
      <thead><tr><th scope="col">Replayed: the last ${count(replayed.decisions)} decisions</th><th class="end" scope="col">Now</th><th class="end" scope="col">Then</th></tr></thead>
      <tbody>${rows.map(([label, ...cells]) => html`<tr key=${label}>
        <th scope="row">${label}</th>${cells.map((cell, i) => html`<td key=${i} class="end">${cell}</td>`)}</tr>`)}</tbody>
    </table>
    <p class="hint">Wrong: by the labels that each bar would serve, as beside the slider. Become hits: ${count(replayed.begun)}. Become misses: ${count(replayed.ended)}.${
      replayed.untold ? ` Not told by the records: ${count(replayed.untold)}.` : ""}</p>
    ${vetoed.length > 0 && html`<h3>Change sides by a veto</h3>
      <ul class="vetoed">${vetoed.map((one) => html`<li key=${one.decision_id}>
        <${Badge} tone=${one.change === "begins" ? "warn" : null}>${one.veto} ${one.change === "begins" ? "off" : "on"}<//>
        ${` ${visible(one.asked)} `}<span class="hint">${one.change === "begins" ? "gets" : "no longer gets"} the answer to</span>${` ${visible(one.question)}`}
      </li>`)}</ul>`}`;
}

/** The share of wrong hits with its interval, as beside the slider; what is not known is said. */
function wrongText(wrong) {
  if (!wrong) return "no labels";
  const [low, high] = wrong.interval;
  return html`<div>${percent(wrong.share)}<div class="hint">${percent(low)} to ${percent(high)} by ${labelsText(wrong.labels)}</div></div>`;
}
