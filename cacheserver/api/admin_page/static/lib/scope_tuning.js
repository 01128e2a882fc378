// One scope: the slider for its bar, the curve, and the questions that change sides.
import { html, useMemo, useRef, useState } from "./html.js";
import { address, send } from "./api.js";
import { SetBar, barText, barsPath, curvePoints, labelsText, placeText, wrongTone } from "./bars.js";
import { Chart, axes, token } from "./chart.js";
import { count, duration, money, percent, ratio } from "./format.js";
import {
  Badge, Button, Card, Empty, Figure, Figures, Loaded, ScreenHead, Tabs, notify,
} from "./parts.js";
import { Changes } from "./pair_list.js";
import { screenUrl, setParams } from "./router.js";
import { mayTune } from "./tenants.js";
import { useApi } from "./use.js";
import { marked } from "./visible.js";

const SCALES = [["probability", "By share of wrong answers"], ["similarity", "By similarity"]];
const HOUR_S = 3600; // shorter records tell nothing of a day
const DAY_S = 86400;

export function ScopeScreen({ session, params }) {
  const { tenant, scope, scale } = params;
  const path = `/admin/v1/scopes/${encodeURIComponent(tenant)}/${encodeURIComponent(scope)}/tuning`;
  const found = useApi(path, { scale });
  const data = found.data;
  const lead = data && [data.tenant, data.namespace, data.model].filter(Boolean).join(" · ");
  return html`<p class="back"><a href=${screenUrl("tuning", { tenant })}>← All scopes</a></p>
    <${ScreenHead} title=${(data && scopeTitle(data)) || "Scope"} lead=${lead} />
    <${Loaded} of=${found} lines=${10}>
      ${(report) => html`<${Tuned} key=${`${report.scale} ${JSON.stringify(report.bar)}`} session=${session}
        report=${report} api=${address(path, { scale })} reload=${found.reload} />`}
    <//>`;
}

/** How people know a scope: the beginning of its system prompt. */
export function scopeTitle({ system, scope }) {
  return system ? marked(shortened(system, 80)) : `Without a system prompt (${scope.slice(0, 8)})`;
}

/** A text of at most `most` characters, cut between words. */
function shortened(text, most) {
  if (text.length <= most) return text;
  const cut = text.slice(0, most - 1);
  return `${cut.slice(0, Math.max(cut.lastIndexOf(" "), most / 2))}…`;
}

function Tuned({ session, report, api, reload }) {
  const { steps, in_force: inForce, scale } = report;
  const [at, setAt] = useState(inForce ?? likest(report));
  const [asking, setAsking] = useState(false);
  const step = steps[Math.min(at, steps.length - 1)];
  const done = (text) => {
    setAsking(false);
    notify(text);
    reload();
  };
  const may = mayTune(session);
  return html`<div class="grid">
    <div class="tune-left stack">
      <${Card} title="Bar" class="tune-bar" api=${api} actions=${html`<${Tabs} label="Kind of bar" tabs=${SCALES} value=${scale}
          onChange=${(name) => setParams({ scale: name })} />`}>
        ${steps.length < 2
          ? html`<${Empty} title="No request came near a stored question yet">Once questions like stored ones are asked, each bar shows here what it would serve.<//>`
          : html`<${Slider} report=${report} at=${at} setAt=${setAt} step=${step} />
            <${Outcome} report=${report} step=${step} />
            <div class="actions tune-set">
              <${Button} kind="primary" disabled=${!may || at === inForce} onClick=${() => setAsking(true)}>Set this bar…<//>
              <${Button} disabled=${at === (inForce ?? likest(report))} onClick=${() => setAt(inForce ?? likest(report))}>Back<//>
              ${step.set.similarity !== undefined && at === inForce && html`<${Button} disabled=${!may} onClick=${() => setAsking(true)}>Vetoes…<//>`}
              ${!may && html`<span class="hint">This key may read only.</span>`}
            </div>`}
      <//>
      <${Card} title="Wrong answers against hit rate" class="tune-curve" api=${api}
        hint="Each point is a bar. The band is the 95% interval, by all labels that it would serve, of hits and misses.">
        <${Curve} report=${report} step=${step} setAt=${setAt} />
      <//>
      <${InForce} report=${report} may=${may} done=${done} />
    </div>
    <div class="tune-right">
      <${Changes} report=${report} step=${step} may=${may} api=${api} reload=${reload} />
    </div>
    ${asking && html`<${SetBar} report=${report} step=${step} onClose=${() => setAsking(false)} onSet=${done} />`}
  </div>`;
}

