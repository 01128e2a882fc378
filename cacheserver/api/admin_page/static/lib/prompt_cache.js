// What Claude's prompt cache saved, which prefixes pay, and what keeps prompts apart.
import { html, useEffect, useState } from "./html.js";
import { address, send } from "./api.js";
import { Confirm } from "./dialog.js";
import { count, moment, money, percent } from "./format.js";
import {
  Badge, Button, Card, Empty, ErrorBox, Figure, Figures, Loaded, Meter, Skeleton, Time, notify,
} from "./parts.js";
import { setParams } from "./router.js";
import { PagedTable, Table, usePages } from "./table.js";
import { Choice, mayTune } from "./tenants.js";
import { useApi } from "./use.js";
import { visible } from "./visible.js";

const KINDS = {
  input: ["Plain input", "full price"],
  cache_write_5m: ["Written for 5 minutes", "a quarter more"],
  cache_write_1h: ["Written for an hour", "twice the price"],
  cache_read: ["Read from the cache", "a twentieth to a tenth"],
};
const HOURS = [["1", "Last hour"], ["24", "Last day"], ["168", "Last week"]];
const TONES = { pays: "good", "rarely-reused": null, "seen-once": null, "too-short": "warn" };
const CODES = { pays: "pays", "rarely-reused": "rarely reused", "seen-once": "seen once", "too-short": "too short" };
const LIVES = { "5m": "5 minutes", "1h": "an hour" };

export function PromptCacheTab({ tenant, params, session }) {
  const path = `/admin/v1/prompts/${encodeURIComponent(tenant)}`;
  const hours = HOURS.some(([name]) => name === params.hours) ? params.hours : "24";
  const used = useApi(path, { hours });
  return html`<div class="grid">
    <${Card} title="Prompt tokens" api=${address(path, { hours })} actions=${html`<div class="filters flat">
        <${Choice} label=${html`<span class="sr-only">Time</span>`} value=${hours} options=${HOURS} onChange=${(value) => setParams({ hours: value })} /></div>`}>
      <${Loaded} of=${used} lines=${5}>${(found) => html`<${Use} found=${found} />`}<//>
    <//>
    <${Prefixes} path=${path} />
    <${Fragments} path=${path} />
    <${Versions} path=${path} session=${session} />
  </div>`;
}

function Use({ found }) {
  const whole = found.where.reduce((sum, one) => sum + one.tokens, 0);
  if (whole === 0) {
    return html`<${Empty} title="No prompt went to Claude in this time">Ask something, or choose a longer time.<//>`;
  }
  const saved = Number(found.plain_usd) - Number(found.prompt_usd);
  const columns = [
    { key: "kind", label: "Tokens", render: (row) => html`<div>${KINDS[row.kind][0]}<div class="hint">${KINDS[row.kind][1]}</div></div>` },
    { key: "bar", label: "Part", render: (row) => html`<${Meter} share=${row.share} label=${percent(row.share)} />` },
    { key: "share", label: "Share", align: "end", render: (row) => percent(row.share) },
    { key: "tokens", label: "Count", align: "end", render: (row) => count(row.tokens) },
    { key: "cost_usd", label: "Cost, about", align: "end", render: (row) => money(row.cost_usd) },
  ];
  return html`<${Figures}>
      <${Figure} label="Read from the cache" value=${percent(found.read_ratio)} tone=${found.alert ? "bad" : undefined}
        note=${found.read_ratio === null ? "no planned call yet"
          : `of the tokens of planned calls; the table is of all calls. The alert is under ${percent(found.threshold)}`} />
      <${Figure} label="Prompts cost, about" value=${money(found.prompt_usd)} note=${`${count(whole)} tokens`} />
      <${Figure} label="The cache saved, about" value=${money(saved)} tone=${saved < 0 ? "bad" : "good"}
        note=${`uncached: ${money(found.plain_usd)}`} />
      <${Figure} label="Planned marks gained" value=${money(found.gain_usd)} note=${`expected ${money(found.expected_usd)}`} />
      ${found.warmed > 0 && html`<${Figure} label="Pre-warming cost" value=${money(found.warm_cost_usd)} note=${`${count(found.warmed)} calls`} />`}
    <//>
    <div class="below"><${Table} label="Prompt tokens by kind" columns=${columns} rows=${found.where} rowKey="kind" /></div>
    ${found.unpriced_tokens > 0 && html`<p class="hint after">${count(found.unpriced_tokens)} tokens are of models without a price, and in no amount.</p>`}`;
}

