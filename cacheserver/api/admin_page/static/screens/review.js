// Review: pairs that the system is least sure of, labelled with one key each.
import { html, useCallback, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { address, get, send } from "../lib/api.js";
import { curvePoints } from "../lib/bars.js";
import { Chart, axes, token } from "../lib/chart.js";
import { differences } from "../lib/diff.js";
import { count, percent, ratio } from "../lib/format.js";
import { Badge, Button, Card, Empty, ErrorBox, Loaded, Meter, ScreenHead, Skeleton, Time } from "../lib/parts.js";
import { screenUrl, setParams } from "../lib/router.js";
import { TenantSelect, mayTune, useTenant } from "../lib/tenants.js";
import { useApi, useKeys } from "../lib/use.js";
import { marked, visible } from "../lib/visible.js";

const QUEUE = "/admin/v1/labels/queue";
const PAGE = 50;
const AHEAD = 20; // pairs left when the next page is read: labelling never waits for it

export default function Review({ session, params }) {
  const tenant = useTenant(params.tenant);
  if (tenant === null) return html`<${Skeleton} lines=${6} />`;
  return html`<${Reviewed} session=${session} params=${params} tenant=${tenant} />`;
}

function Reviewed({ session, params, tenant }) {
  const scope = params.scope ?? null;
  const may = mayTune(session);
  const queue = useQueue(tenant, scope);
  const pair = queue.pairs[0] ?? null;
  const choose = (verdict) => may && pair && queue.label(verdict);
  useKeys({
    y: () => choose("yes"),
    n: () => choose("no"),
    s: () => choose("skip"),
    u: () => may && queue.undo(),
  });
  return html`<${ScreenHead} title="Review"
      lead="Does the stored answer serve the new question? Each label corrects what is served from then on.">
      <div class="filters review-filters">
        <${TenantSelect} value=${tenant} all=${null} onChange=${(name) => setParams({ tenant: name, scope: null })} />
        <${ScopeSelect} tenant=${tenant} value=${scope} />
      </div>
    <//>
    <div class="grid">
      <div class="two-thirds stack">
        <${Pairs} queue=${queue} pair=${pair} may=${may} choose=${choose} tenant=${tenant} />
      </div>
      <div class="third stack">
        <${Progress} queue=${queue} may=${may} />
        <${Curve} tenant=${tenant} scope=${pair?.scope ?? queue.last?.scope ?? scope} turn=${queue.given} />
      </div>
    </div>`;
}

/**
 * The queue of a tenant, read ahead. A label goes out at once and the next pair is shown; labels are
 * sent one after the other, and one that fails comes back with its error.
 */
function useQueue(tenant, scope) {
  const empty = { pairs: [], next: null, loading: true, error: null };
  const [state, setState] = useState(empty);
  const [past, setPast] = useState([]); // labels of this visit, latest last: {pair, verdict, reply}
  const [problem, setProblem] = useState(null);
  const [given, setGiven] = useState(0); // labels the server has taken, so that the curve follows
  const [total, setTotal] = useState({ yes: 0, no: 0, skip: 0 });
  const sending = useRef(Promise.resolve());
  const reading = useRef(null);
  const done = useRef(new Set()); // ids labelled: a key pressed twice before the next pair is drawn counts once
  const load = useCallback(async (cursor) => {
    reading.current?.abort();
    const control = new AbortController();
    reading.current = control;
    setState((was) => (cursor === null ? empty : { ...was, loading: true, error: null }));
    try {
      const page = await get(QUEUE, { tenant, scope, limit: PAGE, cursor }, { signal: control.signal });
      setState((was) => {
        const known = new Set(was.pairs.map((one) => one.pair));
        const more = page.items.filter((one) => !known.has(one.pair));
        return { pairs: [...was.pairs, ...more], next: page.next, loading: false, error: null };
      });
    } catch (error) {
      if (error.name !== "AbortError") setState((was) => ({ ...was, loading: false, error }));
    }
  }, [tenant, scope]);
  useEffect(() => {
    done.current = new Set();
    setPast([]);
    setProblem(null);
    load(null);
    return () => reading.current?.abort();
  }, [load]);
  useEffect(() => {
    if (state.pairs.length < AHEAD && state.next !== null && !state.loading && !state.error) load(state.next);
  }, [state]);
  const inTurn = (work) => {
    sending.current = sending.current.then(work);
  };
  const back = (one) => {
    done.current.delete(one.pair);
    setState((was) => ({ ...was, pairs: [one, ...was.pairs.filter((p) => p.pair !== one.pair)] }));
  };
  const label = (verdict) => {
    const [one] = state.pairs;
    if (!one || done.current.has(one.pair)) return;
    done.current.add(one.pair);
    setState((was) => ({ ...was, pairs: was.pairs.slice(1) }));
    setProblem(null);
    const act = { pair: one, verdict, reply: null };
    setPast((was) => [...was, act]);
    setTotal((was) => ({ ...was, [verdict]: was[verdict] + 1 }));
    inTurn(async () => {
      try {
        const reply = await send("POST", "/admin/v1/labels", { tenant, pair: one.pair, verdict });
        setPast((was) => was.map((each) => (each === act ? { ...each, reply } : each)));
        if (verdict !== "skip") setGiven((n) => n + 1);
      } catch (error) {
        setPast((was) => was.filter((each) => each.pair !== one));
        setTotal((was) => ({ ...was, [verdict]: was[verdict] - 1 }));
        setProblem(error);
        if (error.status !== 404) back(one);
      }
    });
  };
  const undo = () => {
    const act = past[past.length - 1];
    if (!act) return;
    setPast((was) => was.slice(0, -1));
    setTotal((was) => ({ ...was, [act.verdict]: was[act.verdict] - 1 }));
    setProblem(null);
    back(act.pair);
    inTurn(async () => {
      try {
        await send("POST", "/admin/v1/labels/undo", { tenant, pair: act.pair.pair });
        if (act.verdict !== "skip") setGiven((n) => n + 1);
      } catch (error) {
        setProblem(error);
      }
    });
  };
  return { ...state, label, undo, past, problem, given, total, last: past[past.length - 1]?.pair ?? null, reload: () => load(null) };
}

function ScopeSelect({ tenant, value }) {
  const scopes = useApi("/admin/v1/scopes", { tenant, limit: 200 });
  const named = (scopes.data?.items ?? []).map((one) => [one.scope, scopeName(one)]);
  const options = value && !named.some(([id]) => id === value) ? [...named, [value, value.slice(0, 8)]] : named;
  return html`<label>Scope
    <select value=${value ?? ""} onChange=${(event) => setParams({ scope: event.currentTarget.value || null })}>
      <option value="" selected=${!value}>All scopes</option>
      ${options.map(([id, text]) => html`<option key=${id} value=${id} selected=${id === value}>${text}</option>`)}
    </select></label>`;
}

function scopeName({ scope, system, namespace }) {
  const name = system ? marked(system.length > 48 ? `${system.slice(0, 48)}…` : system) : `No system prompt (${scope.slice(0, 8)})`;
  return namespace && namespace !== "default" ? `${namespace}: ${name}` : name;
}

function Pairs({ queue, pair, may, choose, tenant }) {
  if (queue.error && !pair) {
    if (queue.error.status === 409) {
      return html`<${Card} title="Pairs"><${Empty} title="This tenant keeps no content">
        Its questions are not stored, so there is nothing to read and label.<//><//>`;
    }
    return html`<${ErrorBox} error=${queue.error} retry=${queue.reload} />`;
  }
  if (!pair && queue.loading) return html`<${Card} title="Pairs"><${Skeleton} lines=${8} /><//>`;
  if (!pair) {
    return html`<${Card} title="Pairs" api=${address(QUEUE, { tenant })}>
      <${Empty} title=${queue.past.length ? "All pairs are labelled" : "No pair waits for a label"}>
        Pairs come from requests of the last day that were served by similarity, or came near a stored
        question. <a href=${screenUrl("requests", { tenant })}>Look at the requests</a>, or send some.
        ${queue.past.length > 0 && may && html`<p><${Button} onClick=${queue.undo}>Undo the last label <kbd>u</kbd><//></p>`}
      <//>
    <//>`;
  }
  return html`<${Pair} pair=${pair} may=${may} choose=${choose} queue=${queue} tenant=${tenant} />`;
}

function Pair({ pair, may, choose, queue, tenant }) {
  const [stored, asked] = useMemo(() => differences(pair.query_a, pair.query_b), [pair.pair]);
  const decision = pair.decision_id && screenUrl("requests", { tenant, decision: pair.decision_id });
  return html`<section class="card pair-card" aria-label="Pair" aria-live="polite">
    <div class="card-head">
      <h2>Same answer?</h2>
      ${pair.served ? html`<${Badge} kind="semantic">was served<//>` : html`<${Badge} kind="miss">was not served<//>`}
      ${pair.called_good && html`<${Badge} tone="good">a caller called it good<//>`}
      <div class="actions hint">
        ${pair.at && html`<${Time} at=${pair.at} />`}
        ${decision && html`<a href=${decision}>Request</a>`}
        <a href=${screenUrl("entries", { tenant, entry: pair.entry_id })}>Entry</a>
      </div>
    </div>
    <div class="pair-texts">
      <div><h3 id="stored">Stored question</h3><div class="text-block" tabindex="0" role="region" aria-labelledby="stored"><${Marked} parts=${stored} as="del" /></div></div>
      <div><h3 id="asked">New question</h3><div class="text-block" tabindex="0" role="region" aria-labelledby="asked"><${Marked} parts=${asked} as="ins" /></div></div>
    </div>
    <h3 id="answer">Stored answer</h3>
    <div class="text-block pair-answer-whole" tabindex="0" role="region" aria-labelledby="answer">${visible(pair.answer) || "The answer has no text, such as a call of a tool."}</div>
    <div class="actions pair-actions">
      <${Button} kind="primary" disabled=${!may} onClick=${() => choose("yes")}>Yes <kbd>y</kbd><//>
      <${Button} kind="danger" disabled=${!may} onClick=${() => choose("no")}>No <kbd>n</kbd><//>
      <${Button} disabled=${!may} onClick=${() => choose("skip")}>Skip <kbd>s</kbd><//>
      <${Button} disabled=${!may || queue.past.length === 0} onClick=${queue.undo}>Undo <kbd>u</kbd><//>
    </div>
    ${!may && html`<p class="hint pair-hint">This key only reads; labelling needs the role <code>tune</code>.</p>`}
    ${queue.problem && html`<p class="field-error" role="alert">${queue.problem.message}</p>`}
    <${Score} pair=${pair} />
  </section>`;
}

/** A text with its changed words marked. */
export function Marked({ parts, as }) {
  return parts.map(([text, changed], at) => (changed ? html`<${as} key=${at}>${visible(text)}<//>` : visible(text)));
}

function Score({ pair }) {
  const { probability, similarity, bar } = pair;
  const value = probability ?? similarity;
  const name = probability === null ? "Similarity" : "Probability";
  return html`<div class="score">
    <${Meter} share=${value} label=${`${name} ${ratio(value)}`} />
    <span class="hint">${name} ${ratio(value)}${bar === null ? "" : `, bar ${ratio(bar)}`}${probability !== null ? ` · similarity ${ratio(similarity)}` : ""}${pair.counts ? "" : " · a threshold decided here: a label corrects no probability"}</span>
  </div>`;
}

const SAID = { yes: "it serves", no: "it does not serve", skip: "skipped" };

function Progress({ queue, may }) {
  const { yes, no, skip } = queue.total;
  const last = queue.past[queue.past.length - 1];
  const left = `${count(queue.pairs.length)}${queue.next === null ? "" : "+"}`;
  return html`<${Card} title="This visit">
    <p><strong class="review-count">${count(yes + no)}</strong> labelled<span class="hint"> · ${yes} yes, ${no} no, ${skip} skipped · ${left} wait</span></p>
    ${last && html`<p class="hint review-last" role="status">Last: ${SAID[last.verdict]}${lastNote(last)}
      ${may && html` <${Button} kind="small" onClick=${queue.undo}>Undo<//>`}</p>`}
  <//>`;
}

function lastNote({ verdict, reply }) {
  if (reply === null) return "";
  if (verdict === "no") return ": never served to that question again.";
  if (reply.reason === "threshold") return ". A threshold decides there, so no probability changes.";
  if (reply.reason === "caller-share") return ". Not counted: that caller has its share of labels.";
  return ".";
}

/** The scope's wrong share against its hit rate, as in Tuning; read again as labels are taken. */
function Curve({ tenant, scope, turn }) {
  const path = scope ? `/admin/v1/scopes/${encodeURIComponent(tenant)}/${encodeURIComponent(scope)}/tuning` : null;
  const asked = { limit: 0 }; // the curve alone
  const found = useApi(path, asked);
  useEffect(() => {
    if (turn === 0) return undefined;
    const timer = setTimeout(found.reload, 400); // of several labels in a row, once
    return () => clearTimeout(timer);
  }, [turn]);
  if (path === null) return null;
  return html`<${Card} title="This scope" api=${address(path, asked)}>
    <${Loaded} of=${found} lines=${5}>${(report) => html`<${ScopeCurve} report=${report} tenant=${tenant} />`}<//>
  <//>`;
}

function ScopeCurve({ report, tenant }) {
  const { scale } = report;
  const points = curvePoints(report);
  const wrong = report.wrong;
  const data = [
    points.map((one) => one.hit_rate),
    points.map((one) => one.wrong_high),
    points.map((one) => one.wrong_low),
    points.map((one) => one.wrong_rate),
  ];
  const most = Math.min(1, Math.max(0.05, ...points.map((one) => one.wrong_high)));
  const shares = (_, ticks) => ticks.map((share) => percent(share, 0));
  const options = () => ({
    scales: { x: { time: false }, y: { range: [0, most] } },
    axes: axes({ x: { values: shares, size: 26 }, y: { values: shares, size: 44 } }),
    legend: { show: false },
    cursor: { show: false },
    bands: [{ series: [1, 2], fill: token("--accent-soft") }],
    series: [
      {},
      { stroke: "transparent", points: { show: false } },
      { stroke: "transparent", points: { show: false } },
      { stroke: token("--accent"), width: 2, points: { show: false } },
    ],
  });
  return html`<p class="scope-line">${scopeName(report)}</p>
    <p class="hint scope-hint">${count(report.labels)} labels ·
      ${wrong ? ` ${percent(wrong.share)} of hits so far wrong (${percent(wrong.low)} to ${percent(wrong.high)})` : " no label of a hit yet"}</p>
    ${points.length > 1
      ? html`<${Chart} label="Wrong hits against hit rate, by the bar" options=${options} data=${data} height=${180} version=${`${scale}${most}`}
          table=${{ head: ["Bar", "Hit rate", "Wrong", "Labels"], rows: points.map((one) => [ratio(one.bar), percent(one.hit_rate), percent(one.wrong_rate), count(one.labels)]) }} />
        <p class="hint scope-hint">Across: hit rate. Up: wrong hits, with the 95% interval.</p>`
      : html`<p class="hint scope-hint">The curve appears once some hits have a label.</p>`}
    <p><a href=${screenUrl("tuning", { tenant, scope: report.scope })}>Tune this scope</a></p>`;
}
