// Alerts: what was raised and still holds, who has seen it, when each is raised, and how channels deliver.
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { Dialog } from "../lib/dialog.js";
import { Field, Form, useForm } from "../lib/form.js";
import { moment } from "../lib/format.js";
import { Badge, Button, Card, Empty, Loaded, Time, notify } from "../lib/parts.js";
import { screenUrl } from "../lib/router.js";
import { Table } from "../lib/table.js";
import { useApi } from "../lib/use.js";

export function Alerts({ may }) {
  const [tenant, setTenant] = useState("");
  const [active, setActive] = useState("");
  const [opened, setOpened] = useState(null);
  const found = useApi("/admin/v1/alerts", { tenant, active, limit: 100 }, { every: 30 });
  const tenants = useApi("/admin/v1/tenants", { limit: 200 });
  const names = [...new Set(["default", ...(tenants.data?.items.map(({ name }) => name) ?? [])])];
  const columns = [
    { key: "at", label: "When", render: (one) => html`<${Time} at=${one.at} />` },
    { key: "state", label: "State", render: (one) => html`<${State} of=${one} />` },
    { key: "kind", label: "Kind", render: ({ kind }) => html`<code class="nowrap">${kind}</code>` },
    { key: "tenant", label: "Tenant", render: (one) => html`<a href=${screenUrl("tenants", { tenant: one.tenant })}>${one.tenant}</a>` },
    { key: "text", label: "What", wide: true, render: ({ text }) => html`<span class="pre-line">${text}</span>` },
  ];
  const choice = (label, value, set, options) => html`<label>${label}
    <select value=${value} onChange=${(event) => set(event.currentTarget.value)}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select></label>`;
  return html`<${Card} title="Alerts" api="/admin/v1/alerts" hint="The last hundred, the newest first.">
    <div class="filters" role="search">
      ${choice("Show", active, setActive, [["", "all"], ["true", "what still holds"]])}
      ${choice("Tenant", tenant, setTenant, [["", "all"], ...names.map((name) => [name, name])])}
    </div>
    <${Loaded} of=${found}>${({ alerts }) => alerts.length === 0
      ? html`<${Empty} title=${active || tenant ? "No alert fits" : "No alerts"}>Budgets, spending, wrong hits, errors and the
          store are checked every minute. Set where alerts go in <a href=${screenUrl("tenants")}>a tenant's settings</a>.<//>`
      : html`<${Table} label="Alerts" rows=${alerts} columns=${columns} onOpen=${setOpened} />`}<//>
  <//>
  <${OfTenant} key=${tenant || names[0]} name=${tenant || names[0]} may=${may} onChange=${found.reload}
    choose=${choice("Tenant", tenant || names[0], setTenant, names.map((name) => [name, name]))} />
  ${opened && html`<${Opened} of=${opened} may=${may} onClose=${() => setOpened(null)} onDone=${found.reload} />`}`;
}

function State({ of }) {
  if (of.silenced) return html`<${Badge}>silenced<//>`;
  if (of.acknowledged) return html`<${Badge} tone="good">acknowledged<//>`;
  return of.active ? html`<${Badge} tone="warn">active<//>` : html`<span class="hint">past</span>`;
}

const said = (record) => `${record.reason} (${record.by}, ${moment(record.at)})`;

function Opened({ of, may, onClose, onDone }) {
  const [silencing, setSilencing] = useState(false);
  const acknowledge = async (reason) => {
    await send("POST", "/admin/v1/alerts/acknowledge", { id: of.id, reason });
    notify(reason === null ? "The alert is open again." : "The alert was acknowledged.");
    onClose();
    onDone();
  };
  const form = useForm({ reason: "" }, ({ reason }) => acknowledge(reason));
  if (silencing) return html`<${Silence} tenant=${of.tenant} kind=${of.kind} onClose=${onClose} onDone=${onDone} />`;
  return html`<${Dialog} title=${`${of.kind} of ${of.tenant}`} onClose=${onClose}>
    <p class="pre-line">${of.text}</p>
    <dl class="facts">
      <dt>Raised</dt><dd>${moment(of.at)}</dd>
      <dt>State</dt><dd><${State} of=${of} /></dd>
      ${of.acknowledged && html`<dt>Acknowledged</dt><dd>${said(of.acknowledged)}</dd>`}
      ${of.silenced && html`<dt>Silenced until</dt><dd>${moment(of.silenced.until)}: ${said(of.silenced)}</dd>`}
      ${Object.entries(of.facts).map(([name, value]) => html`<dt key=${name}>${name.replaceAll("_", " ")}</dt><dd>${String(value)}</dd>`)}
    </dl>
    ${may && (of.acknowledged
      ? html`<div class="actions"><${Button} onClick=${() => acknowledge(null).catch((error) => notify(error.message, "bad"))}>Take back the acknowledgement<//></div>`
      : html`<${Form} form=${form} submit="Acknowledge">
          <${Field} form=${form} name="reason" label="Why that is enough" hint="It is in the audit trail." />
        <//>`)}
    ${may && of.kind !== "test" && html`<div class="actions"><${Button} onClick=${() => setSilencing(true)}>Silence this kind…<//></div>`}
  <//>`;
}

