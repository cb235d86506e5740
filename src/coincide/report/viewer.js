// Viewer: one for each pair. Axis 0 runs to the left, 1 to the back, 2 to the feet.
const LETTERS = [["R", "L"], ["A", "P"], ["S", "I"]];
const PLANES = [{ across: 0, down: 1, through: 2 }, { across: 0, down: 2, through: 1 }, { across: 1, down: 2, through: 0 }];
const AMOUNTS = { swipe: ["Swipe", 50], checker: ["Squares", 45], blend: ["Mix", 50], flicker: ["Pace", 40] };

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((m) => m * power).find((m) => m >= value * 0.999);
}

async function viewer(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const volumes = {};
  for (const name of ["fixed", "moving", "warped"]) volumes[name] = await volume(data.volumes[name], data.shape);
  const change = await volume(data.jacobian, data.jacobian.shape);
  const field = decodedField(data.field);
  const extent = data.shape.map((n, a) => n * data.spacing[a]);
  const shown = extent.slice(0, data.dim);
  const pitch = nice(Math.max(...shown) / 26);
  const perMm = Math.min(620 / Math.max(...shown), 8 / Math.min(...data.spacing.slice(0, data.dim)));
  const state = {
    mode: "swipe", other: "warped", grid: false, jacobian: false, phase: 0,
    at: data.shape.map((n) => Math.floor(n / 2)), amount: Object.fromEntries(Object.entries(AMOUNTS).map(([m, a]) => [m, a[1]])),
  };

  /** Displacement along the screen axes, mm, at a voxel of the lattice. */
  function displacement(at) {
    const n = field.shape, out = [0, 0, 0], low = [], part = [];
    for (let a = 0; a < 3; a++) {
      const q = Math.min(n[a] - 1, Math.max(0, (at[a] - field.first[a]) / field.step[a]));
      low[a] = Math.min(Math.floor(q), Math.max(0, n[a] - 2));
      part[a] = q - low[a];
    }
    const size = n[0] * n[1] * n[2];
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

  /** Lines of the moving grid as they lie in the fixed image: level sets of x + u(x). */
  function gridLines(plane, width, height) {
    const canvas = sheet(width, height), pen = canvas.getContext("2d");
    const image = pen.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    const axes = [plane.across, plane.down], cells = axes.map((a) => field.shape[a]), at = [...state.at];
    const known = axes.map(() => new Float32Array(cells[0] * cells[1]));
    for (let y = 0; y < cells[1]; y++) for (let x = 0; x < cells[0]; x++) {
      at[axes[0]] = field.first[axes[0]] + x * field.step[axes[0]];
      at[axes[1]] = field.first[axes[1]] + y * field.step[axes[1]];
      const u = displacement(at);
      for (let c = 0; c < 2; c++) known[c][y * cells[0] + x] = u[axes[c]];
    }
    // where a pixel lies: mm from the corner, and between which two known vectors
    const ruler = (c, length) => Array.from({ length: length + 1 }, (_, p) => {
      const a = axes[c], voxel = (p / length) * data.shape[a] - 0.5;
      const q = Math.min(cells[c] - 1, Math.max(0, (voxel - field.first[a]) / field.step[a])), low = Math.floor(q);
      return { mm: (p / length) * extent[a], low, high: Math.min(low + 1, cells[c] - 1), part: q - low };
    });
    const columns = ruler(0, width), rows = ruler(1, height);
    const mapped = axes.map(() => new Float32Array((width + 1) * (height + 1)));
    for (let c = 0; c < 2; c++) {
      const k = known[c];
      let to = 0;
      for (const row of rows) for (const column of columns) {
        const top = row.low * cells[0], bottom = row.high * cells[0];
        const upper = k[top + column.low] + column.part * (k[top + column.high] - k[top + column.low]);
        const lower = k[bottom + column.low] + column.part * (k[bottom + column.high] - k[bottom + column.low]);
        mapped[c][to++] = (c ? row.mm : column.mm) + upper + row.part * (lower - upper);
      }
    }
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const p = y * (width + 1) + x;
      let cover = 0;
      for (let c = 0; c < 2; c++) {
        const m = mapped[c], value = m[p] / pitch;
        const slope = Math.hypot(m[p + 1] - m[p], m[p + width + 1] - m[p]) / pitch + 1e-6;
        cover = Math.max(cover, 1.1 - Math.abs(value - Math.round(value)) / slope);
      }
      if (cover > 0) pixels[y * width + x] = word(255, 210, 74, Math.round(220 * Math.min(1, cover)));
    }
    pen.putImageData(image, 0, 0);
    return canvas;
  }

  function draw(view) {
    const { canvas, plane } = view, pen = canvas.getContext("2d", READ), { width, height } = canvas;
    const at = (state.at[plane.through] + 0.5) / data.shape[plane.through];
    const picture = (name) => slice(volumes[name], plane, at, GREYS);
    const paint = (name) => pen.drawImage(picture(name), 0, 0, width, height);
    const amount = state.amount[state.mode];
    pen.globalAlpha = 1;
    pen.imageSmoothingEnabled = true;
    pen.imageSmoothingQuality = "high";
    const first = state.mode === "other" || (state.mode === "flicker" && state.phase) ? state.other : "fixed";
    paint(first);
    pen.save();
    if (state.mode === "swipe") {
      const edge = Math.round((width * amount) / 100);
      pen.beginPath();
      pen.rect(edge, 0, width - edge, height);
      pen.clip();
      paint(state.other);
      pen.restore();
      pen.save();
      pen.fillStyle = "#f3e9c6";
      pen.fillRect(edge - 0.75, 0, 1.5, height);
    } else if (state.mode === "checker") {
      const side = Math.max(8, perMm * Math.max(...shown) * (0.03 + 0.22 * (amount / 100)));
      pen.beginPath();
      for (let y = 0; y * side < height; y++) for (let x = y % 2; x * side < width; x += 2) pen.rect(x * side, y * side, side, side);
      pen.clip();
      paint(state.other);
    } else if (state.mode === "blend") {
      pen.globalAlpha = amount / 100;
      paint(state.other);
    }
    pen.restore();
    if (state.jacobian) pen.drawImage(slice(change, plane, at, STRETCHES), 0, 0, width, height);
    if (state.grid) pen.drawImage(gridLines(plane, width, height), 0, 0);
    if (data.dim === 3) cross(pen, plane, width, height);
  }

  function cross(pen, plane, width, height) {
    const x = ((state.at[plane.across] + 0.5) / data.shape[plane.across]) * width;
    const y = ((state.at[plane.down] + 0.5) / data.shape[plane.down]) * height;
    pen.strokeStyle = "rgba(120, 220, 214, .75)";
    pen.lineWidth = 1;
    pen.beginPath();
    for (const [a, b] of [[0, x - 9], [x + 9, width]]) { pen.moveTo(a, y); pen.lineTo(b, y); }
    for (const [a, b] of [[0, y - 9], [y + 9, height]]) { pen.moveTo(x, a); pen.lineTo(x, b); }
    pen.stroke();
  }

  function place(at) {
    const world = data.affine.slice(0, data.dim).map((row) => row[data.dim] + at.slice(0, data.dim).reduce((sum, v, a) => sum + row[a] * v, 0));
    return world.map((v, a) => `${data.dim === 3 ? LETTERS[a][v >= 0 ? 0 : 1] : "xy"[a]} ${(data.dim === 3 ? Math.abs(v) : v).toFixed(1)}`);
  }

  // in world RAS+ the letters of a positive coordinate are R, A and S
  function tell() {
    const words = place(state.at), u = displacement(state.at), n = data.jacobian.shape;
    const at = state.at.map((v, a) => Math.min(n[a] - 1, Math.floor(((v + 0.5) / data.shape[a]) * n[a])));
    const code = change.voxels[at[0] + n[0] * (at[1] + n[1] * at[2])];
    const times = code === 0 ? "folding" : `volume × ${(data.jacobian.stretch ** ((code - 128) / 127)).toFixed(2)}`;
    root.querySelector(".readout").textContent = `${words.join("  ")} mm · displaced ${Math.hypot(...u).toFixed(1)} mm · ${times}`;
    for (const view of views) if (view.slider) {
      view.slider.value = view.slider.max - state.at[view.plane.through];
      view.slider.closest("label").querySelector("output").textContent = `${words[view.plane.through]} mm`;
    }
  }

  let waiting = false;
  function update() {
    tell();
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(now);
    }
  }
  function now() {
    waiting = false;
    views.forEach(draw);
  }

  const press = (selector, chosen) => root.querySelectorAll(selector).forEach((b) => b.setAttribute("aria-pressed", String(chosen(b))));
  let clock = 0;
  const amount = root.querySelector("[data-amount]");
  function pace() {
    clearInterval(clock);
    state.phase = 0;
    // never more than three changes a second
    if (state.mode === "flicker") clock = setInterval(() => { state.phase ^= 1; now(); }, 1300 - 9.5 * state.amount.flicker);
  }
  function choose(mode) {
    state.mode = mode;
    press("[data-mode]", (b) => b.dataset.mode === mode);
    const named = AMOUNTS[mode];
    amount.closest("label").style.visibility = named ? "visible" : "hidden";
    if (named) {
      root.querySelector("[data-amount-name]").textContent = named[0];
      amount.value = state.amount[mode];
    }
    pace();
    update();
  }
  root.querySelectorAll("[data-mode]").forEach((b) => b.addEventListener("click", () => choose(b.dataset.mode)));
  root.querySelectorAll("[data-other]").forEach((b) => b.addEventListener("click", () => {
    state.other = b.dataset.other;
    press("[data-other]", (o) => o === b);
    update();
  }));
  root.querySelectorAll("[data-overlay]").forEach((b) => b.addEventListener("click", () => {
    const name = b.dataset.overlay;
    state[name] = !state[name];
    b.setAttribute("aria-pressed", String(state[name]));
    root.querySelector(`[data-legend="${name}"]`).hidden = !state[name];
    update();
  }));
  amount.addEventListener("input", () => {
    state.amount[state.mode] = Number(amount.value);
    if (state.mode === "flicker") pace();
    update();
  });
  root.querySelector("[data-pitch]").textContent = String(pitch);
  root.querySelector("[data-least]").textContent = `÷ ${data.jacobian.stretch}`;
  root.querySelector("[data-most]").textContent = `× ${data.jacobian.stretch}`;

  const views = [...root.querySelectorAll("[data-plane]")].map((figure) => {
    const plane = PLANES[Number(figure.dataset.plane)], canvas = figure.querySelector("canvas");
    canvas.width = Math.max(1, Math.round(extent[plane.across] * perMm));
    canvas.height = Math.max(1, Math.round(extent[plane.down] * perMm));
    figure.style.flex = `${extent[plane.across]} 1 0`;
    figure.style.maxWidth = `${Math.round(canvas.width * (data.dim === 3 ? 0.84 : 1.15))}px`;
    const slider = figure.querySelector("[data-slice]");
    const step = (by) => {
      const a = plane.through;
      state.at[a] = Math.min(data.shape[a] - 1, Math.max(0, state.at[a] + by));
      update();
    };
    if (slider) {
      slider.max = data.shape[plane.through] - 1;
      slider.addEventListener("input", () => {
        state.at[plane.through] = slider.max - slider.value;
        update();
      });
      for (const [side, axis, end] of [["left", "across", 0], ["right", "across", 1], ["top", "down", 0], ["bottom", "down", 1]]) {
        figure.querySelector(`.letter.${side}`).textContent = LETTERS[plane[axis]][end];
      }
      canvas.addEventListener("wheel", (event) => { event.preventDefault(); step(Math.sign(event.deltaY)); }, { passive: false });
    }
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowUp: -1, PageUp: -5, ArrowDown: 1, PageDown: 5 }[event.key];
      if (by && slider) { event.preventDefault(); step(by); }
    });
    let dragged = "";
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
      if (event.type === "pointerdown") {
        canvas.setPointerCapture(event.pointerId);
        dragged = state.mode === "swipe" && Math.abs(100 * x - state.amount.swipe) < 4 ? "edge" : "cross";
      } else if (!event.buttons) return;
      if (dragged === "edge") {
        state.amount.swipe = amount.value = Math.round(100 * Math.min(1, Math.max(0, x)));
      } else {
        for (const [value, a] of [[x, plane.across], [y, plane.down]]) {
          state.at[a] = Math.min(data.shape[a] - 1, Math.max(0, Math.floor(value * data.shape[a])));
        }
      }
      update();
    };
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("pointermove", point);
    return { figure, plane, canvas, slider };
  });
  choose(state.mode);
  now();
  return { root, state, views, choose, now };
}
