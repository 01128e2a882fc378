// Overview: what the cache saved and against what, how requests were answered, what needs a look.
import { html, useRef, useState } from "../lib/html.js";
import { labelsText, wrongTone } from "../lib/bars.js";
import { Chart, axes, token } from "../lib/chart.js";
import { count, date, duration, moment, money, percent } from "../lib/format.js";
import {
  ApiLink, Badge, Card, Empty, ErrorBox, Figure, Figures, Loaded, Meter, ScreenHead, Tabs, Time,
} from "../lib/parts.js";
import { screenUrl, setParams } from "../lib/router.js";
import { SampleNote, SampleStart } from "../lib/sample.js";
import { Table } from "../lib/table.js";
import { useApi, useEvents, useStored } from "../lib/use.js";

const PERIODS = [["today", "Today"], ["week", "7 days"], ["month", "This month"]];
const KINDS = ["exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed"];
const HITS = ["exact", "semantic", "coalesced", "stale"];
const SHOWN = 60; // events of the live chart, two seconds apart
const LIVE_KINDS = [
  { key: "hits", name: "hits", color: "--exact" },
  { key: "others", name: "others", color: "--miss" },
];
const NEARLY_ALL = 0.95; // of the requests: failed ones and those without usage are never compared
const COMPARED = ["asked", "opus", "sonnet", "named"];
const CAUSES = {
  exact: "Exact hits",
  semantic: "Similar questions",
  verify: "Hits that a model verified",
  coalesced: "Asked at the same time",
  stale: "Stale answers",
  routing: "Cheaper models",
  compaction: "Shorter conversations",
  "output-cap": "Shorter answers",
  "prompt-caching": "Prompt caching",
  batch: "Batches",
};

export default function Overview({ session, params }) {
  const admin = session.role !== null;
  const tenant = admin ? params.tenant : undefined;
  const found = useApi(admin ? "/admin/v1/overview" : "/v1/overview", { tenant }, { every: 30 });
  return html`<${ScreenHead} title="Overview" lead="What the cache saved, and how requests were answered.">
      ${admin && html`<${TenantChoice} tenant=${tenant} />`}
    <//>
    <${Loaded} of=${found} lines=${8}>
      ${(data) =>
        data.money.month.requests === 0 && data.days.requests.every((n) => n === 0)
          ? html`<${Start} session=${session} reload=${found.reload} />`
          : html`${session.simulated && session.role === "all" && html`<${SampleNote} changed=${found.reload} />`}
              ${data.deleted_tenants?.length > 0 && html`<${DeletedNote} names=${data.deleted_tenants} />`}
              <${Figured} session=${session} data=${data} />`}
    <//>`;
}

/** Whose figures are shown. */
function TenantChoice({ tenant }) {
  const { data } = useApi("/admin/v1/tenants", { limit: 200 });
  const names = data?.items.map(({ name }) => name) ?? [];
  if (tenant && !names.includes(tenant)) names.unshift(tenant);
  if (names.length < 2 && !tenant) return null;
  return html`<label class="inline">Tenant
    <select value=${tenant ?? ""} onChange=${(event) => setParams({ tenant: event.currentTarget.value || null })}>
      <option value="">all</option>
      ${names.map((name) => html`<option key=${name} value=${name} selected=${name === tenant}>${name}</option>`)}
    </select></label>`;
}

function Figured({ session, data }) {
  const admin = session.role !== null;
  const [choice, setChoice] = useStored("compare-with", "asked", (v) => COMPARED.includes(v));
  const names = comparisons(data.money);
  const against = names.some(([key]) => key === choice) ? choice : "asked";
  const older = data.days.requests.slice(0, -2).some((n) => n > 0);
  const [unit, setUnit] = useStored("overview-unit", older ? "days" : "hours", (v) => v === "hours" || v === "days");
  const tabs = html`<${Tabs} label="Time" tabs=${[["hours", "48 hours"], ["days", "30 days"]]}
    value=${unit} onChange=${setUnit} />`;
  return html`<div class="grid">
    <${Saved} data=${data} names=${names} against=${against} setChoice=${setChoice} />
    ${admin && html`<${Live} />`}
    <div class="overview-time">${tabs}</div>
    <${Requests} data=${data} unit=${unit} />
    <${Money} data=${data} unit=${unit} against=${against} label=${names.find(([key]) => key === against)[1]} />
    <${WrongHits} data=${data} admin=${admin} />
    ${data.latency && html`<${LatencyCard} latency=${data.latency} />`}
    <${Attention} data=${data} admin=${admin} />
  </div>`;
}