/** The step with the hits nearest to those of the day: where a bar of the other kind would be. */
function likest(report) {
  const { hits } = report.now;
  const far = report.steps.map((step) => Math.abs(step.hits - hits));
  return far.indexOf(Math.min(...far));
}

function Slider({ report, at, setAt, step }) {
  const { steps, in_force: inForce, scale } = report;
  const last = steps.length - 1;
  const asked = step.bar === null ? null : scale === "similarity" ? null : `probability ${ratio(step.bar)}`;
  const text = `${barText(step.set)}${step.bar === null && step.set.target ? ", which nothing reaches now" : ""}`;
  const move = (event) => setAt(Number(event.currentTarget.value));
  return html`<div class="slider">
    <div class="slider-value" aria-live="polite"><strong>${text}</strong>
      ${asked && html`<span class="hint"> asks for ${asked} here (${basisText(step.basis)})</span>`}
      ${at === inForce && html` <${Badge} tone="good">in force<//>`}
      ${inForce === null && html`<span class="hint"> in force is a bar of the other kind: ${barText(report.bar)}</span>`}
    </div>
    <div class="slider-track">
      ${inForce !== null && html`<span class="slider-mark" aria-hidden="true" style=${{ "--at": inForce / last }}></span>`}
      <input type="range" min="0" max=${last} step="1" value=${at} aria-label="Bar, from strict to loose"
        aria-valuetext=${`${text}: hit rate ${percent(step.hit_rate)}, wrong ${percent(step.wrong_rate)}`} onInput=${move} />
    </div>
    <div class="slider-ends hint"><span>stricter: exact hits only</span><span>looser: more hits</span></div>
  </div>`;
}

function basisText(basis) {
  return { prior: "by the shipped prior", labels: "by labels", closed: "closed by labels" }[basis] ?? basis;
}

/** Figures of a step, against those of the bar in force. */
function Outcome({ report, step }) {
  const { steps, in_force: inForce, covers_s: seconds } = report;
  const now = inForce === null ? report.now : steps[inForce];
  const scale = seconds >= HOUR_S ? DAY_S / seconds : 1;
  const when = seconds >= HOUR_S ? "a day" : `in ${duration(seconds ?? 0)}`;
  const similar = (step.hits - steps[0].hits) * scale;
  const change = (name, show) => {
    if (now === step) return "as now";
    const more = Number(step[name]) - Number(now[name]);
    return `${more < 0 ? "−" : "+"}${show(Math.abs(more))}`;
  };
  const target = step.set.target ?? null;
  const tone = wrongTone({ low: step.wrong_low, high: step.wrong_high, labels: step.labels }, target);
  const wrong = step.wrong_rate === null
    ? "this bar would serve no label"
    : `${percent(step.wrong_low)} to ${percent(step.wrong_high)} by ${labelsText(step.labels)} that it would serve`;
  const some = step.wrong_rate * similar;
  return html`<${Figures}>
    <${Figure} label="Hit rate" value=${percent(step.hit_rate, 1)} note=${change("hit_rate", (v) => `${(v * 100).toFixed(1)} points`)} />
    <${Figure} label=${`Hits ${when}`} value=${count(step.hits * scale)} note=${change("hits", (v) => count(v * scale))} />
    <${Figure} label=${`Saved ${when}`} value=${money(Number(step.saved_usd) * scale)} note=${change("saved_usd", (v) => money(v * scale))} />
    <${Figure} label="Wrong of similar hits" value=${percent(step.wrong_rate)} tone=${tone} note=${
      step.wrong_rate === null || some === 0 ? wrong : `${wrong}, about ${wrongCount(some)} ${when}`} />
  <//>`;
}

function wrongCount(value) {
  return value >= 10 ? count(value) : value < 0.05 ? "<0.1" : value.toFixed(1);
}

