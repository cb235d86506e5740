// Pointer: mouse, pen and fingers on a view. Left as the tool says; right windows, middle or Shift pans.
function pointer(v, view) {
  const { canvas, plane } = view, { state, data } = v;
  let doing = "", last = [0, 0];
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  const voxel = (value, a) => Math.min(data.shape[a] - 1, Math.max(0, Math.round(value)));
  function zoom(by, [px, py]) {
    const at = frame(v, view), before = at.back(px, py);
    state.zoom = Math.min(40, Math.max(1, state.zoom * by));
    const after = frame(v, view).back(px, py);
    state.middle[plane.across] += (before[0] - after[0]) * data.spacing[plane.across];
    state.middle[plane.down] += (before[1] - after[1]) * data.spacing[plane.down];
    v.hold();
  }
  function window([dx, dy]) {
    const names = state.mode === "fixed" ? ["fixed"] : state.mode === "other" ? ["moving"] : ["fixed", "moving"];
    for (const name of names) {
      const [brightness, contrast] = v.window.sliders(name);
      v.window.slide(name, Math.min(100, Math.max(0, brightness - dy * 60)), Math.min(100, Math.max(0, contrast - dx * 80)));
    }
  }
  canvas.addEventListener("pointerdown", (event) => {
    if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
    last = where(event);
    const edge = state.mode === "swipe" && Math.abs((100 * last[0]) / canvas.width - state.amount.swipe) < 3;
    doing = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : edge ? "edge" : state.tool;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    move(event);
  });
  function move(event) {
    if (!doing) return;
    const [px, py] = where(event), by = [px - last[0], py - last[1]], at = frame(v, view);
    if (doing === "edge") {
      state.amount.swipe = Math.round(100 * Math.min(1, Math.max(0, px / canvas.width)));
    } else if (doing === "pan") {
      state.middle[plane.across] -= by[0] / at.scale;
      state.middle[plane.down] -= by[1] / at.scale;
      v.hold();
    } else if (doing === "window") {
      window([by[0] / canvas.width, by[1] / canvas.height]);
    } else {
      const [x, y] = at.back(px, py);
      state.at[plane.across] = voxel(x, plane.across);
      state.at[plane.down] = voxel(y, plane.down);
    }
    last = [px, py];
    v.update();
  }
  canvas.addEventListener("pointermove", move);
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { doing = ""; });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey || data.dim === 2) zoom(event.deltaY < 0 ? 1.25 : 0.8, where(event));
    else step(Math.sign(event.deltaY));
    v.update();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, PageUp: -5, ArrowDown: 1, PageDown: 5 }[event.key], near = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
    if (near) zoom(near, [canvas.width / 2, canvas.height / 2]);
    else if (by && data.dim === 3) step(by);
    else return;
    event.preventDefault();
    v.update();
  });
  function step(by) {
    state.at[plane.through] = voxel(state.at[plane.through] + by, plane.through);
  }
}
