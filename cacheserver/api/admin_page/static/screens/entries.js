// Entries: stored answers, searched, read and changed.
import { html, useState } from "../lib/html.js";
import { address, send } from "../lib/api.js";
import { ConfirmPurge, OpenedEntry } from "../lib/entry.js";
import { count, money } from "../lib/format.js";
import { Badge, Button, Card, Empty, ScreenHead, Time, notify } from "../lib/parts.js";
import { setParams } from "../lib/router.js";
import { PagedTable, usePages } from "../lib/table.js";
import { Choice, TenantSelect } from "../lib/tenants.js";
import { useSettled } from "../lib/use.js";
import { visible } from "../lib/visible.js";

const HOUR_S = 3600;
const AGES = [
  ["", "Any age"],
  [`newer_than_s=${HOUR_S}`, "Newer than an hour"],
  [`newer_than_s=${24 * HOUR_S}`, "Newer than a day"],
  [`older_than_s=${24 * HOUR_S}`, "Older than a day"],
  [`older_than_s=${7 * 24 * HOUR_S}`, "Older than a week"],
];
const HITS = [["", "Any hits"], ["hits_max=0", "Never served"], ["hits_min=1", "Served"], ["hits_min=10", "Served 10 times or more"]];
const TEXTS = [["text", "Question contains", "refund"], ["tag", "Tag", "docs/pricing"]];
const MORE = [["model", "Model", "claude-…"], ["namespace", "Namespace", "default"], ["context", "Context key", "page@v1"], ["scope", "Scope", "64 hex digits"]];
const FILTERS = ["text", "tag", "model", "namespace", "context", "scope", "newer_than_s", "older_than_s", "hits_min", "hits_max", "pinned"];

