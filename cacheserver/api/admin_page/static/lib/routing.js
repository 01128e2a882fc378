// Routing rules with their origin, a what-if over the calls of the day, and trials.
import { html, useState } from "./html.js";
import { send } from "./api.js";
import { Confirm } from "./dialog.js";
import { Field, Form, useForm } from "./form.js";
import { count, money, percent } from "./format.js";
import { Badge, Button, Card, Empty, Figure, Figures, Loaded, notify } from "./parts.js";
import { screenUrl } from "./router.js";
import { Table } from "./table.js";
import { mayTune } from "./tenants.js";
import { useApi } from "./use.js";
import { visible } from "./visible.js";

const TIERS = ["low", "middle", "high"];
const LEVELS = ["simple", "medium", "complex"];
const SHARES = {
  simple_from: ["Simple from", "The least probability of SIMPLE."],
  simple_complex_most: ["And complex at most", "The most probability of COMPLEX for that."],
  complex_from: ["Complex from", "The least probability of COMPLEX."],
};
const ORIGINS = { default: null, tenant: "good", trials: "warn" };

export function RoutingTab({ tenant, session }) {
  const path = `/admin/v1/routing/${encodeURIComponent(tenant)}`;
  const found = useApi(path);
  return html`<div class="stack">
    <${Loaded} of=${found} lines=${8}>${(shown) => html`
      ${mayTune(session) && html`<${WhatIf} key=${JSON.stringify(shown.rules)} path=${path} tenant=${tenant} shown=${shown}
        session=${session} reload=${found.reload} />`}
      <${Rules} path=${path} shown=${shown} />`}<//>
    <${Trials} path=${`${path}/trials`} />
  </div>`;
}

