// Jobs: deferred questions and batches, audits of logs, and conversations.
import { html, useState } from "../lib/html.js";
import { address, send } from "../lib/api.js";
import { AuditsTab } from "../lib/audits.js";
import { Confirm, Dialog } from "../lib/dialog.js";
import { bytes, count, duration, moment, money } from "../lib/format.js";
import {
  ApiLink, Badge, Button, Card, Empty, Loaded, Meter, ScreenHead, Tabs, Time, notify,
} from "../lib/parts.js";
import { setParams } from "../lib/router.js";
import { PagedTable, Table, usePages } from "../lib/table.js";
import { Choice, TenantSelect, mayTune } from "../lib/tenants.js";
import { useApi } from "../lib/use.js";

const TABS = [
  ["work", "Deferred and batches"],
  ["audits", "Audits of logs"],
  ["conversations", "Conversations"],
];
const STATES = { in_progress: "under way", canceling: "being cancelled", ended: "ended" };

export default function Jobs({ session, params }) {
  const tab = TABS.some(([name]) => name === params.tab) ? params.tab : "work";
  const choose = (name) =>
    setParams({ tab: name, audit: null, kind: null, status: null });
  return html`<${ScreenHead} title="Jobs"
      lead="Work that goes on beside requests: questions that may wait, audits of logs, conversations." />
    <${Tabs} label="Kinds of work" tabs=${TABS} value=${tab} onChange=${choose} />
    ${tab === "work" && html`<${WorkTab} session=${session} params=${params} />`}
    ${tab === "audits" && html`<${AuditsTab} session=${session} params=${params} />`}
    ${tab === "conversations" && html`<${ConversationsTab} params=${params} />`}`;
}

function State({ job }) {
  const tone = job.status === "in_progress" ? "warn" : job.counts.succeeded === job.total ? "good" : null;
  return html`<${Badge} tone=${tone}>${STATES[job.status] ?? job.status}<//>`;
}

function Progress({ job }) {
  const failed = job.counts.errored + job.counts.expired;
  const label = `${count(job.done)} of ${count(job.total)} done`;
  return html`<div class="progress">
    <${Meter} share=${job.total ? job.done / job.total : 0} label=${label} tone=${failed ? "warn" : undefined} />
    <span class="hint">${count(job.done)} / ${count(job.total)}${failed ? `, ${count(failed)} failed` : ""}</span>
  </div>`;
}

function WorkTab({ session, params }) {
  const wanted = { tenant: params.tenant, kind: params.kind, status: params.status };
  const pages = usePages("/admin/v1/jobs", wanted);
  const [opened, setOpened] = useState(null);
  const columns = [
    { key: "kind", label: "Kind", render: (job) => (job.kind === "batch" ? "Batch" : "Question") },
    { key: "tenant", label: "Tenant" },
    { key: "status", label: "State", render: (job) => html`<${State} job=${job} />` },
    { key: "done", label: "Done", render: (job) => html`<${Progress} job=${job} />` },
    { key: "created_at", label: "Taken", render: (job) => html`<${Time} at=${job.created_at} />` },
    { key: "deadline", label: "Deadline", render: (job) => html`<${Time} at=${job.deadline} />` },
    { key: "cost", label: "Cost", align: "end", render: (job) => money(job.cost?.cost_usd) },
    { key: "saved", label: "Saved", align: "end", render: (job) => money(job.cost?.saved_usd) },
  ];
  const filtered = Object.values(wanted).some(Boolean);
  const empty = filtered
    ? html`<${Empty} title="No job matches">Choose other filters, or none.<//>`
    : html`<${Empty} title="No question waits, and none has">
        <p>A question that may wait is answered within a day, at half the price: send it to
        <code>POST /v1/jobs</code>, give <code>deadline</code> on <code>/v1/query</code>, or send a
        batch to <code>/v1/messages/batches</code>.</p><//>`;
  return html`<div class="stack">
    <${Card} title="Deferred questions and batches" api=${address("/admin/v1/jobs", wanted)}
      actions=${html`<${Button} kind="small" onClick=${pages.reload}>Read again<//>`}>
      <div class="filters">
        <${TenantSelect} value=${params.tenant} onChange=${(tenant) => setParams({ tenant })} />
        <${Choice} label="Kind" value=${params.kind} onChange=${(kind) => setParams({ kind })}
          options=${[["", "All kinds"], ["query", "Questions"], ["batch", "Batches"]]} />
        <${Choice} label="State" value=${params.status} onChange=${(status) => setParams({ status })}
          options=${[["", "All states"], ...Object.entries(STATES)]} />
      </div>
      <${PagedTable} pages=${pages} label="Jobs" columns=${columns} empty=${empty}
        onOpen=${setOpened} opened=${(job) => job.id === opened?.id} />
    <//>
    <${CouldWait} tenant=${params.tenant} />
    ${opened && html`<${JobDialog} key=${opened.id} job=${opened} session=${session}
      onClose=${() => setOpened(null)}
      changed=${(job) => pages.replace((rows) => rows.map((row) => (row.id === job.id ? job : row)))} />`}
  </div>`;
}

function JobDialog({ job, session, onClose, changed }) {
  const path = `/admin/v1/jobs/${encodeURIComponent(job.tenant)}/${encodeURIComponent(job.id)}`;
  const found = useApi(path);
  const [asking, setAsking] = useState(false);
  const cancel = async () => {
    changed(await send("DELETE", path));
    notify("The job is being cancelled.");
    found.reload();
  };
  if (asking) {
    return html`<${Confirm} title="Cancel this job?" submit="Cancel the job" onClose=${() => setAsking(false)}
      act=${cancel}><p>Questions that Claude has not answered yet end without an answer. Answers that it
      has begun may still arrive, and are paid for.</p><//>`;
  }
  return html`<${Dialog} title=${job.kind === "batch" ? "Batch" : "Deferred question"} onClose=${onClose}>
    <${Loaded} of=${found}>${(shown) => html`
      <dl class="facts">
        <dt>Id</dt><dd><code>${shown.id}</code> <${ApiLink} href=${path} /></dd>
        <dt>Tenant</dt><dd>${shown.tenant}${shown.key_id && html` <span class="hint">key ${shown.key_id}</span>`}</dd>
        <dt>State</dt><dd><${State} job=${shown} /></dd>
        <dt>Items</dt><dd>${Object.entries(shown.counts).filter(([, n]) => n).map(([end, n]) => `${count(n)} ${end}`).join(", ") || "none has ended"} of ${count(shown.total)}</dd>
        <dt>Taken</dt><dd>${moment(shown.created_at)}</dd>
        <dt>Deadline</dt><dd>${shown.deadline ? moment(shown.deadline) : "none"}</dd>
        <dt>Ended</dt><dd>${shown.ended_at ? `${moment(shown.ended_at)}, after ${duration(shown.ended_at - shown.created_at)}` : "not yet"}</dd>
        <dt>Cost</dt><dd>${shown.cost ? `${money(shown.cost.cost_usd)}, saved ${money(shown.cost.saved_usd)}` : "known once items have ended"}</dd>
        <dt>Stored</dt><dd>${bytes(shown.bytes)} until ${moment(shown.expires_at)}</dd>
        ${shown.webhook && html`<dt>Webhook</dt><dd>${shown.webhook}</dd>`}
      </dl>
      <p class="hint">Questions and answers of a job are shown to its tenant only.</p>
      ${shown.status === "in_progress" && mayTune(session) && html`<div class="actions">
        <${Button} kind="danger" onClick=${() => setAsking(true)}>Cancel the job<//></div>`}`}<//>
  <//>`;
}

