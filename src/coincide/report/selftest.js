// Selftest: with #selftest in the address, use every control and note whether the picture changed.
const trouble = [];
addEventListener("error", (event) => trouble.push(event.message));
addEventListener("unhandledrejection", (event) => trouble.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => trouble.push(`refused to fetch ${event.blockedURI}`));

function selftest(v) {
  const { root, state, views, choose, now, data } = v, article = root.closest("article");
  const pixels = (view) => view.canvas.getContext("2d", READ).getImageData(0, 0, view.canvas.width, view.canvas.height).data;
  const print = (view = views[0]) => {
    const found = pixels(view);
    let hash = 7;
    for (let n = 0; n < found.length; n += 4) hash = (Math.imul(hash, 31) + found[n] + 3 * found[n + 1] + 7 * found[n + 2]) | 0;
    return hash;
  };
  const changed = (act, view = views[0]) => {
    now();
    const before = print(view);
    act();
    now();
    return print(view) !== before;
  };
  const input = (element, value) => {
    element.value = value;
    element.dispatchEvent(new Event("input"));
  };
  const drag = (canvas, by, options = {}) => {
    const box = canvas.getBoundingClientRect(), x = box.left + box.width * 0.3, y = box.top + box.height * 0.3;
    for (const [name, dx] of [["pointerdown", 0], ["pointermove", by], ["pointerup", by]]) {
      canvas.dispatchEvent(new PointerEvent(name, { clientX: x + dx, clientY: y + dx, buttons: 1, pointerId: 1, ...options }));
    }
  };
  const result = { modes: {}, overlays: {}, slices: [], windows: {}, before: null, after: null, size: [], letters: [], tables: {} };
  for (const view of views) {
    result.size.push([view.canvas.width, view.canvas.height, view.canvas.clientWidth, view.canvas.clientHeight]);
    result.letters.push([...view.figure.querySelectorAll(".letter")].map((l) => l.textContent).join(""));
    if (!view.slider) continue;
    choose("fixed");
    result.slices.push(changed(() => input(view.slider, Math.floor(view.slider.max * 0.25)), view));
  }
  const shades = new Set(pixels(views[0]));
  result.drawn = shades.size;
  for (const button of root.querySelectorAll("[data-mode]")) {
    button.click();
    if (button.dataset.mode === "flicker") {
      result.flickers = changed(() => { state.phase = 1; });
      continue;
    }
    now();
    result.modes[button.dataset.mode] = print();
  }
  choose("other");
  for (const button of root.querySelectorAll("[data-other]")) {
    button.click();
    now();
    result[button.dataset.other === "moving" ? "before" : "after"] = print();
  }
  result.colours = (() => {
    const found = pixels(views[0]);
    let tinted = 0;
    for (let n = 0; n < found.length; n += 4) tinted += Math.max(found[n], found[n + 1], found[n + 2]) - Math.min(found[n], found[n + 1], found[n + 2]) > 12;
    // lines of a cross are not an image in colour
    return tinted > 0.05 * (found.length / 4);
  })();
  choose("blend");
  for (const bar of root.querySelectorAll("[data-window]")) {
    const name = bar.getAttribute("aria-label");
    result.windows[name] = changed(() => input(bar, 62));
    input(bar, 50);
  }
  const plain = (now(), print());
  result.draggedWindow = changed(() => drag(views[0].canvas, 20, { button: 2 }));
  v.window.preset("usual");
  result.zooms = changed(() => root.querySelector('[data-zoom="1.5"]').click());
  result.wheels = changed(() => views[0].canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -1, ctrlKey: true, clientX: 0, clientY: 0 })));
  result.pans = changed(() => drag(views[0].canvas, 15, { shiftKey: true }));
  result.zoomed = root.querySelector("[data-zoomed]").textContent;
  root.querySelector('[data-zoom="0"]').click();
  now();
  result.returns = print() === plain;
  const edge = root.querySelector("[data-large]");
  if (edge) {
    const wide = views[0].canvas.width;
    edge.click();
    result.enlarges = views[0].canvas.width > wide && views[1].canvas.clientWidth === 0;
    edge.click();
    result.shrinks = views[0].canvas.width === wide;
  }
  for (const [kind, layer] of [["label", "labels"], ["mark", "landmarks"]]) {
    const row = article.querySelector(`[data-go-${kind}]`);
    if (!row) continue;
    result.tables[kind] = changed(() => row.click());
    row.click();
    if (state.layers.has(layer)) root.querySelector(`[data-overlay="${layer}"]`).click();
  }
  // landmarks and labels need not cross the middle slice: look where they are
  if (data.landmarks.length) v.to(data.landmarks[0].fixed);
  for (const button of root.querySelectorAll("[data-overlay]")) {
    result.overlays[button.dataset.overlay] = changed(() => button.click());
    button.click();
  }
  now();
  result.readout = root.querySelector(".readout").textContent;
  result.values = root.querySelector("[data-values]").textContent;
  result.fetched = performance.getEntriesByType("resource").map((e) => e.name).filter((name) => !/^(data|blob):/.test(name));
  result.trouble = trouble;
  return result;
}