function Prefixes({ path }) {
  const listed = `${path}/prefixes`;
  const first = useApi(listed, { limit: 1 });
  const pages = usePages(listed, { limit: 10 });
  const columns = [
    { key: "advice", label: "Advice", wide: true, render: (row) => html`<div><${Badge} tone=${TONES[row.advice.code]}>${CODES[row.advice.code]}<//> <span class="hint">${row.advice.text}</span></div>` },
    { key: "tokens", label: "Tokens", align: "end", render: (row) => count(row.tokens) },
    { key: "sightings", label: "Seen", align: "end", render: (row) => row.sightings.toFixed(0) },
    { key: "reuse", label: "Again in 5 min, 1 h", align: "end", render: (row) => `${percent(row.reuse["5m"], 0)}, ${percent(row.reuse["1h"], 0)}` },
    { key: "account_usd", label: "Saved today", align: "end", render: (row) => money(row.account_usd) },
    { key: "live", label: "At Claude now", render: (row) => row.live ? html`<${Badge} tone="good">for ${LIVES[row.ttl]}<//>` : "no" },
    { key: "last_at", label: "Last", render: (row) => html`<${Time} at=${row.last_at} />` },
  ];
  return html`<${Card} title="Prefixes, and when a mark pays" api=${listed}>
    ${first.data && html`<p class="break-even">${Object.entries(first.data.break_even).map(([ttl, point]) => html`<span key=${ttl}>
      Kept for <strong>${LIVES[ttl]}</strong>, a mark pays from the <strong>${nth(point.reads)} read</strong> on: if the prefix
      comes again in time at least <strong>${percent(point.chance, 0)}</strong> of the time.</span>`)}</p>`}
    <${PagedTable} pages=${pages} label="Prefixes" columns=${columns} rowKey="prefix"
      empty=${html`<${Empty} title="No prefix was seen in two days">The beginnings of prompts that could be marked are
        listed here once questions went to Claude.<//>`} />
  <//>`;
}

function nth(reads) {
  return { 1: "first", 2: "second", 3: "third" }[reads] ?? `${reads}th`;
}

function Fragments({ path }) {
  const listed = `${path}/fragments`;
  const found = useApi(listed);
  return html`<${Card} title="Prompts that differ only a little" api=${listed}
      hint="System prompts that are the same but for times, ids, names or numbers. Words are never stored: only where they stand, and their shape.">
    <${Loaded} of=${found}>${(rows) => rows.length === 0
      ? html`<${Empty} title="Nothing keeps prompts apart">No system prompt was seen whose times, ids, names or numbers change from request to request.<//>`
      : html`<div class="stack">${rows.map((row) => html`<${Fragment} key=${row.skeleton} row=${row} />`)}</div>`}<//>
  <//>`;
}

function Fragment({ row }) {
  const lost = row.lost_per_day;
  const columns = [
    { key: "start", label: "Characters", render: (span) => `${count(span.start)} to ${count(span.end)}` },
    { key: "kind", label: "Kind" },
    { key: "pattern", label: "Shape", render: (span) => span.pattern === "no-content" ? "not shown" : html`<code>${span.pattern}</code>` },
    { key: "changed", label: "Changed", align: "end", render: (span) => `${count(span.changed)} times` },
  ];
  const chars = Math.max(row.chars, ...row.spans.map((span) => span.end));
  const label = `Changes at ${row.spans.map((span) => `${span.start} to ${span.end}`).join(", ")} of about ${chars} characters`;
  return html`<article class="fragment">
    <${Figures}>
      <${Figure} label="Lost at Claude's cache, a day" value=${money(lost.prompt_cache_usd)} />
      <${Figure} label="Answers not found here, a day" value=${count(lost.response_hits)} note=${`worth ${money(lost.response_cost_usd)}`} />
      <${Figure} label="Requests a day" value=${count(row.requests_per_day)} note=${`${count(row.changes)} of ${count(row.sightings)} changed`} />
      <${Figure} label="Prompt" value=${`${count(row.tokens)} tokens`} note=${row.model} />
    <//>
    <div class="strip" role="img" aria-label=${label}>
      ${row.spans.map((span) => html`<span key=${span.start} title=${`${span.kind} at ${span.start}`}
        style=${{ left: `${(span.start / chars) * 100}%`, width: `${Math.max(0.6, ((span.end - span.start) / chars) * 100)}%` }}></span>`)}
    </div>
    <div class="strip-ends"><span>beginning</span><span>${count(chars)} characters</span></div>
    <p>${withCode(row.advice)}</p>
    <${Table} label="Places that change" columns=${columns} rows=${row.spans} rowKey="start" />
  </article>`;
}

