// One stored answer: read it, and change what may be changed.
import { html, useState } from "./html.js";
import { send } from "./api.js";
import { Confirm, Dialog } from "./dialog.js";
import { Field, Form, useForm } from "./form.js";
import { ago, bytes, count, duration, moment, money } from "./format.js";
import { Badge, Button, Copyable, Loaded, Tabs, notify } from "./parts.js";
import { screenUrl, setParams } from "./router.js";
import { mayTune } from "./tenants.js";
import { useApi } from "./use.js";
import { visible } from "./visible.js";

/** The dialog of an entry. `changed(id)` is called when it was changed, `gone(id)` when evicted. */
export function OpenedEntry({ id, tenant, session, onClose, changed, gone }) {
  const admin = session.role !== null;
  const path = admin
    ? `/admin/v1/entries/${encodeURIComponent(tenant ?? "default")}/${encodeURIComponent(id)}`
    : `/v1/entries/${encodeURIComponent(id)}`;
  const found = useApi(path);
  return html`<${Dialog} title="Stored answer" wide onClose=${onClose}>
    <${Loaded} of=${found} lines=${10}>
      ${(entry) => html`<${Entry} key=${entry.id} entry=${entry} path=${path} admin=${admin} may=${mayTune(session)}
        onClose=${onClose} gone=${gone} changed=${() => {
          changed(entry.id);
          found.reload();
        }} />`}
    <//>
  <//>`;
}

function Entry({ entry, path, admin, may, onClose, changed, gone }) {
  const [acting, setActing] = useState("read");
  return html`<div class="stack">
    <div class="entry-marks">
      <${Badge} tone=${entry.origin === "curated" ? "good" : ""}>${ORIGINS[entry.origin] ?? entry.origin}<//>
      ${entry.pinned && html`<${Badge} tone="good">pinned<//>`}
      ${entry.corroborated && !entry.pinned && html`<${Badge}>corroborated<//>`}
      ${entry.expired && html`<${Badge} tone="warn">expired<//>`}
    </div>
    ${may && html`<${Tabs} label="What to do" value=${acting} onChange=${setActing}
      tabs=${[["read", "Read"], ["answer", "Replace the answer"], ["ttl", "Lifetime"], ["evict", "Evict"]]} />`}
    ${acting === "read" && html`<${Read} entry=${entry} path=${path} admin=${admin} may=${may} changed=${changed} />`}
    ${acting === "answer" && html`<${NewAnswer} entry=${entry} path=${path} done=${() => setActing("read")} changed=${changed} />`}
    ${acting === "ttl" && html`<${Lifetime} entry=${entry} path=${path} done=${() => setActing("read")} changed=${changed} />`}
    ${acting === "evict" && html`<${Evict} path=${path} done=${() => {
      gone(entry.id);
      onClose();
    }} cancel=${() => setActing("read")} />`}
  </div>`;
}

const ORIGINS = { claude: "answered by Claude", curated: "curated", own: "stored by an application", simulated: "simulated" };
const WITHHELD = {
  "no-content": "This tenant keeps no content, so no text is shown.",
  "other-key": "Texts are hidden from keys of a tenant; an operator can allow them (keys_read_content).",
};

function Read({ entry, path, admin, may, changed }) {
  const pin = async () => {
    try {
      await send(entry.pinned ? "DELETE" : "PUT", `${path}/pin`);
      notify(entry.pinned ? "The pin is removed." : "Pinned: it serves everybody who asks the like.");
      changed();
    } catch (error) {
      notify(error.message, "bad");
    }
  };
  return html`
    ${entry.withheld
      ? html`<p class="hint">${WITHHELD[entry.withheld] ?? entry.withheld}</p>`
      : html`<div><h3>Question</h3><div class="text-block" tabindex="0" role="region" aria-label="Question">${visible(entry.question) ?? "It is matched exactly only, so its question is not stored."}</div></div>
        <div><h3>Answer</h3><${Message} message=${entry.message} /></div>`}
    <dl class="facts">
      <dt>Served</dt><dd>${count(entry.hits)} ${entry.hits === 1 ? "time" : "times"}, saved ${money(entry.saved_usd)} (it cost ${money(entry.cost_usd)})</dd>
      <dt>Model</dt><dd>${entry.model}${entry.curated_by ? `, curated by ${entry.curated_by}` : ""}</dd>
      <dt>Created</dt><dd>${moment(entry.created_at)} (${ago(entry.created_at)})</dd>
      <dt>Expires</dt><dd>${moment(entry.expires_at)} (${ago(entry.expires_at)})</dd>
      ${admin && html`<dt>Tenant</dt><dd>${entry.tenant}</dd>`}
      <dt>Namespace</dt><dd>${entry.namespace}</dd>
      ${entry.tags.length > 0 && html`<dt>Tags</dt><dd>${visible(entry.tags.join(", "))}</dd>`}
      ${entry.scope && html`<dt>Scope</dt><dd>${admin
        ? html`<a href=${screenUrl("tuning", { tenant: entry.tenant, scope: entry.scope })}>${entry.scope.slice(0, 16)}</a>`
        : entry.scope.slice(0, 16)}</dd>`}
      <dt>Size</dt><dd>${bytes(entry.bytes)}</dd>
      <dt>Id</dt><dd><${Copyable} text=${entry.id} /></dd>
      <dt>All of it</dt><dd><a href=${path} target="_blank" rel="noopener">${path}</a></dd>
    </dl>
    ${may && html`<div class="actions"><${Button} onClick=${pin}>${entry.pinned ? "Remove the pin" : "Pin"}<//>
      <span class="hint">A pinned answer serves everybody, also where answers must be corroborated.</span></div>`}`;
}

/** A message as Claude sent it: its texts, and other blocks as JSON. Always text. */
function Message({ message }) {
  const blocks = message?.content ?? [];
  return blocks.map((block, at) => html`<div key=${at} class="text-block" tabindex="0" role="region" aria-label=${`Answer, part ${at + 1}`}>${
    block.type === "text" ? visible(block.text) : html`<pre>${visible(JSON.stringify(block, null, 2))}</pre>`}</div>`);
}

function textOf(entry) {
  return (entry.message?.content ?? []).filter((one) => one.type === "text").map((one) => one.text).join("\n");
}

function NewAnswer({ entry, path, done, changed }) {
  const form = useForm({ text: textOf(entry), beyond_maximum: false }, async (values) => {
    const { id } = await send("PUT", `${path}/answer`, values);
    notify("The answer is replaced; the new one has another id.");
    done();
    changed();
    setParams({ entry: id });
  });
  return html`<${Form} form=${form} submit="Replace the answer" cancel=${done}>
    <p class="hint">The question stays. The curated answer is another entry, pinned, and lives as long as the old one did. Nothing is learned from it.</p>
    <${Field} form=${form} name="text" label="Answer" type="textarea" rows=${10} class="prose" />
  <//>`;
}

