/* A little arithmetic on the model's answers. */

/** Softmax: shares of 1 from logits. */
export function shares(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - largest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** The `count` largest values, largest first, as [index, value]. */
export function ranking(values, count) {
  const pairs = Array.from(values, (value, index) => [index, value]);
  return pairs.sort((a, b) => b[1] - a[1]).slice(0, count);
}

/** The entropy of shares in nats; 0 log 0 counts as 0. */
export function entropy(row) {
  return row.reduce((sum, w) => (w > 0 ? sum - w * Math.log(w) : sum), 0);
}
