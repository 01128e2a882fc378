// Reasons of decisions in words, as docs/api.md has them.

const EXACT_ONLY = "Requests like this one are matched exactly only: ";

const REASONS = {
  identical: "The same request was answered before.",
  landed: "Its answer was stored between the look-up and the call.",
  similar: "A stored question reached the similarity that is asked for, and no veto refuses it.",
  probable: "The answer to a stored question serves this one with the probability that is asked for.",
  verified: "A model was asked and said that the stored answer serves.",
  "under-way": "An equal request was under way; one call served both.",
  "upstream-failed": "Claude failed, and the tenant allows an answer past its deadline.",
  empty: "Nothing is stored that could have matched.",
  "below-threshold": "The nearest stored question did not reach the similarity that is asked for.",
  improbable: "The likeliest stored answer is less probable than any hit must be.",
  "below-bar": "The likeliest stored answer is less probable than the target requires here.",
  unsupported: "Probable enough, but no label or training data reaches this far.",
  vetoed: "A veto refuses all near questions: a number, negation or name differs.",
  refuted: "A model was asked and said that no stored answer serves.",
  "verify-failed": "Verification by a model failed.",
  "verify-slow": "Verification took longer than the request waits for it.",
  "verify-capped": "Verification has reached its cap for the day.",
  "verify-gone": "Verification said yes, but the stored answer had gone meanwhile.",
  condemned: "All near answers were labelled wrong for exactly this question.",
  uncorroborated: "An answer would have served, but no second person got an agreeing one.",
  closed: "Hits of this answer, or in this scope, broke the target; it is closed until they hold it again.",
  shadow: "It would have been a hit; the tenant is in shadow mode, so Claude was asked.",
  refresh: "The request asked for a new answer (no-cache).",
  "only-if-cached": "The request forbids asking Claude, and nothing stored may be served.",
  budget: "A budget is used up, so Claude may not be asked.",
  "limit-requests": "The limit of requests a minute is reached.",
  "limit-misses": "The limit of calls at the same time is reached.",
  "limit-tokens": "The limit of tokens a minute is reached.",
  canceled: "It was cancelled before Claude answered it.",
  expired: "It was given up after a day.",
  "hung-up": "The caller left before there was an answer.",
  "queue-full": "Too many calls wait for Claude.",
  "queue-wait": "No slot for a call came free in time.",
  "circuit-open": "Claude has been failing and is not asked for a while.",
  degraded: "The store, or the decision itself, failed; Claude was asked.",
  embedder: "The embedder failed; Claude was asked.",
  "no-model": "The server has no embedding model, so it matches exactly only.",
  warming: "The index was still being loaded.",
  window: "The question is too long for similarity.",
  unreadable: "The question has characters that the embedder cannot read.",
  code: `${EXACT_ONLY}code, formulas or layout.`,
  "exact-only": "The bar here is exact hits only.",
  "semantic-off": "Similarity is switched off for the tenant.",
  tools: `${EXACT_ONLY}they have tools.`,
  "tool-result": `${EXACT_ONLY}a tool's result.`,
  image: `${EXACT_ONLY}an image.`,
  document: `${EXACT_ONLY}a document.`,
  "unknown-block": `${EXACT_ONLY}an unknown kind of content.`,
  prefill: `${EXACT_ONLY}the last turn is not the user's.`,
  "no-text": `${EXACT_ONLY}the last turn does not end in text.`,
  "near-failed": "It waited for the answer to a similar item, which could not be stored.",
  "no-store": "The request asked that nothing is shared or stored.",
  container: "It uses a container, which is state on Anthropic's side.",
  mcp: "It uses MCP servers.",
  thread: "It belongs to a thread.",
  compaction: "It asks for compaction.",
  "context-management": "It asks for context management.",
  fallbacks: "It names fallback models.",
  "server-tools": "It has a tool that Anthropic runs.",
  "max-tokens-0": "It only warms Claude's prompt cache.",
  "url-source": "An image or document is given by URL, whose content may change.",
  forwarded: "It is passed on unchanged.",
  "volatile-time": "The answer depends on the time, and such answers are not shared.",
  "volatile-place": "The answer depends on the place, and such answers are not shared.",
  "volatile-personal": "The answer depends on who asks, and such answers are not shared.",
  "batching-off": "Batching is off, so it was passed on.",
  "not-batchable": "Claude's batches do not take it.",
  "own-key": "A batch on the caller's own key, passed on.",
  "no-content": "The tenant stores no content.",
  refused: "The server refused the request before the look-up.",
};

/** What each veto finds, by its name. A bar can switch all off but `unreadable`. */
export const VETOES = {
  numeric: "another number",
  unit: "another unit",
  temporal: "another day or month",
  negation: "one of them is negated",
  antonym: "a word against its opposite",
  entity: "another name",
  substitution: "one word replaced by another",
  direction: "two ends exchanged",
  order: "who does what to whom",
  role: "pronouns exchanged",
  connective: "“or” against “and”",
  span: "other code, quoted text or file name",
  scope: "a special case on one side",
  narrowing: "one continues where the other ends",
  preposition: "another preposition",
  quantifier: "all, only, some",
  modal: "can, must, should",
  tense: "is against was or will be",
  person: "my against your",
  pointer: "this against that",
  asked: "another question word",
  sign: "another sign or operator",
  case: "another word by its case",
  marks: "an accent",
  exchange: "the same words in another order",
  focus: "“not” or “only” elsewhere",
  unreadable: "differs in a way that cannot be read",
};

const UNSTORED = {
  bypass: "nothing of this request is stored",
  "ttl-0": "its lifetime is 0",
  incomplete: "the stream ended before the answer did",
  error: "the stream ended in an error",
  malformed: "it is not a valid message",
  "no-content": "it has no readable text",
  block: "it has content for one caller or moment only",
  container: "it was made in a container",
  budget: "a budget was used up, so the cheapest model was asked",
  "cost-cap": "the stream passed its cost cap",
  refused: "it was purged while under way, or is too large",
  degraded: "the store failed",
  failed: "Claude failed",
  "hung-up": "the caller left before the answer was complete",
};

/** Return what a decision's reason means; the reason itself if it is not known. */
export function reasonText(reason) {
  return REASONS[reason] ?? reason ?? "";
}

/** Return what a veto found. */
export function vetoText(veto) {
  return VETOES[veto] ?? veto;
}

/** Return why an answer was not stored. */
export function unstoredText(reason) {
  if (UNSTORED[reason]) return UNSTORED[reason];
  if (reason.startsWith("stop-")) return `Claude stopped for the reason “${reason.slice(5)}”`;
  if (reason.startsWith("invalid-")) return `it failed its check (${reason.slice(8)})`;
  return reason;
}
