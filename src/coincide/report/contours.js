// Contours: lines in voxels of a slice, a voxel's centre at whole numbers.

/** Where sampled values cross zero, between the centres of voxels; as x0, y0, x1, y1, … */
function crossings(v, width, height, keep = () => true) {
  const lines = [], found = [];
  for (let y = 0; y + 1 < height; y++) for (let x = 0; x + 1 < width; x++) {
    const p = y * width + x, a = v[p], b = v[p + 1], c = v[p + width + 1], d = v[p + width];
    if ((a > 0) === (b > 0) && (b > 0) === (c > 0) && (c > 0) === (d > 0)) continue;
    if (!keep(p)) continue;
    found.length = 0;
    if ((a > 0) !== (b > 0)) found.push(x + a / (a - b), y);
    if ((b > 0) !== (c > 0)) found.push(x + 1, y + b / (b - c));
    if ((d > 0) !== (c > 0)) found.push(x + d / (d - c), y + 1);
    if ((a > 0) !== (d > 0)) found.push(x, y + a / (a - d));
    for (let n = 0; n + 3 < found.length; n += 4) lines.push(found[n], found[n + 1], found[n + 2], found[n + 3]);
  }
  return lines;
}

function smoothed(v, width, height, passes) {
  let from = Float32Array.from(v), to = new Float32Array(v.length);
  for (let pass = 0; pass < passes; pass++) for (const [step, length] of [[1, width], [width, height]]) {
    for (let p = 0; p < from.length; p++) {
      const at = step === 1 ? p % width : Math.floor(p / width);
      const l = at > 0 ? step : 0, ll = at > 1 ? 2 * step : l, r = at + 1 < length ? step : 0, rr = at + 2 < length ? 2 * step : r;
      to[p] = (from[p - ll] + 4 * from[p - l] + 6 * from[p] + 4 * from[p + r] + from[p + rr]) / 16;
    }
    [from, to] = [to, from];
  }
  return from;
}

/** The square of the slope of a smoothed slice, and its second derivative along the slope. */
function slopes({ values: codes, width, height }) {
  const v = smoothed(codes, width, height, Math.min(12, Math.max(1, Math.round(Math.max(width, height) / 250))));
  const steep = new Float32Array(v.length), bend = new Float32Array(v.length);
  for (let y = 1; y + 1 < height; y++) for (let x = 1; x + 1 < width; x++) {
    const p = y * width + x, l = v[p - 1], r = v[p + 1], t = v[p - width], b = v[p + width];
    const fx = (r - l) / 2, fy = (b - t) / 2, fxy = (v[p + width + 1] - v[p + width - 1] - v[p - width + 1] + v[p - width - 1]) / 4;
    steep[p] = fx * fx + fy * fy;
    bend[p] = fx * fx * (l + r - 2 * v[p]) + 2 * fx * fy * fxy + fy * fy * (t + b - 2 * v[p]);
  }
  return { steep, bend, width, height };
}

/** How steep an edge must be at least, for shares 0, 0.01, … 1 of what is not flat. */
function steepness(volume) {
  const all = [];
  for (const plane of PLANES) {
    const depth = volume.shape[plane.through];
    if (volume.shape[plane.across] < 3 || volume.shape[plane.down] < 3) continue;
    const { steep } = slopes(values(volume, plane, depth >> 1, -1)), step = Math.max(1, steep.length >> 15);
    for (let p = 0; p < steep.length; p += step) if (steep[p] > 1) all.push(steep[p]);
  }
  const sorted = Float32Array.from(all).sort();
  return Array.from({ length: 101 }, (_, n) => sorted[Math.min(sorted.length - 1, Math.floor((n / 100) * sorted.length))] ?? 1);
}

/** Edges: where a slice is steepest, if steep enough (after Canny). */
function edges(slice, threshold) {
  const { steep, bend, width, height } = slopes(slice);
  return crossings(bend, width, height, (p) => steep[p] > threshold && steep[p + width + 1] > threshold);
}

/** Outlines along the sides of voxels between those that belong and those that do not, or to another. */
function outlines({ values: v, width, height }, kind = (value) => value) {
  const lines = [], k = Array.from(v, kind), at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : k[y * width + x]);
  for (let y = 0; y <= height; y++) for (let x = 0; x <= width; x++) {
    if (x < width && at(x, y) !== at(x, y - 1)) lines.push(x - 0.5, y - 0.5, x + 0.5, y - 0.5);
    if (y < height && at(x, y) !== at(x - 1, y)) lines.push(x - 0.5, y - 0.5, x - 0.5, y + 0.5);
  }
  return lines;
}

function path(lines) {
  const drawn = new Path2D();
  for (let n = 0; n < lines.length; n += 4) {
    drawn.moveTo(lines[n], lines[n + 1]);
    drawn.lineTo(lines[n + 2], lines[n + 3]);
  }
  return drawn;
}
