// What pages that paint images share; an anywidget module with the file that follows it: no library, no build step, no
// name outside of the module. A `model` has get, set, on, save_changes and send, as in Jupyter; `standalone` makes one
// for a page without a kernel.

async function decoded(file, type) { // base64 text on a page without a kernel, else a DataView
  const bytes = typeof file === "string" ? Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0)) : file;
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(new Blob([bytes], { type }), options);
  const context = canvasOf(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

async function gray(file) {
  const { data } = await decoded(file, "image/png");
  const values = new Uint8Array(data.length / 4);
  for (let i = 0; i < values.length; i++) values[i] = data[4 * i];
  return values;
}

function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) key in node ? (node[key] = value) : node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function canvasOf(width, height, pixels) { // Uint8ClampedArray, RGBA
  const canvas = element("canvas", { width, height });
  if (pixels) canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}

const IMAGE_SLIDER = ["image", 0, (page) => page.rows.length - 1, 1, (value, last) => `${value + 1} of ${last + 1}`];

/** Images that the kernel sends by their rows in `items`, ahead of need. Subclasses have `picture(files)`, a promise of
 * what `paint()` finds in `this.image`. `sliders`: name -> [label, smallest, largest or a function, step, text of a value];
 * `upDown` is the slider that the arrows up and down move. */
class CanvasPage {
  constructor(model, el, cache, { label, sliders, upDown }) {
    const items = model.get("items"), facts = model.get("facts");
    Object.assign(this, { model, cache, facts, sliders, upDown, image: null, row: -1, rows: items.map((_, row) => row) });
    const keys = `Images; left and right arrow: another image, up and down: ${sliders[upDown][0]}`;
    this.controls = element("div", { className: "controls" });
    this.caption = element("p", { className: "caption", role: "status" });
    this.panels = element("div", { className: "panels", tabIndex: 0, role: "group", "aria-label": keys });
    this.panels.onkeydown = (event) => this.key(event);
    this.legend = element("p", { className: "legend" });
    const named = { className: "labkit-browser", role: "group", "aria-label": label };
    this.root = element("div", { ...named, "data-lm-suppress-shortcuts": "true" }); // JupyterLab leaves our keys alone
    this.root.append(this.controls, this.caption, this.panels, this.legend);
    el.replaceChildren(this.root);
    model.on("change:position", () => this.open());
    model.on("change:images", () => this.received());
    for (const name of Object.keys(sliders)) if (name !== "position") model.on(`change:${name}`, () => this.schedule());
  }

  addChoice(name, texts) {
    const options = Object.entries(texts).map(([value, text]) => element("option", { value }, text));
    const list = element("select", { onchange: () => this.set(name, list.value) }, ...options);
    const show = () => { list.value = this.model.get(name); };
    this.model.on(`change:${name}`, show);
    show();
    this.controls.append(element("label", {}, `${name} `, list));
  }

  addSteps() {
    const button = (text, label, by) => {
      const onclick = () => this.step("position", by);
      return element("button", { type: "button", "aria-label": label, onclick }, text);
    };
    const both = [button("◀", "previous image", -1), button("▶", "next image", 1)];
    this.controls.append(element("span", { className: "steps" }, ...both));
  }

  addSlider(name) { // for a page without a kernel
    const [label, min, , step, text = (value) => value.toFixed(2)] = this.sliders[name], { model } = this;
    const number = element("output"), input = element("input", { type: "range", min, step });
    const show = () => {
      input.max = this.largest(name);
      input.value = model.get(name);
      number.textContent = text(Number(input.value), this.largest(name), this);
    };
    input.oninput = () => this.set(name, Number(input.value));
    for (const changed of Object.keys(this.sliders)) model.on(`change:${changed}`, show);
    show();
    this.controls.append(element("label", { className: "slider" }, element("span", {}, label), input, number));
  }

  largest(name) {
    const largest = this.sliders[name][2];
    return typeof largest === "function" ? largest(this) : largest;
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  step(name, by) {
    const [, smallest, , width] = this.sliders[name], value = this.model.get(name) + by * width;
    this.set(name, Number(Math.min(this.largest(name), Math.max(smallest, value)).toFixed(2)));
  }

  key(event) {
    const { upDown } = this, move = { ArrowLeft: ["position", -1], ArrowRight: ["position", 1],
      ArrowUp: [upDown, 1], ArrowDown: [upDown, -1] }[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.step(...move);
  }

  received() {
    for (const [row, files] of Object.entries(this.model.get("images"))) {
      if (!this.cache.has(Number(row))) this.cache.set(Number(row), { files });
    }
    this.open();
  }

  decoded(row) { // undefined while the image is not here
    const entry = this.cache.get(row);
    return entry && (entry.picture ??= this.picture(entry.files));
  }

  async open() {
    const at = Math.min(this.model.get("position"), this.rows.length - 1), row = this.rows[at];
    const near = [0, 1, -1, 2, -2].map((by) => this.rows[at + by]).filter((other) => other !== undefined);
    const missing = near.filter((other) => !this.cache.has(other));
    if (missing.length && this.model.get("kernel") && String(missing) !== String(this.model.get("wanted"))) {
      this.set("wanted", missing);
    }
    this.wish = row;
    const image = await this.decoded(row);
    if (!image || this.wish !== row) return;
    Object.assign(this, { image, row });
    this.schedule();
    for (const other of near) this.decoded(other); // ahead
    for (const [other, entry] of this.cache) if (!near.includes(other)) entry.picture = undefined; // for memory
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.image) this.paint();
    });
  }

  /** So many figures in `panels`, as [canvas, caption] each. */
  figures(count) {
    while (this.panels.children.length > count) this.panels.lastChild.remove();
    while (this.panels.children.length < count) {
      this.panels.append(element("figure", {}, element("canvas", { role: "img" }), element("figcaption")));
    }
    return [...this.panels.children].map((figure) => [...figure.children]);
  }
}

function standalone(Page, el, state) {
  const told = new EventTarget();
  const set = (name, value) => {
    if (state[name] === value) return;
    state[name] = value;
    told.dispatchEvent(new Event(`change:${name}`));
  };
  const on = (name, listener) => told.addEventListener(name, listener);
  new Page({ get: (name) => state[name], set, on, save_changes() {}, send() {} }, el, new Map());
}

function widget(Page) {
  const cache = new Map(); // of one widget, for all its views: row -> promise of a picture
  return { render({ model, el }) { new Page(model, el, cache); } };
}
