// Alerts: what was raised, and whether a tenant's channels deliver.
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { Badge, Button, Card, Empty, ErrorBox, Loaded, Time } from "../lib/parts.js";
import { screenUrl } from "../lib/router.js";
import { Table } from "../lib/table.js";
import { useApi } from "../lib/use.js";

export function Alerts({ may }) {
  const [tenant, setTenant] = useState("");
  const found = useApi("/admin/v1/alerts", { tenant, limit: 100 }, { every: 30 });
  const tenants = useApi("/admin/v1/tenants", { limit: 200 });
  const names = tenants.data?.items.map(({ name }) => name) ?? [];
  const columns = [
    { key: "at", label: "When", render: (one) => html`<${Time} at=${one.at} />` },
    { key: "kind", label: "Kind", render: ({ kind }) => html`<${Badge} tone=${kind === "digest" || kind === "test" ? undefined : "warn"}>${kind}<//>` },
    { key: "tenant", label: "Tenant", render: (one) => html`<a href=${screenUrl("tenants", { tenant: one.tenant })}>${one.tenant}</a>` },
    { key: "text", label: "What", wide: true, render: ({ text }) => html`<span class="pre-line">${text}</span>` },
  ];
  return html`<${Card} title="Alerts" api="/admin/v1/alerts"
      hint="The last hundred. Thresholds and addresses are settings of each tenant.">
    <div class="filters" role="search">
      <label>Tenant <select value=${tenant} onChange=${(event) => setTenant(event.currentTarget.value)}>
        <option value="">all</option>
        ${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select></label>
    </div>
    <${Loaded} of=${found}>${({ alerts }) => alerts.length === 0
      ? html`<${Empty} title="No alerts">Budgets, spending, wrong hits, errors and the store are checked every minute.
          Set where alerts go in <a href=${screenUrl("tenants")}>a tenant's settings</a>.<//>`
      : html`<${Table} label="Alerts" rows=${alerts} columns=${columns} />`}<//>
  <//>
  <${Channels} names=${names} may=${may} />`;
}

const CHANNELS = { webhook: "Webhook", slack: "Slack", email: "Mail" };

function Channels({ names, may }) {
  const [tenant, setTenant] = useState("");
  const chosen = tenant || names[0];
  const [state, setState] = useState({ busy: false, delivered: null, error: null });
  const test = async () => {
    setState({ busy: true, delivered: null, error: null });
    try {
      const { delivered } = await send("POST", `/admin/v1/tenants/${encodeURIComponent(chosen)}/alerts/test`);
      setState({ busy: false, delivered, error: null });
    } catch (error) {
      setState({ busy: false, delivered: null, error });
    }
  };
  const { busy, delivered, error } = state;
  const rows = Object.entries(delivered ?? {});
  if (!chosen) return null;
  return html`<${Card} title="Test of delivery" hint="Sends a test alert by every channel of a tenant, now.">
    <div class="filters">
      <label>Tenant <select value=${chosen} onChange=${(event) => setTenant(event.currentTarget.value)}>
        ${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select></label>
      <${Button} busy=${busy} disabled=${!may} onClick=${test}>Send a test<//>
    </div>
    ${error && html`<${ErrorBox} error=${error} retry=${test} />`}
    ${delivered && rows.length === 0 && html`<${Empty} title="No channel is set">Alerts of ${chosen} are in the log only.
      <a href=${screenUrl("tenants", { tenant: chosen, tab: "settings" })}>Set an address</a>.<//>`}
    ${rows.length > 0 && html`<ul class="checks" role="status">${rows.map(([channel, said]) => html`<li key=${channel}>
      <span class="check-name">${CHANNELS[channel] ?? channel}</span>
      <${Badge} tone=${said === "ok" ? "good" : "bad"}>${said === "ok" ? "delivered" : "failed"}<//>
      <span class="check-found">${said === "ok" ? "" : said}</span></li>`)}</ul>`}
  <//>`;
}