/** What would have been paid: as it was asked, or all of it at one model. */
function bill(period, choice) {
  const compared = choice === "asked" ? null : period.comparisons[choice];
  const spent = Number(period.spent_usd);
  if (!compared) {
    const would = Number(period.counterfactual_usd);
    return { would, paid: Number(period.paid_usd), part: null };
  }
  // Requests before an upgrade, or before a model was named, have no comparison. What was spent to save
  // and the causes are known of all requests only, so they are left out of a part.
  if (compared.requests < NEARLY_ALL * period.requests) {
    return { would: Number(compared.usd), paid: Number(compared.cost_usd), part: compared.requests };
  }
  return { would: Number(compared.usd), paid: Number(compared.cost_usd) + spent, part: null };
}

/** Savings by cause. At another model than was asked, what models cost less is one cause. */
function causes(period, { would, paid, part }) {
  if (part !== null) return [];
  const parts = Object.entries(period.saved_by_cause_usd)
    .filter(([cause]) => cause !== "routing")
    .map(([cause, usd]) => [CAUSES[cause] ?? cause, Number(usd)]);
  const spent = Number(period.spent_usd);
  const others = parts.reduce((sum, [, usd]) => sum + usd, 0);
  parts.push([CAUSES.routing, would - paid - others + spent]);
  if (spent) parts.push(["Spent to save: audits, verification, trials", -spent]);
  return parts.filter(([, usd]) => Math.abs(usd) > 5e-10).sort((a, b) => b[1] - a[1]);
}

function Saved({ data, names, against, setChoice }) {
  const [period, setPeriod] = useStored("overview-period", "month", (v) => v in data.money);
  const shown = data.money[period];
  const found = bill(shown, against);
  const parts = causes(shown, found);
  const most = Math.max(...parts.map(([, usd]) => Math.abs(usd)), 1e-12);
  return html`<${Card} title="Saved" class="two-thirds" actions=${html`<label class="inline">against
      <select value=${against} onChange=${(event) => setChoice(event.currentTarget.value)}>
        ${names.map(([key, label]) => html`<option key=${key} value=${key} selected=${key === against}>${label}</option>`)}
      </select></label>`}>
    <${Figures}>
      ${PERIODS.map(([name, label]) => {
        const { would, paid } = bill(data.money[name], against);
        const saved = would - paid;
        return html`<${Figure} key=${name} label=${label} api=${data.money[name].call} value=${money(saved)}
          tone=${saved > 0 ? "good" : saved < 0 ? "bad" : ""}
          note=${would > 0 ? `${money(paid)} paid instead of ${money(would)} (${percent(saved / would)})` : "nothing asked"} />`;
      })}
    <//>
    <div class="overview-causes">
      <${Tabs} label="Period" tabs=${PERIODS} value=${period} onChange=${setPeriod} />
      ${parts.length === 0
        ? html`<p class="hint">${found.part === null
            ? "Nothing was saved in this period yet."
            : "Causes are shown once nearly all requests of the period are compared."}</p>`
        : html`<ul class="amounts" aria-label="Saved by cause">
            ${parts.map(([label, usd]) => html`<li key=${label}>
              <span>${label}</span>
              <${Meter} share=${Math.abs(usd) / most} tone=${usd < 0 ? "bad" : "good"} label=${`${label}: ${money(usd)}`} />
              <span class=${usd < 0 ? "tone-bad" : ""}>${money(usd)}</span>
            </li>`)}
          </ul>`}
      <p class="footnote">${explained(against, shown, found)}</p>
    </div>
  <//>`;
}

