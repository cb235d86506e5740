// Painting: one view of one plane, images first and lines over them.
const GREEN = "#2fe37f", MAGENTA = "#ff5ad9", AMBER = "#ffd24a", CYAN = "#5fd4ff", PALE = "#f3e9c6";

/** Where voxels of the lattice lie on a canvas, under zoom and pan. */
function frame(v, { canvas, plane }) {
  const { data, state, extent } = v, { across, down } = plane, { width, height } = canvas;
  const scale = Math.min(width / extent[across], height / extent[down]) * state.zoom;
  const x = (voxel) => ((voxel + 0.5) * data.spacing[across] - state.middle[across]) * scale + width / 2;
  const y = (voxel) => ((voxel + 0.5) * data.spacing[down] - state.middle[down]) * scale + height / 2;
  const back = (px, py) => [
    ((px - width / 2) / scale + state.middle[across]) / data.spacing[across] - 0.5,
    ((py - height / 2) / scale + state.middle[down]) / data.spacing[down] - 0.5,
  ];
  return { x, y, back, scale, matrix: new DOMMatrix([data.spacing[across] * scale, 0, 0, data.spacing[down] * scale, x(0), y(0)]) };
}

function paint(v, view) {
  const { data, state, volumes } = v, { canvas, plane } = view, pen = canvas.getContext("2d", READ);
  const { width, height } = canvas, dots = v.dots, index = state.at[plane.through], at = frame(v, view);
  const amount = state.amount[state.mode], [nx, ny] = [data.shape[plane.across], data.shape[plane.down]];
  // a slice is drawn again only when something about it changed
  const kept = (key, make) => {
    const [name] = key, whole = JSON.stringify(key);
    if (view.cache[name]?.whole !== whole) view.cache[name] = { whole, made: make() };
    return view.cache[name].made;
  };
  const place = (picture) => {
    const box = [at.x(-0.5), at.y(-0.5), at.x(nx - 0.5), at.y(ny - 0.5)];
    pen.drawImage(picture, box[0], box[1], box[2] - box[0], box[3] - box[1]);
  };
  const shown = (name) => {
    const window = state.window[name === "fixed" ? "fixed" : "moving"];
    place(kept([name, index, window], () => picture(volumes[name], plane, index, v.window.ramp(name))));
  };
  const trace = (lines, colour, thick, dash = [], halo = 1.4) => {
    const moved = new Path2D();
    moved.addPath(lines, at.matrix);
    pen.lineCap = dash.length ? "butt" : "round";
    pen.setLineDash(dash.map((d) => d * dots));
    for (const [style, more] of [["rgba(0,0,0,.45)", halo], [colour, 0]]) {
      if (style !== colour && !halo) continue;
      pen.strokeStyle = style;
      pen.lineWidth = (thick + more) * dots;
      pen.stroke(moved);
    }
    pen.setLineDash([]);
  };

  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.globalAlpha = 1;
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, width, height);
  // far in, voxels are seen as what they are
  pen.imageSmoothingEnabled = at.scale * Math.min(...data.spacing.slice(0, data.dim)) < 9 * dots;
  pen.imageSmoothingQuality = "high";
  if (state.mode === "fusion") {
    place(kept(["fusion", state.other, index, state.window], () =>
      fused(volumes.fixed, volumes[state.other], plane, index, [v.window.ramp("fixed"), v.window.ramp(state.other)])));
  } else {
    shown(state.mode === "other" || (state.mode === "flicker" && state.phase) ? state.other : "fixed");
  }
  pen.save();
  if (state.mode === "swipe") {
    const edge = Math.round((width * amount) / 100);
    pen.beginPath();
    pen.rect(edge, 0, width - edge, height);
    pen.clip();
    shown(state.other);
    pen.restore();
    pen.save();
    pen.fillStyle = PALE;
    pen.fillRect(edge - 0.75 * dots, 0, 1.5 * dots, height);
  } else if (state.mode === "checker") {
    const side = Math.max(8 * dots, at.scale * Math.max(...v.extent.slice(0, data.dim)) * (0.03 + 0.22 * (amount / 100)));
    const left = at.x(-0.5) % (2 * side), top = at.y(-0.5) % (2 * side);
    pen.beginPath();
    for (let y = -2; top + y * side < height; y++) for (let x = -2 - (y & 1); left + x * side < width; x += 2) pen.rect(left + x * side, top + y * side, side, side);
    pen.clip();
    shown(state.other);
  } else if (state.mode === "blend") {
    pen.globalAlpha = amount / 100;
    shown(state.other);
  }
  pen.restore();

  const on = state.layers, share = (n) => Math.min(n - 1, Math.floor(((index + 0.5) / data.shape[plane.through]) * n));
  for (const [name, table] of [["jacobian", STRETCHES], ["confidence", DOUBTS]]) {
    if (!on.has(name)) continue;
    const layer = v.layers[name], slice = share(layer.shape[plane.through]);
    place(kept([name, slice], () => tinted(layer, plane, slice, table)));
  }
  if (on.has("grid")) trace(kept(["grid", index], () => path(v.deformation.gridLines(plane, index, v.pitch))), AMBER, 1);
  if (on.has("edges")) {
    const threshold = v.steepness()[Math.round(100 - state.edges)];
    trace(kept(["edges", index, threshold], () => path(edges(values(volumes.fixed, plane, index, -1), threshold))), AMBER, 1.2);
  }
  if (on.has("mask")) {
    const bit = (b, dash) => trace(kept([`mask${b}`, index], () => path(outlines(values(v.layers.mask, plane, index), (m) => m & b))), CYAN, 1.4, dash);
    bit(1, []);
    bit(state.other === "warped" ? 4 : 2, [6, 4]);
  }
  // of many labels thin lines, or they hide what they surround
  const many = data.labels && state.label < 0 && data.labels.numbers.length > 15;
  if (on.has("labels")) for (const [name, colour, wide] of [["fixed", GREEN, 1.8], [state.other, MAGENTA, 1.4]]) {
    const only = state.label, thick = many ? 0.6 * wide : wide, kind = only < 0 ? undefined : (value) => (value === only ? value : 0);
    trace(kept([`labels-${colour}`, name, index, only], () => path(outlines(values(v.labels[name], plane, index), kind))), colour, thick, [], many ? 0 : 1.4);
  }
  if (on.has("landmarks")) marks(v, pen, plane, at);
  if (data.dim === 3 || state.tool === "point") cross(v, pen, plane, at, width, height);
}

