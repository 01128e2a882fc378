// Tenants and budgets: the list, and one tenant with its keys, settings, lifetimes and budgets.
import { html, useState } from "../lib/html.js";
import { get, send } from "../lib/api.js";
import { Confirm, Dialog } from "../lib/dialog.js";
import { Field, Form, useForm } from "../lib/form.js";
import { count, money, moment, percent } from "../lib/format.js";
import {
  Badge, Button, Card, Copyable, Empty, Loaded, Meter, ScreenHead, Tabs, Time, notify,
} from "../lib/parts.js";
import { navigate, screenUrl, setParams } from "../lib/router.js";
import { PagedTable, Table, usePages } from "../lib/table.js";
import { useApi } from "../lib/use.js";
import { Lifetimes, SettingsForm } from "./tenant_settings.js";

const OPEN = "default"; // the tenant of callers without a key

const AT_LIMIT = {
  warn: "only warns",
  cheaper: "asks the cheapest model",
  "cache-only": "serves stored answers only",
  refuse: "refuses",
};

export default function Tenants({ session, params }) {
  const may = session.role === "all";
  return params.tenant
    ? html`<${Tenant} key=${params.tenant} name=${params.tenant} may=${may} tab=${params.tab} group=${params.group} />`
    : html`<${List} may=${may} tab=${params.tab ?? "tenants"} />`;
}

function List({ may, tab }) {
  const [creating, setCreating] = useState(false);
  const open = (row) => setParams({ tenant: row.name ?? row.tenant, tab: null });
  return html`<${ScreenHead} title="Tenants and budgets"
      lead="Who uses the cache, with which keys, and what each may spend.">
      <${Button} kind="primary" disabled=${!may} onClick=${() => setCreating(true)}>New key<//>
    <//>
    <${Tabs} label="View" tabs=${[["tenants", "Tenants"], ["budgets", "Budgets"]]} value=${tab}
      onChange=${(name) => setParams({ tab: name })} />
    ${tab === "budgets" ? html`<${BudgetList} open=${open} />` : html`<${TenantList} open=${open} />`}
    ${creating && html`<${NewKey} tenant="" onClose=${() => setCreating(false)}
      onDone=${(key) => setParams({ tenant: key.tenant, tab: "keys" })} />`}`;
}

const NONE = html`<${Empty} title="No tenants yet">
  A tenant is a customer or an application with settings and answers of its own. It begins with its
  first key: choose <strong>New key</strong>. Until then callers on this machine are the tenant <a href=${screenUrl("tenants", { tenant: OPEN, tab: "settings" })}>default</a>.
<//>`;

function TenantList({ open }) {
  const listed = usePages("/admin/v1/tenants");
  const { data } = useApi(`/admin/v1/tenants/${OPEN}`);
  const { rows } = listed;
  const known = rows.length === 0 || data === null || rows.some(({ name }) => name === OPEN);
  const pages = known ? listed : { ...listed, rows: [{ name: OPEN, keys: null, last_used: null, own: data.own }, ...rows] };
  const columns = [
    { key: "name", label: "Tenant", render: ({ name }) => html`<a href=${screenUrl("tenants", { tenant: name })}>${name}</a>${name === OPEN && html` <span class="hint nowrap">callers without a key</span>`}` },
    { key: "keys", label: "Keys", align: "end", render: ({ keys }) => count(keys) },
    { key: "last_used", label: "Last used", render: ({ keys, last_used }) => last_used ?? (keys === null ? "–" : "never") },
    {
      key: "own", label: "Own settings", wide: true,
      render: ({ own }) => own === null
        ? html`<${Badge} tone="bad">cannot be read<//>`
        : Object.keys(own).join(", ") || html`<span class="hint">the server's defaults</span>`,
    },
  ];
  return html`<${PagedTable} pages=${pages} label="Tenants" rowKey="name" columns=${columns}
    onOpen=${open} empty=${NONE} />`;
}

function BudgetList({ open }) {
  const pages = usePages("/admin/v1/budgets");
  const of = (span) => ({ budgets }) => html`<${Amount} budget=${budgets.find(({ period }) => period === span)} />`;
  const columns = [
    { key: "tenant", label: "Tenant", render: ({ tenant }) => html`<a href=${screenUrl("tenants", { tenant })}>${tenant}</a>` },
    { key: "day", label: "Today", wide: true, render: of("day") },
    { key: "month", label: "This month", wide: true, render: of("month") },
    { key: "end", label: "At the limit", render: ({ budgets }) => AT_LIMIT[budgets.find((b) => b.at_limit)?.at_limit] ?? "–" },
  ];
  return html`<${PagedTable} pages=${pages} label="Budgets" rowKey="tenant" columns=${columns}
    onOpen=${open} empty=${NONE} />`;
}

