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
 * @returns {{element: Node, draw: function, count: number}} `count`, to be
 *     set, is the number of patches on a side; `place` the [row, column] that
 *     moves start from. `draw(paint)` prepares the canvas and calls
 *     `paint(context, size)`.
 */
export function makeBoard(label, onMove) {
  const canvas = make("canvas.live-board", {
    tabIndex: 0,
    role: "application",
    "aria-label": `${label}. The arrow keys move the patch.`,
  });
  const board = { element: canvas, count: 1, place: [0, 0], draw };

  function draw(paint) {
    paint(prepare(canvas, SIZE), SIZE);
  }

  function move(row, column) {
    const within = (at) => Math.min(Math.max(at, 0), board.count - 1);
    onMove(within(row), within(column));
  }

  canvas.addEventListener("keydown", (event) => {
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
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const patch = (at, side) => Math.floor((at / side) * board.count);
    move(
      patch(event.clientY - box.top, box.height),
      patch(event.clientX - box.left, box.width),
    );
  };
  canvas.addEventListener("click", point);
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && event.buttons === 1) point(event);
  });
  return board;
}