function comparisons(money) {
  const named = PERIODS.map(([name]) => money[name].comparisons.named).find((one) => one);
  const model = named && (named.model ?? "the models named");
  return [
    ["asked", "the models that were asked"],
    ["opus", "all Opus"],
    ["sonnet", "all Sonnet"],
    ...(model ? [["named", `all ${model}`]] : []),
  ];
}

function explained(choice, period, { part }) {
  const estimate = choice === "asked"
    ? "Without the cache, each request would have been a call to the model that it named."
    : "An estimate: the same tokens, hits included, at that model's price of the day.";
  const some = part === null ? "" : ` ${count(part)} of ${count(period.requests)} requests are compared; what was spent to save is left out.`;
  const unpriced = period.unpriced ? ` ${count(period.unpriced)} calls have no price and are in no sum.` : "";
  return estimate + some + unpriced;
}

function Live() {
  const [past, setPast] = useState([]);
  const { event, state } = useEvents("/admin/v1/live", (next) => setPast((was) => [...was, next].slice(-SHOWN)));
  const badge = { live: ["good", "live"], lost: ["bad", "connection lost"], connecting: ["", "connecting"] }[state];
  const total = event?.total;
  const rate = event && event.seconds > 0 ? event.now.requests / event.seconds : 0;
  const hits = total && hitsOf(total);
  const columns = { at: past.map(({ at }) => at), hits: past.map(({ now }) => hitsOf(now)), others: past.map(({ now }) => now.requests - hitsOf(now)) };
  return html`<${Card} title="Now" class="third overview-now" api="/admin/v1/live"
    actions=${html`<${Badge} tone=${badge[0]}>${badge[1]}<//>`} hint="All requests of this server, since this page was opened.">
    <${Figures}>
      <${Figure} label="Requests" value=${count(total?.requests)} note=${event && `${rate.toFixed(1)} a second`} />
      <${Figure} label="Hits" value=${count(hits)} note=${total?.requests ? `${percent(hits / total.requests)} of them` : "none asked yet"} />
      <${Figure} label="Saved" value=${money(total?.saved_usd)} note=${total && `${money(total.cost_usd)} paid`} />
    <//>
    ${past.length > 1 && html`<${Stacked} label="Requests as they come" columns=${columns} kinds=${LIVE_KINDS} format=${count} unit="live" height=${120} />`}
    <p class="overview-kinds">${KINDS.filter((kind) => total?.decisions[kind]).map((kind) => html`<${Badge} key=${kind} kind=${kind}>${kind} ${count(total.decisions[kind])}<//>`)}</p>
  <//>`;
}

function hitsOf({ decisions }) {
  return HITS.reduce((sum, kind) => sum + decisions[kind], 0);
}

/** Columns with one colour for each kind, one upon the other. */
function Stacked({ label, columns, kinds, format, unit, height }) {
  const raw = useRef(null);
  raw.current = columns;
  const live = unit === "live";
  const every = columns.every_s ?? 2;
  const shown = [...kinds].reverse().filter(({ key }) => live || columns[key].some((n) => Number(n) !== 0));
  const sums = shown.map((_, place) =>
    columns.at.map((_, i) => shown.slice(place).reduce((sum, { key }) => sum + Number(columns[key][i]), 0)));
  const time = { days: day, hours: hour, live: clock }[unit];
  const total = (key) => raw.current[key].reduce((sum, n) => sum + Number(n), 0);
  const head = { days: "Day (UTC)", hours: "Hour", live: "Time" }[unit];
  const options = (uPlot) => ({
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { range: (_, low, high) => [live ? high + every - SHOWN * every : low, high + every] }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.05] } },
    axes: axes({
      x: { size: 30, space: live ? 70 : 50, values: (_, splits) => splits.map(time) },
      y: { values: (_, splits) => splits.map(format), incrs: format === count ? WHOLE : undefined },
    }),
    series: [
      { label: head, value: (_, at) => (at === null || at === undefined ? SPANS[unit] : time(at)) },
      ...shown.map(({ key, name, color }) => ({
        label: name,
        stroke: token(color),
        fill: token(color),
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars({ size: [0.8, 40], align: 1 }),
        value: (_, value, __, i) => format(i === null || i === undefined ? total(key) : raw.current[key][i]),
      })),
    ],
  });
  const table = live ? null : {
    head: [head, ...kinds.map(({ name }) => name)],
    rows: columns.at.map((at, i) => [time(at), ...kinds.map(({ key }) => format(columns[key][i]))]),
  };
  return html`<${Chart} label=${label} options=${options} height=${height} data=${[columns.at, ...sums]} table=${table}
    version=${`${unit} ${live ? "" : columns.at[0]} ${shown.map(({ key }) => key)}`} />`;
}