export default function Entries({ session, params }) {
  const admin = session.role !== null;
  const path = admin ? "/admin/v1/entries" : "/v1/entries";
  const given = Object.fromEntries(FILTERS.filter((name) => params[name]).map((name) => [name, params[name]]));
  if (admin && params.tenant) given.tenant = params.tenant;
  const pages = usePages(path, useSettled(given, 300));
  const [tried, setTried] = useState(null);
  const filtered = Object.keys(given).length > 0;
  const conditions = () => purgeBody(given);
  const tryPurge = async () => {
    try {
      const found = await send("POST", "/admin/v1/purge", { ...conditions(), dry_run: true });
      if (found.would_purge === 0) notify("Nothing stored matches.", "warn");
      else setTried(found);
    } catch (error) {
      notify(error.message, "bad");
    }
  };
  const purge = async (phrase) => {
    const body = { ...conditions(), ...(tried.confirm ? { confirm: phrase } : {}) };
    const { purged } = await send("POST", "/admin/v1/purge", body);
    notify(`${count(purged)} stored ${purged === 1 ? "answer is" : "answers are"} purged.`);
    pages.reload();
  };
  return html`<${ScreenHead} title="Entries" lead="Stored answers: what they are, how often they served, and what they saved.">
      ${session.role === "all" && html`<${Button} kind="danger" onClick=${tryPurge}>${filtered ? "Purge what is listed…" : "Purge everything…"}<//>`}
    <//>
    <${Card} title="Newest first" api=${address(path, given)}>
      <${FilterRow} params=${params} admin=${admin} filtered=${filtered} />
      <${PagedTable} pages=${pages} label="Stored answers" columns=${columns(admin && !params.tenant)}
        onOpen=${open} opened=${(row) => row.id === params.entry}
        empty=${html`<${Empty} title=${filtered ? "No stored answer matches" : "Nothing is stored yet"}>
          ${filtered
            ? html`<${Button} onClick=${clear}>Clear the filters<//>`
            : "Each answer of Claude that may be shared is stored and listed here."}<//>`} />
    <//>
    ${params.entry && html`<${OpenedEntry} id=${params.entry} tenant=${params.of ?? params.tenant ?? session.tenant} session=${session}
      onClose=${() => setParams({ entry: null, of: null })} changed=${pages.reload}
      gone=${(id) => pages.replace((rows) => rows.filter((row) => row.id !== id))} />`}
    ${tried && html`<${ConfirmPurge} tried=${tried} send=${purge} onClose=${() => setTried(null)} />`}`;
}

function open(row) {
  setParams({ entry: row.id, of: row.tenant });
}

function clear() {
  setParams(Object.fromEntries(FILTERS.map((name) => [name, null])));
}

/** The filters of the list as the conditions of a purge; without any, all. */
function purgeBody(given) {
  if (Object.keys(given).length === 0) return { all: true };
  const typed = Object.entries(given).map(([name, value]) => {
    if (name === "pinned") return [name, value === "true"];
    return [name, /_s$|^hits/.test(name) ? Number(value) : value];
  });
  return Object.fromEntries(typed);
}

function columns(tenant) {
  return [
    { key: "question", label: "Question", wide: true, render: (row) => html`<${Question} row=${row} />` },
    { key: "answer", label: "Answer", wide: true, render: (row) => html`<span class="clamp">${visible(row.answer) ?? ""}</span>` },
    ...(tenant ? [{ key: "tenant", label: "Tenant", render: (row) => html`<span class="nowrap">${row.tenant}</span>` }] : []),
    { key: "hits", label: "Hits", align: "end", render: (row) => count(row.hits) },
    { key: "saved_usd", label: "Saved", align: "end", render: (row) => money(row.saved_usd) },
    { key: "model", label: "Model", render: (row) => html`<span class="nowrap">${row.model}</span>` },
    { key: "created_at", label: "Created", render: (row) => html`<${Time} at=${row.created_at} />` },
    { key: "expires_at", label: "Expires", render: (row) => html`<${Time} at=${row.expires_at} />` },
  ];
}

function Question({ row }) {
  const click = (event) => {
    event.stopPropagation();
    open(row);
  };
  const text = visible(row.question) ?? (row.withheld ? "Not shown" : "Matched exactly only");
  return html`<button type="button" class=${`row-open ${row.question === null ? "hint" : ""}`} onClick=${click}>${text}</button>
    ${row.origin === "curated" && html` <${Badge} tone="good">curated<//>`}${row.origin === "own" && html` <${Badge}>own<//>`}${row.pinned && html` <${Badge}>pinned<//>`}${row.expired && html` <${Badge} tone="warn">expired<//>`}`;
}

function FilterRow({ params, admin, filtered }) {
  const [more, setMore] = useState(MORE.some(([name]) => params[name]));
  const pair = (options) => options.map(([key]) => key).find((key) => {
    const [name, value] = key.split("=");
    return name && params[name] === value;
  });
  const choose = (names) => (key) => {
    const [name, value] = (key ?? "").split("=");
    setParams({ ...Object.fromEntries(names.map((one) => [one, null])), ...(name ? { [name]: value } : {}) });
  };
  const input = ([name, label, hint]) => html`<label key=${name}>${label}
    <input value=${params[name] ?? ""} placeholder=${hint} spellcheck=${false}
      onInput=${(event) => setParams({ [name]: event.currentTarget.value || null })} /></label>`;
  return html`<form class="filters" role="search" aria-label="Filter the stored answers" onSubmit=${(event) => event.preventDefault()}>
    ${admin && html`<${TenantSelect} value=${params.tenant ?? null} onChange=${(tenant) => setParams({ tenant })} />`}
    ${TEXTS.map(input)}
    <${Choice} label="Age" value=${pair(AGES)} options=${AGES} onChange=${choose(["newer_than_s", "older_than_s"])} />
    <${Choice} label="Hits" value=${pair(HITS)} options=${HITS} onChange=${choose(["hits_min", "hits_max"])} />
    ${more && html`${MORE.map(input)}
      <${Choice} label="Pinned" value=${params.pinned} options=${[["", "Any"], ["true", "Pinned"], ["false", "Not pinned"]]} onChange=${(pinned) => setParams({ pinned })} />`}
    <${Button} kind="small" aria-expanded=${more} onClick=${() => setMore(!more)}>${more ? "Fewer filters" : "More filters"}<//>
    ${filtered && html`<${Button} kind="small" onClick=${clear}>Clear<//>`}
  </form>`;
}
