// Questions beside the slider: those that change sides, or lie nearest to the bar.
import { html, useState } from "./html.js";
import { send } from "./api.js";
import { count, money, ratio } from "./format.js";
import { ApiLink, Badge, Button, Card, Empty, Time, notify } from "./parts.js";
import { screenUrl } from "./router.js";
import { marked, visible } from "./visible.js";

const SHOWN = 20; // of a group, until more are asked for
const NEAREST = 5; // on each side of the bar, while nothing changes
const ROUNDED = 5e-7; // scores are rounded to six digits

/** Whether a bar serves a question: its score reaches the bar. */
export function reaches(question, bar) {
  return bar !== null && question.score >= bar - ROUNDED;
}

/**
 * Return the questions that become hits and misses, those nearest to the bar in force first, and
 * those that reach the bar and stay misses: the labels do not support their answers.
 */
export function changing(report, step) {
  const { questions, steps, in_force: inForce, scale } = report;
  const now = inForce === null ? null : steps[inForce];
  const hit = (question) => (now === null ? question.served : reaches(question, now.bar));
  const barred = (question) => scale === "probability" && question.supported === false && !question.served;
  const reached = questions.filter((one) => !hit(one) && reaches(one, step.bar));
  return {
    begin: reached.filter((one) => !barred(one)),
    stay: reached.filter(barred),
    end: questions.filter((one) => hit(one) && !reaches(one, step.bar)).reverse(),
  };
}

export function Changes({ report, step, may, api, reload }) {
  const { begin, stay, end } = changing(report, step);
  const [given, setGiven] = useState({});
  const label = async (question, verdict) => {
    try {
      await send("POST", "/admin/v1/labels", { tenant: report.tenant, pair: question.pair, verdict });
      setGiven((was) => ({ ...was, [question.pair]: verdict === "no" }));
      reload();
    } catch (error) {
      notify(error.message, "bad");
    }
  };
  const shared = { report, given, label: may && !report.withheld ? label : null };
  const { above, below } = report.left_out;
  if (report.questions.length === 0) {
    return html`<${Card} title="Questions" api=${api}>
      <${Empty} title="No question to show">${report.withheld
        ? "This tenant keeps no content, so its questions are not stored."
        : report.scale === "probability"
          ? "No decision of the last day has a probability: a fixed similarity decided. Choose “By similarity”."
          : "No question of the last day came near a stored one."}<//>
    <//>`;
  }
  if (begin.length + stay.length + end.length === 0) {
    const bar = step.bar;
    const hits = report.questions.filter((one) => reaches(one, bar)).slice(-NEAREST);
    const misses = report.questions.filter((one) => !reaches(one, bar)).slice(0, NEAREST);
    return html`<${Card} title="Nearest to the bar" api=${api} hint="Move the slider: the questions that change sides are listed here.">
      <${Group} title="Hits, just above it" questions=${hits} ...${shared} />
      <${Group} title="Misses, just below it" questions=${misses} ...${shared} />
    <//>`;
  }
  const whole = above + below > 0;
  return html`<${Card} title="Questions that change sides" api=${api}
      hint=${whole ? `${count(report.questions.length)} questions nearest to the bar in force are compared; ${count(above + below)} more are counted in the figures only.` : null}>
    <${Group} title="Become hits" tone="good" questions=${begin} ...${shared} />
    <${Group} title="Become misses" tone="warn" questions=${end} ...${shared} />
    <${Group} title="Reach the bar, but stay misses without support" questions=${stay} ...${shared} />
  <//>`;
}

function Group({ title, tone, questions, ...shared }) {
  const [most, setMost] = useState(SHOWN);
  if (questions.length === 0) return null;
  return html`<section class="pairs" aria-label=${title}>
    <h3>${title} <${Badge} tone=${tone}>${count(questions.length)}<//></h3>
    <ul>${questions.slice(0, most).map((one) => html`<${Pair} key=${one.pair} question=${one} ...${shared} />`)}</ul>
    ${questions.length > most && html`<div class="more"><${Button} onClick=${() => setMost(most + SHOWN)}>Show more<//></div>`}
  </section>`;
}

function Pair({ question, report, given, label }) {
  const wrong = given[question.pair] ?? question.wrong ?? null;
  const decision = `/admin/v1/tenants/${encodeURIComponent(report.tenant)}/decisions/${question.decision_id}`;
  return html`<li class="pair">
    <div class="pair-head">
      <p class="pair-asked">${visible(question.asked) ?? "withheld"}</p>
      ${label
        ? html`<${Verdict} question=${question} wrong=${wrong} label=${label} />`
        : wrong !== null && html`<${Badge} tone=${wrong ? "bad" : "good"}>${wrong ? "wrong" : "right"}<//>`}
    </div>
    <p class="pair-stored"><span class="hint">stored</span> ${visible(question.question) ?? "withheld"}</p>
    ${question.answer !== null
      ? html`<p class="pair-answer">${visible(question.answer)}</p>`
      : html`<p class="hint">${report.withheld ? "withheld" : "The stored answer is gone."}</p>`}
    <div class="pair-foot">
      <span title="similarity">${ratio(question.similarity)} alike</span>
      ${question.probability !== null && html`<span title="probability that the answer serves">${ratio(question.probability)} probable</span>`}
      <span title="what a hit saves">${money(question.worth_usd)}</span>
      <${Time} at=${question.at} />
      <a href=${screenUrl("requests", { decision: question.decision_id, of: report.tenant })}>Why</a>
      <${ApiLink} href=${decision} />
    </div>
  </li>`;
}

/** Whether the stored answer serves the question: what is known, and a person's word on it. */
function Verdict({ question, wrong, label }) {
  const buttons = [["yes", "Right", wrong === false], ["no", "Wrong", wrong === true]];
  return html`<span class="pair-verdict" role="group" aria-label=${`Does the answer serve: ${marked(question.asked ?? "withheld")}`}>
    ${buttons.map(([verdict, text, pressed]) => html`<${Button} key=${verdict} kind=${`small ${verdict}`} aria-pressed=${pressed}
      onClick=${() => label(question, verdict)}>${text}<//>`)}
  </span>`;
}