const SPANS = { days: "30 days", hours: "48 hours", live: "2 minutes" };
const WHOLE = [1, 2, 5].flatMap((n) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].map((ten) => n * ten)).sort((a, b) => a - b);
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function day(at) {
  const found = date(at);
  return `${found.getUTCDate()} ${MONTHS[found.getUTCMonth()]}`;
}

const two = (n) => String(n).padStart(2, "0");

function hour(at) {
  const found = date(at);
  if (found.getHours() === 0) return `${found.getDate()} ${MONTHS[found.getMonth()]}`;
  return `${two(found.getHours())}:${two(found.getMinutes())}`;
}

function clock(at) {
  const found = date(at);
  return `${two(found.getHours())}:${two(found.getMinutes())}:${two(found.getSeconds())}`;
}

function Requests({ data, unit }) {
  const rate = data.hits.hit_rate;
  const kinds = KINDS.map((key) => ({ key, name: key, color: `--${key}` }));
  return html`<${Card} title="Requests by answer" class="half" api=${data[unit].call}
    actions=${html`<span class="hint">${rate === null ? "no hit rate yet" : `${percent(rate)} hits in 7 days`} <${ApiLink} href=${data.hits.call} /></span>`}>
    <${Stacked} label="Requests by answer over time" columns=${data[unit]} kinds=${kinds} format=${count} unit=${unit} />
  <//>`;
}

/** What was paid, and upon it what was saved on balance: together what would have been paid. */
function Money({ data, unit, against, label }) {
  const spans = data[unit];
  const gained = spans[against === "asked" ? "saved_usd" : `${against}_difference_usd`];
  const saved = gained.map((usd, i) => Number(usd) - Number(spans.spent_usd[i]));
  const columns = { at: spans.at, every_s: spans.every_s, paid: spans.paid_usd, saved };
  const kinds = [
    { key: "paid", name: "paid", color: "--miss" },
    { key: "saved", name: "saved", color: "--exact" },
  ];
  return html`<${Card} title="Paid and saved" class="half" api=${data[unit].call}
    actions=${html`<span class="hint">against ${label}</span>`}>
    <${Stacked} label="Dollars paid and saved over time" columns=${columns} kinds=${kinds} format=${money} unit=${unit} />
  <//>`;
}

function WrongHits({ data, admin }) {
  const { share, interval, labels, target, targets, semantic_hits: hits, call } = data.wrong_hits;
  const [low, high] = interval;
  const known = share !== null;
  const top = Math.min(1, Math.max(known ? high : 0, target ?? 0, 0.001) * 1.25);
  const tone = known ? wrongTone({ low, high, labels }, target) : "";
  const at = (value) => `${Math.min(100, (value / top) * 100)}%`;
  return html`<${Card} title="Wrong similar hits" class="third" api=${call}>
    <${Figures}>
      <${Figure} label="Estimated share" value=${known ? percent(share) : "not known"} tone=${tone}
        note=${known ? `${percent(low)} to ${percent(high)}, 95% interval` : "no hit was labelled or audited yet"} />
      <${Figure} label="Target" value=${target !== null ? percent(target) : targets ? targetsText(targets) : "none"}
        note=${target === null && !targets ? "a similarity decides" : `${target === null ? "by tenant; " : ""}of ${count(hits)} similar hits in 30 days`} />
    <//>
    ${known && html`<div class="interval" role="img"
      aria-label=${`Between ${percent(low)} and ${percent(high)}${target === null ? "" : `, target ${percent(target)}`}`}>
      <div class=${`interval-range tone-${tone || "none"}`} style=${{ left: at(low), width: at(high - low) }}></div>
      <div class="interval-point" style=${{ left: at(share) }}></div>
      ${target !== null && html`<div class="interval-target" style=${{ left: at(target) }}></div>`}
    </div>`}
    <p class="footnote">${known && `By ${labelsText(labels)} of hits that were served. `}${admin && (known
      ? html`<a href=${screenUrl("review")}>Reviewing pairs</a> narrows the interval.`
      : html`<a href=${screenUrl("review")}>Review pairs</a> to measure it.`)}</p>
  <//>`;
}

