// The path that one request took, from a decision's record. Pure: `steps(record)` says it in words.
import { count, duration, money, ratio } from "./format.js";
import { reasonText, unstoredText, vetoText } from "./reasons.js";

const HIT = new Set(["exact", "semantic", "coalesced", "stale"]);

/**
 * Return the steps of a decision: `{name, state, title, text, facts, candidates, score}`. `state` is
 * "passed" (on to the next), "hit" (the answer came from here), "stopped", "refused" (an answer was
 * refused here) or "skipped" (not reached or not needed).
 */
export function steps(record) {
  const { decision } = record;
  const kind = decision.kind;
  const candidates = decision.candidates ?? [];
  const similarity = record.scope && !["code", "tools"].includes(decision.reason);
  return [
    admitted(record, kind),
    exact(record, kind),
    near(record, kind, candidates, similarity),
    vetoes(kind, decision, candidates),
    bar(kind, decision, candidates),
    verified(record, kind),
    called(record, kind),
    stored(record, kind),
  ];
}

function admitted(record, kind) {
  const facts = [["Namespace", record.namespace], ["Model asked", record.model_asked]];
  if (record.task) facts.push(["Task", record.task]);
  if (record.tags?.length) facts.push(["Tags", record.tags.join(", ")]);
  if (kind === "bypass") {
    return { name: "admit", title: "Not shared", state: "stopped", text: reasonText(record.decision.reason), facts };
  }
  const volatile = record.volatile ? ` Its answer depends on the ${record.volatile}, so it is kept for a short time.` : "";
  return { name: "admit", title: "Admitted", state: "passed", text: `The request was read and may use stored answers.${volatile}`, facts };
}

function exact(record, kind) {
  const step = { name: "exact", title: "Exact look-up", facts: [] };
  if (kind === "bypass") return { ...step, state: "skipped", text: "Not looked for." };
  if (kind === "exact") {
    return { ...step, state: "hit", text: reasonText(record.decision.reason), facts: age(record.decision) };
  }
  if (kind === "coalesced") {
    return { ...step, state: "hit", title: "Under way", text: reasonText(record.decision.reason) };
  }
  if (kind === "stale") {
    return { ...step, state: "passed", text: "The same request was answered before, but that answer was past its deadline." };
  }
  if (record.decision.reason === "refresh") return { ...step, state: "skipped", text: reasonText("refresh") };
  return { ...step, state: "passed", text: "No stored answer to exactly this request." };
}

function near(record, kind, candidates, similarity) {
  const step = { name: "near", title: "Similar questions", facts: [], candidates: [] };
  if (kind === "bypass") return { ...step, state: "skipped", text: "Not looked for." };
  if (kind === "exact" && candidates.length === 0 || kind === "coalesced") {
    return { ...step, state: "skipped", text: "Not needed." };
  }
  if (candidates.length > 0) {
    return {
      ...step,
      state: "passed",
      text: `${count(candidates.length)} ${candidates.length === 1 ? "stored question is" : "stored questions are"} near. The nearest has a similarity of ${ratio(candidates[0].similarity)}.`,
      candidates,
    };
  }
  const text = kind === "miss" && record.decision.reason !== "empty" || !similarity
    ? reasonText(record.decision.reason)
    : "No stored question of this scope is near.";
  return { ...step, state: kind === "miss" ? "stopped" : "skipped", text };
}

function vetoes(kind, decision, candidates) {
  const step = { name: "vetoes", title: "Vetoes", facts: [] };
  if (candidates.length === 0) return { ...step, state: "skipped", text: "Nothing to check." };
  const fired = candidates.filter((one) => one.veto);
  if (fired.length === 0) {
    return { ...step, state: "passed", text: "No veto fires: no number, name or negation differs." };
  }
  const { veto } = fired[0];
  const nearest = fired[0] === candidates[0] ? "the nearest" : "one of them";
  const text = `“${veto}” refuses ${nearest}: ${vetoText(veto)}.`;
  const facts = [["Refused", `${count(fired.length)} of ${count(candidates.length)}`]];
  const all = decision.reason === "vetoed" || fired.length === candidates.length;
  return { ...step, state: all ? "refused" : "passed", text, facts };
}

