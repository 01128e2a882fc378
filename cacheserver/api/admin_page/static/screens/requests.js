// Requests: why each was a hit or a miss, and the path it took.
import { html, useState } from "../lib/html.js";
import { address } from "../lib/api.js";
import { steps } from "../lib/decision_path.js";
import { Dialog } from "../lib/dialog.js";
import { duration, moment, money, ratio } from "../lib/format.js";
import { Badge, Button, Card, Copyable, Empty, Loaded, Meter, ScreenHead, Tabs, Time } from "../lib/parts.js";
import { reasonText, vetoText } from "../lib/reasons.js";
import { screenUrl, setParams } from "../lib/router.js";
import { PagedTable, usePages } from "../lib/table.js";
import { Choice, TenantSelect } from "../lib/tenants.js";
import { useApi, useSettled } from "../lib/use.js";
import { visible } from "../lib/visible.js";

const OUTCOMES = ["exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed"];
const TEXTS = [
  ["text", "Question contains", "refund"],
  ["reason", "Reason", "below-bar"],
  ["veto", "Veto", "numeric"],
  ["model", "Model", "claude-…"],
  ["namespace", "Namespace", "default"],
  ["scope", "Scope", "64 hex digits"],
];
const NUMBERS = [
  ["similarity_min", "Similarity from"], ["similarity_max", "to"],
  ["probability_min", "Probability from"], ["probability_max", "to"],
];
const FILTERS = [...TEXTS.map(([name]) => name), ...NUMBERS.map(([name]) => name), "outcome", "from", "to"];

