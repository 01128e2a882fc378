// Health: every part with what to do, and the canary that takes the real path.
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { count, duration, money } from "../lib/format.js";
import { Badge, Button, Card, ErrorBox, Loaded } from "../lib/parts.js";
import { screenUrl } from "../lib/router.js";
import { Table } from "../lib/table.js";
import { useApi } from "../lib/use.js";

const TONES = { ok: "good", degraded: "warn", failed: "bad" };
const SAID = { ok: "Every part works.", degraded: "It works, and a part needs a look.", failed: "A part has failed." };
const NAMES = {
  store: "Store", disk: "Disk", room: "Room", index: "Index", embedder: "Embedder",
  upstream: "Claude", ledger: "Ledger", tasks: "Background tasks", servers: "Servers",
};

export function Health({ may }) {
  const found = useApi("/admin/v1/health", {}, { every: 15 });
  return html`<${Loaded} of=${found} lines=${8}>${(data) => html`<div class="grid">
    <${Card} title="Health" api="/admin/v1/health" class="two-thirds"
        actions=${html`<${Badge} tone=${TONES[data.status]}>${data.status}<//>`} hint=${SAID[data.status]}>
      <ul class="checks">
        ${data.checks.map((one) => html`<li key=${one.name}>
          <span class="check-name">${NAMES[one.name] ?? one.name}</span>
          <${Badge} tone=${TONES[one.status]}>${one.status}<//>
          <span class="check-found">${one.found}${one.do && html`<span class="check-do">${one.do}</span>`}</span>
        </li>`)}
      </ul>
      <${Rounds} of=${data.checks.find(({ name }) => name === "tasks")?.facts.rounds ?? []} />
      <${Servers} of=${data.checks.find(({ name }) => name === "servers")?.facts} />
    <//>
    <${Card} title="Versions" class="third" api="/admin/v1/health">
      <dl class="facts">${Object.entries(data.versions).map(([name, version]) => html`<dt key=${name}>${name}</dt><dd>${version || "–"}</dd>`)}</dl>
    <//>
    <${Canary} about=${data.canary} may=${may} />
  </div>`}<//>`;
}

/** The servers that share the store, and which work in the background each does. */
function Servers({ of }) {
  if (!of || of.servers.length < 2) return null;
  const done = (place) => Object.entries(of.work).filter(([, who]) => who === place).map(([work]) => work).join(", ");
  return html`<details class="more-options rounds"><summary>Servers on this store</summary>
    <${Table} label="Servers" rowKey="name" rows=${of.servers} columns=${[
      { key: "place", label: "Server", render: (one) => html`<code class="nowrap">${one.place ?? one.name}</code>${one.own ? " (this one)" : ""}` },
      { key: "version", label: "Version", render: ({ version }) => version ?? "–" },
      { key: "since", label: "Since", render: ({ since }) => since ?? "–" },
      { key: "behind", label: "Changes", render: ({ behind }) => behind ? "some not applied yet" : "all applied" },
      { key: "work", label: "Work in the background", render: ({ place }) => done(place) || "none" },
    ]} /></details>`;
}

/** When each background task ran last, how long, and how often it failed. */
function Rounds({ of }) {
  if (of.length === 0) return null;
  return html`<details class="more-options rounds"><summary>Background tasks, by their last round</summary>
    <${Table} label="Background tasks" rowKey="task" rows=${of} columns=${[
      { key: "task", label: "Task", render: ({ task }) => html`<code class="nowrap">${task}</code>` },
      { key: "last_s", label: "Last round", render: (one) => `${duration(one.last_s)} ago` },
      { key: "took_ms", label: "Took", align: "end", render: (one) => `${one.took_ms} ms` },
      { key: "rounds", label: "Rounds", align: "end", render: (one) => count(one.rounds) },
      { key: "failed", label: "Failed", align: "end", render: (one) => html`<span class=${one.failed ? "tone-warn" : ""}>${count(one.failed)}</span>` },
      { key: "error", label: "Result", render: ({ error }) => error ? html`<${Badge} tone="warn">${error}<//>` : "well" },
    ]} /></details>`;
}

function Canary({ about, may }) {
  const [state, setState] = useState({ busy: false, found: null, error: null });
  const run = async () => {
    setState({ busy: true, found: null, error: null });
    try {
      setState({ busy: false, found: await send("POST", "/admin/v1/health/canary"), error: null });
    } catch (error) {
      setState({ busy: false, found: null, error });
    }
  };
  const { busy, found, error } = state;
  return html`<${Card} title="Canary"
      hint=${`One question goes through the real path, three times, and is removed again. It asks ${about.model} and costs at most ${money(about.most_usd)}.`}
      actions=${html`<${Button} kind="primary" busy=${busy} disabled=${!may} onClick=${run}>Run the canary<//>`}>
    ${error && html`<${ErrorBox} error=${error} retry=${run} />`}
    ${found && html`<ol class="checks" role="status">
      ${found.steps.map((one) => html`<li key=${one.step}>
        <span class="check-name">${one.step}</span>
        <${Badge} kind=${one.got === "failed" ? "failed" : one.got}>${one.got}<//>
        <span class="check-found">${one.ms} ms, ${one.reason}${one.cost_usd !== null && `, ${money(one.cost_usd)}`}
          ${one.status !== "ok" && html` <${Badge} tone=${TONES[one.status]}>${one.status}<//>`}
          ${(one.error || one.do) && html`<span class="check-do">${one.error ? `${one.error}. ` : ""}${one.do ?? ""}</span>`}</span>
      </li>`)}
    </ol>
    <p class="hint foot">Cost ${money(found.cost_usd)}, booked on <code>${found.tenant}</code>; ${found.removed_entries} stored
      ${found.removed_entries === 1 ? " answer was" : " answers were"} removed. Each run is in the
      ${" "}<a href=${screenUrl("trail", { tenant: found.tenant })}>audit trail</a>.</p>`}
  <//>`;
}
