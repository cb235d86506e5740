// Viewer: one for each pair. Axis 0 runs to the left, 1 to the back, 2 to the feet.
const LETTERS = [["R", "L"], ["A", "P"], ["S", "I"]];

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((m) => m * power).find((m) => m >= value * 0.999);
}

async function viewer(root) {
  const data = JSON.parse(root.querySelector("script").textContent), { dim, shape } = data;
  const extent = shape.map((n, a) => n * data.spacing[a]);
  const state = {
    mode: "swipe", other: "warped", phase: 0, tool: dim === 3 ? "point" : "pan", layers: new Set(), edges: 22, label: -1, mark: -1,
    zoom: 1, middle: extent.map((e) => e / 2), at: shape.map((n) => Math.floor(n / 2)),
    amount: Object.fromEntries(Object.entries(AMOUNTS).map(([m, a]) => [m, a[1]])),
  };
  const v = { root, data, state, extent, volumes: {}, layers: {}, labels: {}, dots: 1, pitch: nice(Math.max(...extent.slice(0, dim)) / 26) };
  for (const name of ["fixed", "moving", "warped"]) v.volumes[name] = await volume(data.volumes[name], shape);
  for (const name of ["jacobian", "confidence"]) if (data[name]) v.layers[name] = await volume(data[name], data[name].shape);
  if (data.mask) v.layers.mask = await volume(data.mask, shape);
  if (data.labels) for (const [name, map] of Object.entries(data.labels.maps)) v.labels[name] = await volume(map, shape);
  v.window = windows(data, state);
  v.deformation = deformation(data);
  let steep;
  v.steepness = () => (steep ??= steepness(v.volumes.fixed));

  v.reset = () => Object.assign(state, { zoom: 1, middle: extent.map((e) => e / 2) });
  /** Keep something of the image in sight. */
  v.hold = () => {
    state.middle = state.middle.map((m, a) => (state.zoom <= 1 ? extent[a] / 2 : Math.min(extent[a], Math.max(0, m))));
  };
  v.to = (voxel) => {
    state.at = voxel.map((p, a) => Math.min(shape[a] - 1, Math.max(0, Math.round(p))));
    if (state.zoom > 1) state.middle = state.at.map((at, a) => (at + 0.5) * data.spacing[a]);
    v.update();
  };
  /** To the middle of a label. */
  v.toLabel = (code) => {
    const { voxels } = v.labels.fixed, sum = [0, 0, 0];
    let count = 0;
    for (let k = 0, p = 0; k < shape[2]; k++) for (let j = 0; j < shape[1]; j++) for (let i = 0; i < shape[0]; i++, p++) {
      if (voxels[p] === code) { sum[0] += i; sum[1] += j; sum[2] += k; count++; }
    }
    if (count) v.to(sum.map((s) => s / count));
  };

  // in world RAS+ the letters of a positive coordinate are R, A and S
  function place(at) {
    const world = data.affine.slice(0, dim).map((row) => row[dim] + at.slice(0, dim).reduce((sum, p, a) => sum + row[a] * p, 0));
    return world.map((w, a) => `${dim === 3 ? LETTERS[a][w >= 0 ? 0 : 1] : "xy"[a]} ${(dim === 3 ? Math.abs(w) : w).toFixed(1)}`);
  }
  const offset = (at) => at[0] + shape[0] * (at[1] + shape[1] * at[2]);
  function value(name) {
    const { voxels, channels, size } = v.volumes[name], p = offset(state.at);
    const read = (c) => Number(data.volumes[name].values[voxels[p + c * size]].toPrecision(3));
    return channels === 3 ? `(${[0, 1, 2].map(read).join(", ")})` : String(read(0));
  }
  function tell() {
    const words = place(state.at), u = v.deformation.displacement(state.at), change = v.layers.jacobian, n = change.shape;
    const at = state.at.map((p, a) => Math.min(n[a] - 1, Math.floor(((p + 0.5) / shape[a]) * n[a])));
    const code = change.voxels[at[0] + n[0] * (at[1] + n[1] * at[2])];
    const times = code === 0 ? "folding" : `volume × ${(data.jacobian.stretch ** ((code - 128) / 127)).toFixed(2)}`;
    root.querySelector(".readout").textContent = `${words.join("  ")} mm · displaced ${Math.hypot(...u).toFixed(1)} mm · ${times}`;
    const other = state.other === "warped" ? "warped" : "moving", names = (name) => {
      const label = v.labels[name]?.voxels[offset(state.at)];
      return label ? `, ${data.labels.names[label]}` : "";
    };
    root.querySelector("[data-values]").textContent = `fixed ${value("fixed")}${names("fixed")} · ${other} ${value(other)}${names(other)}`;
    for (const view of views) if (view.slider) {
      view.slider.value = view.slider.max - state.at[view.plane.through];
      view.slider.closest("label").querySelector("output").textContent = `${words[view.plane.through]} mm`;
    }
  }

  let waiting = false;
  v.now = () => {
    waiting = false;
    views.forEach((view) => view.canvas.width > 1 && paint(v, view));
  };
  v.update = () => {
    tell();
    buttons.follow();
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(v.now);
    }
  };
  /** Canvases as fine as the screen. */
  v.fit = () => {
    v.dots = Math.min(3, globalThis.devicePixelRatio || 1);
    for (const { canvas } of views) {
      const wide = Math.round(canvas.clientWidth * v.dots), high = Math.round(canvas.clientHeight * v.dots);
      if (wide !== canvas.width || high !== canvas.height) Object.assign(canvas, { width: wide, height: high });
    }
    v.now();
  };

  root.querySelectorAll("[data-pitch]").forEach((p) => { p.textContent = String(v.pitch); });
  root.querySelector("[data-least]").textContent = `÷ ${data.jacobian.stretch}`;
  root.querySelector("[data-most]").textContent = `× ${data.jacobian.stretch}`;
  const views = [...root.querySelectorAll("[data-plane]")].map((figure) => {
    const plane = PLANES[Number(figure.dataset.plane)], canvas = figure.querySelector("canvas"), slider = figure.querySelector("[data-slice]");
    const view = { figure, plane, canvas, slider, cache: {} };
    canvas.style.aspectRatio = `${extent[plane.across]} / ${extent[plane.down]}`;
    figure.style.setProperty("--across", extent[plane.across]);
    figure.style.setProperty("--ratio", extent[plane.across] / extent[plane.down]);
    if (slider) {
      slider.max = shape[plane.through] - 1;
      slider.addEventListener("input", () => {
        state.at[plane.through] = slider.max - slider.value;
        v.update();
      });
      for (const [side, axis, end] of [["left", "across", 0], ["right", "across", 1], ["top", "down", 0], ["bottom", "down", 1]]) {
        figure.querySelector(`.letter.${side}`).textContent = LETTERS[plane[axis]][end];
      }
    }
    pointer(v, view);
    return view;
  });
  v.views = views;
  const buttons = controls(v);
  v.choose = buttons.choose;
  buttons.choose(state.mode);
  v.fit();
  new ResizeObserver(() => v.fit()).observe(root);
  return v;
}