/** A text with the names between backticks as code. */
function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 ? html`<code key=${at}>${part}</code>` : part));
}

function Versions({ path, session }) {
  const listed = `${path}/versions`;
  const found = useApi(listed);
  const [copying, setCopying] = useState(null);
  const columns = [
    { key: "digest", label: "Version", render: (row) => html`<code>${row.digest.slice(0, 8)}</code>` },
    { key: "first_at", label: "First", render: (row) => moment(row.first_at) },
    { key: "last_at", label: "Last", render: (row) => html`<${Time} at=${row.last_at} />` },
    { key: "requests", label: "Requests", align: "end", render: (row) => count(row.requests) },
    { key: "chars", label: "Characters", align: "end", render: (row) => count(row.chars) },
    { key: "entries", label: "Stored answers", align: "end", render: (row) => count(row.entries) },
  ];
  return html`<${Card} title="Versions of system prompts" api=${listed}
      hint="A new version does not find the answers of the one before.">
    <${Loaded} of=${found}>${(spaces) => spaces.length === 0
      ? html`<${Empty} title="No system prompt was seen">Versions are listed by namespace once requests have one.<//>`
      : spaces.map((space) => html`<div key=${space.namespace} class="space">
          <h3>${space.namespace}</h3>
          ${space.changes.map((change) => html`<p key=${change.at} class="hint">${moment(change.at)}:
            <code>${change.from.slice(0, 8)}</code> was replaced by <code>${change.to.slice(0, 8)}</code>;
            ${count(change.entries_left_behind)} stored answers were left behind.
            ${change.entries_left_behind > 0 && mayTune(session) && html` <${Button} kind="small"
              onClick=${() => setCopying({ namespace: space.namespace, from: change.from, to: change.to })}>Copy them…<//>`}</p>`)}
          <${Table} label=${`Versions of ${space.namespace}`} columns=${columns} rows=${space.versions} rowKey="digest" />
        </div>`)}<//>
    ${copying && html`<${CopyAnswers} path=${`${path}/carry-over`} change=${copying} onClose=${() => setCopying(null)}
      done=${found.reload} />`}
  <//>`;
}

/** Copy the answers of one version to the next, after a look at their questions. */
function CopyAnswers({ path, change, onClose, done }) {
  const [tried, setTried] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    send("POST", path, { ...change, dry_run: true }).then(setTried, setError);
  }, []);
  const copy = async () => {
    const { carried } = await send("POST", path, { ...change, dry_run: false });
    notify(`${count(carried)} answers were copied.`);
    done();
  };
  return html`<${Confirm} title="Copy answers to the new version?" submit="Copy" act=${copy} onClose=${onClose}>
    <p>An answer that was made under the old prompt may be wrong under the new one. A copy is found by similarity
      and lives as long as its original.</p>
    ${error && html`<${ErrorBox} error=${error} />`}
    ${!error && !tried && html`<${Skeleton} />`}
    ${tried && html`<p>${count(tried.found)} answers, to these questions${tried.found > tried.questions.length ? " and others" : ""}:</p>
      <ul class="text-block">${tried.questions.map(({ entry, question }) => html`<li key=${entry}>${visible(question) ?? "not shown: this tenant keeps no content"}</li>`)}</ul>`}
  <//>`;
}
