// Window: which values are black and white, for each image; brightness and contrast move it.
const PRESETS = { soft: [-160, 240], lung: [-1350, 150], bone: [-450, 1050] };

function windows(data, state) {
  const ends = (name) => [data.volumes[name].values[0], data.volumes[name].values[255]];
  const usual = (name) => data.volumes[name].window;
  state.window = { fixed: [...usual("fixed")], moving: [...usual("moving")] };

  /** Code to 0 … 255. */
  function ramp(name) {
    const [low, high] = state.window[name === "fixed" ? "fixed" : "moving"];
    return Uint8ClampedArray.from(data.volumes[name].values, (v) => (255 * (v - low)) / Math.max(1e-9, high - low));
  }
  function set(name, low, high) {
    const [least, most] = ends(name), span = most - least;
    const width = Math.min(2 * span, Math.max(span / 500, high - low)), middle = Math.min(most, Math.max(least, (low + high) / 2));
    state.window[name] = [middle - width / 2, middle + width / 2];
  }
  /** Brightness and contrast, 0 to 100 each, 50 as the page began. */
  function sliders(name) {
    const [low, high] = state.window[name], [from, to] = usual(name), [least, most] = ends(name);
    return [50 - (50 * (low + high - from - to)) / (most - least), 50 + 25 * Math.log2((to - from) / (high - low))];
  }
  function slide(name, brightness, contrast) {
    const [from, to] = usual(name), [least, most] = ends(name);
    const middle = (from + to) / 2 + ((50 - brightness) / 100) * (most - least), width = (to - from) * 2 ** ((50 - contrast) / 25);
    set(name, middle - width / 2, middle + width / 2);
  }
  function preset(name) {
    for (const image of ["fixed", "moving"]) {
      if (name !== "usual" && !data.volumes[image].hounsfield) continue;
      set(image, ...(PRESETS[name] ?? usual(image)));
    }
  }
  return { ramp, set, sliders, slide, preset };
}