export default function Requests({ session, params }) {
  const admin = session.role !== null;
  const view = admin && params.view === "near" ? "near" : "all";
  const given = Object.fromEntries(FILTERS.filter((name) => params[name]).map((name) => [name, params[name]]));
  if (admin && params.tenant) given.tenant = params.tenant;
  const path = view === "near" ? "/admin/v1/near-misses" : admin ? "/admin/v1/decisions" : "/v1/decisions";
  const settled = JSON.parse(useSettled(JSON.stringify(given), 300));
  // The path is the new view's at once, the filters follow: neither has one that near misses refuse.
  if (view === "near") for (const filters of [given, settled]) delete filters.outcome;
  const pages = usePages(path, settled);
  const opened = params.decision ?? params.id ?? null;
  const filtered = Object.keys(given).some((name) => name !== "tenant");
  return html`<${ScreenHead} title="Requests" lead="Why each request of the last day was a hit or a miss." />
    ${admin && html`<${Tabs} label="Which requests" value=${view} onChange=${(name) => setParams({ view: name === "all" ? null : name })}
      tabs=${[["all", "All requests"], ["near", "Near misses by cost"]]} />`}
    <${Card} title=${view === "near" ? "Misses with a similar question" : "Latest first"} api=${address(path, given)}
      hint=${view === "near" ? "What a hit would have saved, the most expensive first." : null}>
      <${FilterRow} params=${params} admin=${admin} near=${view === "near"} filtered=${filtered} />
      <${PagedTable} pages=${pages} label="Requests" columns=${columns(admin && !params.tenant, view)}
        onOpen=${(row) => setParams({ decision: row.id, of: row.tenant ?? null, id: null })}
        opened=${(row) => row.id === opened}
        empty=${html`<${Empty} title=${filtered ? "No request of the last day matches" : "No request yet"}>
          ${filtered
            ? html`<${Button} onClick=${() => setParams(Object.fromEntries(FILTERS.map((name) => [name, null])))}>Clear the filters<//>`
            : view === "near" ? "Misses that came near a stored question are listed here." : "Send one to /v1/messages or /v1/query; it is listed here at once, for a day."}<//>`} />
    <//>
    ${opened && html`<${Opened} id=${opened} admin=${admin} tenant=${params.of ?? params.tenant ?? session.tenant} />`}`;
}

function columns(tenant, view) {
  const found = [
    { key: "at", label: "When", render: (row) => html`<${Time} at=${row.at} />` },
    ...(tenant ? [{ key: "tenant", label: "Tenant", render: (row) => html`<span class="nowrap">${row.tenant}</span>` }] : []),
    { key: "asked", label: "Question", wide: true, render: (row) => html`<${Question} row=${row} />` },
    { key: "outcome", label: "Outcome", render: (row) => html`<${Badge} kind=${row.outcome} />` },
    { key: "reason", label: "Reason", render: (row) => html`<span class="reason" title=${reasonText(row.decision.reason)}>${row.decision.why ?? row.decision.reason}</span>` },
    { key: "similarity", label: "Similarity", align: "end", render: (row) => ratio(row.decision.similarity) },
    { key: "probability", label: "Probability", align: "end", render: (row) => ratio(row.decision.probability) },
  ];
  if (view === "near") {
    return [...found.filter((one) => one.key !== "outcome"), { key: "would", label: "Would have saved", align: "end", render: (row) => money(row.would_have_saved_usd) }];
  }
  return [
    ...found,
    { key: "cost_usd", label: "Cost", align: "end", render: (row) => money(row.cost_usd) },
    { key: "saved_usd", label: "Saved", align: "end", render: (row) => money(row.saved_usd) },
  ];
}

function Question({ row }) {
  const open = (event) => {
    event.stopPropagation();
    setParams({ decision: row.id, of: row.tenant ?? null, id: null });
  };
  const text = visible(row.asked) ?? withheld(row) ?? "Matched exactly only";
  return html`<button type="button" class=${`row-open ${row.asked === null ? "hint" : ""}`} onClick=${open}>${text}</button>`;
}

function withheld(row) {
  return { "no-content": "No content is kept", "other-key": "Asked with another key" }[row.withheld];
}

function FilterRow({ params, admin, near, filtered }) {
  const [more, setMore] = useState(filtered && FILTERS.some((name) => params[name] && !["text", "outcome", "reason"].includes(name)));
  const input = (name, label, rest) => html`<label key=${name}>${label}
    <input value=${params[name] ?? ""} onInput=${(event) => setParams({ [name]: event.currentTarget.value || null })} ...${rest} /></label>`;
  const first = TEXTS.slice(0, 2);
  return html`<form class="filters" role="search" aria-label="Filter the requests" onSubmit=${(event) => event.preventDefault()}>
    ${admin && html`<${TenantSelect} value=${params.tenant ?? null} onChange=${(tenant) => setParams({ tenant })} />`}
    ${!near && html`<${Choice} label="Outcome" value=${params.outcome} onChange=${(outcome) => setParams({ outcome })}
      options=${[["", "Any"], ...OUTCOMES.map((one) => [one, one])]} />`}
    ${first.map(([name, label, hint]) => input(name, label, { placeholder: hint, spellcheck: false }))}
    ${more && html`
      ${TEXTS.slice(2).map(([name, label, hint]) => input(name, label, { placeholder: hint, spellcheck: false }))}
      ${NUMBERS.map(([name, label]) => input(name, label, { type: "number", min: name.startsWith("s") ? -1 : 0, max: 1, step: 0.01, "aria-label": name.replace("_", " ") }))}
      ${["from", "to"].map((name) => html`<label key=${name}>${name === "from" ? "Since" : "Until"}
        <input type="datetime-local" value=${local(params[name])} onChange=${(event) => setParams({ [name]: utc(event.currentTarget.value) })} /></label>`)}`}
    <${Button} kind="small" aria-expanded=${more} onClick=${() => setMore(!more)}>${more ? "Fewer filters" : "More filters"}<//>
    ${filtered && html`<${Button} kind="small" onClick=${() => setParams(Object.fromEntries(FILTERS.map((name) => [name, null])))}>Clear<//>`}
  </form>`;
}

/** Unix seconds in the address as the browser's field has them, and back. */
function local(seconds) {
  return seconds ? moment(Number(seconds)).replace(" ", "T").slice(0, 16) : "";
}

function utc(text) {
  return text ? String(new Date(text).getTime() / 1000) : null;
}

function Opened({ id, admin, tenant }) {
  const path = admin
    ? `/admin/v1/tenants/${encodeURIComponent(tenant ?? "default")}/decisions/${encodeURIComponent(id)}`
    : `/v1/decisions/${encodeURIComponent(id)}`;
  const found = useApi(path);
  const close = () => setParams({ decision: null, of: null, id: null });
  return html`<${Dialog} title="Request" wide onClose=${close}>
    <${Loaded} of=${found} lines=${10}>
      ${(record) => html`<${Decision} record=${record} path=${path} tenant=${tenant} admin=${admin} />`}
    <//>
  <//>`;
}

