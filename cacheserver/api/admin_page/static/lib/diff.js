// Differences of two texts by words. Pure.

const MOST = 4_000_000; // cells compared: two texts of 2,000 words take some 20 ms

/** Split a text into words, signs and the spaces between, which together are the text. */
export function words(text) {
  return text.match(/[\p{L}\p{N}\p{M}]+|\s+|[^\p{L}\p{N}\p{M}\s]/gu) ?? [];
}

/**
 * Return `[ofA, ofB]`, each a list of `[text, changed]`: what is in one text alone is changed. Case
 * counts, for a name may differ by it alone. Texts that are too long are compared at their ends.
 */
export function differences(a, b) {
  const one = words(a);
  const other = words(b);
  let start = 0;
  while (start < one.length && start < other.length && one[start] === other[start]) start += 1;
  let end = 0;
  while (
    end < one.length - start && end < other.length - start &&
    one[one.length - 1 - end] === other[other.length - 1 - end]
  ) end += 1;
  const left = one.slice(start, one.length - end);
  const right = other.slice(start, other.length - end);
  const [keepLeft, keepRight] =
    left.length * right.length > MOST ? [new Set(), new Set()] : common(left, right);
  const parts = (all, kept) => {
    const marked = all.map((word, at) => {
      const inner = at - start;
      const same = inner < 0 || at >= all.length - end || kept.has(inner);
      return [word, !same];
    });
    return joined(marked);
  };
  return [parts(one, keepLeft), parts(other, keepRight)];
}

/** Return the places of a longest common subsequence in both lists. */
function common(left, right) {
  const width = right.length + 1;
  const lengths = new Uint16Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] = left[i] === right[j]
        ? lengths[(i + 1) * width + j + 1] + 1
        : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const [inLeft, inRight] = [new Set(), new Set()];
  let [i, j] = [0, 0];
  while (i < left.length && j < right.length) {
    if (left[i] === right[j]) {
      inLeft.add(i);
      inRight.add(j);
      i += 1;
      j += 1;
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return [inLeft, inRight];
}

/** Join neighbours that are both changed or both not; a lone space between changes is one too. */
function joined(marked) {
  const found = [];
  marked.forEach(([word, changed], at) => {
    const between = !changed && /^\s+$/.test(word) && marked[at - 1]?.[1] && marked[at + 1]?.[1];
    const last = found[found.length - 1];
    if (last && last[1] === (changed || Boolean(between))) last[0] += word;
    else found.push([word, changed || Boolean(between)]);
  });
  return found;
}