/** How far a budget is used: a bar with what is held, and its forecast. */
function Amount({ budget, unit = "usd" }) {
  const { limit, spent, reserved, forecast, forecast_method: method } = budget[unit];
  const show = unit === "usd" ? money : count;
  const used = Number(spent) + Number(reserved);
  if (limit === null) return html`<span>${show(spent)} <span class="hint">no limit</span></span>`;
  const share = Number(limit) > 0 ? used / Number(limit) : 1;
  const ahead = method !== "spent" && Number(limit) > 0 ? Number(forecast) / Number(limit) : null;
  const tone = share >= 1 ? "bad" : share >= 0.8 || ahead >= 1 ? "warn" : "good";
  return html`<div class="budget">
    <span>${show(spent)} of ${show(limit)} <span class="hint">${percent(share, 0)}</span></span>
    <${Meter} share=${share} tone=${tone} label=${`${percent(share, 0)} used`} />
    ${ahead !== null && html`<span class="hint">forecast ${show(forecast)} (${percent(ahead, 0)})</span>`}
  </div>`;
}

function Tenant({ name, may, tab = "keys", group }) {
  const [deleting, setDeleting] = useState(false);
  const tabs = [["keys", "Keys"], ["budgets", "Budgets"], ["settings", "Settings"], ["lifetimes", "Lifetimes"]];
  const verb = name === OPEN ? "Empty" : "Delete";
  const remove = async (confirm) => {
    await send("DELETE", `/admin/v1/tenants/${name}`, { confirm });
    notify(name === OPEN ? `${name} is empty, with the server's settings.` : `${name} was deleted with all that it had.`);
    setParams({ tenant: null, tab: null });
  };
  return html`<p class="back"><a href=${screenUrl("tenants")}>← Tenants and budgets</a></p>
    <${ScreenHead} title=${name}>
      <a class="button" href=${screenUrl("overview", { tenant: name })}>Figures</a>
      <a class="button" href=${screenUrl("tuning", { tenant: name })}>Tuning</a>
      <a class="button" href=${screenUrl("trail", { tenant: name })}>Changes</a>
      <${Button} kind="danger" disabled=${!may} onClick=${() => setDeleting(true)}>${verb}<//>
    <//>
    ${name === OPEN && html`<p class="hint">Callers without a key are this tenant, so it is always there: it can be emptied, and cannot be deleted.</p>`}
    <${Tabs} label="Of this tenant" tabs=${tabs} value=${tab} onChange=${(next) => setParams({ tab: next, group: null })} />
    ${tab === "keys" && html`<${Keys} name=${name} may=${may} />`}
    ${tab === "budgets" && html`<${Budgets} name=${name} />`}
    ${tab === "settings" && html`<${SettingsForm} name=${name} may=${may} group=${group} />`}
    ${tab === "lifetimes" && html`<${Lifetimes} name=${name} may=${may} />`}
    ${deleting &&
    html`<${Confirm} title=${`${verb} ${name}`} phrase=${name} submit=${`${verb} for ever`}
      onClose=${() => setDeleting(false)} act=${remove}>
      <p>This revokes its keys, cancels its jobs, and erases its answers, decisions, labels and settings.
        It cannot be undone. Amounts of money stay, so that sums agree with invoices.</p>
    <//>`}`;
}

