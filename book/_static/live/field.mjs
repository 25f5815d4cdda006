/* Which pixels of the picture a token sees. */
import { OFFSETS } from "./pixels.mjs";

/** Pixels that a shift of `ratio` patches has, as the Keras layer rounds it. */
export function shiftOf(patchSize, [pixels, patch]) {
  return Math.floor((patchSize * pixels) / patch);
}

/**
 * The pixels that the patch of one token shows, in the picture and in each
 * shifted copy.
 *
 * Where a copy's content moved down by s, its row y is the picture's row
 * y - s: the patch looks to the opposite side.
 *
 * @param {{side: number, patchSize: number, shift: number,
 *     directions: string[]}} cut `side` of the picture and `shift` in pixels,
 *     `directions` as keys of `OFFSETS`
 * @param {number} row of the token
 * @param {number} column of the token
 * @returns {{windows: {top: number, left: number}[], reads: Uint8Array,
 *     seen: number, padding: number}} `windows`: the patch's place in the
 *     picture, and the places that the copies show in it; `reads`: how often
 *     each pixel is shown; `seen`: the pixels shown at all; `padding`: the
 *     places that show none
 */
export function fieldOf({ side, patchSize, shift, directions }, row, column) {
  const windows = windowsOf({ patchSize, shift, directions }, row, column);
  const reads = new Uint8Array(side * side);
  let [seen, padding] = [0, 0];
  for (const { top, left } of windows) {
    for (let y = top; y < top + patchSize; y++) {
      for (let x = left; x < left + patchSize; x++) {
        if (y < 0 || y >= side || x < 0 || x >= side) padding++;
        else if (reads[y * side + x]++ === 0) seen++;
      }
    }
  }
  return { windows, reads, seen, padding };
}

/**
 * The same as areas, for a shift that is between two pixels.
 *
 * @param {{top: number, left: number}[]} windows their corners, in pixels
 * @param {number} length of their sides, in pixels
 * @param {number} side of the picture, in pixels
 * @returns {{seen: number, padding: number}} the area that the windows cover
 *     of the picture, and what of all windows lies outside
 */
export function areasOf(windows, length, side) {
  const within = (at) => Math.min(Math.max(at, 0), side);
  const cuts = (key) => {
    const ends = windows.flatMap((each) => [each[key], each[key] + length]);
    return [...new Set(ends.map(within))].sort((a, b) => a - b);
  };
  const covers = ({ top, left }, y, x) =>
    y >= top && y < top + length && x >= left && x < left + length;
  const [ys, xs] = [cuts("top"), cuts("left")];
  let seen = 0;
  let inside = 0;
  for (let i = 0; i + 1 < ys.length; i++) {
    for (let j = 0; j + 1 < xs.length; j++) {
      const area = (ys[i + 1] - ys[i]) * (xs[j + 1] - xs[j]);
      const times = windows.filter((each) => covers(each, ys[i], xs[j])).length;
      if (times) seen += area;
      inside += times * area;
    }
  }
  return { seen, padding: windows.length * length ** 2 - inside };
}

/** Where a patch and its shifted copies look, by a shift in pixels. */
export function windowsOf({ patchSize, shift, directions }, row, column) {
  const still = [0, 0];
  const offsets = [still, ...directions.map((name) => OFFSETS[name])];
  return offsets.map(([down, right]) => ({
    top: row * patchSize - down * shift,
    left: column * patchSize - right * shift,
  }));
}