function bar(kind, decision, candidates) {
  const byProbability = "basis" in decision;
  const label = byProbability ? "Probability" : "Similarity";
  const step = { name: "bar", title: `${label} against the bar`, facts: [] };
  if (candidates.length === 0 || decision.bar === null) {
    return { ...step, state: "skipped", text: candidates.length === 0 ? "Nothing to compare." : "There is no bar here." };
  }
  const value = scored(kind, decision, candidates, byProbability);
  if (decision.target !== null) step.facts.push(["Target", `at most ${(decision.target * 100).toFixed(1)}% of such hits wrong`]);
  if (decision.basis) step.facts.push(["Bar from", { prior: "the shipped prior", labels: "labels of this scope", closed: "closed by labels" }[decision.basis] ?? decision.basis]);
  if (decision.supported === false) step.facts.push(["Support", "no label reaches this far"]);
  if (kind === "exact") return { ...step, state: "skipped", text: "Not needed." };
  if (value === null) return { ...step, state: "skipped", text: "Not computed: vetoes refuse what is near." };
  const score = { value, bar: decision.bar, label };
  const reached = value >= decision.bar;
  const compared = `${label} ${ratio(value)} ${reached ? "reaches" : "is below"} ${ratio(decision.bar)}.`;
  if (kind !== "miss") {
    const unsure = decision.reason === "verified" && !reached;
    return { ...step, state: "passed", text: unsure ? `${compared} A model was asked.` : compared, score };
  }
  const which = decision.veto ? "Of those that are left, the likeliest: p" : "P";
  const text = reached ? reasonText(decision.reason) : byProbability ? `${which}${compared.slice(1)}` : compared;
  return { ...step, state: "refused", text, score };
}

/** The score that decided: of a hit its own, of a miss that of the likeliest without a veto. */
function scored(kind, decision, candidates, byProbability) {
  if (kind === "semantic") return (byProbability ? decision.probability : decision.similarity) ?? null;
  const left = candidates.filter((one) => !one.veto);
  const scores = left.map((one) => (byProbability ? one.probability : one.similarity - (one.penalty ?? 0)));
  const known = scores.filter((one) => one !== null && one !== undefined);
  if (known.length) return Math.max(...known);
  return byProbability ? null : decision.similarity ?? null;
}

function verified(record, kind) {
  const step = { name: "verify", title: "Verification", facts: [] };
  const found = record.verified;
  if (!found) return { ...step, state: "skipped", text: kind === "miss" ? "No model was asked about a stored answer." : "Not needed." };
  const text = { yes: "said that the stored answer serves", no: "said that no stored answer serves" }[found.verdict] ?? `answered “${found.verdict}”`;
  return {
    ...step,
    state: found.verdict === "yes" ? "passed" : "refused",
    text: `${found.model ?? "A model"} ${text}${found.remembered ? ", as it did before" : ""}.`,
    facts: [["Cost", money(found.cost_usd)], ["Waited", duration(found.seconds)]],
  };
}

function called(record, kind) {
  const step = { name: "call", title: "Call to Claude", facts: [] };
  if (HIT.has(kind) && kind !== "stale") {
    const served = { exact: "The stored answer was sent.", semantic: "The stored answer was sent.", coalesced: "The answer of the other request was sent." }[kind];
    return { ...step, state: kind === "semantic" ? "hit" : "skipped", title: kind === "semantic" ? "Served" : step.title, text: `${served} Claude was not asked.`, facts: age(record.decision) };
  }
  if (kind === "stale") return { ...step, state: "refused", text: reasonText("upstream-failed") };
  if (record.outcome === "failed" || !record.model) {
    return { ...step, state: "stopped", text: record.outcome === "failed" ? `There was no answer (status ${record.status}). ${reasonText(record.decision.reason)}` : "Claude was not asked." };
  }
  const usage = record.usage ?? {};
  const read = usage.cache_read_tokens ? [["From prompt cache", `${count(usage.cache_read_tokens)} tokens`]] : [];
  const how = record.asked_how?.route?.reason;
  const route = record.model !== record.model_asked && how ? ` It was chosen: ${how}.` : "";
  return {
    ...step,
    state: "hit",
    text: `${record.model} answered.${route}`,
    facts: [["Tokens", `${count(usage.input_tokens)} in, ${count(usage.output_tokens)} out`], ...read, ["Cost", money(record.cost_usd)], ["Took", duration(record.seconds)]],
  };
}

function stored(record, kind) {
  const step = { name: "store", title: "Stored", facts: [] };
  if (HIT.has(kind)) return { ...step, state: "skipped", text: "Nothing new to store." };
  if (record.unstored) return { ...step, state: "stopped", title: "Not stored", text: `The answer was not stored: ${unstoredText(record.unstored)}.` };
  if (!record.entry_id) return { ...step, state: "skipped", text: "Nothing was stored." };
  return { ...step, state: "passed", told: "stored", text: "The answer is stored for the next request like this one.", facts: [["Lifetime", duration(record.ttl_s)]] };
}

function age(decision) {
  return decision.age_s === null || decision.age_s === undefined ? [] : [["Age", duration(decision.age_s)]];
}
