/*
 * The layers that the model is made of, as Keras computes them.
 *
 * Tokens are one Float32Array: N rows of `width` numbers. Each function
 * allocates its result, and nothing inside its loops.
 */

/** Each channel less its mean, over its standard deviation. */
export function normalize(pixels, mean, std) {
  const scale = std.map((value) => 1 / Math.max(value, 1e-7)); // as in Keras
  return Float32Array.from(pixels, (value, i) => {
    const channel = i % mean.length;
    return (value - mean[channel]) * scale[channel];
  });
}

/** Bilinear, pixels' centres on centres, not smoothed: Keras's Resizing. */
export function resize(pixels, from, to, channels) {
  const places = Array.from({ length: to }, (_, i) => {
    const at = ((i + 0.5) * from) / to - 0.5;
    const inside = Math.min(Math.max(at, 0), from - 1);
    const low = Math.floor(inside);
    return { low, high: Math.min(low + 1, from - 1), part: inside - low };
  });
  const corner = (row, column) => (row * from + column) * channels;
  const resized = new Float32Array(to * to * channels);
  let i = 0;
  for (const y of places) {
    for (const x of places) {
      const topLeft = corner(y.low, x.low);
      const topRight = corner(y.low, x.high);
      const lowLeft = corner(y.high, x.low);
      const lowRight = corner(y.high, x.high);
      for (let c = 0; c < channels; c++) {
        const top = mix(pixels[topLeft + c], pixels[topRight + c], x.part);
        const low = mix(pixels[lowLeft + c], pixels[lowRight + c], x.part);
        resized[i++] = mix(top, low, y.part);
      }
    }
  }
  return resized;
}

function mix(a, b, part) {
  return a + (b - a) * part;
}

/** One array after the other. */
export function join(a, b) {
  const joined = new Float32Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

/** The sum of two arrays, number by number. */
export function add(a, b) {
  const sum = new Float32Array(a.length);
  for (let i = 0; i < sum.length; i++) sum[i] = a[i] + b[i];
  return sum;
}

/** Rows become columns. */
export function transpose(matrix, columns) {
  const rows = matrix.length / columns;
  const turned = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = matrix[row * columns + column];
    }
  }
  return turned;
}

/** LayerNorm of each token. */
export function norm(x, { gamma, beta, epsilon }) {
  const width = gamma.length;
  const result = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += width) {
    let mean = 0;
    for (let i = 0; i < width; i++) mean += x[start + i] / width;
    let variance = 0;
    for (let i = 0; i < width; i++) {
      variance += (x[start + i] - mean) ** 2 / width;
    }
    const scale = 1 / Math.sqrt(variance + epsilon);
    for (let i = 0; i < width; i++) {
      result[start + i] = (x[start + i] - mean) * scale * gamma[i] + beta[i];
    }
  }
  return result;
}

/**
 * A dense layer on each token, x @ kernel + bias, then GELU if it has one.
 *
 * The kernel lies transposed, so that a unit's weights are neighbours. Four
 * tokens share each weight that is fetched; the last four may overlap.
 */
export function dense(x, { kernel, bias, gelu }) {
  const units = bias.length;
  const inputs = kernel.length / units;
  const rows = x.length / inputs;
  const result = new Float32Array(rows * units);
  for (let row = 0; row < rows; row += 4) {
    const row1 = Math.min(row + 1, rows - 1);
    const row2 = Math.min(row + 2, rows - 1);
    const row3 = Math.min(row + 3, rows - 1);
    for (let unit = 0; unit < units; unit++) {
      let sum = bias[unit];
      let sum1 = sum;
      let sum2 = sum;
      let sum3 = sum;
      for (let i = 0; i < inputs; i++) {
        const weight = kernel[unit * inputs + i];
        sum += x[row * inputs + i] * weight;
        sum1 += x[row1 * inputs + i] * weight;
        sum2 += x[row2 * inputs + i] * weight;
        sum3 += x[row3 * inputs + i] * weight;
      }
      result[row * units + unit] = sum;
      result[row1 * units + unit] = sum1;
      result[row2 * units + unit] = sum2;
      result[row3 * units + unit] = sum3;
    }
  }
  if (gelu) {
    for (let i = 0; i < result.length; i++) {
      result[i] *= (1 + erf(result[i] * Math.SQRT1_2)) / 2;
    }
  }
  return result;
}

/** The error function, by a series without cancellation (DLMF 7.6.2). */
function erf(x) {
  const square = x * x;
  if (square > 20) return Math.sign(x); // to 3e-10
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-10 * Math.abs(sum); n++) {
    term *= square / (n + 0.5);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-square) * sum;
}

/**
 * Locality Self-Attention, between its two projections.
 *
 * @param {Float32Array} qkv for each token the queries of all heads, then
 *     their keys, then their values
 * @param {number} length of a query, key or value
 * @param {Float64Array} tau the temperature of each head
 * @param {boolean} masked whether a token may not look at itself; it does if
 *     it is alone
 * @returns {{weights: Float32Array, mixed: Float32Array}} (heads, queries,
 *     keys), each row summing to 1; for each token the values it found
 */
export function attend(qkv, length, tau, masked) {
  const inner = tau.length * length;
  const stride = 3 * inner;
  const count = qkv.length / stride;
  const blind = masked && count > 1;
  const weights = new Float32Array(tau.length * count * count);
  const mixed = new Float32Array(count * inner);
  for (let head = 0; head < tau.length; head++) {
    for (let query = 0; query < count; query++) {
      const row = (head * count + query) * count;
      const q = query * stride + head * length;
      let largest = -Infinity;
      for (let key = 0; key < count; key++) {
        const k = key * stride + inner + head * length;
        let score = 0;
        for (let i = 0; i < length; i++) score += qkv[q + i] * qkv[k + i];
        score = blind && key === query ? -Infinity : score / tau[head];
        weights[row + key] = score;
        largest = Math.max(largest, score);
      }
      let sum = 0;
      for (let key = 0; key < count; key++) {
        weights[row + key] = Math.exp(weights[row + key] - largest);
        sum += weights[row + key];
      }
      const out = query * inner + head * length;
      for (let key = 0; key < count; key++) {
        const weight = (weights[row + key] /= sum);
        const v = key * stride + 2 * inner + head * length;
        for (let i = 0; i < length; i++) mixed[out + i] += weight * qkv[v + i];
      }
    }
  }
  return { weights, mixed };
}
