// Start: open the viewers of the page; #mode=swipe&overlay=grid in the address presses buttons, and
// #mark=9&zoom=1.5 goes to a landmark, #label=17 to a label.
async function start() {
  const wanted = new URLSearchParams(location.hash.slice(1)), results = [];
  const roots = [...document.querySelectorAll("[data-viewer]")];
  const begin = async (root) => {
    const made = await viewer(root);
    for (const key of ["mode", "other", "overlay", "go-mark", "go-label", "zoom"]) {
      for (const value of wanted.getAll(key.replace("go-", ""))) {
        root.closest("article").querySelector(`[data-${key}="${CSS.escape(value)}"]`)?.click();
      }
    }
    made.now();
    return made;
  };
  if (wanted.has("selftest")) {
    for (const root of roots) results.push(selftest(await begin(root)));
    document.body.dataset.selftest = JSON.stringify(results);
    return;
  }
  // a viewer far down the page is opened when it comes into sight
  const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    watcher.unobserve(entry.target);
    begin(entry.target);
  }), { rootMargin: "400px" });
  if (roots.length) await begin(roots[0]);
  roots.slice(1).forEach((root) => watcher.observe(root));
}
start().catch((problem) => {
  document.body.dataset.selftest = JSON.stringify([{ trouble: [...trouble, String(problem.stack || problem)] }]);
  throw problem;
});