/** Traffic at regular times, which a batch would have answered for half. */
function CouldWait({ tenant }) {
  const path = address("/admin/v1/batch-eligible", { tenant });
  const found = useApi(path);
  const columns = [
    { key: "tenant", label: "Tenant" },
    { key: "task", label: "Task", render: (row) => row.task ?? "–" },
    { key: "model", label: "Model" },
    { key: "requests", label: "Requests", align: "end", render: (row) => count(row.requests) },
    { key: "every", label: "Every", align: "end", render: (row) => duration(row.every_s ?? row.period_s) },
    { key: "cost", label: "Cost", align: "end", render: (row) => money(row.cost_usd) },
    { key: "saving", label: "A batch would save", align: "end", render: (row) => money(row.saving_usd) },
  ];
  return html`<${Card} title="Could have waited" api=${path}
    hint="Requests that came in bursts at regular times since this server's start. Whether they may wait, you know.">
    <${Loaded} of=${found}>${(rows) => rows.length === 0
      ? html`<${Empty} title="No regular bursts so far">From the fifth burst at regular times on they are listed here.<//>`
      : html`<${Table} label="Could have waited" columns=${columns} rows=${rows}
          rowKey=${(row) => JSON.stringify([row.tenant, row.task, row.model, row.key_id])} />`}<//>
  <//>`;
}

function ConversationsTab({ params }) {
  const wanted = { tenant: params.tenant };
  const pages = usePages("/admin/v1/conversations", wanted);
  const columns = [
    { key: "name", label: "Name", wide: true, render: (row) => row.name ?? html`<span class="hint">not shown: this tenant keeps no content</span>` },
    { key: "tenant", label: "Tenant" },
    { key: "namespace", label: "Namespace" },
    { key: "turns", label: "Turns", align: "end", render: (row) => count(row.turns) },
    { key: "bytes", label: "Size", align: "end", render: (row) => bytes(row.bytes) },
    { key: "last_at", label: "Last used", render: (row) => html`<${Time} at=${row.last_at} />` },
    { key: "expires_at", label: "Forgotten", render: (row) => html`<${Time} at=${row.expires_at} />` },
  ];
  return html`<${Card} title="Conversations" api=${address("/admin/v1/conversations", wanted)}
    hint="Earlier turns that are put before a question. In no particular order; turns are shown to their tenant only.">
    <div class="filters">
      <${TenantSelect} value=${params.tenant} onChange=${(tenant) => setParams({ tenant })} />
    </div>
    <${PagedTable} pages=${pages} label="Conversations" columns=${columns}
      rowKey=${(row) => `${row.tenant}:${row.mark}`}
      empty=${html`<${Empty} title="No conversation is kept">
        <p>Name one on <code>/v1/query</code> with <code>conversation</code>: the earlier turns then come
        before the question, and the answer is added to them.</p><//>`} />
  <//>`;
}
