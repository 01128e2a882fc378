// Settings: health and the canary, live settings of the server, prices, alerts, admin keys.
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { Confirm, Dialog } from "../lib/dialog.js";
import { Field, Form, useForm } from "../lib/form.js";
import { bytes } from "../lib/format.js";
import {
  Badge, Button, Card, Copyable, Empty, Loaded, ScreenHead, Tabs, Time, notify,
} from "../lib/parts.js";
import { setParams } from "../lib/router.js";
import { PagedTable, Table, usePages } from "../lib/table.js";
import { useApi } from "../lib/use.js";
import { Alerts } from "./settings_alerts.js";
import { Health } from "./settings_health.js";

const TABS = [
  ["health", "Health"], ["server", "Server"], ["prices", "Prices"], ["alerts", "Alerts"],
  ["admins", "Admin keys"],
];

export default function Settings({ session, params }) {
  const tab = TABS.some(([name]) => name === params.tab) ? params.tab : "health";
  const all = session.role === "all";
  const tune = all || session.role === "tune";
  return html`<${ScreenHead} title="Settings"
      lead="What is set, where it comes from, and what can be changed while servers run." />
    <${Tabs} label="Settings" tabs=${TABS} value=${tab} onChange=${(name) => setParams({ tab: name })} />
    ${tab === "health" && html`<${Health} may=${tune} />`}
    ${tab === "server" && html`<${Server} may=${all} />`}
    ${tab === "prices" && html`<${Prices} may=${all} />`}
    ${tab === "alerts" && html`<${Alerts} may=${tune} />`}
    ${tab === "admins" && html`<${Admins} may=${all} me=${session.name} />`}`;
}

const ORIGINS = { admin: "changed here", environment: "environment", file: "file", start: "at the start", default: "default" };

function Origin({ of }) {
  return of === "admin" ? html`<${Badge} tone="good">${ORIGINS.admin}<//>` : html`<span class="hint">${ORIGINS[of] ?? of}</span>`;
}

function value(one, of = one.value) {
  if (of === null || of === "") return html`<span class="hint">none</span>`;
  if (typeof of === "number" && one.name.endsWith("_bytes")) return html`<span title=${of}>${bytes(of)}</span>`;
  return html`<code class="nowrap">${Array.isArray(of) ? of.join(", ") || "none" : String(of)}</code>`;
}

function Server({ may }) {
  const found = useApi("/admin/v1/settings");
  const [text, setText] = useState("");
  const [which, setWhich] = useState("live");
  const [edited, setEdited] = useState(null);
  const keep = (one) =>
    (which === "all" || (which === "live" ? one.live : one.origin !== "default")) &&
    `${one.name} ${one.variable} ${one.help}`.toLowerCase().includes(text.trim().toLowerCase());
  const columns = [
    { key: "name", label: "Setting", render: (one) => html`<code class="nowrap">${one.name}</code>` },
    { key: "value", label: "Value", render: (one) => value(one) },
    { key: "origin", label: "From", render: (one) => html`<${Origin} of=${one.origin} />` },
    { key: "help", label: "What it is", wide: true, render: (one) => one.help.replaceAll("`", "") },
  ];
  return html`<${Card} title="Server" api="/admin/v1/settings"
      hint="The environment stays the base. A change is in force on every server within three seconds, and after a restart.">
    <div class="filters" role="search">
      <label>Find <input type="search" value=${text} onInput=${(event) => setText(event.currentTarget.value)} /></label>
      <label>Show <select value=${which} onChange=${(event) => setWhich(event.currentTarget.value)}>
        <option value="live">what can be changed here</option>
        <option value="set">what is not the default</option>
        <option value="all">all settings</option>
      </select></label>
    </div>
    <${Loaded} of=${found} lines=${8}>${({ settings }) => {
      const rows = settings.filter(keep);
      return rows.length === 0
        ? html`<${Empty} title="No setting fits"><${Button} onClick=${() => { setText(""); setWhich("all"); }}>Show all<//><//>`
        : html`<${Table} label="Settings of the server" rowKey="name" rows=${rows} columns=${columns} onOpen=${setEdited} />`;
    }}<//>
  <//>
  ${edited && html`<${EditSetting} of=${edited} may=${may} onClose=${() => setEdited(null)} onDone=${found.reload} />`}`;
}

function EditSetting({ of, may, onClose, onDone }) {
  const put = async (given) => {
    await send("PUT", "/admin/v1/settings", { [of.name]: given });
    notify(given === null ? `${of.name} is the environment's again.` : `${of.name} was changed.`);
    onClose();
    onDone();
  };
  const start = of.value === null ? "" : String(of.value);
  const form = useForm({ [of.name]: start }, async (values) => {
    const typed = values[of.name].trim();
    const number = typed !== "" && !Number.isNaN(Number(typed));
    await put(typed === "" ? null : number ? Number(typed) : typed);
  });
  const editable = of.live && may;
  return html`<${Dialog} title=${of.name} onClose=${onClose}>
    <p>${of.help.replaceAll("`", "")}</p>
    <p class="hint">${of.why.replaceAll("`", "")}</p>
    <dl class="facts">
      <dt>Variable</dt><dd><code>${of.variable}</code></dd>
      <dt>Value</dt><dd>${value(of)} <${Origin} of=${of.origin} /></dd>
      ${of.origin === "admin" && html`<dt>Without the change</dt><dd>${value(of, of.base_value)}</dd>`}
      <dt>Default</dt><dd>${value(of, of.default)}</dd>
    </dl>
    ${editable
      ? html`<${Form} form=${form} submit="Change" cancel=${onClose}>
          <${Field} form=${form} name=${of.name} label="New value" spellcheck="false"
            type=${of.choices ? "select" : "text"} options=${of.choices?.map((one) => [one, one])}
            hint=${of.name.endsWith("_bytes") ? "Bytes, or 512MB, 2GB." : undefined} />
        <//>
        ${of.origin === "admin" && html`<div class="actions"><${Button} onClick=${() => put(null).catch((error) => notify(error.message, "bad"))}>Back to the environment's<//></div>`}`
      : html`<p class="hint">${of.live ? "Changing it needs a key with the role all." : `It is read at the start: set ${of.variable} and restart.`}</p>`}
  <//>`;
}

