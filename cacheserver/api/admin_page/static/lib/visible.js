// Stored text as it is: what would be invisible, or would turn the order of letters round, is a mark.
import { html } from "./html.js";

// By name: characters without a shape, and those that change the direction of what follows.
const NAMES = {
  "\u00ad": "SHY", "\u061c": "ALM", "\u180e": "MVS", "\u200b": "ZWSP", "\u200c": "ZWNJ", "\u200d": "ZWJ",
  "\u200e": "LRM", "\u200f": "RLM", "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO",
  "\u202e": "RLO", "\u2060": "WJ", "\u2061": "FA", "\u2062": "IT", "\u2063": "IS", "\u2064": "IP",
  "\u2066": "LRI", "\u2067": "RLI", "\u2068": "FSI", "\u2069": "PDI", "\ufeff": "BOM",
};
const TAGS = "\u{e0000}-\u{e007f}"; // letters of their own that no font draws
const HIDDEN = new RegExp(`([${Object.keys(NAMES).join("")}]|[${TAGS}]+)`, "u");
// A joiner inside an emoji or a word of these scripts is spelling. (Chromium 156 finds no emoji at the
// end of a text by a class in brackets.)
const JOINED = /(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\ufe0f|[\p{sc=Arab}\p{sc=Syrc}\p{sc=Deva}\p{sc=Beng}\p{sc=Guru}\p{sc=Gujr}\p{sc=Taml}\p{sc=Telu}\p{sc=Knda}\p{sc=Mlym}\p{sc=Sinh}])$/u;

/** Return a text in parts `[text, mark]`: `mark` names a hidden character, or is null. */
export function parts(text) {
  const found = [];
  let plain = "";
  for (const part of text.split(HIDDEN)) {
    const spelling = (part === "\u200c" || part === "\u200d") && JOINED.test(plain);
    if (spelling || !HIDDEN.test(part)) {
      plain += part;
      continue;
    }
    if (plain) found.push([plain, null]);
    found.push([part, NAMES[part] ?? "TAG"]);
    plain = "";
  }
  if (plain) found.push([plain, null]);
  return found;
}

/** Return a text with marks such as `‹RLO›`, for an attribute. */
export function marked(text) {
  return parts(text).map(([part, mark]) => (mark ? `‹${mark}›` : part)).join("");
}

/** Stored text in markup, with marks such as `‹RLO›` in place of what is hidden. */
export function visible(text) {
  if (typeof text !== "string" || !HIDDEN.test(text)) return text;
  return parts(text).map(([part, mark], at) => (mark
    ? html`<span key=${at} class="hidden-mark" title=${`A hidden character, ${codes(part)}`}>‹${mark}›</span>`
    : part));
}

function codes(text) {
  return [...text].map((one) => `U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`).join(" ");
}
