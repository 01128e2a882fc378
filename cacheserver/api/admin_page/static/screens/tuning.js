// Tuning: scopes with their bars, near misses, changes of bars; and one scope with its slider.
import { html } from "../lib/html.js";
import { address, send } from "../lib/api.js";
import { barText, barsPath, labelsText, placeText, wrongTone } from "../lib/bars.js";
import { count, money, moment, percent, ratio } from "../lib/format.js";
import { Badge, Button, Card, Empty, ScreenHead, Skeleton, Tabs, Time, notify } from "../lib/parts.js";
import { reasonText } from "../lib/reasons.js";
import { navigate, screenUrl, setParams } from "../lib/router.js";
import { ScopeScreen, scopeTitle } from "../lib/scope_tuning.js";
import { PagedTable, usePages } from "../lib/table.js";
import { TenantSelect, mayTune, useTenant } from "../lib/tenants.js";
import { useSettled } from "../lib/use.js";
import { visible } from "../lib/visible.js";

const TABS = [["scopes", "Scopes"], ["near-misses", "Near misses"], ["history", "Changes"]];

export default function Tuning({ session, params }) {
  const tenant = useTenant(params.tenant);
  if (tenant === null) return html`<${Skeleton} lines=${6} />`;
  if (params.tenant && params.scope) {
    return html`<${ScopeScreen} key=${params.scope} session=${session} params=${params} />`;
  }
  const tab = TABS.some(([name]) => name === params.tab) ? params.tab : "scopes";
  const choose = (name) => setParams({ tenant: name ?? "default" });
  return html`<${ScreenHead} title="Tuning" lead="How alike a question must be to a stored one to get its answer. Each scope, one system prompt with its model and history, has its own bar.">
      <div class="filters"><${TenantSelect} value=${tenant} onChange=${choose} all=${null} /></div>
    <//>
    <${Tabs} label="Views" tabs=${TABS} value=${tab} onChange=${(name) => setParams({ tenant, tab: name })} />
    ${tab === "scopes" && html`<${Scopes} key=${tenant} tenant=${tenant} />`}
    ${tab === "near-misses" && html`<${NearMisses} key=${tenant} tenant=${tenant} params=${params} />`}
    ${tab === "history" && html`<${History} key=${tenant} session=${session} tenant=${tenant} />`}`;
}

function Scopes({ tenant }) {
  const pages = usePages("/admin/v1/scopes", { tenant });
  const open = (row) => navigate(screenUrl("tuning", { tenant, scope: row.scope }));
  const columns = [
    { key: "system", label: "Scope", wide: true, render: (row) => html`<div>
        <a class="scope-name" href=${screenUrl("tuning", { tenant, scope: row.scope })}>${scopeTitle(row)}</a>
        <div class="hint">${[row.model, row.namespace].filter(Boolean).join(" · ") || "no request in the last day"}</div></div>` },
    { key: "requests", label: "Requests", align: "end", render: (row) => count(row.day.requests) },
    { key: "hits", label: "Hit rate", align: "end", render: (row) => percent(row.day.hit_rate) },
    { key: "saved", label: "Saved", align: "end", render: (row) => money(row.day.saved_usd) },
    { key: "bar", label: "Bar in force", render: (row) => html`<div>${barText(row.bar)}
        <div class="hint">${basis(row)}</div></div>` },
    { key: "wrong", label: "Wrong of hits so far", render: (row) => html`<${Wrong} row=${row} />` },
    { key: "labels", label: "Labels", align: "end", render: (row) => count(row.labels) },
  ];
  return html`<${Card} title="Scopes of the last day" api=${address("/admin/v1/scopes", { tenant })}>
    <${PagedTable} label="Scopes" pages=${pages} columns=${columns} rowKey="scope" onOpen=${open}
      empty=${html`<${Empty} title="No scope yet">Scopes appear with the first requests of ${tenant}.
        Point an application at this server, or choose another tenant above.<//>`} />
  <//>`;
}

/** Where a bar is set and what it rests on. */
function basis({ bar, namespace, support }) {
  const where = bar.level === "scope" ? "of this scope" : bar.level === "namespace" ? `of namespace ${namespace}` : "of the tenant";
  if (bar.basis === "threshold" || bar.basis === "exact-only") return where;
  const told = { prior: "by the shipped prior", labels: `by ${labelsText(support?.labels)}`, closed: "closed by labels" }[bar.basis];
  return `${where}, ${told}`;
}

