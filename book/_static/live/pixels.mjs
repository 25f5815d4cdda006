/*
 * Cut a picture into patches and shift it, as vitsd_helpers/patches.py does.
 *
 * A picture is square: an array of side * side * channels numbers, row by row,
 * the channels of a pixel together.
 */

/** Where the content of the picture moves: [down, right], in shifts. */
export const OFFSETS = {
  "left-up": [-1, -1],
  "left-down": [1, -1],
  "right-up": [-1, 1],
  "right-down": [1, 1],
  left: [0, -1],
  right: [0, 1],
  up: [-1, 0],
  down: [1, 0],
};
/** The paper's four directions. */
export const DIAGONAL = ["left-up", "left-down", "right-up", "right-down"];
export const CARDINAL = ["left", "right", "up", "down"];
export const ALL_DIRECTIONS = [...CARDINAL, ...DIAGONAL];

/**
 * A copy of the picture, moved by `shift` pixels. Zero moves in.
 *
 * @param {ArrayLike<number>} pixels
 * @param {number} side of the picture, in pixels
 * @param {number} channels
 * @param {number} shift in pixels, from 0 to `side`
 * @param {string} direction a key of `OFFSETS`
 * @returns {Float32Array} as long as `pixels`
 */
export function shiftImage(pixels, side, channels, shift, direction) {
  checkPicture(pixels, side, channels);
  if (!Object.hasOwn(OFFSETS, direction)) {
    const known = Object.keys(OFFSETS).join(", ");
    throw new RangeError(
      `unknown shift direction '${direction}': choose from ${known}.`,
    );
  }
  if (!(Number.isInteger(shift) && shift >= 0 && shift <= side)) {
    throw new RangeError(
      `shift=${shift} is not a whole number between 0 and the picture's ` +
        `side, ${side} pixels.`,
    );
  }
  const [down, right] = OFFSETS[direction].map((steps) => steps * shift);
  const moved = new Float32Array(pixels.length);
  for (let y = Math.max(0, down); y < Math.min(side, side + down); y++) {
    for (let x = Math.max(0, right); x < Math.min(side, side + right); x++) {
      const to = (y * side + x) * channels;
      const from = ((y - down) * side + x - right) * channels;
      for (let c = 0; c < channels; c++) moved[to + c] = pixels[from + c];
    }
  }
  return moved;
}

/**
 * The picture and its shifted copies, pixel on pixel: the original's channels
 * first, then those of each direction.
 *
 * @returns {Float32Array} side * side * (1 + directions) * channels numbers
 */
export function stackShifts(pixels, side, channels, shift, directions) {
  checkPicture(pixels, side, channels);
  const copies = directions.map((direction) =>
    shiftImage(pixels, side, channels, shift, direction),
  );
  const layers = [pixels, ...copies];
  const stack = new Float32Array(pixels.length * layers.length);
  let to = 0;
  for (let from = 0; from < pixels.length; from += channels) {
    for (const layer of layers) {
      for (let c = 0; c < channels; c++) stack[to++] = layer[from + c];
    }
  }
  return stack;
}

/**
 * Cut a picture into square patches that do not overlap.
 *
 * @param {number} patchSize P, the side of a patch in pixels
 * @returns {Float32Array} (N, P * P * channels): the patches row by row,
 *     within a patch the pixels row by row
 */
export function patchify(pixels, side, channels, patchSize) {
  checkPicture(pixels, side, channels);
  if (!(patchSize >= 1) || side % patchSize) {
    throw new RangeError(
      `a picture of ${side} x ${side} pixels does not divide into patches ` +
        `of ${patchSize} x ${patchSize}: choose a patch size that divides it.`,
    );
  }
  const patches = new Float32Array(pixels.length);
  const run = patchSize * channels; // numbers in a row of a patch
  let to = 0;
  for (let top = 0; top < side; top += patchSize) {
    for (let left = 0; left < side; left += patchSize) {
      for (let y = top; y < top + patchSize; y++) {
        const from = (y * side + left) * channels;
        for (let i = 0; i < run; i++) patches[to++] = pixels[from + i];
      }
    }
  }
  return patches;
}

/** Throw a RangeError unless `pixels` has the numbers of such a picture. */
export function checkPicture(pixels, side, channels) {
  if (pixels.length !== side * side * channels) {
    throw new RangeError(
      `${pixels.length} numbers are not a picture of ${side} x ${side} ` +
        `pixels with ${channels} channels.`,
    );
  }
}