function Silence({ tenant, kind, onClose, onDone }) {
  const form = useForm({ until: "4h", reason: "" }, async (values) => {
    await send("PUT", `/admin/v1/tenants/${encodeURIComponent(tenant)}/alerts/silence`, { kind, ...values });
    notify(`${kind} of ${tenant} is silenced.`);
    onClose();
    onDone();
  });
  return html`<${Dialog} title=${`Silence ${kind} of ${tenant}`} onClose=${onClose}>
    <p class="hint">Such alerts are still logged and listed, and sent to nobody.</p>
    <${Form} form=${form} submit="Silence" cancel=${onClose}>
      <${Field} form=${form} name="until" label="For" hint="4h, 2d or a time; at most 30 days." spellcheck="false" />
      <${Field} form=${form} name="reason" label="Reason" />
    <//>
  <//>`;
}

const CHANNELS = { webhook: "Webhook", slack: "Slack", email: "Mail" };
const settingName = (path) => path.replace("budgets.alerts.", "").replace("budgets.", "").replaceAll("_", " ");

/** A tenant's channels, silences and rules. */
function OfTenant({ name, choose, may, onChange }) {
  const path = `/admin/v1/tenants/${encodeURIComponent(name)}`;
  const found = useApi(`${path}/alerts`);
  const [silenced, setSilenced] = useState(null);
  const [busy, setBusy] = useState(false);
  const done = () => {
    found.reload();
    onChange();
  };
  const test = async () => {
    setBusy(true);
    try {
      const { delivered } = await send("POST", `${path}/alerts/test`);
      const failed = Object.values(delivered).filter((text) => text !== "ok");
      if (Object.keys(delivered).length === 0) notify("No channel is set.", "warn");
      else notify(failed.length ? "A channel failed." : "Every channel delivered.", failed.length ? "bad" : "good");
      found.reload();
    } catch (error) {
      notify(error.message, "bad");
    } finally {
      setBusy(false);
    }
  };
  const end = async (kind) => {
    await send("PUT", `${path}/alerts/silence`, { kind, until: null });
    done();
  };
  const rules = [
    { key: "kind", label: "Kind", render: ({ kind }) => html`<code class="nowrap">${kind}</code>` },
    { key: "raised", label: "Raised when", wide: true, render: ({ raised }) => raised },
    {
      key: "settings", label: "Thresholds", wide: true, render: ({ settings }) => settings.length === 0
        ? html`<span class="hint">fixed</span>`
        : html`<span>${settings.map(({ path: at, value, origin }) => html`<span key=${at} class="threshold">
            ${settingName(at)} <strong>${value === null ? "not set" : String(value)}</strong>
            ${origin === "own" && html` <span class="own">own</span>`}</span>`)}</span>`,
    },
    { key: "do", label: "Change", render: ({ kind }) => html`<div class="actions">
        <${Button} kind="small" disabled=${!may} onClick=${() => setSilenced(kind)}>Silence<//></div>` },
  ];
  return html`<${Card} title=${`Channels and rules of ${name}`} api=${`${path}/alerts`}
      actions=${html`<${Button} busy=${busy} disabled=${!may} onClick=${test}>Send a test<//>
        <a class="button" href=${screenUrl("tenants", { tenant: name, tab: "settings", group: "Alerts" })}>Change thresholds</a>`}>
    <div class="filters">${choose}</div>
    <${Loaded} of=${found}>${(data) => html`
      <ul class="checks">
        ${data.channels.map(({ channel, set, last }) => html`<li key=${channel}>
          <span class="check-name">${CHANNELS[channel]}</span>
          ${set ? html`<${Badge} tone=${last === null ? undefined : last.error ? "bad" : "good"}>${last === null ? "set" : last.error ? "failed" : "delivers"}<//>` : html`<${Badge}>not set<//>`}
          <span class="check-found">${last ? html`last ${last.error ? html`failed (${last.error})` : "delivered"} <${Time} at=${last.at} />` : html`<span class="hint">nothing was sent yet</span>`}</span>
        </li>`)}
        ${data.silences.map((one) => html`<li key=${one.kind}>
          <span class="check-name">${one.kind}</span><${Badge}>silenced<//>
          <span class="check-found">until ${moment(one.until)}: ${said(one)}
            ${" "}<${Button} kind="small" disabled=${!may} onClick=${() => end(one.kind).catch((error) => notify(error.message, "bad"))}>End<//></span>
        </li>`)}
      </ul>
      <${Table} label=${`Alert rules of ${name}`} rowKey="kind" rows=${data.rules} columns=${rules} />`}<//>
  <//>
  ${silenced && html`<${Silence} tenant=${name} kind=${silenced} onClose=${() => setSilenced(null)} onDone=${done} />`}`;
}
