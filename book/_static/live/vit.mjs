/* The vision transformer of vitsd_helpers, from pixels to logits. */
import {
  add,
  attend,
  dense,
  join,
  norm,
  normalize,
  resize,
  transpose,
} from "./layers.mjs";
import { checkPicture, patchify, stackShifts } from "./pixels.mjs";

export { readSafetensors } from "./safetensors.mjs";

/** A vision transformer, as `build_vit` makes it of a `ViTConfig`. */
export class ViT {
  /**
   * @param {{about: Object, tensors: Map}} file from `readSafetensors`
   * @throws {Error} if the weights are not those of the configuration
   */
  constructor({ about, tensors }) {
    if (!about.config) {
      throw new Error(
        "The file has no 'config' in its header: save the weights with it.",
      );
    }
    const c = (this.config = JSON.parse(about.config));
    if (!["mean", "token", "flatten"].includes(c.pooling)) {
      throw new Error(`pooling='${c.pooling}' in the header is unknown.`);
    }
    const unread = new Set(tensors.keys());
    const read = (name, ...shape) => {
      const tensor = tensors.get(name);
      if (`${tensor?.shape}` !== `${shape}`) {
        throw new Error(
          `The configuration asks for ${name} of shape (${shape}); the file ` +
            (tensor ? `has (${tensor.shape}).` : "has none."),
        );
      }
      unread.delete(name);
      return tensor.data;
    };
    const readNorm = (name, width) => ({
      gamma: read(`${name}/gamma`, width),
      beta: read(`${name}/beta`, width),
      epsilon: c.norm_epsilon,
    });
    const readDense = (name, inputs, units, { gelu, bias = true } = {}) => ({
      kernel: transpose(read(`${name}/kernel`, inputs, units), units),
      bias: bias ? read(`${name}/bias`, units) : new Float32Array(units),
      gelu,
    });

    const { width, num_heads: heads } = c;
    const inner = heads * c.key_dim;
    this.stackChannels = c.channels * (1 + c.shift_directions.length);
    const patch = c.patch_size ** 2 * this.stackChannels;
    // Older files say nothing of it: then the shifts decide.
    if (c.tokenizer_norm ?? c.shift_directions.length > 0) {
      this.patchNorm = readNorm("tokenizer/norm", patch);
    }
    this.projection = readDense("tokenizer/projection", patch, width);
    const token = c.pooling === "token";
    const count = (c.image_size / c.patch_size) ** 2 + token;
    if (token) this.token = read("encoder/class_token", 1, 1, width);
    this.position = read("encoder/position", count, width);

    this.blocks = Array.from({ length: c.depth }, (_, index) => {
      const name = `block${index}`;
      const attention = `${name}_attention`;
      const hidden =
        tensors.get(`${name}_mlp1/bias`)?.shape[0] ?? c.mlp_ratio * width;
      const each = c.temperature_per === "head" ? heads : 1;
      return {
        norm1: readNorm(`${name}_norm1`, width),
        qkv: readDense(`${attention}/qkv`, width, 3 * inner, {
          bias: c.qkv_bias,
        }),
        tau: c.learnable_temperature
          ? taus(read(`${attention}/temperature`, each, 1), c)
          : new Float64Array(heads).fill(Math.sqrt(c.key_dim)),
        output: readDense(`${attention}/output`, inner, width),
        norm2: readNorm(`${name}_norm2`, width),
        mlp1: readDense(`${name}_mlp1`, width, hidden, { gelu: true }),
        mlp2: readDense(`${name}_mlp2`, hidden, width, {
          gelu: c.mlp_gelu_twice,
        }),
      };
    });

    this.norm = readNorm("norm", width);
    let features = c.pooling === "flatten" ? count * width : width;
    this.head = c.head_units.map((units, index) => {
      const name = `head_${index}`;
      const layer = readDense(name, features, units, { gelu: true });
      features = units;
      return layer;
    });
    this.head.push(readDense("logits", features, c.num_classes));
    for (const name of unread) {
      throw new Error(`The configuration has no use for the file's ${name}.`);
    }
  }

  /**
   * @param {ArrayLike<number>} pixels a picture, input_size * input_size *
   *     channels numbers on the scale 0..255
   * @param {Object} [options]
   * @param {boolean} [options.mask] whether a token may not look at itself;
   *     left out: as the model was trained
   * @param {number} [options.temperature] a factor on every temperature tau
   * @returns {{logits: Float32Array, attention: Float32Array[]}} the logits,
   *     and for each block the weights (heads, queries, keys)
   */
  forward(pixels, { mask, temperature = 1 } = {}) {
    if (!(temperature > 0)) {
      throw new RangeError(`temperature=${temperature} must be above 0.`);
    }
    const c = this.config;
    const masked = mask ?? c.diagonal_mask;
    let x = this.tokenize(pixels);
    const attention = [];
    for (const block of this.blocks) {
      const tau = block.tau.map((value) => value * temperature);
      const qkv = dense(norm(x, block.norm1), block.qkv);
      const { weights, mixed } = attend(qkv, c.key_dim, tau, masked);
      attention.push(weights);
      x = add(x, dense(mixed, block.output));
      const hidden = dense(norm(x, block.norm2), block.mlp1);
      x = add(x, dense(hidden, block.mlp2));
    }
    x = this.pool(norm(x, this.norm));
    for (const layer of this.head) x = dense(x, layer);
    return { logits: x, attention };
  }

  /** Shifted Patch Tokenization, the class token, the positions. */
  tokenize(pixels) {
    const c = this.config;
    checkPicture(pixels, c.input_size, c.channels);
    let x = normalize(pixels, c.mean, c.std);
    if (c.image_size !== c.input_size) {
      x = resize(x, c.input_size, c.image_size, c.channels);
    }
    const shift = Math.trunc(c.patch_size * c.shift_ratio);
    x = stackShifts(x, c.image_size, c.channels, shift, c.shift_directions);
    x = patchify(x, c.image_size, this.stackChannels, c.patch_size);
    if (this.patchNorm) x = norm(x, this.patchNorm);
    x = dense(x, this.projection);
    if (this.token) x = join(this.token, x);
    return add(x, this.position);
  }

  /** From all tokens to the features of the classifier. */
  pool(x) {
    const { pooling, width } = this.config;
    if (pooling === "flatten") return x;
    if (pooling === "token") return x.slice(0, width);
    const mean = new Float32Array(width);
    for (let i = 0; i < x.length; i++) mean[i % width] += x[i];
    return mean.map((sum) => (sum * width) / x.length);
  }
}

/** The temperature tau of every head, whatever form the model learned. */
function taus(learned, { num_heads, temperature_form }) {
  const tau = (value) => (temperature_form === "divide" ? value : 1 / value);
  return Float64Array.from({ length: num_heads }, (_, head) =>
    tau(learned[head % learned.length]),
  );
}