/** The curve with the bar in force and the one chosen. */
function Curve({ report, step, setAt }) {
  const { steps, in_force: inForce } = report;
  const points = useMemo(() => curvePoints(report), [report]);
  const choose = useRef(null);
  choose.current = (point) => {
    const far = steps.map((one) => (one.bar === null ? 2 : Math.abs(one.bar - point.bar)));
    setAt(far.indexOf(Math.min(...far)));
  };
  const data = useMemo(() => {
    const only = (wanted) => points.map((point) => (point === wanted ? point.wrong_rate : null));
    return [
      points.map((point) => point.hit_rate),
      points.map((point) => point.wrong_high),
      points.map((point) => point.wrong_low),
      points.map((point) => point.wrong_rate),
      only(inForce === null ? null : steps[inForce]),
      only(step),
    ];
  }, [points, step]);
  if (points.length < 2) {
    return html`<${Empty} title="No labels yet">Nobody knows yet how many of these hits are wrong.${" "}
      <a href=${screenUrl("review", { tenant: report.tenant, scope: report.scope })}>Label pairs in Review</a>, or by the buttons beside the questions here.<//>`;
  }
  const most = Math.min(1, Math.max(0.02, ...points.map((point) => point.wrong_high)));
  const options = () => ({
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: false }, y: { range: [0, most] } },
    axes: axes({
      x: { values: (_, ticks) => ticks.map((v) => percent(v, v * 100 % 1 ? 1 : 0)), label: "hit rate", size: 26, labelSize: 18, labelGap: 0, labelFont: "11px system-ui, sans-serif" },
      y: { values: (_, ticks) => ticks.map((v) => percent(v, most < 0.1 ? 1 : 0)) },
    }),
    bands: [{ series: [1, 2], fill: token("--accent-soft") }],
    series: [
      {},
      { stroke: "transparent", points: { show: false } },
      { stroke: "transparent", points: { show: false } },
      { stroke: token("--accent"), width: 2, points: { show: false } },
      { stroke: token("--muted"), points: { show: true, size: 11, width: 2, fill: token("--surface") } },
      { stroke: token("--accent"), points: { show: true, size: 11, fill: token("--accent") } },
    ],
    hooks: {
      ready: [(chart) => chart.over.addEventListener("click", () => {
        if (chart.cursor.idx !== null) choose.current(points[chart.cursor.idx]);
      })],
    },
  });
  return html`<${Chart} label="Share of wrong answers by hit rate; the table below has the figures" version=${`${report.scale}${points.length}${most}`} options=${options} data=${data}
      table=${{
        head: ["Bar", "Hit rate", "Wrong", "95% interval", "Labels"],
        rows: points.map((point) => [ratio(point.bar), percent(point.hit_rate, 1), percent(point.wrong_rate),
          `${percent(point.wrong_low)} to ${percent(point.wrong_high)}`, count(point.labels)]),
      }} />
    <p class="chart-key"><span class="key-now"></span> in force <span class="key-chosen"></span> chosen</p>`;
}

/** The bar in force, where it is set, and the ways back. */
function InForce({ report, may, done }) {
  const { bar, tenant, scope, namespace, support } = report;
  const place = bar.level === "scope" ? { level: "scope", name: scope }
    : bar.level === "namespace" ? { level: "namespace", name: namespace } : { level: "tenant" };
  const [busy, setBusy] = useState(false);
  const act = async (method, path, body, text) => {
    setBusy(true);
    try {
      await send(method, path, body);
      done(text);
    } catch (error) {
      notify(error.message, "bad");
    } finally {
      setBusy(false);
    }
  };
  const undo = () => act("POST", `${barsPath(tenant)}/undo`, place, "Undone: the bar before holds again.");
  const reset = () => act("PUT", barsPath(tenant), { ...place, bar: null },
    bar.level === "tenant" ? "The server's default holds again." : "The level above holds again.");
  return html`<${Card} title="In force" class="tune-force" api=${barsPath(tenant)} actions=${may && html`
      <${Button} busy=${busy} onClick=${undo}>Undo the last change<//>
      <${Button} busy=${busy} onClick=${reset}>${bar.level === "tenant" ? "Server's default" : "As the level above"}<//>`}>
    <dl class="facts">
      <dt>Bar</dt><dd>${barText(bar)}, set for ${placeText(bar.level, namespace)}</dd>
      ${support && html`<dt>Rests on</dt><dd>${count(support.labels)} labels, ${count(support.audits)} of them of hits; the level is ${basisText(bar.basis)}${support.shut_groups ? `; ${count(support.shut_groups)} groups of answers are shut` : ""}</dd>`}
      ${bar.vetoes_off.length > 0 && html`<dt>Vetoes off</dt><dd>${bar.vetoes_off.join(", ")}</dd>`}
      <dt>Scope</dt><dd><code>${scope}</code></dd>
    </dl>
    <p class="tune-history"><a href=${screenUrl("tuning", { tenant, tab: "history" })}>All changes of ${tenant}'s bars</a></p>
  <//>`;
}
