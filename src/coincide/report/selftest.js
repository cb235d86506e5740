// Selftest: with #selftest in the address, use every control and note whether the picture changed.
const trouble = [];
addEventListener("error", (event) => trouble.push(event.message));
addEventListener("unhandledrejection", (event) => trouble.push(String(event.reason)));

function selftest({ root, state, views, choose, now }) {
  const print = (view = views[0]) => {
    const pixels = view.canvas.getContext("2d", READ).getImageData(0, 0, view.canvas.width, view.canvas.height).data;
    let hash = 7;
    for (let n = 0; n < pixels.length; n += 4) hash = (Math.imul(hash, 31) + pixels[n] + 3 * pixels[n + 1] + 7 * pixels[n + 2]) | 0;
    return hash;
  };
  const result = { modes: {}, overlays: {}, slices: [], before: null, after: null, size: [], letters: [] };
  for (const view of views) {
    result.size.push([view.canvas.width, view.canvas.height]);
    result.letters.push([...view.figure.querySelectorAll(".letter")].map((l) => l.textContent).join(""));
    if (!view.slider) continue;
    choose("fixed");
    now();
    const before = print(view);
    view.slider.value = Math.round(view.slider.max * 0.4);
    view.slider.dispatchEvent(new Event("input"));
    now();
    result.slices.push(print(view) !== before);
  }
  for (const button of root.querySelectorAll("[data-mode]")) {
    button.click();
    if (button.dataset.mode === "flicker") {
      now();
      const still = print();
      state.phase = 1;
      now();
      result.flickers = print() !== still;
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
  for (const button of root.querySelectorAll("[data-overlay]")) {
    button.click();
    now();
    result.overlays[button.dataset.overlay] = print();
    button.click();
  }
  result.readout = root.querySelector(".readout").textContent;
  result.trouble = trouble;
  return result;
}
