/* A square of patches: one of them is chosen, by keyboard, mouse or touch. */
import { make } from "./dom.mjs";
import { prepare } from "./draw.mjs";

const STEPS = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

/** Side of the drawing; the page scales it to the room there is. */
export const SIZE = 384;

/**
 * A canvas on which the reader moves from patch to patch.
 *
 * Arrow keys go one patch, Home and End to the row's ends, Page Up and Page
 * Down to the column's; a click or tap goes anywhere.
 *
 * @param {string} label what it shows
 * @param {function(number, number)} onMove is told the new row and column
 * @param {function(?[number, number])} [onOver] is told the row and column
 *     below a mouse, and null when it leaves
 * @returns {{element: Node, draw: function, count: number}} `count`, to be
 *     set, is the number of patches on a side; `place` the [row, column] that
 *     moves start from; `size` the side of the drawing. `draw(paint)` prepares the canvas and calls
 *     `paint(context, size)`.
 */
export function makeBoard(label, onMove, onOver) {
  const canvas = make("canvas.live-board", {
    tabIndex: 0,
    role: "application",
    "aria-label": `${label}. The arrow keys move the patch.`,
  });
  const board = { element: canvas, count: 1, place: [0, 0], size: SIZE, draw };

  function draw(paint) {
    paint(prepare(canvas, board.size), board.size);
  }

  function move(row, column) {
    const within = (at) => Math.min(Math.max(at, 0), board.count - 1);
    onMove(within(row), within(column));
  }

  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's
    const [row, column] = board.place;
    const ends = {
      Home: [row, 0],
      End: [row, board.count - 1],
      PageUp: [0, column],
      PageDown: [board.count - 1, column],
    };
    if (event.key in STEPS) {
      const [down, right] = STEPS[event.key];
      move(row + down, column + right);
    } else if (event.key in ends) {
      move(...ends[event.key]);
    } else {
      return;
    }
    event.preventDefault();
  });
  const below = (event) => {
    const box = canvas.getBoundingClientRect();
    const patch = (at, side) => {
      const place = Math.floor((at / side) * board.count);
      return Math.min(Math.max(place, 0), board.count - 1);
    };
    return [
      patch(event.clientY - box.top, box.height),
      patch(event.clientX - box.left, box.width),
    ];
  };
  canvas.addEventListener("click", (event) => move(...below(event)));
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    if (event.buttons === 1) move(...below(event));
    else onOver?.(below(event));
  });
  canvas.addEventListener("pointerleave", () => onOver?.(null));
  return board;
}
