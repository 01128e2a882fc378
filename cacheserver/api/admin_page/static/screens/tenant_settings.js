// A tenant's settings as a form, own and default told apart, and its rules of lifetimes.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { Field, Form, useForm } from "../lib/form.js";
import { duration } from "../lib/format.js";
import { Badge, Button, Card, Empty, Loaded, notify } from "../lib/parts.js";
import { screenUrl } from "../lib/router.js";
import { Table } from "../lib/table.js";
import { useApi } from "../lib/use.js";

const ON = [["true", "on"], ["false", "off"]];
const AT_LIMIT = [
  ["warn", "only warn"], ["cheaper", "ask the cheapest model"],
  ["cache-only", "serve stored answers only"], ["refuse", "refuse"],
];
// Path, label, kind (a number, a text, a list, or the words of a choice), and a hint.
const GROUPS = [
  ["Answers", [
    ["default_ttl_s", "Lifetime of an answer, seconds", "number", "If its caller sets none. 0: not stored."],
    ["max_ttl_s", "Longest lifetime, seconds", "number", "That a caller may set."],
    ["stale_s", "Stale answers, seconds", "number", "Served after their end while Claude fails. 0: never."],
    ["semantic", "Similar questions", ON, "Off: exact hits only."],
    ["match_code", "Code and formulas by similarity", ON],
    ["shadow", "Shadow mode", ON, "Decide and compare, and always ask Claude."],
    ["corroborate", "Second person must confirm", ON],
    ["compare_with", "Compare costs with the model", "text", "In reports, beside all Sonnet and all Opus."],
  ]],
  ["Volatile questions", [
    ["volatility.time_s", "Time (today), seconds", "number", "The longest lifetime of their answers."],
    ["volatility.drift_s", "Changing facts, seconds", "number", "Such as who is president."],
    ["volatility.place_s", "Place (near me), seconds", "number", "0: neither stored nor shared."],
    ["volatility.personal_s", "Personal (my order), seconds", "number", "0: neither stored nor shared."],
  ]],
  ["Budgets", [
    ["budgets.enabled", "Budgets", ON],
    ["budgets.daily.usd", "Dollars a day", "number"],
    ["budgets.daily.tokens", "Tokens a day", "number"],
    ["budgets.monthly.usd", "Dollars a month", "number"],
    ["budgets.monthly.tokens", "Tokens a month", "number"],
    ["budgets.at_limit", "At the limit", AT_LIMIT],
    ["budgets.alert_at", "Alert at this share", "number", "0.8: at four fifths of a budget."],
  ]],
  ["Alerts", [
    ["budgets.alerts.enabled", "Alerts", ON],
    ["budgets.alerts.webhook", "Webhook", "text", "Signed; https."],
    ["budgets.alerts.slack", "Slack webhook", "text"],
    ["budgets.alerts.email", "Mail to", "list", "Addresses with commas between."],
    ["budgets.alerts.digest", "Weekly digest", ON],
    ["budgets.alerts.spend_times", "Spending, times", "number", "The usual of such an hour."],
    ["budgets.alerts.spend_least_usd", "Spending, least dollars", "number", "An hour below it raises no alert."],
    ["budgets.alerts.error_share", "Failing requests, share", "number"],
    ["budgets.alerts.hit_rate_left", "Hit rate, share left", "number", "Of its usual."],
    ["budgets.alerts.output_times", "Length of answers, times", "number", "The usual."],
  ]],
  ["Limits and verification", [
    ["limits.requests_per_minute", "Requests a minute", "number"],
    ["limits.concurrent_misses", "Calls to Claude at a time", "number"],
    ["limits.tokens_per_minute", "Tokens a minute", "number"],
    ["verify.mode", "Verification by a model", [["off", "off"], ["auto", "auto"], ["background", "background"], ["inline", "inline"]]],
  ]],
];
const FIELDS = GROUPS.flatMap(([, fields]) => fields);

const at = (object, path) => path.split(".").reduce((found, name) => found?.[name], object);

