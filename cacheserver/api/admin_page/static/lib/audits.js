// Audits of uploaded logs: the form, the list with its progress, and one report.
import { html, useId, useRef, useState } from "./html.js";
import { send, upload } from "./api.js";
import { Confirm } from "./dialog.js";
import { Field, Form, useForm } from "./form.js";
import { bytes, count, duration, moment, money, percent } from "./format.js";
import {
  Badge, Button, Card, Empty, Figure, Figures, Loaded, Meter, Time, notify,
} from "./parts.js";
import { screenUrl, setParams } from "./router.js";
import { Table } from "./table.js";
import { mayTune, useTenants } from "./tenants.js";
import { useApi } from "./use.js";

const LIST = "/admin/v1/audits";
const FORMATS = ".jsonl,.json,.ndjson,.csv,.gz,.txt,.log";
const LEVERS = {
  exact: "Exact repeats",
  semantic: "Equal questions",
  routing: "Routing",
  "prompt-caching": "Prompt caching",
  batch: "Batches",
};
const TONES = { done: "good", failed: "bad", running: "warn" };

export function AuditsTab({ session, params }) {
  if (params.audit) return html`<${Report} id=${params.audit} session=${session} />`;
  return html`<div class="grid">
    <div class="two-thirds"><${List} session=${session} /></div>
    <div class="third">${mayTune(session)
      ? html`<${UploadForm} />`
      : html`<${Card} title="Audit a log"><p class="hint">This key may read audits. A key with the role
          “tune” uploads logs.</p><//>`}</div>
  </div>`;
}

/** The name as the server takes it: letters, digits, dots and dashes. */
function plainName(name) {
  return name.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[.-]+/, "").slice(-100) || "log";
}

function UploadForm() {
  const names = useTenants();
  const [file, setFile] = useState(null);
  const input = useRef(null);
  const id = useId();
  const form = useForm(
    { file: "", tenant: "", target: "", ttl_s: "", since: "", until: "", wrong_hit_usd: "", one_tenant: false },
    async ({ file: _, one_tenant: shared, ...given }) => {
      if (file === null) throw Object.assign(new Error("choose a log first"), { field: "file" });
      const params = { name: plainName(file.name), ...given, one_tenant: shared ? "true" : null };
      const job = await upload(LIST, file, params);
      notify(`${job.name} is queued.`);
      setParams({ audit: job.id });
    },
    { names: (field) => (field === "name" || field === "body" ? "file" : field) },
  );
  const choose = (event) => {
    setFile(event.currentTarget.files[0] ?? null);
    form.set("file", event.currentTarget.value);
  };
  const error = form.errors.file;
  return html`<${Card} title="Audit a log"
      hint="Estimates from your own log what the cache would have saved. Claude is not asked.">
    <${Form} form=${form} submit=${form.busy ? "Uploading…" : "Upload and audit"}>
      <div class="field">
        <label for=${id}>Log</label>
        <input id=${id} ref=${input} type="file" accept=${FORMATS} onChange=${choose}
          aria-invalid=${error ? "true" : undefined} aria-describedby=${`${id}-hint${error ? ` ${id}-error` : ""}`} />
        <p class="hint" id=${`${id}-hint`}>Your own log, or an export of LiteLLM, Helicone, Langfuse or
          OpenTelemetry; JSON lines, JSON or CSV, plain or gzipped.${file && html` <strong>${bytes(file.size)}</strong>`}</p>
        ${error && html`<p class="field-error" id=${`${id}-error`}>${error}</p>`}
      </div>
      <${Field} form=${form} name="tenant" label="Settings of" type="select"
        options=${[["", "the server"], ...names.map((name) => [name, name])]}
        hint="Whose error target and lifetime are taken." />
      <details class="more-options"><summary>More options</summary>
        <div class="fields">
          <${Field} form=${form} name="target" label="Error target" inputmode="decimal" placeholder="0.01"
            hint="Highest share of wrong semantic hits." />
          <${Field} form=${form} name="ttl_s" label="Lifetime in seconds" inputmode="numeric" placeholder="3600" />
          <${Field} form=${form} name="since" label="From" placeholder="2026-11-01" hint="Else the log's last 30 days." />
          <${Field} form=${form} name="until" label="To" placeholder="2026-12-01" />
          <${Field} form=${form} name="wrong_hit_usd" label="Cost of a wrong answer, $" inputmode="decimal" placeholder="0" />
        </div>
        <${Field} form=${form} name="one_tenant" label="All users share answers" type="checkbox" />
      </details>
    <//>
    <p class="hint after">The log is deleted as soon as its audit has ended; the report is kept for some days.</p>
  <//>`;
}