function Budgets({ name }) {
  const path = `/admin/v1/tenants/${encodeURIComponent(name)}/budget`;
  const found = useApi(path, {}, { every: 30 });
  const spans = { day: "Today", month: "This month" };
  return html`<${Card} title="Budgets" api=${path}
      actions=${html`<a class="button" href=${screenUrl("tenants", { tenant: name, tab: "settings", group: "Budgets" })}>Change</a>`}>
    <${Loaded} of=${found}>${({ budgets }) => html`<${Table} label="Budgets"
      rowKey=${(row) => `${row.key_id}/${row.period}`} rows=${budgets} columns=${[
        { key: "of", label: "Of", render: (row) => (row.key_id ? html`<code>${row.key_id}</code>` : "the tenant") },
        { key: "period", label: "Period", render: (row) => spans[row.period] },
        { key: "usd", label: "Dollars", wide: true, render: (row) => html`<${Amount} budget=${row} />` },
        { key: "tokens", label: "Tokens", wide: true, render: (row) => html`<${Amount} budget=${row} unit="tokens" />` },
        { key: "at_limit", label: "At the limit", render: (row) => AT_LIMIT[row.at_limit] ?? "–" },
        { key: "resets_at", label: "Starts again", render: (row) => html`<${Time} at=${row.resets_at} />` },
      ]} />`}<//>
  <//>`;
}

function Keys({ name, may }) {
  const pages = usePages("/admin/v1/keys", { tenant: name });
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  const columns = [
    { key: "label", label: "Label", render: (key) => key.label || html`<span class="hint">none</span>` },
    { key: "role", label: "Role", render: ({ role }) => html`<${Badge}>${role}<//>` },
    { key: "id", label: "Id", render: (key) => html`<code>${key.id}</code>` },
    { key: "created_at", label: "Created", render: (key) => html`<${Time} at=${key.created_at} />` },
    { key: "expires_at", label: "Ends", render: (key) => html`<${Ends} of=${key} />` },
    { key: "last_used", label: "Last used", render: (key) => key.last_used ?? "never" },
    {
      key: "do", label: "Change", render: (key) => html`<div class="actions">
        <${Button} kind="small" disabled=${!may} onClick=${() => setDialog(["edit", key])}>Edit<//>
        <${Button} kind="small" disabled=${!may} onClick=${() => setDialog(["rotate", key])}>Rotate<//>
        <${Button} kind="small" disabled=${!may} onClick=${() => setDialog(["revoke", key])}>Revoke<//>
      </div>`,
    },
  ];
  // A tenant is its keys and its settings: without either there is nothing left to show.
  const endsWithKey = async () => {
    if (name === OPEN || !pages.done || pages.rows.length > 1) return false;
    const { own } = await get(`/admin/v1/tenants/${encodeURIComponent(name)}`);
    return Object.keys(own).length === 0;
  };
  const [kind, key] = dialog ?? [];
  const called = key && (key.label || key.id);
  return html`<${Card} title="Keys" api=${`/admin/v1/keys?tenant=${encodeURIComponent(name)}`}
      actions=${html`<${Button} kind="primary" disabled=${!may} onClick=${() => setDialog(["new"])}>New key<//>`}>
    <${PagedTable} pages=${pages} label="Keys" columns=${columns}
      empty=${html`<${Empty} title="No keys">Create one: callers send it in <code>x-api-key</code>, and are this tenant.<//>`} />
  <//>
  ${kind === "new" && html`<${NewKey} tenant=${name} onClose=${close} onDone=${pages.reload} />`}
  ${kind === "edit" && html`<${EditKey} of=${key} onClose=${close} onDone=${pages.reload} />`}
  ${kind === "rotate" && html`<${RotateKey} of=${key} onClose=${close} onDone=${pages.reload} />`}
  ${kind === "revoke" && html`<${Confirm} title=${`Revoke ${called}`} submit="Revoke" onClose=${close}
    act=${async () => {
      const ends = await endsWithKey();
      await send("DELETE", `/admin/v1/keys/${key.id}`);
      notify(`${called} was revoked.${ends ? ` ${name} has no key and no settings left.` : ""}`);
      if (ends) navigate(screenUrl("tenants"));
      else pages.reload();
    }}><p>Callers with this key get a 401 within three seconds. It cannot be undone.</p><//>`}`;
}

/** When a key ends, and when the one does that it replaced. */
function Ends({ of }) {
  const overlaps = of.overlaps_until !== null && of.overlaps_until * 1000 > Date.now();
  return html`<div>${of.expires_at ? html`<${Time} at=${of.expires_at} />` : "never"}
    ${overlaps && html`<div class="hint">old key until ${moment(of.overlaps_until)}</div>`}</div>`;
}

/** A key that is shown this once. */
function KeyShown({ plain, onClose }) {
  return html`<p>This is the only time the key is shown. Copy it now.</p>
    <${Copyable} text=${plain} />
    <div class="actions"><${Button} kind="primary" onClick=${onClose}>Done<//></div>`;
}