function Decision({ record, path, tenant, admin }) {
  return html`<div class="stack">
    <div class="text-block" tabindex="0" role="region" aria-label="Question">${visible(record.asked) ?? withheld(record) ?? "No question is compared: the request is matched exactly only."}</div>
    <div><p><${Badge} kind=${record.outcome} /> ${reasonText(record.decision.reason)}</p>
      <p class="hint">${moment(record.at)} · ${duration(record.seconds)} · cost ${money(record.cost_usd)} · saved ${money(record.saved_usd)}</p></div>
    <ol class="path">${steps(record).map((step) => html`<${Step} key=${step.name} step=${step} record=${record} />`)}</ol>
    <dl class="facts">
      <dt>Decision</dt><dd><${Copyable} text=${record.id} /></dd>
      ${record.entry_id && html`<dt>Stored answer</dt><dd><a href=${screenUrl("entries", { tenant: admin ? tenant : null, entry: record.entry_id })}>${record.entry_id}</a></dd>`}
      ${record.scope && html`<dt>Scope</dt><dd>${admin
        ? html`<a href=${screenUrl("tuning", { tenant, scope: record.scope })}>${visible(record.system) || record.scope.slice(0, 16)}</a>`
        : visible(record.system) || record.scope.slice(0, 16)}</dd>`}
      <dt>All of it</dt><dd><a href=${path} target="_blank" rel="noopener">${path}</a></dd>
    </dl>
  </div>`;
}

const STATES = { passed: "went on", hit: "answered", stopped: "ended here", refused: "refused", skipped: "not reached" };

function Step({ step, record }) {
  return html`<li class=${`path-step path-${step.state}`}>
    <div class="path-head"><h3>${step.title}</h3><span class="path-state">${step.told ?? STATES[step.state]}</span></div>
    <p>${step.text}</p>
    ${step.score && html`<${Score} score=${step.score} />`}
    ${step.facts?.length > 0 && html`<p class="hint">${step.facts.map(([name, value]) => `${name}: ${value}`).join(" · ")}</p>`}
    ${step.candidates?.length > 0 && html`<${Candidates} candidates=${step.candidates} record=${record} />`}
  </li>`;
}

/** A score with the bar marked on it. */
function Score({ score }) {
  return html`<div class="score-bar" style=${{ "--bar": `${Math.max(0, Math.min(1, score.bar)) * 100}%` }}>
    <${Meter} share=${score.value} tone=${score.value >= score.bar ? "good" : "warn"} label=${`${score.label} ${ratio(score.value)}, bar ${ratio(score.bar)}`} />
  </div>`;
}

function Candidates({ candidates, record }) {
  const chosen = record.decision.candidate;
  return html`<ul class="candidates">${candidates.map((one) => html`<li key=${one.entry} class=${one.entry === chosen ? "chosen" : ""}>
    <span>${visible(one.question) ?? html`<span class="hint">A stored question</span>`}</span>
    <span class="hint">${ratio(one.similarity)}${one.probability === null || one.probability === undefined ? "" : ` · p ${ratio(one.probability)}`}${one.veto ? ` · ${one.veto}: ${vetoText(one.veto)}` : ""}</span>
  </li>`)}</ul>`;
}
