// Lines of parallel coordinates on a canvas. A hundred of a colour are drawn as the browser does; many more pixel by
// pixel, which is five times as fast: so that ten thousand follow the pointer while a limit is drawn.

const MANY_LINES = 150;

// Draw lines: `batches` are [class whose colour they have, lines with ys], the last ones above; `xs` are their places.
export function paintLines(canvas, [width, height], batches, xs) {
  const scale = devicePixelRatio;
  Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.style.cssText = `width: ${width}px; height: ${height}px`;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const coloured = batches.filter(([, lines]) => lines.length > 0).map(([kind, lines]) => {
    canvas.className = kind;
    return { colour: getComputedStyle(canvas).color, lines };
  });
  canvas.className = "";
  paintPixels(context, coloured.filter(({ lines }) => lines.length > MANY_LINES), xs, scale);
  context.scale(scale, scale);
  context.lineWidth = 1.4;
  for (const { colour, lines } of coloured.filter(({ lines }) => lines.length <= MANY_LINES)) {
    context.strokeStyle = colour;
    context.beginPath();
    for (const { ys } of lines) ys.forEach((y, at) => (at === 0 ? context.moveTo(xs[at], y) : context.lineTo(xs[at], y)));
    context.stroke();
  }
}

function paintPixels(context, coloured, xs, scale) {
  if (coloured.length === 0) return;
  const { width, height } = context.canvas;
  const columns = xs.map((x) => Math.round(x * scale));
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (const { colour, lines } of coloured) {
    const ink = readInk(context, colour);
    for (const { ys } of lines) {
      for (let lane = 1; lane < columns.length; lane++) {
        const [from, to] = [columns[lane - 1], columns[lane]];
        const step = ((ys[lane] - ys[lane - 1]) * scale) / (to - from);
        let y = ys[lane - 1] * scale + 0.5;
        for (let x = from; x <= to; x++, y += step) pixels[(y | 0) * width + x] = ink;
      }
    }
  }
  context.putImageData(image, 0, 0);
}

// The pixel of a colour, in the order of bytes of this machine.
function readInk(context, colour) {
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
}
