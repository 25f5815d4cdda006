/* A view of the explorer as the part of an address behind its "#". */
import { SAMPLES } from "./pictures.mjs";

const KEY = "view=";

/**
 * The view that an address names.
 *
 * Rows, columns, blocks and heads count from 1 there, as the reader sees
 * them, and from 0 here.
 *
 * @param {string} hash such as "#view=rocket,4,4,2,mean": picture, row,
 *     column, block, head
 * @param {{side: number, depth: number, heads: number}} model
 * @returns {?{picture: string, place: [number, number], block: number,
 *     head: (number|string)}} null if it names none, or one that is not there
 */
export function readView(hash, { side, depth, heads }) {
  if (!hash.startsWith(`#${KEY}`)) return null;
  const [picture, ...rest] = hash.slice(KEY.length + 1).split(",");
  const mean = rest[3] === "mean";
  const [row, column, block, head] = rest.map((word) => Number(word) - 1);
  const within = (number, count) =>
    Number.isInteger(number) && number >= 0 && number < count;
  const there =
    SAMPLES.some(({ name }) => name === picture) &&
    within(row, side) &&
    within(column, side) &&
    within(block, depth) &&
    (mean || within(head, heads));
  if (!there) return null;
  return { picture, place: [row, column], block, head: mean ? "mean" : head };
}

/** The page's address with such a view in it. */
export function viewAddress(location, { name, place, block, head }) {
  const numbers = [...place, block].map((at) => at + 1);
  const words = [name, ...numbers, head === "mean" ? head : head + 1];
  const address = new URL(location);
  address.hash = `${KEY}${words.join(",")}`;
  return address.href;
}