function text(value) {
  if (value === null || value === undefined) return "";
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** What the API takes for what was typed; "" is the default. */
function parsed(kind, value) {
  if (value.trim() === "") return null;
  if (kind === "number") return Number.isNaN(Number(value)) ? value : Number(value);
  if (kind === "list") return value.split(",").map((one) => one.trim()).filter(Boolean);
  if (kind === ON) return value === "true";
  return value.trim();
}

/** The form; `group` is the title of the card that it begins at. */
export function SettingsForm({ name, may, group }) {
  const path = `/admin/v1/tenants/${encodeURIComponent(name)}`;
  const found = useApi(path);
  return html`<${Loaded} of=${found} lines=${8}>${(data) => html`<${Filled} key=${name}
    path=${path} data=${data} may=${may} group=${group} reload=${found.reload} />`}<//>`;
}

function Filled({ path, data, may, group, reload }) {
  useEffect(() => {
    if (group) document.querySelector(`.tenant-form [aria-label="${CSS.escape(group)}"]`)?.scrollIntoView();
  }, []);
  const sent = useRef(null);
  const start = Object.fromEntries(FIELDS.map(([field]) => [field, text(at(data.own, field))]));
  const form = useForm(start, async (values) => {
    const body = {};
    for (const [field, , kind] of FIELDS) {
      if (values[field] === start[field]) continue;
      const names = field.split(".");
      const last = names.pop();
      let place = body;
      for (const one of names) place = place[one] ??= {};
      place[last] = parsed(kind, values[field]);
    }
    await send("PUT", path, body);
    sent.current = values;
    notify("Saved. In force within three seconds.");
    reload();
  }, { names: (field) => FIELDS.find(([one]) => field === one || field.startsWith(`${one}.`))?.[0] ?? field });
  useEffect(() => {
    if (sent.current) form.settle(sent.current, start);
  }, [JSON.stringify(data.own)]);
  const conflicts = Object.entries(data.conflicts);
  return html`<div class="tenant-form"><${Form} form=${form} may=${false}>
    <p class="hint">An empty field has the server's default, which stands in it in grey. Bars are set in
      ${" "}<a href=${screenUrl("tuning", { tenant: data.name })}>Tuning</a>.</p>
    ${conflicts.map(([field, why]) => html`<p key=${field} class="field-error"><code>${field}</code> ${why}</p>`)}
    <div class="stack">
      ${GROUPS.map(([title, fields]) => html`<${Card} key=${title} title=${title} api=${title === "Answers" ? path : undefined}>
        <div class="fields">${fields.map((field) => html`<${Setting} key=${field[0]} form=${form} of=${field} data=${data} may=${may} />`)}</div>
      <//>`)}
    </div>
    ${form.changed && html`<div class="unsaved"><span role="status">There are changes that are not saved.</span>
      <div class="actions"><${Button} type="submit" kind="primary" busy=${form.busy}>Save changes<//>
        <${Button} onClick=${() => form.reset()}>Discard<//></div></div>`}
  <//></div>`;
}

function Setting({ form, of: [path, label, kind, hint], data, may }) {
  const standard = at(data.defaults, path);
  const own = form.values[path] !== "";
  const choice = Array.isArray(kind);
  const named = choice ? kind.find(([value]) => value === String(standard))?.[1] : text(standard) || "none";
  return html`<${Field} form=${form} name=${path} label=${label} disabled=${!may}
    origin=${own && html`<span class="own">own</span>`}
    type=${choice ? "select" : "text"}
    inputmode=${kind === "number" ? "decimal" : undefined}
    placeholder=${choice ? undefined : named} spellcheck="false" autocomplete="off"
    hint=${own && may ? html`${hint} <button type="button" class="link" onClick=${() => form.set(path, "")}>back to ${named ?? "the default"}</button>` : hint}
    options=${choice ? [["", `default (${named ?? "none"})`], ...kind] : undefined} />`;
}

const RULE = [["namespace", "Namespace"], ["task", "Task"], ["tag", "Tag"], ["model", "Model"]];

/** The rules of lifetimes, and the check that tells which one decides. */
export function Lifetimes({ name, may }) {
  const path = `/admin/v1/tenants/${encodeURIComponent(name)}`;
  const found = useApi(path);
  return html`<div class="stack">
    <${Loaded} of=${found}>${({ settings }) => html`<${Rules} path=${path} rules=${settings.ttl_rules} may=${may} reload=${found.reload} />`}<//>
    <${TtlCheck} path=${`${path}/ttl-check`} />
  </div>`;
}

function Rules({ path, rules, may, reload }) {
  const put = async (next) => {
    await send("PUT", path, { ttl_rules: next.length ? next : null });
    reload();
  };
  const remove = (rule) => put(rules.filter((one) => one !== rule)).catch((error) => notify(error.message, "bad"));
  const seconds = (value) => (value === null ? "–" : duration(value));
  return html`<${Card} title="Rules of lifetimes" api=${path}
      hint="The most specific rule that fits sets the default; every fitting maximum applies.">
    ${rules.length === 0
      ? html`<${Empty} title="No rules">Every answer has the tenant's default lifetime. Add a rule for a namespace, a task, a tag or a model.<//>`
      : html`<${Table} label="Rules of lifetimes" rowKey=${(rule) => JSON.stringify(rule)} rows=${rules} columns=${[
          ...RULE.map(([key, label]) => ({ key, label, render: (rule) => rule[key] ?? html`<span class="hint">any</span>` })),
          { key: "default_ttl_s", label: "Default", align: "end", render: (rule) => seconds(rule.default_ttl_s) },
          { key: "max_ttl_s", label: "At most", align: "end", render: (rule) => seconds(rule.max_ttl_s) },
          { key: "do", label: "Change", render: (rule) => html`<div class="actions"><${Button} kind="small" disabled=${!may} onClick=${() => remove(rule)}>Remove<//></div>` },
        ]} />`}
    <${NewRule} rules=${rules} put=${put} may=${may} />
  <//>`;
}