function Rules({ path, shown }) {
  const { rules, own } = shown;
  const tasks = [
    { key: "task", label: "Task" },
    { key: "model", label: "Answered by", render: (row) => html`<span class="nowrap">${row.model}</span>` },
    { key: "tier", label: "Tier" },
    { key: "origin", label: "Because of", render: (row) => html`<div><${Badge} tone=${ORIGINS[row.origin]}>${row.origin}<//>
      ${row.held_back && html` <span class="hint">${row.wanted_tier} is ${row.held_back === "trial-unproven" ? "not proven yet" : "rolled back"}</span>`}</div>` },
    { key: "min_agreement", label: "Must agree", align: "end", render: (row) => row.min_agreement === null ? "–" : percent(row.min_agreement) },
  ];
  const ruled = shown.tasks.filter(({ origin }) => origin !== "default");
  const usual = shown.tasks.filter(({ origin }) => origin === "default");
  const overrides = [
    { key: "model", label: "Asked for" },
    { key: "to", label: "Answered by", render: (row) => row.to_model ?? `the ${row.to_tier} tier: ${rules.tiers[row.to_tier]}` },
    { key: "task", label: "For", render: (row) => row.task ?? "all work" },
  ];
  return html`<div class="grid">
    <${Card} class="two-thirds" title="Which model answers a task" api=${path}
        hint=${rules.enabled ? "With the model “auto”. Other questions go by their difficulty."
          : `Routing is off: “auto” is ${shown.default_model}.`}>
      ${ruled.length > 0 && html`<${Table} label="Tasks with a rule" columns=${tasks} rows=${ruled} rowKey="task" />`}
      <div class=${ruled.length > 0 ? "below" : ""}><dl class="facts">
        ${TIERS.map((tier) => [tier, usual.filter((row) => row.tier === tier)]).filter(([, rows]) => rows.length > 0)
          .map(([tier, rows]) => html`<dt key=${tier}>${rows[0].model}</dt>
            <dd>${rows.map(({ task }) => task).join(", ")}</dd>`)}
      </dl></div>
      <p class="hint after">The lower list is the server's own; a rule in the tenant's settings replaces a line of it.</p>
    <//>
    <div class="third stack">
      <${Card} title="Tiers and difficulty">
        <dl class="facts">
          ${TIERS.map((tier) => html`<dt key=${tier}>${tier}</dt><dd>${rules.tiers[tier]} <${Origin} own=${own.tiers} name=${tier} /></dd>`)}
          ${LEVELS.map((level) => html`<dt key=${level}>${level} questions</dt><dd>${rules.levels[level]} tier <${Origin} own=${own.levels} name=${level} /></dd>`)}
          <dt>not sure</dt><dd>${rules.default_tier} tier <${Origin} own=${own} name="default_tier" /></dd>
          <dt>asking Haiku</dt><dd>${rules.haiku.ask} <${Origin} own=${own.haiku} name="ask" /></dd>
        </dl>
      <//>
      <${Card} title="Named models that are replaced">
        ${rules.overrides.length === 0
          ? html`<${Empty} title="None">A model that a request names answers it. An override replaces it: try one above.<//>`
          : html`<${Table} label="Overrides" columns=${overrides} rows=${rules.overrides} rowKey=${(row) => `${row.model}:${row.task}`} />`}
      <//>
    </div>
  </div>`;
}

function Origin({ own, name }) {
  return own?.[name] === undefined ? null : html`<span class="origin">set by the tenant</span>`;
}

/** The settings that a form changes: what is equal to the rules in force is left out. */
function changes(values, rules) {
  const given = {};
  const put = (group, name, value) => {
    given[group] = { ...given[group], [name]: value };
  };
  for (const level of LEVELS) if (values[level] !== rules.levels[level]) put("levels", level, values[level]);
  for (const tier of TIERS) {
    const model = values[tier].trim();
    if (model !== rules.tiers[tier]) put("tiers", tier, model);
  }
  for (const name of Object.keys(SHARES)) {
    if (values[name] !== String(rules[name])) given[name] = Number(values[name]);
  }
  if (values.default_tier !== rules.default_tier) given.default_tier = values.default_tier;
  const from = values.override_from.trim();
  if (from) {
    const kept = rules.overrides.filter(({ model, task }) => model !== from || task !== null);
    given.overrides = [...kept, { model: from, to_tier: values.override_to }];
  }
  return given;
}

function WhatIf({ path, tenant, shown, session, reload }) {
  const { rules } = shown;
  const [result, setResult] = useState(null);
  const [asking, setAsking] = useState(false);
  const initial = {
    ...Object.fromEntries(LEVELS.map((level) => [level, rules.levels[level]])),
    ...Object.fromEntries(TIERS.map((tier) => [tier, rules.tiers[tier]])),
    ...Object.fromEntries(Object.keys(SHARES).map((name) => [name, String(rules[name])])),
    default_tier: rules.default_tier,
    override_from: "",
    override_to: "middle",
    limit: "500",
  };
  const form = useForm(
    initial,
    async (values) => {
      const given = changes(values, rules);
      const limit = Number(values.limit);
      const found = await send("POST", `${path}/what-if`, { routing: given, limit });
      const examples = found.examples.map((row) => ({ ...row, tenant }));
      setResult({ given, ...found, examples });
    },
    { names: (field) => (field.startsWith("routing.overrides") ? "override_from" : field.split(".").at(-1)) },
  );
  const tiers = TIERS.map((tier) => [tier, `${tier}: ${form.values[tier]}`]);
  const stale = result !== null && JSON.stringify(result.given) !== JSON.stringify(changes(form.values, rules));
  const apply = async () => {
    await send("PUT", `/admin/v1/tenants/${encodeURIComponent(tenant)}`, { routing: result.given });
    notify("The rules are in force on all servers.");
    reload();
  };
  return html`<${Card} title="What if" class="what-if"
      hint="Replays the last calls to Claude of the day under other rules. Nothing changes until you apply it.">
    <${Form} form=${form} asks=${false} submit=${`Try on the last ${count(Number(form.values.limit))} calls`}>
      <div class="fields">
        ${LEVELS.map((level) => html`<${Field} key=${level} form=${form} name=${level} type="select" options=${tiers}
          label=${`${level[0].toUpperCase()}${level.slice(1)} questions go to`} />`)}
        <${Field} form=${form} name="default_tier" type="select" options=${tiers} label="If it is not sure" />
        ${Object.entries(SHARES).map(([name, [label, hint]]) => html`<${Field} key=${name} form=${form} name=${name}
          type="number" min="0" max="1" step="0.005" label=${label} hint=${hint} />`)}
        <${Field} form=${form} name="limit" type="select" label="Calls" options=${["100", "500", "2000"].map((n) => [n, n])} />
      </div>
      <details class="more-options"><summary>Models, and replacing a named one</summary>
        <div class="fields">
          ${TIERS.map((tier) => html`<${Field} key=${tier} form=${form} name=${tier} label=${`Model of the ${tier} tier`} spellcheck="false" />`)}
          <${Field} form=${form} name="override_from" label="Replace the named model" placeholder="claude-opus-5-5" spellcheck="false" />
          <${Field} form=${form} name="override_to" type="select" options=${tiers} label="by" />
        </div>
      </details>
    <//>
    ${result && html`<${Result} result=${result} stale=${stale}
      apply=${session.role === "all" && Object.keys(result.given).length > 0 && !stale ? () => setAsking(true) : null} />`}
    ${asking && html`<${Confirm} title=${`Change the routing of ${tenant}?`} submit="Apply" act=${apply} onClose=${() => setAsking(false)}>
      <p>These settings change; the others stay. The trail keeps what they were.</p>
      <pre class="text-block">${JSON.stringify(result.given, null, 2)}</pre><//>`}
  <//>`;
}