const KINDS = [
  ["input", "Input"], ["output", "Output"], ["cache_write_5m", "Write 5 min"],
  ["cache_write_1h", "Write 1 h"], ["cache_read", "Read"],
];
const price = (text) => (text === null || text === undefined ? "–" : `$${text}`);

function Prices({ may }) {
  const found = useApi("/admin/v1/prices");
  const [edited, setEdited] = useState(null);
  const [adding, setAdding] = useState(false);
  const columns = [
    { key: "model", label: "Model", render: ({ model }) => html`<code>${model}</code>` },
    ...KINDS.map(([kind, label]) => ({ key: kind, label, align: "end", render: (one) => price(one.standard?.[kind]) })),
    {
      key: "long", label: "Long prompts", render: ({ long_prompts: steps }) =>
        steps.length ? steps.map((one) => `over ${one.over_prompt_tokens / 1000}k: ${price(one.input)}`).join(", ") : "–",
    },
    {
      key: "origin", label: "From", render: ({ origin }) => origin === "admin"
        ? html`<${Badge} tone="good">changed here<//>` : html`<span class="hint">${origin}</span>`,
    },
  ];
  const current = edited && found.data?.models.find(({ model }) => model === edited.model);
  return html`<${Card} title="Prices" api="/admin/v1/prices"
      hint="US dollars per million tokens. Batches cost half. Rows of the past keep the price they were written with."
      actions=${html`<${Button} disabled=${!may} onClick=${() => setAdding(true)}>Add a model<//>`}>
    <${Loaded} of=${found} lines=${8}>${({ models, version }) => html`
      <${Table} label="Prices by model" rowKey="model" rows=${models} columns=${columns} onOpen=${setEdited} />
      <p class="hint foot">Version <code>${version}</code>: stored with every row of the ledger.</p>`}<//>
  <//>
  ${current && html`<${EditPrice} of=${current} may=${may} onClose=${() => setEdited(null)} onDone=${found.reload} />`}
  ${adding && html`<${AddModel} onClose=${() => setAdding(false)} onDone=${found.reload} />`}`;
}

/** Fields of one step: "" is the default, which stands in grey. */
function PriceFields({ form, prefix, base, may }) {
  return html`<div class="fields">${KINDS.map(([kind, label]) => html`<${Field} key=${kind} form=${form}
    name=${prefix + kind} label=${label} inputmode="decimal" disabled=${!may} spellcheck="false"
    origin=${form.values[prefix + kind] && html`<span class="own">own</span>`} placeholder=${base?.[kind] ?? "none"} />`)}</div>`;
}

function EditPrice({ of, may, onClose, onDone }) {
  const base = of.base ?? { standard: of.standard, long_prompts: of.long_prompts };
  const steps = [...new Set([
    ...base.long_prompts.map((one) => String(one.over_prompt_tokens)), ...Object.keys(of.own?.long_prompts ?? {}),
  ])];
  const start = {};
  for (const [kind] of KINDS) {
    start[kind] = of.own?.[kind] ?? "";
    for (const step of steps) start[`long_prompts.${step}.${kind}`] = of.own?.long_prompts?.[step]?.[kind] ?? "";
  }
  const put = async (given) => {
    await send("PUT", "/admin/v1/prices", { prices: { [of.model]: given } });
    notify(given === null ? `${of.model} has the default prices again.` : `The prices of ${of.model} were changed.`);
    onClose();
    onDone();
  };
  const form = useForm(start, async (values) => {
    const given = {};
    for (const [name, typed] of Object.entries(values)) {
      if (typed === start[name]) continue;
      const path = name.split(".");
      const last = path.pop();
      let place = given;
      for (const one of path) place = place[one] ??= {};
      place[last] = typed.trim() === "" ? null : typed.trim();
    }
    await put(given);
  }, { names: (field) => field.replace(`${of.model}.`, "") });
  return html`<${Dialog} title=${of.model} onClose=${onClose} wide>
    <${Form} form=${form} submit="Change prices" cancel=${onClose} may=${may}>
      <${PriceFields} form=${form} prefix="" base=${base.standard} may=${may} />
      ${steps.map((step) => html`<h3 key=${step}>Prompts of more than ${Number(step).toLocaleString("en-US")} tokens</h3>
        <${PriceFields} form=${form} prefix=${`long_prompts.${step}.`} may=${may}
          base=${base.long_prompts.find((one) => String(one.over_prompt_tokens) === step) ?? base.standard} />`)}
    <//>
    ${of.own && html`<div class="actions"><${Button} disabled=${!may} onClick=${() => put(null).catch((error) => notify(error.message, "bad"))}>Back to the default<//></div>`}
  <//>`;
}