function List({ session }) {
  const [fast, setFast] = useState(false);
  const found = useApi(LIST, { limit: 200 }, { every: fast ? 2 : 30 });
  const busy = (found.data?.items ?? []).some((job) => job.ended_at === null);
  if (busy !== fast) setFast(busy);
  const columns = [
    { key: "name", label: "Log", wide: true, render: (job) => html`<a href=${screenUrl("jobs", { tab: "audits", audit: job.id })}>${job.name}</a>` },
    { key: "state", label: "State", render: (job) => html`<${State} job=${job} />` },
    { key: "requests", label: "Requests", align: "end", render: (job) => count(job.summary?.requests) },
    { key: "spent", label: "Spent", align: "end", render: (job) => money(job.summary?.spent_usd) },
    { key: "saved", label: "Would have saved", align: "end", render: (job) => money(job.summary?.saved_usd) },
    { key: "created_at", label: "Taken", render: (job) => html`<${Time} at=${job.created_at} />` },
  ];
  const empty = html`<${Empty} title="No log was audited yet">
    <p>${mayTune(session) ? "Choose a log" : "Have somebody upload a log"}: what was spent, what each lever
    would have saved, and the ten worst leaks, before anything is switched on.</p><//>`;
  return html`<${Card} title="Audits" api=${LIST}>
    <${Loaded} of=${found}>${({ items }) => items.length === 0
      ? empty
      : html`<${Table} label="Audits" columns=${columns} rows=${items} />`}<//>
  <//>`;
}

function State({ job }) {
  const { progress } = job;
  if (job.state !== "running" || !progress) return html`<${Badge} tone=${TONES[job.state]}>${job.state}<//>`;
  return html`<div class="progress">
    <${Meter} share=${progress.whole ? progress.done / progress.whole : 0} label=${told(progress)} />
    <span class="hint">${told(progress)}</span></div>`;
}

function told({ phase, done, whole, per_second: rate, left_s: left }) {
  const amount = phase === "reading" ? `${percent(whole ? done / whole : 0)} of ${bytes(whole)} read`
    : `${count(done)} of ${count(whole)} requests`;
  const speed = rate && phase !== "reading" ? `, ${count(rate)} a second` : "";
  return `${amount}${speed}${left ? `, ${duration(left)} left` : ""}`;
}