/** The share of wrong hits with its interval, against the target. */
function Wrong({ row }) {
  const { wrong, bar } = row;
  if (!wrong) return html`<span class="hint">no labels of hits</span>`;
  const tone = wrongTone(wrong, bar.target);
  const range = `${percent(wrong.low)} to ${percent(wrong.high)}, by ${labelsText(wrong.labels)} of hits`;
  return html`<div><span class=${tone ? `tone-${tone}` : ""}>${percent(wrong.share)}</span>
    <div class="hint">${range}</div></div>`;
}

function NearMisses({ tenant, params }) {
  const least = params.similarity_min ?? "0.7";
  const asked = { tenant, similarity_min: useSettled(least) };
  const pages = usePages("/admin/v1/near-misses", asked);
  const columns = [
    { key: "saves", label: "Would save", align: "end", render: (row) => money(row.would_have_saved_usd) },
    { key: "asked", label: "Asked", wide: true, render: (row) => html`<div>${visible(row.asked) ?? "withheld"}
        <div class="hint">nearest: ${visible(row.decision.question) ?? "withheld"}</div></div>` },
    { key: "similarity", label: "Similarity", align: "end", render: (row) => ratio(row.decision.similarity) },
    { key: "probability", label: "Probability", align: "end", render: (row) => ratio(row.decision.probability) },
    { key: "reason", label: "Why a miss", render: (row) => html`<span title=${reasonText(row.decision.reason)}><${Badge}
        tone=${row.decision.reason === "vetoed" ? "warn" : null}>${row.decision.why ?? row.decision.reason}<//></span>` },
    { key: "scope", label: "Scope", render: (row) => row.scope
        ? html`<a class="clip" href=${screenUrl("tuning", { tenant, scope: row.scope })}>${scopeTitle(row)}</a>` : "–" },
    { key: "at", label: "When", render: (row) => html`<${Time} at=${row.at} />` },
  ];
  return html`<${Card} title="Near misses" api=${address("/admin/v1/near-misses", asked)}
      hint="Misses of the last day that had a similar question, those first that a hit would have saved most.">
    <div class="filters"><label>Similarity at least
      <input type="number" min="0" max="1" step="0.05" value=${least}
        onInput=${(event) => setParams({ similarity_min: event.currentTarget.value })} /></label></div>
    <${PagedTable} label="Near misses" pages=${pages} columns=${columns}
      empty=${html`<${Empty} title="No near misses in the last day">No question came near a stored one and missed.<//>`} />
  <//>`;
}

function History({ session, tenant }) {
  const path = `${barsPath(tenant)}/history`;
  const pages = usePages(path);
  const undo = async () => {
    try {
      const { undone } = await send("POST", `${barsPath(tenant)}/undo`, {});
      notify(`Undone: ${barText(undone.before)} holds again.`);
      pages.reload();
    } catch (error) {
      notify(error.message, "bad");
    }
  };
  const columns = [
    { key: "at", label: "When", render: (row) => html`<span title=${moment(row.at)}><${Time} at=${row.at} /></span>` },
    { key: "who", label: "Who" },
    { key: "place", label: "Where", render: (row) => row.level === "scope"
        ? html`<a href=${screenUrl("tuning", { tenant, scope: row.name })}>scope ${row.name.slice(0, 8)}</a>`
        : placeText(row.level, row.name) },
    { key: "before", label: "Before", render: (row) => barText(row.before) },
    { key: "after", label: "After", render: (row) => html`${barText(row.after)}${row.undoes ? html` <${Badge}>undo<//>` : null}` },
  ];
  const actions = mayTune(session) && pages.rows.length > 0 && html`<${Button} onClick=${undo}>Undo the last change<//>`;
  return html`<${Card} title="Changes of bars" api=${path} actions=${actions}>
    <${PagedTable} label="Changes of bars" pages=${pages} columns=${columns}
      empty=${html`<${Empty} title="No bar was changed yet">The server's default holds. Open a scope to try another bar.<//>`} />
  <//>`;
}
