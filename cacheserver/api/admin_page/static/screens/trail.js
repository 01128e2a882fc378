// Audit trail: what admins have changed, with the values before and after.
import { html, useState } from "../lib/html.js";
import { date, moment } from "../lib/format.js";
import { Dialog } from "../lib/dialog.js";
import { ApiLink, Badge, Button, Empty, ScreenHead, Time } from "../lib/parts.js";
import { address } from "../lib/api.js";
import { setParams } from "../lib/router.js";
import { PagedTable, Table, usePages } from "../lib/table.js";
import { useSettled } from "../lib/use.js";

// What a change is called; others are shown by method and route.
const ACTS = {
  "PUT /admin/v1/tenants/{name}": "Settings of a tenant",
  "DELETE /admin/v1/tenants/{name}": "Tenant deleted",
  "PUT /admin/v1/tenants/{name}/bars": "Bar set",
  "POST /admin/v1/tenants/{name}/bars/undo": "Bar undone",
  "POST /admin/v1/tenants/{name}/erase": "Content erased",
  "POST /admin/v1/keys": "Key created",
  "PUT /admin/v1/keys/{id}": "Key changed",
  "PUT /admin/v1/keys/{id}/limits": "Limits of a key",
  "POST /admin/v1/keys/{id}/rotate": "Key rotated",
  "DELETE /admin/v1/keys/{id}": "Key revoked",
  "POST /admin/v1/admin-keys": "Admin key created",
  "DELETE /admin/v1/admin-keys/{id}": "Admin key revoked",
  "PUT /admin/v1/settings": "Live settings",
  "PUT /admin/v1/prices": "Prices",
  "POST /admin/v1/health/canary": "Canary run",
  "POST /admin/v1/labels": "Pair labelled",
  "POST /admin/v1/labels/undo": "Label undone",
  "POST /admin/v1/labels/import": "Labels imported",
  "POST /admin/v1/calibrate": "Labels taught",
  "DELETE /admin/v1/entries/{tenant}/{id}": "Entry evicted",
  "PUT /admin/v1/entries/{tenant}/{id}/ttl": "Lifetime of an entry",
  "PUT /admin/v1/entries/{tenant}/{id}/answer": "Answer replaced",
  "PUT /admin/v1/entries/{tenant}/{id}/pin": "Entry pinned",
  "DELETE /admin/v1/entries/{tenant}/{id}/pin": "Pin removed",
  "POST /admin/v1/purge": "Entries purged",
  "POST /admin/v1/audits": "Audit of a log started",
  "DELETE /admin/v1/audits/{id}": "Audit of a log removed",
  "DELETE /admin/v1/jobs/{tenant}/{id}": "Job cancelled",
  "POST /admin/v1/alerts/acknowledge": "Alert acknowledged",
  "PUT /admin/v1/tenants/{name}/alerts/silence": "Alerts silenced",
  "POST /admin/v1/tenants/{name}/alerts/test": "Alert sent as a test",
  "POST /admin/v1/prompts/{tenant}/carry-over": "Answers carried over",
  "PUT /admin/v1/routing/{tenant}/gold/{task}": "Gold set uploaded",
  "DELETE /admin/v1/routing/{tenant}/gold/{task}": "Gold set removed",
  "POST /admin/v1/routing/{tenant}/gold/{task}/run": "Gold set run",
  "DELETE /admin/v1/verification/{tenant}": "Audited verdicts forgotten",
  "POST /admin/v1/sample-traffic": "Sample traffic started",
  "DELETE /admin/v1/sample-traffic": "Sample traffic removed",
};

export function actName({ method, route }) {
  return ACTS[`${method} ${route}`] ?? `${method} ${route.replace("/admin/v1", "")}`;
}

