/* Paint pictures, grids and heat maps on a canvas. */

/** The colours of matplotlib's viridis at 0, 1/8, ... 1. */
const VIRIDIS = [
  [68, 1, 84],
  [71, 44, 122],
  [59, 81, 139],
  [44, 113, 142],
  [33, 144, 141],
  [39, 173, 129],
  [92, 200, 99],
  [170, 220, 50],
  [253, 231, 37],
];

/** The colour for a value between 0 and 1, as [red, green, blue]. */
export function viridis(value) {
  const last = VIRIDIS.length - 1;
  const place = Math.min(Math.max(value, 0), 1) * last;
  const low = Math.min(Math.floor(place), last - 1);
  return VIRIDIS[low].map((from, c) =>
    Math.round(from + (place - low) * (VIRIDIS[low + 1][c] - from)),
  );
}

/**
 * A square canvas of `size` CSS pixels, sharp on this screen.
 *
 * Its context is scaled, so that all that is drawn counts in CSS pixels.
 *
 * @returns {CanvasRenderingContext2D}
 */
export function prepare(canvas, size) {
  const scale = Math.max(1, window.devicePixelRatio || 1);
  canvas.width = canvas.height = Math.round(size * scale);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser gives no canvas to draw on.");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return context;
}

/**
 * Draw a picture over the whole square, each pixel a small square.
 *
 * @param {ArrayLike<number>} pixels side * side * 3, on 0..255
 */
export function paintPicture(context, size, pixels, side) {
  const data = new ImageData(side, side);
  for (let from = 0, to = 0; from < pixels.length; from += 3, to += 4) {
    for (let c = 0; c < 3; c++) data.data[to + c] = pixels[from + c];
    data.data[to + 3] = 255;
  }
  const small = document.createElement("canvas");
  small.width = small.height = side;
  small.getContext("2d").putImageData(data, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, size, size);
}

/**
 * Lay a heat map of count x count squares over what is there.
 *
 * @param {ArrayLike<number>} values between 0 and 1, row by row
 * @param {number} opacity of the map
 */
export function paintMap(context, size, values, count, opacity) {
  const cell = size / count;
  for (let i = 0; i < values.length; i++) {
    const [red, green, blue] = viridis(values[i]);
    context.fillStyle = `rgb(${red} ${green} ${blue} / ${opacity})`;
    const [y, x] = [Math.floor(i / count), i % count];
    context.fillRect(x * cell, y * cell, cell, cell);
  }
}

/** The cuts between count x count patches, as thin lines. */
export function paintGrid(context, size, count) {
  context.beginPath();
  for (let i = 1; i < count; i++) {
    const at = (i * size) / count;
    context.moveTo(at, 0);
    context.lineTo(at, size);
    context.moveTo(0, at);
    context.lineTo(size, at);
  }
  for (const [colour, line] of [
    ["rgb(0 0 0 / 0.2)", 2],
    ["rgb(255 255 255 / 0.55)", 1],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.stroke();
  }
}

/** A frame that shows on any picture: white within black. */
export function paintFrame(context, left, top, width, height = width) {
  strokeTwice(context, [5, 2.5], () =>
    context.strokeRect(left + 1, top + 1, width - 2, height - 2),
  );
}

/**
 * Dashed frames around some squares, but for what lies in the first of them.
 *
 * @param {{top: number, left: number}[]} windows their corners, in pixels
 * @param {number} length of their sides, in pixels
 * @param {number} side of the whole square, in pixels
 */
export function paintWindows(context, size, windows, length, side) {
  const pixel = size / side;
  const square = ({ top, left }) =>
    context.rect(left * pixel, top * pixel, length * pixel, length * pixel);
  const [first, ...others] = windows;
  context.save();
  context.beginPath();
  context.rect(0, 0, size, size);
  square(first);
  context.clip("evenodd");
  context.setLineDash([3, 3]);
  context.beginPath();
  others.forEach(square);
  strokeTwice(context, [2.5, 1], () => context.stroke());
  context.restore();
}

/**
 * A line around all pixels that are chosen.
 *
 * @param {ArrayLike<number>} chosen side * side, 0 for a pixel that is not
 */
export function paintOutline(context, size, chosen, side) {
  const pixel = size / side;
  const has = (y, x) =>
    y >= 0 && y < side && x >= 0 && x < side && chosen[y * side + x] > 0;
  context.beginPath();
  for (let y = 0; y <= side; y++) {
    for (let x = 0; x <= side; x++) {
      if (has(y, x) !== has(y - 1, x)) {
        context.moveTo(x * pixel, y * pixel);
        context.lineTo((x + 1) * pixel, y * pixel);
      }
      if (has(y, x) !== has(y, x - 1)) {
        context.moveTo(x * pixel, y * pixel);
        context.lineTo(x * pixel, (y + 1) * pixel);
      }
    }
  }
  strokeTwice(context, [3, 1.5], () => context.stroke());
}

/**
 * Hatch what lies outside a picture: black alone could be a dark picture.
 *
 * @param {{top: number, left: number, side: number}} content the picture's
 *     place, in pixels
 * @param {number} side of the whole square, in pixels
 */
export function paintPadding(context, size, content, side) {
  const [left, top, inner] = [content.left, content.top, content.side].map(
    (pixels) => (pixels * size) / side,
  );
  context.save();
  context.beginPath();
  context.rect(0, 0, size, size);
  context.rect(left, top, inner, inner);
  context.clip("evenodd");
  context.fillStyle = "#000";
  context.fillRect(0, 0, size, size);
  context.strokeStyle = "rgb(255 255 255 / 0.45)";
  context.lineWidth = 1;
  context.beginPath();
  for (let at = 0; at < 2 * size; at += 7) {
    context.moveTo(at, 0);
    context.lineTo(at - size, size);
  }
  context.stroke();
  context.restore();
}

/** Stroke in black and, thinner, in white. */
function strokeTwice(context, [wide, thin], stroke) {
  for (const [colour, line] of [
    ["#000", wide],
    ["#fff", thin],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    stroke();
  }
}