function Report({ id, session }) {
  const path = `${LIST}/${encodeURIComponent(id)}`;
  const [fast, setFast] = useState(true);
  const found = useApi(path, {}, { every: fast ? 1 : 0 });
  const [asking, setAsking] = useState(false);
  const busy = found.data === null ? found.error === null : found.data.ended_at === null;
  if (busy !== fast) setFast(busy);
  const remove = async () => {
    await send("DELETE", path);
    notify("The audit is deleted.");
    setParams({ audit: null });
  };
  return html`<div class="stack">
    <p><a href=${screenUrl("jobs", { tab: "audits" })}>All audits</a></p>
    <${Loaded} of=${found} lines=${6}>${(job) => html`
      <${Card} title=${job.name} api=${path} actions=${html`
          ${job.report && html`<a class="button" href=${`${path}/page`} target="_blank" rel="noopener">Whole report</a>`}
          ${mayTune(session) && html`<${Button} kind="danger" onClick=${() => setAsking(true)}>${job.ended_at ? "Delete" : "Stop"}<//>`}`}>
        <${Head} job=${job} />
      <//>
      ${job.report && job.report.read.requests > 0 && html`<${Levers} report=${job.report} /><${Leaks} leaks=${job.report.leaks} />`}
      ${job.summary?.bad > 0 && html`<${BadLines} summary=${job.summary} />`}`}<//>
    ${asking && html`<${Confirm} title="Delete this audit?" submit="Delete" onClose=${() => setAsking(false)} act=${remove}>
      <p>The log, if it is still there, and the report go.</p><//>`}
  </div>`;
}

function Head({ job }) {
  if (job.state === "queued") return html`<p role="status">It waits for its turn: audits run one at a time.</p>`;
  if (job.state === "running") {
    return html`<div role="status">${job.progress ? html`<${State} job=${job} />` : "It starts: the model is loaded."}</div>`;
  }
  const facts = html`<p class="hint after">${bytes(job.bytes)}, taken ${moment(job.created_at)}${job.ended_at
    ? `, audited in ${duration(job.ended_at - job.started_at)}; kept until ${moment(job.expires_at)}` : ""}.
    Error target ${percent(job.options.target)}, lifetime ${duration(job.options.ttl_s)}${job.options.tenant
      ? `, as ${job.options.tenant} has them` : ""}.</p>`;
  if (job.state === "failed") return html`<p class="field-error" role="alert">The audit failed: ${job.error}.</p>${facts}`;
  const { summary, report } = job;
  const share = Number(summary.spent_usd) ? Number(summary.saved_usd) / Number(summary.spent_usd) : null;
  return html`<${Figures}>
      <${Figure} label="Requests" value=${count(summary.requests)} note=${`${moment(summary.from).slice(0, 10)} to ${moment(summary.to).slice(0, 10)}`} />
      <${Figure} label="Spent" value=${money(summary.spent_usd)} />
      <${Figure} label="Would have been saved" value=${money(summary.saved_usd)} tone="good" note=${`${percent(share)} of what was spent`} />
      <${Figure} label="In 30 days like these" value=${money(summary.month.saved?.usd)}
        note=${summary.month.saved ? interval(summary.month.saved.interval_95_usd) : "the log is too short to say"} />
      <${Figure} label="Wrong hits, of those compared" value=${percent(report.semantic.wrong_share)}
        note=${`${count(report.semantic.wrong)} of ${count(report.semantic.compared)}`} />
    <//>${facts}`;
}

function interval(ends) {
  return ends ? `95%: ${money(ends[0])} to ${money(ends[1])}` : null;
}

function Levers({ report }) {
  const rows = Object.entries(report.levers).map(([name, lever]) => ({ name, ...lever }));
  const most = Math.max(...rows.map((row) => Math.abs(Number(row.together_usd))), 1e-9);
  const columns = [
    { key: "name", label: "Lever", render: (row) => LEVERS[row.name] ?? row.name },
    { key: "together_usd", label: "With the others", align: "end", render: (row) => money(row.together_usd) },
    { key: "bar", label: "Part", render: (row) => html`<${Meter} share=${Number(row.together_usd) / most} label=${money(row.together_usd)} />` },
    { key: "alone_usd", label: "Alone", align: "end", render: (row) => money(row.alone_usd) },
    { key: "month", label: "30 days", align: "end", render: (row) => money(row.together_month?.usd) },
  ];
  return html`<${Card} title="What each lever would have saved"
      hint="In the order of the path: with the others, the parts sum to the whole. Alone, two may be after the same money.">
    <${Table} label="Levers" columns=${columns} rows=${rows} rowKey="name" /><//>`;
}

function Leaks({ leaks }) {
  const columns = [
    { key: "kind", label: "Leak", wide: true, render: (leak) => html`<div><strong>${leak.kind}</strong><div class="hint">${leak.what}</div></div>` },
    { key: "model", label: "Model", render: (leak) => html`<span class="nowrap">${leak.model}</span>` },
    { key: "requests", label: "Requests", align: "end", render: (leak) => count(leak.requests) },
    { key: "saved_usd", label: "Worth", align: "end", render: (leak) => money(leak.saved_usd) },
    { key: "month", label: "30 days", align: "end", render: (leak) => money(leak.month?.usd) },
    { key: "fix", label: "What to do", wide: true, render: (leak) => html`<div>${leak.fix}${leak.note && html`<div class="hint">${leak.note}</div>`}</div>` },
  ];
  return html`<${Card} title="The worst leaks">
    ${leaks.length === 0
      ? html`<${Empty} title="No leak worth naming">None was worth 1% of what was spent.<//>`
      : html`<${Table} label="Leaks" columns=${columns} rows=${leaks} rowKey=${(leak) => `${leak.kind}:${leak.what}:${leak.model}`} />`}<//>`;
}

function BadLines({ summary }) {
  return html`<${Card} title=${`${count(summary.bad)} ${summary.bad === 1 ? "line" : "lines"} could not be read`}
      hint="By their places, never by their text.">
    <ul>${summary.bad_shown.map((line) => html`<li key=${line}><code>${line}</code></li>`)}</ul><//>`;
}