function Result({ result, stale, apply }) {
  const more = Number(result.more_usd);
  const left = Object.entries(result.not_replayed);
  const models = [
    { key: "from", label: "Was answered by" },
    { key: "to", label: "Would be", render: (row) => row.to === row.from ? html`<span class="hint">the same</span>` : html`<strong>${row.to}</strong>` },
    { key: "requests", label: "Calls", align: "end", render: (row) => count(row.requests) },
    { key: "before_usd", label: "Cost", align: "end", render: (row) => money(row.before_usd) },
    { key: "after_usd", label: "Would cost", align: "end", render: (row) => money(row.after_usd) },
  ];
  const tasks = [
    { key: "task", label: "Task", render: (row) => row.task ?? html`<span class="hint">none</span>` },
    { key: "requests", label: "Calls", align: "end", render: (row) => count(row.requests) },
    { key: "moved", label: "Moved", align: "end", render: (row) => count(row.moved) },
    { key: "more_usd", label: "Difference", align: "end", render: (row) => money(row.more_usd) },
  ];
  const examples = [
    { key: "question", label: "Question", wide: true, render: (row) => visible(row.question) ?? html`<span class="hint">not stored</span>` },
    { key: "from", label: "Was", render: (row) => html`<div class="nowrap">${row.from}<div class="hint">${row.from_reason}</div></div>` },
    { key: "to", label: "Would be", render: (row) => html`<div class="nowrap">${row.to}<div class="hint">${row.to_reason}</div></div>` },
    { key: "cost", label: "Cost", align: "end", render: (row) => `${money(row.before_usd)} → ${money(row.after_usd)}` },
    { key: "id", label: "", render: (row) => html`<a href=${screenUrl("requests", { tenant: row.tenant, decision: row.decision_id })}>Request</a>` },
  ];
  if (result.requests === 0) {
    return html`<div role="status"><${Empty} title="No call to replay">This tenant asked Claude nothing in the last day.<//></div>`;
  }
  return html`<section class="result" aria-label="Result" aria-live="polite">
    ${stale && html`<p class="hint after" role="status">The rules were changed since: try again.</p>`}
    <${Figures}>
      <${Figure} label="Calls that would move" value=${count(result.moved)} note=${`of ${count(result.requests)}`} />
      <${Figure} label="They cost" value=${money(result.before_usd)} note="all calls, as they were" />
      <${Figure} label="Would cost, about" value=${money(result.after_usd)} />
      <${Figure} label="Difference" value=${`${more > 0 ? "+" : ""}${money(result.more_usd)}`} tone=${more > 0 ? "bad" : more < 0 ? "good" : undefined}
        note=${Number(result.before_usd) ? `${more > 0 ? "+" : ""}${percent(more / Number(result.before_usd))}` : null} />
    <//>
    ${apply && html`<div class="actions"><${Button} kind="primary" onClick=${apply}>Apply these rules…<//></div>`}
    <div class="grid">
      <div class="two-thirds"><h3>By model</h3><${Table} label="By model" columns=${models} rows=${result.by_model} rowKey=${(row) => `${row.from}:${row.to}`} /></div>
      <div class="third"><h3>By task</h3><${Table} label="By task" columns=${tasks} rows=${result.by_task} rowKey=${(row) => row.task ?? ""} /></div>
    </div>
    ${result.examples.length > 0 && html`<h3>Calls that change most</h3>
      <${Table} label="Examples" columns=${examples} rows=${result.examples} rowKey="decision_id" />`}
    <p class="hint">Estimates: the same tokens at the other model's prices. Another model writes other answers.${left.length > 0 &&
      ` Not replayed, and left as they were: ${left.map(([why, n]) => `${count(n)} (${why})`).join(", ")}.`}${result.unpriced > 0 &&
      ` ${count(result.unpriced)} would go to a model without a price.`}</p>
  </section>`;
}

function Trials({ path }) {
  const found = useApi(path);
  const columns = [
    { key: "task", label: "Task" },
    { key: "models", label: "Models", render: (row) => html`<div class="nowrap">${row.to_model}<div class="hint">against ${row.from_model}</div></div>` },
    { key: "agreement", label: "Agreed", align: "end", render: (row) => `${percent(row.agreement)} of ${count(row.count)}` },
    { key: "interval", label: "95%", align: "end", render: (row) => `${percent(row.interval[0])} to ${percent(row.interval[1])}` },
    { key: "min_agreement", label: "Must agree", align: "end", render: (row) => row.min_agreement === null ? "–" : percent(row.min_agreement) },
    { key: "standing", label: "So it is", render: (row) => row.standing ? html`<${Badge} tone=${row.standing === "proven" ? "good" : "warn"}>${row.standing}<//>` : "–" },
    { key: "cost_usd", label: "Cost", align: "end", render: (row) => money(row.cost_usd) },
  ];
  if (found.error?.status === 404) return null; // trials are switched off on this server
  return html`<${Card} title="Trials of cheaper models" api=${path}>
    <${Loaded} of=${found}>${(shown) => shown.pairs.length === 0
      ? html`<${Empty} title="No trial has run">A trial asks a cheaper model the same question and compares the answers.
          Set <code>routing.trials.share</code> and a task's <code>min_agreement</code> in the tenant's settings.<//>`
      : html`<${Table} label="Trials" columns=${columns} rows=${shown.pairs} rowKey=${(row) => `${row.task}:${row.to_model}`} />`}<//>
  <//>`;
}