/** The targets of tenants, from the strictest on. */
function targetsText([least, most]) {
  return least === most ? `${percent(least)} or none` : `${percent(least)} to ${percent(most)}`;
}

/** Says that amounts of deleted tenants are among the figures. */
function DeletedNote({ names }) {
  const shown = names.slice(0, 5).join(", ");
  return html`<p class="note">Among these figures are requests and amounts of ${names.length === 1 ? "a tenant that was deleted" : `${count(names.length)} tenants that were deleted`}:
    ${shown}${names.length > 5 ? " and others" : ""}. Amounts of money stay, so that sums agree with invoices.</p>`;
}

function LatencyCard({ latency }) {
  const rows = KINDS.filter((kind) => latency.by_decision[kind]).map((kind) => ({ kind, ...latency.by_decision[kind] }));
  const columns = [
    { key: "kind", label: "Answer", render: ({ kind }) => html`<${Badge} kind=${kind} />` },
    { key: "requests", label: "Requests", align: "end", render: (row) => count(row.requests) },
    { key: "p50", label: "Median", align: "end", render: (row) => duration(row.p50_ms / 1000) },
    { key: "p95", label: "95%", align: "end", render: (row) => duration(row.p95_ms / 1000) },
  ];
  return html`<${Card} title="Latency" class="third" api=${latency.call}>
    ${rows.length
      ? html`<${Table} label="Latency by answer" columns=${columns} rows=${rows} rowKey="kind" />`
      : html`<p class="hint">No request since the start.</p>`}
    <p class="footnote">All requests of this server, since ${moment(latency.since)}.</p>
  <//>`;
}

function Attention({ data, admin }) {
  const { alerts, counts } = data;
  return html`<${Card} title="Needs a look" class="third" api=${alerts?.call}>
    ${alerts === null || alerts === undefined
      ? admin && html`<p class="hint">Alerts are switched off.</p>`
      : alerts.count === 0
        ? html`<p>No alert in the last day.</p>`
        : html`<ul class="alerts">
            ${alerts.last.map((alert) => html`<li key=${alert.id}>
              <${Badge} tone="warn">${alert.kind}<//> <span>${alert.text}</span>
              <p class="hint">${alert.tenant}, <${Time} at=${alert.at} /></p></li>`)}
          </ul>
          ${alerts.count > alerts.last.length && html`<p class="hint">and ${count(alerts.count - alerts.last.length)} more in the last day</p>`}`}
    <dl class="facts overview-facts">
      <dt>Stored answers</dt><dd><a href=${screenUrl("entries")}>${count(counts.entries.count)}</a></dd>
      <dt>Decided by similarity in a day</dt><dd><a href=${screenUrl(admin ? "review" : "requests")}>${count(counts.near_decisions.count)}</a></dd>
      ${counts.tenants && html`<dt>Tenants</dt><dd><a href=${screenUrl("tenants")}>${count(counts.tenants.count)}</a></dd>`}
    </dl>
  <//>`;
}

/** A new install: how to begin, and sample traffic where Claude is simulated. */
function Start({ session, reload }) {
  const admin = session.role !== null;
  useEvents(admin ? "/admin/v1/live" : null, ({ now }) => now.requests && reload());
  return html`<${Card} title="Nothing was asked in the last 30 days">
    <ol class="steps">
      ${admin && html`<li>Make a key for your application under <a href=${screenUrl("tenants")}>Tenants and budgets</a>.</li>`}
      <li>Point it here: <code>ANTHROPIC_BASE_URL=${location.origin}</code>, with that key as its API key.</li>
      <li>Ask the same question twice. The second answer comes from the cache, and this page shows what that saved.</li>
    </ol>
    ${session.role === "all" && html`<${SampleStart} changed=${reload} />`}
  <//>`;
}
