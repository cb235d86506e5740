// Layers: slices as pictures on small canvases, coloured by tables of 256 words.
const FOLDING = [255, 230, 0];
const word = (r, g, b, a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
const STRETCHES = Uint32Array.from({ length: 256 }, (_, code) => {
  if (code === 0) return word(...FOLDING, 255);
  const size = (code - 128) / 127, alpha = Math.round(215 * Math.min(1, Math.abs(size)) ** 0.8);
  return size < 0 ? word(47, 123, 255, alpha) : word(255, 90, 54, alpha);
});
// what was clear stays as it is, what was not is covered
const DOUBTS = Uint32Array.from({ length: 256 }, (_, code) => word(178, 90, 255, Math.round(190 * (1 - code / 255))));

function painted(width, height, colour) {
  const canvas = sheet(width, height), pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let p = 0; p < pixels.length; p++) pixels[p] = colour(p);
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** A slice by a table of words. */
function tinted(volume, plane, index, table) {
  const { values: v, width, height } = values(volume, plane, index);
  return painted(width, height, (p) => table[v[p]]);
}

/** A slice in grey or in its colours, brightened by a ramp from code to 0 … 255. */
function picture(volume, plane, index, ramp) {
  const r = values(volume, plane, index);
  if (volume.channels === 1) {
    const table = Uint32Array.from(ramp, (v) => word(v, v, v, 255));
    return painted(r.width, r.height, (p) => table[r.values[p]]);
  }
  const g = values(volume, plane, index, 1).values, b = values(volume, plane, index, 2).values;
  return painted(r.width, r.height, (p) => word(ramp[r.values[p]], ramp[g[p]], ramp[b[p]], 255));
}

/** Two slices in one: the first green, the second magenta; grey where both are alike. */
function fused(first, second, plane, index, ramps) {
  const one = values(first, plane, index, -1), other = values(second, plane, index, -1).values;
  return painted(one.width, one.height, (p) => {
    const m = ramps[1][other[p]];
    return word(m, ramps[0][one.values[p]], m, 255);
  });
}