function AddModel({ onClose, onDone }) {
  const form = useForm({ model: "", ...Object.fromEntries(KINDS.map(([kind]) => [kind, ""])) }, async ({ model, ...rates }) => {
    if (!model.trim()) throw Object.assign(new Error("must name a model"), { field: "model" });
    const given = Object.fromEntries(Object.entries(rates).filter(([, typed]) => typed.trim()));
    await send("PUT", "/admin/v1/prices", { prices: { [model.trim()]: given } });
    notify(`${model.trim()} has prices now.`);
    onClose();
    onDone();
  }, { names: (field) => (field === "prices" ? "model" : field.split(".").at(-1)) });
  return html`<${Dialog} title="Prices of a new model" onClose=${onClose} wide>
    <${Form} form=${form} submit="Add" cancel=${onClose}>
      <${Field} form=${form} name="model" label="Model" spellcheck="false" hint="As callers name it." />
      <${PriceFields} form=${form} prefix="" base=${null} may=${true} />
    <//>
  <//>`;
}

const ROLES = [["read", "read: sees everything, changes nothing"], ["tune", "tune: also bars, labels, entries, alerts"], ["all", "all: also tenants, keys, settings, prices, erasure"]];

function Admins({ may, me }) {
  const pages = usePages("/admin/v1/admin-keys");
  const [creating, setCreating] = useState(false);
  const [revoked, setRevoked] = useState(null);
  const columns = [
    { key: "name", label: "Name", render: ({ name }) => html`${name}${name === me && html` <span class="hint">this session</span>`}` },
    { key: "role", label: "Role", render: ({ role }) => html`<${Badge}>${role}<//>` },
    { key: "created_at", label: "Created", render: (key) => html`<${Time} at=${key.created_at} />` },
    { key: "expires_at", label: "Ends", render: (key) => (key.expires_at ? html`<${Time} at=${key.expires_at} />` : "never") },
    { key: "last_used_at", label: "Last used", render: (key) => (key.last_used_at ? html`<${Time} at=${key.last_used_at} />` : "never") },
    { key: "do", label: "Change", render: (key) => html`<div class="actions"><${Button} kind="small" disabled=${!may} onClick=${() => setRevoked(key)}>Revoke<//></div>` },
  ];
  return html`<${Card} title="Admin keys" api="/admin/v1/admin-keys"
      hint="One for each person or program: the audit trail tells them apart by name."
      actions=${html`<${Button} kind="primary" disabled=${!may} onClick=${() => setCreating(true)}>New admin key<//>`}>
    <${PagedTable} pages=${pages} label="Admin keys" columns=${columns}
      empty=${html`<${Empty} title="No named admin keys">Only the key of <code>CACHESERVER_ADMIN_KEY</code> opens this page. Create one for each person.<//>`} />
  <//>
  ${creating && html`<${NewAdmin} onClose=${() => { setCreating(false); pages.reload(); }} />`}
  ${revoked && html`<${Confirm} title=${`Revoke ${revoked.name}`} submit="Revoke" onClose=${() => setRevoked(null)}
    act=${async () => {
      await send("DELETE", `/admin/v1/admin-keys/${revoked.id}`);
      notify(`${revoked.name} was revoked.`);
      pages.reload();
    }}><p>Sessions and programs with this key are refused within three seconds.</p><//>`}`;
}

function NewAdmin({ onClose }) {
  const [made, setMade] = useState(null);
  const form = useForm({ name: "", role: "read", expires: "" }, async ({ name, role, expires }) => {
    const body = { name: name.trim(), role };
    if (expires.trim()) body.expires = expires.trim();
    setMade(await send("POST", "/admin/v1/admin-keys", body));
  });
  return html`<${Dialog} title=${made ? `Admin key of ${made.name}` : "New admin key"} keep=${made !== null} onClose=${onClose}>
    ${made
      ? html`<p>This is the only time the key is shown. Copy it now.</p>
          <${Copyable} text=${made.key} />
          <div class="actions"><${Button} kind="primary" onClick=${onClose}>Done<//></div>`
      : html`<${Form} form=${form} submit="Create" cancel=${onClose}>
          <${Field} form=${form} name="name" label="Name" hint="Of the person or program." />
          <${Field} form=${form} name="role" label="Role" type="select" options=${ROLES} />
          <${Field} form=${form} name="expires" label="Ends" spellcheck="false" hint="90d, 12h or a time; empty: never." />
        <//>`}
  <//>`;
}