function NewRule({ rules, put, may }) {
  const empty = { namespace: "", task: "", tag: "", model: "", default_ttl_s: "", max_ttl_s: "" };
  const [open, setOpen] = useState(false);
  const form = useForm(empty, async (values) => {
    const rule = {};
    for (const [key] of RULE) if (values[key].trim()) rule[key] = values[key].trim();
    for (const key of ["default_ttl_s", "max_ttl_s"]) if (values[key] !== "") rule[key] = Number(values[key]);
    await put([...rules, rule]);
    form.reset(empty);
    setOpen(false);
  }, { names: (field) => field.split(".").at(-1) });
  if (!open) return html`<div class="more"><${Button} disabled=${!may} onClick=${() => setOpen(true)}>Add a rule<//></div>`;
  return html`<${Form} form=${form} submit="Add" cancel=${() => setOpen(false)}>
    <div class="fields">
      ${RULE.map(([key, label]) => html`<${Field} key=${key} form=${form} name=${key} label=${label} placeholder="any" spellcheck="false" />`)}
      <${Field} form=${form} name="default_ttl_s" type="number" min="0" label="Default, seconds" />
      <${Field} form=${form} name="max_ttl_s" type="number" min="0" label="At most, seconds" />
    </div>
  <//>`;
}

const DECIDES = {
  caller: "what the caller asks for", default: "the tenant's default", maximum: "the tenant's maximum",
  volatility: "the volatility of the question",
};

function TtlCheck({ path }) {
  const [found, setFound] = useState(null);
  const form = useForm({ namespace: "", task: "", tags: "", model: "", ttl_s: "", question: "" }, async (values) => {
    const body = {};
    for (const key of ["namespace", "task", "model", "question"]) if (values[key].trim()) body[key] = values[key].trim();
    if (values.tags.trim()) body.tags = values.tags.split(",").map((one) => one.trim());
    if (values.ttl_s !== "") body.ttl_s = Number(values.ttl_s);
    setFound(await send("POST", path, body));
  });
  return html`<${Card} title="How long would an answer live?" hint="Describe a request. Nothing is asked or stored.">
    <${Form} form=${form} submit="Check" asks=${false}>
      <${Field} form=${form} name="question" label="Question" type="textarea" rows="2" hint="To see whether it is volatile." />
      <div class="fields">
        <${Field} form=${form} name="namespace" label="Namespace" placeholder="default" spellcheck="false" />
        <${Field} form=${form} name="task" label="Task" spellcheck="false" />
        <${Field} form=${form} name="tags" label="Tags" hint="With commas between." spellcheck="false" />
        <${Field} form=${form} name="model" label="Model asked for" placeholder="auto" spellcheck="false" />
        <${Field} form=${form} name="ttl_s" type="number" min="0" label="Lifetime the caller asks for, seconds" />
      </div>
    <//>
    ${found && html`<p class="verdict" role="status">
      ${found.ttl_s === 0 ? html`<${Badge} tone="warn">not stored<//>` : html`<strong>${duration(found.ttl_s)}</strong>`}
      ${" "}by ${DECIDES[found.decides] ?? html`rule ${Number(found.decides.split(".")[1]) + 1}`}
      <span class="hint"> default ${duration(found.default.ttl_s)}, at most ${duration(found.maximum.ttl_s)}
        ${found.volatility && `, volatile (${found.volatility.kind})`}</span></p>`}
  <//>`;
}