const BEYOND = "Beyond the longest lifetime of the tenant's settings";
const SPANS = [["3600", "an hour"], ["86400", "a day"], ["604800", "a week"], ["longest", "the longest allowed"], ["other", "other"]];

function Lifetime({ entry, path, done, changed }) {
  const form = useForm({ span: "86400", ttl_s: "", beyond_maximum: false }, async (values) => {
    const chosen = values.span === "other" ? values.ttl_s : values.span;
    const ttl_s = chosen === "longest" ? chosen : Number(chosen);
    const reply = await send("PUT", `${path}/ttl`, { ttl_s, beyond_maximum: values.beyond_maximum }).catch((error) => {
      error.message = error.message.replace("send `beyond_maximum`", `tick “${BEYOND}”`);
      throw error;
    });
    notify(`It expires ${ago(reply.expires_at)}.`);
    done();
    changed();
  });
  return html`<${Form} form=${form} submit="Set the lifetime" cancel=${done}>
    <p class="hint">Now it expires ${moment(entry.expires_at)} (${ago(entry.expires_at)}).</p>
    <div class="fields">
      <${Field} form=${form} name="span" label="Expires in" type="select" options=${SPANS} />
      ${(form.values.span === "other" || form.errors.ttl_s) && html`<${Field} form=${form} name="ttl_s" label="Seconds from now" type="number" min="1"
        hint=${form.values.ttl_s ? duration(Number(form.values.ttl_s)) : null} />`}
    </div>
    <${Field} form=${form} name="beyond_maximum" label=${BEYOND} type="checkbox" />
  <//>`;
}

function Evict({ path, done, cancel }) {
  const form = useForm({}, async () => {
    await send("DELETE", path);
    notify("Evicted. The next question like it is a miss.");
    done();
  });
  return html`<${Form} form=${form} submit="Evict" kind="danger" cancel=${cancel}>
    <p>No server serves this answer from then on; the next question like it is asked of Claude. This cannot be undone.</p>
  <//>`;
}

/** Confirm a purge: what a dry run found, and the phrase for a large one. */
export function ConfirmPurge({ tried, send: act, onClose }) {
  return html`<${Confirm} title=${`Purge ${count(tried.would_purge)} stored ${tried.would_purge === 1 ? "answer" : "answers"}?`} phrase=${tried.confirm} submit="Purge" onClose=${onClose} act=${act}>
    <p class="hint">The next questions like these are misses. This cannot be undone.</p>
    ${tried.examples.length > 0 && html`<ul class="examples">${tried.examples.map((one) => html`<li key=${one.id}>${visible(one.question) ?? html`<span class="hint">${one.id}</span>`}</li>`)}</ul>`}
    ${tried.would_purge > tried.examples.length && html`<p class="hint">and ${count(tried.would_purge - tried.examples.length)} more</p>`}
    ${tried.skipped && html`<p class="hint">Not looked into, for they keep no content: ${tried.skipped.join(", ")}.</p>`}
  <//>`;
}