/** Landmarks near the slice: where they are, where they should be, and the arrow between. */
function marks({ data, state, dots }, pen, plane, at) {
  const a = plane.through, near = Math.max(data.spacing[a], 4), before = state.other === "moving";
  for (const mark of data.landmarks) {
    // before: all three in the moving image as it lies; after: the fixed image and what came there
    const [from, to] = before ? [mark.found, mark.partner] : [mark.fixed, mark.true];
    const far = data.dim === 3 ? (Math.abs(mark.fixed[a] - state.at[a]) * data.spacing[a]) / near : 0;
    if (!from || !to || far > 1) continue;
    const xy = (p) => [at.x(p[plane.across]), at.y(p[plane.down])], chosen = mark.number === state.mark, r = (chosen ? 6 : 4) * dots;
    const [x0, y0] = xy(from), [x1, y1] = xy(to), length = Math.hypot(x1 - x0, y1 - y0);
    const stroke = (colour, draw) => {
      for (const [style, more] of [["rgba(0,0,0,.55)", 1.6], [colour, 0]]) {
        pen.strokeStyle = style;
        pen.lineWidth = ((chosen ? 2.4 : 1.5) + more) * dots;
        pen.beginPath();
        draw();
        pen.stroke();
      }
    };
    if (before) {
      const [x, y] = xy(mark.fixed);
      stroke(GREEN, () => pen.arc(x, y, r, 0, 7));
      stroke(CYAN, () => { pen.moveTo(x0 - r, y0); pen.lineTo(x0 + r, y0); pen.moveTo(x0, y0 - r); pen.lineTo(x0, y0 + r); });
    } else {
      stroke(GREEN, () => pen.arc(x0, y0, r, 0, 7));
    }
    stroke(MAGENTA, () => { pen.moveTo(x1 - r, y1); pen.lineTo(x1, y1 - r); pen.lineTo(x1 + r, y1); pen.lineTo(x1, y1 + r); pen.closePath(); });
    if (length > 2 * dots) stroke(AMBER, () => {
      const [ux, uy] = [(x1 - x0) / length, (y1 - y0) / length], head = Math.min(7 * dots, length * 0.5);
      pen.moveTo(x0, y0);
      pen.lineTo(x1, y1);
      for (const side of [-1, 1]) { pen.moveTo(x1, y1); pen.lineTo(x1 - head * (ux + 0.5 * side * uy), y1 - head * (uy - 0.5 * side * ux)); }
    });
    if (chosen) {
      pen.font = `600 ${13 * dots}px system-ui, sans-serif`;
      const words = mark.after === null ? `${mark.number}` : `${mark.number}: ${mark.after.toFixed(1)} mm`;
      pen.lineWidth = 3.5 * dots;
      pen.lineJoin = "round";
      pen.strokeStyle = "#000c";
      pen.strokeText(words, x0 + 10 * dots, y0 - 8 * dots);
      pen.fillStyle = "#fff";
      pen.fillText(words, x0 + 10 * dots, y0 - 8 * dots);
    }
  }
}

function cross({ state, dots }, pen, plane, at, width, height) {
  const x = at.x(state.at[plane.across]), y = at.y(state.at[plane.down]), gap = 9 * dots;
  pen.strokeStyle = "rgba(120, 220, 214, .6)";
  pen.lineWidth = dots;
  pen.beginPath();
  for (const [a, b] of [[0, x - gap], [x + gap, width]]) { pen.moveTo(a, y); pen.lineTo(b, y); }
  for (const [a, b] of [[0, y - gap], [y + gap, height]]) { pen.moveTo(x, a); pen.lineTo(x, b); }
  pen.stroke();
}
