/*
 * Read weights from a safetensors file: 8 bytes that hold the length of a
 * header, the header in JSON, then the numbers of one tensor after another.
 */

/**
 * The header of a safetensors file.
 *
 * @param {Uint8Array} bytes the file, or as much of it as there is
 * @returns {?{about: Object, entries: Object, start: number, size: number}}
 *     the metadata; what lies where after byte `start`; the bytes of the
 *     whole file. Null while part of the header is missing.
 * @throws {Error} if this is no safetensors file
 */
export function readHeader(bytes) {
  if (bytes.length < 9) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const start = 8 + Number(view.getBigUint64(0, true));
  if (bytes[8] !== "{".charCodeAt() || start > 1e8) {
    throw new Error("This is not a safetensors file.");
  }
  if (bytes.length < start) return null;
  try {
    const json = new TextDecoder().decode(bytes.subarray(8, start));
    const { __metadata__: about = {}, ...entries } = JSON.parse(json);
    const ends = Object.values(entries).map((entry) => entry.data_offsets[1]);
    return { about, entries, start, size: start + Math.max(0, ...ends) };
  } catch (cause) {
    throw new Error("The file's header is damaged.", { cause });
  }
}

/**
 * The tensors of a safetensors file in single or half precision.
 *
 * @param {ArrayBuffer} buffer the file
 * @returns {{about: Object, tensors: Map<string, {shape: number[],
 *     data: Float32Array}>}} the metadata, and the tensors by their names
 * @throws {Error} if the file is torn, or of another kind
 */
export function readSafetensors(buffer) {
  if (buffer.byteLength === 0) throw new Error("The file is empty.");
  const header = readHeader(new Uint8Array(buffer));
  if (header?.size !== buffer.byteLength) {
    const whole = header ? `of ${header.size}` : "and ends in its header";
    throw new Error(
      `The file is torn: it has ${buffer.byteLength} bytes ${whole}.`,
    );
  }
  const tensors = new Map();
  for (const [name, entry] of Object.entries(header.entries)) {
    const { dtype, shape } = entry;
    const [from, to] = entry.data_offsets.map((at) => header.start + at);
    const count = shape.reduce((product, length) => product * length, 1);
    if (dtype !== "F16" && dtype !== "F32") {
      throw new Error(`${name} is ${dtype}: save it as float16 or float32.`);
    }
    if (to - from !== count * (dtype === "F16" ? 2 : 4)) {
      throw new Error(`The file's header is damaged at ${name}.`);
    }
    const bytes = buffer.slice(from, to); // whose numbers start at byte 0
    const data =
      dtype === "F16"
        ? fromHalf(new Uint16Array(bytes))
        : new Float32Array(bytes);
    tensors.set(name, { shape, data });
  }
  return { about: header.about, tensors };
}

/** Numbers of 16 bits: a sign, 5 bits of exponent, 10 of fraction. */
function fromHalf(halves) {
  const numbers = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const exponent = (halves[i] >> 10) & 31;
    const fraction = halves[i] & 1023;
    const size =
      exponent === 0
        ? fraction * 2 ** -24
        : (1024 + fraction) * POWERS[exponent];
    numbers[i] = halves[i] & 0x8000 ? -size : size;
  }
  return numbers;
}

/** 2 ** (exponent - 25). The last exponent means infinite, or no number. */
const POWERS = Float64Array.from({ length: 32 }, (_, exponent) =>
  exponent === 31 ? NaN : 2 ** (exponent - 25),
);
