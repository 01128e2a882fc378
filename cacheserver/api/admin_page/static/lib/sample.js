// Sample traffic: begun on a new server, followed while it runs, removed when it is not wanted.
import { html, useEffect, useState } from "./html.js";
import { get, send } from "./api.js";
import { Confirm } from "./dialog.js";
import { count } from "./format.js";
import { Button, ErrorBox, Meter } from "./parts.js";

const PATH = "/admin/v1/sample-traffic";

/** `{progress, error, start, remove}`; `changed` is called when a replay ends or is removed. */
function useSample(changed) {
  const [progress, setProgress] = useState(null);
  const [error, setError] = useState(null);
  const running = progress?.state === "running";
  useEffect(() => {
    get(PATH).then(setProgress, setError);
  }, []);
  useEffect(() => {
    if (!running) return undefined;
    const timer = setInterval(async () => {
      try {
        const next = await get(PATH);
        setProgress(next);
        if (next.state !== "running") changed();
      } catch (failed) {
        setError(failed);
      }
    }, 1000);
    return () => clearInterval(timer);
  }, [running]);
  const start = async () => {
    setError(null);
    try {
      setProgress(await send("POST", PATH));
    } catch (failed) {
      setError(failed);
    }
  };
  const remove = async () => {
    await send("DELETE", PATH);
    setProgress(await get(PATH));
    changed();
  };
  return { progress, error, start, remove };
}

/** The button of a new server. */
export function SampleStart({ changed }) {
  const { progress, error, start } = useSample(changed);
  if (error) return html`<${ErrorBox} error=${error} />`;
  if (progress === null) return null;
  if (!progress.available) {
    return html`<p class="footnote">To look around first: a server with <code>CACHESERVER_UPSTREAM=simulated</code>, and a data directory and port of its own, can replay sample traffic.</p>`;
  }
  return html`<${Offer} progress=${progress} start=${start} />`;
}

function Offer({ progress, start }) {
  return html`<div class="sample">
    <${Button} kind="primary" busy=${progress.state === "running"} onClick=${start}>Replay sample traffic<//>
    ${progress.state === "running"
      ? html`<${Asked} progress=${progress} />`
      : html`<span class="hint">Some 300 questions of a made-up shop, answered by the simulated Claude as the tenant <code>sample</code>. All of it is marked, and can be removed.</span>`}
  </div>`;
}

/** Says that there is sample traffic among the figures; offers it if there is none. */
export function SampleNote({ changed }) {
  const { progress, error, start, remove } = useSample(changed);
  const [asking, setAsking] = useState(false);
  if (progress === null) return null;
  if (progress.state === "none") {
    if (!progress.available) return null;
    return html`<section class="card sample-offer" aria-label="Look around">
      <${Offer} progress=${progress} start=${start} />
      ${error && html`<${ErrorBox} error=${error} />`}
    </section>`;
  }
  const running = progress.state === "running";
  return html`<section class="card sample-note" aria-label="Sample traffic">
    <p><strong>Sample traffic</strong> ${running
      ? "is being replayed."
      : html`is among these figures: ${count(progress.asked)} questions of a made-up shop, as the tenant <code>sample</code>.`}</p>
    ${running && html`<${Asked} progress=${progress} />`}
    <div class="actions">
      ${!running && progress.available && html`<${Button} kind="small" onClick=${start}>Replay again<//>`}
      <${Button} kind="small" onClick=${() => setAsking(true)}>${running ? "Stop and remove" : "Remove"}<//>
    </div>
    ${error && html`<${ErrorBox} error=${error} />`}
    ${asking && html`<${Confirm} title="Remove the sample traffic" submit="Remove"
      onClose=${() => setAsking(false)} act=${remove}>
      <p>The tenant <code>sample</code> is deleted with its answers, decisions, labels and settings. Amounts of money stay, as with every tenant.</p>
    <//>`}
  </section>`;
}

function Asked({ progress }) {
  const text = `${count(progress.asked)} of ${count(progress.of)} questions asked`;
  return html`<div class="sample-asked"><${Meter} share=${progress.asked / progress.of} label=${text} />
    <span class="hint">${text}</span></div>`;
}