const EXPIRES = "`90d`, `12h` or a time such as 2027-01-31; empty: never.".replaceAll("`", "");

const KEY_ROLES = [["ask", "ask: asks, and gets answers"], ["write", "write: also stores answers of its own"]];

function NewKey({ tenant, onClose, onDone }) {
  const [made, setMade] = useState(null);
  const form = useForm({ tenant, label: "", role: "ask", expires: "" }, async (values) => {
    const body = { tenant: values.tenant.trim(), label: values.label, role: values.role };
    if (values.expires.trim()) body.expires = values.expires.trim();
    setMade(await send("POST", "/admin/v1/keys", body));
  });
  const done = () => {
    onClose();
    onDone(made);
  };
  if (made) return html`<${Dialog} title=${`Key of ${made.tenant}`} keep onClose=${done}><${KeyShown} plain=${made.key} onClose=${done} /><//>`;
  return html`<${Dialog} title="New key" onClose=${onClose}>
    <${Form} form=${form} submit="Create" cancel=${onClose}>
      ${!tenant && html`<${Field} form=${form} name="tenant" label="Tenant" spellcheck="false"
        hint="A new name makes a new tenant: letters, digits, dots, dashes and underscores." />`}
      <${Field} form=${form} name="label" label="Label" hint="Who uses it, such as web site." />
      <${Field} form=${form} name="role" label="Role" type="select" options=${KEY_ROLES}
        hint="Its answers serve all keys of the tenant: give write only to what you trust as you trust Claude." />
      <${Field} form=${form} name="expires" label="Ends" hint=${EXPIRES} spellcheck="false" />
    <//>
  <//>`;
}

function EditKey({ of, onClose, onDone }) {
  const limits = ["requests_per_minute", "concurrent_misses", "tokens_per_minute"];
  const start = { label: of.label, expires: "" };
  for (const one of limits) start[one] = of.limits?.[one] ?? "";
  const form = useForm(start, async (values) => {
    const body = { label: values.label };
    if (values.expires.trim()) body.expires = values.expires.trim() === "never" ? null : values.expires.trim();
    try {
      if (limits.some((one) => values[one] !== start[one])) { // refused more often, so first
        const found = limits.filter((one) => values[one] !== "").map((one) => [one, Number(values[one])]);
        await send("PUT", `/admin/v1/keys/${of.id}/limits`, Object.fromEntries(found));
      }
      await send("PUT", `/admin/v1/keys/${of.id}`, body);
    } finally {
      onDone(); // a part may be changed
    }
    notify("The key was changed.");
    onClose();
  }, { names: (field) => field.split(".").at(-1) });
  return html`<${Dialog} title=${of.label || of.id} onClose=${onClose}>
    <${Form} form=${form} cancel=${onClose}>
      <${Field} form=${form} name="label" label="Label" />
      <${Field} form=${form} name="expires" label="Ends" origin=${of.expires_at ? moment(of.expires_at) : "never"}
        hint="90d, 12h or a time; never; empty: as it is." spellcheck="false" />
      <${Field} form=${form} name="requests_per_minute" type="number" min="1" label="Requests a minute" hint="Empty: no limit." />
      <${Field} form=${form} name="concurrent_misses" type="number" min="1" label="Calls to Claude at a time" />
      <${Field} form=${form} name="tokens_per_minute" type="number" min="1" label="Tokens a minute" />
    <//>
  <//>`;
}

function RotateKey({ of, onClose, onDone }) {
  const [made, setMade] = useState(null);
  const form = useForm({ overlap: "24h" }, async ({ overlap }) => {
    setMade(await send("POST", `/admin/v1/keys/${of.id}/rotate`, { overlap: overlap.trim() || 0 }));
  });
  const done = () => {
    onClose();
    onDone();
  };
  if (made) return html`<${Dialog} title="The new key" keep onClose=${done}><${KeyShown} plain=${made.key} onClose=${done} /><//>`;
  return html`<${Dialog} title=${`Rotate ${of.label || of.id}`} onClose=${onClose}>
    <${Form} form=${form} submit="Make a new key" cancel=${onClose}>
      <${Field} form=${form} name="overlap" label="The old key stays valid for"
        hint="24h, 7d; at most 30 days. 0: it ends now." spellcheck="false" />
    <//>
  <//>`;
}