/** A value of a setting in few words; `path` tells which are moments. */
export function shown(value, path = "") {
  if (value === null || value === undefined) return "not set";
  if (typeof value === "number" && /(_at|_until|^until)$/.test(path)) return moment(value);
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

function changes(row) {
  const found = Object.entries(row.changes ?? {});
  if (found.length === 0) return html`<span class="hint">${row.fields.join(", ") || "–"}</span>`;
  const [[path, { before, after }], ...more] = found;
  return html`<span class="change"><code>${path}</code>
    <span>${shown(before, path)} → <strong>${shown(after, path)}</strong></span>
    ${more.length > 0 && html`<span class="hint">and ${more.length} more</span>`}</span>`;
}

const COLUMNS = [
  { key: "at", label: "When", render: (row) => html`<${Time} at=${row.at} />` },
  { key: "who", label: "Who", render: (row) => html`${row.who} <span class="hint">${row.role}</span>` },
  { key: "what", label: "What", render: (row) => actName(row) },
  { key: "tenant", label: "Tenant", render: (row) => row.tenant ?? "–" },
  { key: "changes", label: "Changes", wide: true, render: changes },
];

export default function Trail({ params }) {
  const [opened, setOpened] = useState(null);
  const [who, setWho] = useState(params.who ?? "");
  const [tenant, setTenant] = useState(params.tenant ?? "");
  const [since, setSince] = useState("");
  const from = date(since || null);
  const filters = {
    who: useSettled(who.trim()),
    tenant: useSettled(tenant.trim()),
    since: from === null ? "" : from.getTime() / 1000,
  };
  const pages = usePages("/admin/v1/audit-trail", filters);
  const filtered = who || tenant || since;
  const clear = () => {
    setWho("");
    setTenant("");
    setSince("");
    setParams({ who: null, tenant: null });
  };
  const text = (label, value, set, type = "text") => html`<label>${label}
    <input type=${type} value=${value} spellcheck="false" onInput=${(event) => set(event.currentTarget.value)} /></label>`;
  return html`<${ScreenHead} title="Audit trail"
      lead="The last 10,000 changes by admins. Questions, answers and secrets are not in it.">
      <${ApiLink} href=${address("/admin/v1/audit-trail", filters)} />
    <//>
    <div class="filters" role="search">
      ${text("Who", who, setWho)} ${text("Tenant", tenant, setTenant)}
      ${text("Since", since, setSince, "datetime-local")}
      ${filtered && html`<${Button} onClick=${clear}>Clear<//>`}
      <${Button} onClick=${pages.reload}>Read again<//>
    </div>
    <${PagedTable} pages=${pages} label="Changes by admins" columns=${COLUMNS} onOpen=${setOpened}
      empty=${html`<${Empty} title=${filtered ? "No change fits these filters" : "Nothing was changed yet"}>
        ${filtered
          ? html`<${Button} onClick=${clear}>Show all<//>`
          : "Each change of settings, keys, bars, entries and prices is recorded here, whoever makes it."}
      <//>`} />
    ${opened && html`<${Change} row=${opened} onClose=${() => setOpened(null)} />`}`;
}

function Change({ row, onClose }) {
  const rows = Object.entries(row.changes ?? {}).map(([path, one]) => ({ path, ...one }));
  const facts = [
    ["When", moment(row.at)],
    ["Who", `${row.who} (${row.role})`],
    ["Tenant", row.tenant],
    ["Of", Object.values(row.target ?? {}).join(", ")],
    ["Call", html`<code>${row.method} ${row.route}</code>`],
    ["Fields", row.fields.join(", ")],
    ["Answer", row.status >= 400 ? html`<${Badge} tone="bad">${row.status}<//>` : row.status],
    ["Request", row.request_id],
  ];
  return html`<${Dialog} title=${actName(row)} onClose=${onClose} wide>
    <dl class="facts">${facts
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value}</dd>`)}</dl>
    ${rows.length > 0 &&
    html`<${Table} label="Values before and after" rowKey="path" rows=${rows} columns=${[
      { key: "path", label: "Setting", render: (one) => html`<code>${one.path}</code>` },
      { key: "before", label: "Before", render: (one) => shown(one.before, one.path) },
      { key: "after", label: "After", render: (one) => html`<strong>${shown(one.after, one.path)}</strong>` },
    ]} />`}
  <//>`;
}
