// Controls: the buttons and sliders of a viewer, and the rows of the tables that lead into it.
const AMOUNTS = { swipe: ["Swipe", 50], checker: ["Squares", 45], blend: ["Mix", 50], flicker: ["Pace", 40] };

function controls(v) {
  const { root, state, data } = v, article = root.closest("article");
  const all = (selector) => root.querySelectorAll(selector);
  const press = (selector, chosen) => all(selector).forEach((b) => b.setAttribute("aria-pressed", String(chosen(b))));
  const amount = root.querySelector("[data-amount]"), zoomed = root.querySelector("[data-zoomed]");
  let clock = 0;
  function pace() {
    clearInterval(clock);
    state.phase = 0;
    // never more than three changes a second
    if (state.mode === "flicker") clock = setInterval(() => { state.phase ^= 1; v.now(); }, 1300 - 9.5 * state.amount.flicker);
  }
  function choose(mode) {
    state.mode = mode;
    press("[data-mode]", (b) => b.dataset.mode === mode);
    amount.closest("label").style.visibility = AMOUNTS[mode] ? "visible" : "hidden";
    if (AMOUNTS[mode]) root.querySelector("[data-amount-name]").textContent = AMOUNTS[mode][0];
    pace();
    v.update();
  }
  function layer(name, on) {
    if (on) state.layers.add(name);
    else state.layers.delete(name);
    press(`[data-overlay="${name}"]`, () => on);
    all(`[data-legend="${name}"]`).forEach((legend) => { legend.hidden = !on; });
    v.update();
  }
  all("[data-mode]").forEach((b) => b.addEventListener("click", () => choose(b.dataset.mode)));
  all("[data-overlay]").forEach((b) => b.addEventListener("click", () => layer(b.dataset.overlay, !state.layers.has(b.dataset.overlay))));
  all("[data-other]").forEach((b) => b.addEventListener("click", () => {
    state.other = b.dataset.other;
    press("[data-other]", (o) => o === b);
    v.update();
  }));
  all("[data-tool]").forEach((b) => b.addEventListener("click", () => {
    state.tool = b.dataset.tool;
    press("[data-tool]", (o) => o === b);
    v.update();
  }));
  amount.addEventListener("input", () => {
    state.amount[state.mode] = Number(amount.value);
    if (state.mode === "flicker") pace();
    v.update();
  });
  root.querySelector("[data-edges]").addEventListener("input", (event) => {
    state.edges = Number(event.target.value);
    v.update();
  });
  all("[data-zoom]").forEach((b) => b.addEventListener("click", () => {
    state.zoom = Math.min(40, Math.max(1, state.zoom * Number(b.dataset.zoom)));
    if (b.dataset.zoom === "0") v.reset();
    else if (data.dim === 3) state.middle = state.at.map((at, a) => (at + 0.5) * data.spacing[a]);
    v.hold();
    v.update();
  }));
  const bars = [...all("[data-window]")];
  bars.forEach((bar) => bar.addEventListener("input", () => {
    const both = bars.filter((b) => b.dataset.window === bar.dataset.window);
    v.window.slide(bar.dataset.window, Number(both[0].value), Number(both[1].value));
    v.update();
  }));
  root.querySelector("[data-preset]")?.addEventListener("change", (event) => {
    v.window.preset(event.target.value);
    v.update();
  });
  all("[data-large]").forEach((b) => b.addEventListener("click", () => {
    const figure = b.closest("figure"), large = !figure.classList.contains("large");
    all("figure").forEach((f) => f.classList.toggle("large", f === figure && large));
    root.querySelector(".planes").classList.toggle("one", large);
    press("[data-large]", (o) => o === b && large);
    v.fit();
  }));
  const rows = (kind, go) => article.querySelectorAll(`[data-go-${kind}]`).forEach((b) => b.addEventListener("click", () => {
    const chosen = b.getAttribute("aria-pressed") !== "true";
    article.querySelectorAll(`[data-go-${kind}]`).forEach((o) => o.setAttribute("aria-pressed", String(o === b && chosen)));
    go(Number(b.getAttribute(`data-go-${kind}`)), chosen);
    if (chosen) root.scrollIntoView({ block: "nearest" });
  }));
  rows("label", (number, chosen) => {
    const code = data.labels ? data.labels.numbers.indexOf(number) : -1;
    state.label = chosen ? code : -1;
    if (chosen && code > 0) v.toLabel(code);
    if (data.labels) layer("labels", true);
  });
  rows("mark", (number, chosen) => {
    state.mark = chosen ? number : -1;
    if (chosen) v.to(data.landmarks.find((mark) => mark.number === number).fixed);
    layer("landmarks", true);
  });
  /** What was dragged or turned with the wheel is seen in the sliders too. */
  function follow() {
    if (AMOUNTS[state.mode]) amount.value = state.amount[state.mode];
    zoomed.textContent = `${Math.round(100 * state.zoom)} %`;
    for (const name of ["fixed", "moving"]) {
      const found = v.window.sliders(name);
      bars.filter((b) => b.dataset.window === name).forEach((bar, n) => { bar.value = found[n]; });
    }
  }
  return { choose, layer, follow };
}
