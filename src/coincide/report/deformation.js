// Deformation: displacement at a voxel, and the moving image's grid lines as they lie in the fixed image.
function deformation(data) {
  const field = decodedField(data.field), n = field.shape, size = n[0] * n[1] * n[2];

  /** Displacement along the screen axes, mm, at a voxel of the lattice. */
  function displacement(at) {
    const out = [0, 0, 0], low = [], part = [];
    for (let a = 0; a < 3; a++) {
      const q = Math.min(n[a] - 1, Math.max(0, (at[a] - field.first[a]) / field.step[a]));
      low[a] = Math.min(Math.floor(q), Math.max(0, n[a] - 2));
      part[a] = q - low[a];
    }
    for (let corner = 0; corner < 8; corner++) {
      let weight = 1, index = 0, stride = 1;
      for (let a = 0; a < 3; a++) {
        const up = (corner >> a) & 1;
        weight *= up ? part[a] : 1 - part[a];
        index += Math.min(low[a] + up, n[a] - 1) * stride;
        stride *= n[a];
      }
      if (weight === 0) continue;
      for (let a = 0; a < data.dim; a++) out[a] += weight * field.codes[a * size + index] * field.unit;
    }
    return out;
  }

  /** Level sets of x + u(x) at multiples of the pitch, in voxels of the slice. */
  function gridLines(plane, index, pitch) {
    const axes = [plane.across, plane.down], [width, height] = axes.map((a) => n[a]);
    const mapped = axes.map(() => new Float32Array(width * height)), at = [0, 0, 0], lines = [];
    at[plane.through] = index;
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      at[axes[0]] = field.first[axes[0]] + x * field.step[axes[0]];
      at[axes[1]] = field.first[axes[1]] + y * field.step[axes[1]];
      const u = displacement(at);
      for (let c = 0; c < 2; c++) mapped[c][y * width + x] = ((at[axes[c]] + 0.5) * data.spacing[axes[c]] + u[axes[c]]) / pitch;
    }
    const shifted = new Float32Array(width * height);
    for (const m of mapped) {
      let least = Infinity, most = -Infinity;
      for (const value of m) { least = Math.min(least, value); most = Math.max(most, value); }
      for (let level = Math.ceil(least); level <= most; level++) {
        for (let p = 0; p < m.length; p++) shifted[p] = m[p] - level;
        const found = crossings(shifted, width, height);
        for (let k = 0; k < found.length; k++) {
          const a = axes[k % 2];
          lines.push(field.first[a] + found[k] * field.step[a]);
        }
      }
    }
    return lines;
  }
  return { displacement, gridLines };
}
