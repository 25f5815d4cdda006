/* Paint pictures, grids and heat maps on a canvas. */

/** The colours of matplotlib's viridis at 0, 1/8, ... 1. */
const VIRIDIS = [
  [68, 1, 84],
  [71, 45, 123],
  [59, 82, 139],
  [44, 114, 142],
  [33, 145, 140],
  [40, 174, 128],
  [94, 201, 98],
  [173, 220, 48],
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
  const context = contextOf(canvas);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return context;
}

/**
 * Draw a picture over the whole square, each pixel a small square.
 *
 * @param {ArrayLike<number>} pixels side * side * 3, on 0..255
 */
export function paintPicture(context, size, pixels, side) {
  context.imageSmoothingEnabled = false;
  context.drawImage(drawingOf(pixels, side), 0, 0, size, size);
}

function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser gives no canvas to draw on.");
  return context;
}

/** A drawing of a picture, to be scaled into others. */
export function drawingOf(pixels, side) {
  const data = new ImageData(side, side);
  for (let from = 0, to = 0; from < pixels.length; from += 3, to += 4) {
    for (let c = 0; c < 3; c++) data.data[to + c] = pixels[from + c];
    data.data[to + 3] = 255;
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  contextOf(canvas).putImageData(data, 0, 0);
  return canvas;
}

/** What covers a part of a picture that is not seen. */
export const COVER = [20, 22, 34];

/**
 * Cover each of count x count squares by what it lacks.
 *
 * @param {ArrayLike<number>} values 0 where a square is covered wholly, 1
 *     where it is clear
 */
export function paintCover(context, size, values, count) {
  const cover = COVER.join(" ");
  paintSquares(context, size, count, (i) => `rgb(${cover} / ${1 - values[i]})`);
}

/** A heat map of count x count squares, of values between 0 and 1. */
export function paintMap(context, size, values, count) {
  const colour = (i) => `rgb(${viridis(values[i]).join(" ")})`;
  paintSquares(context, size, count, colour);
}

/** Fill count x count squares, each with a colour by its index. */
function paintSquares(context, size, count, colour) {
  const scale = context.canvas.width / size;
  // On whole pixels of the screen, or a seam would show between squares.
  const edges = Array.from(
    { length: count + 1 },
    (_, i) => Math.round((i * size * scale) / count) / scale,
  );
  for (let y = 0; y < count; y++) {
    for (let x = 0; x < count; x++) {
      const [left, top] = [edges[x], edges[y]];
      context.fillStyle = colour(y * count + x);
      context.fillRect(left, top, edges[x + 1] - left, edges[y + 1] - top);
    }
  }
}

/**
 * A line from one point to another, the thicker the more it stands for.
 *
 * @param {[number, number]} from x and y
 * @param {[number, number]} to x and y
 * @param {number} part between 0 and 1
 */
export function paintLink(context, from, to, part, colour) {
  const width = 1 + 3 * part;
  for (const [style, line] of [
    ["rgb(255 255 255 / 0.9)", width + 2],
    [colour, width],
  ]) {
    context.strokeStyle = context.fillStyle = style;
    context.lineWidth = line;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    context.beginPath();
    context.arc(...to, line / 2 + 2, 0, 2 * Math.PI);
    context.fill();
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
 * A picture that is dark but for some squares.
 *
 * @param {HTMLCanvasElement} drawing of the picture
 * @param {number} dim what is left of the colours outside
 * @param {{top: number, left: number}[]} windows the squares, in pixels
 * @param {number} length of their sides, in pixels
 * @param {number} side of the picture, in pixels
 */
export function paintSpotlight(
  context,
  size,
  drawing,
  dim,
  windows,
  length,
  side,
) {
  const pixel = size / side;
  context.imageSmoothingEnabled = false;
  context.drawImage(drawing, 0, 0, size, size);
  context.fillStyle = `rgb(0 0 0 / ${1 - dim})`;
  context.fillRect(0, 0, size, size);
  context.save();
  context.beginPath();
  for (const { top, left } of windows) {
    context.rect(left * pixel, top * pixel, length * pixel, length * pixel);
  }
  context.clip();
  context.drawImage(drawing, 0, 0, size, size);
  context.restore();
}

/** A frame of a colour on white, its line in the middle of the edge. */
export function paintEdge(context, left, top, side, colour, width, dash = []) {
  for (const [style, line, dashes] of [
    ["#fff", width + 1.5, []],
    [colour, width, dash],
  ]) {
    context.setLineDash(dashes);
    context.strokeStyle = style;
    context.lineWidth = line;
    context.strokeRect(left, top, side, side);
  }
  context.setLineDash([]);
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
