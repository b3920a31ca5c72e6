// The browser of predictions: what it paints, measures and answers to. It follows canvas.js, in the same module.

const SKY = [86, 180, 233], GREEN = [0, 158, 115], BLUE = [0, 114, 178], VERMILION = [213, 94, 0];
const PURPLE = [204, 121, 167], WHITE = [255, 255, 255], ORANGE = [230, 159, 0];
const LIGHT = [235, 235, 235], DARK = [200, 200, 200], IGNORED = 255;
const VIEWS = { all: "side by side", overlay: "prediction", probability: "probability", errors: "mistakes",
  truth: "truth", cutout: "cut out" };
const SLIDERS = {
  position: IMAGE_SLIDER, threshold: ["threshold", 0.02, 0.98, 0.02],
  opacity: ["opacity", 0, 1, 0.05], zoom: ["zoom", 1, 8, 0.5],
};

/** One image as the kernel sent it: {width, height, rgba, truth or null, runs: [{classes, maps}]}. */
async function picture(files, runs) {
  const { width, height, data } = await decoded(files.image, "image/jpeg");
  const found = { width, height, rgba: data, truth: files.truth ? await gray(files.truth) : null, runs: [] };
  for (let run = 0; run < runs; run++) {
    const stacked = await gray(files[`map${run}`]), classes = files[`classes${run}`];
    const maps = classes.map((_, i) => stacked.subarray(i * width * height, (i + 1) * width * height));
    found.runs.push({ classes, maps });
  }
  return found;
}

/** Class of each pixel: with one map, 1 where its probability reaches the threshold; else the most probable class. */
export function predicted({ classes, maps }, threshold) {
  if (classes.length === 1 && classes[0] === 1) return maps[0].map((level) => level >= 256 * threshold);
  return maps[0].map((_, i) => {
    let best = 0;
    for (let k = 1; k < maps.length; k++) if (maps[k][i] > maps[best][i]) best = k;
    return classes[best];
  });
}

/** Hard Dice of one image, the mean over the classes in prediction or truth; and that of each of them. */
export function dice(mask, truth) {
  const both = new Float64Array(256), sizes = new Float64Array(256);
  for (let i = 0; i < mask.length; i++) {
    if (truth[i] === IGNORED) continue;
    sizes[mask[i]]++;
    sizes[truth[i]]++;
    if (mask[i] === truth[i]) both[mask[i]]++;
  }
  const scores = {};
  for (let k = 1; k < IGNORED; k++) if (sizes[k]) scores[k] = (2 * both[k]) / sizes[k];
  const values = Object.values(scores);
  return { mean: values.length ? values.reduce((a, b) => a + b) / values.length : 1, scores };
}

function isOutline(inside, i, width, height) { // one of its four neighbors in the image lies outside
  const x = i % width, y = (i - x) / width;
  return inside(i) && ((x > 0 && !inside(i - 1)) || (x < width - 1 && !inside(i + 1)) ||
    (y > 0 && !inside(i - width)) || (y < height - 1 && !inside(i + width)));
}

/** Color and opacity that a view lays over pixel i; null leaves the pixel as it is. */
function tint(view, image, run, mask, { opacity, colors, several }) {
  const { truth, width, height } = image;
  const known = truth ?? new Uint8Array(mask.length).fill(IGNORED);
  const pet = (i) => known[i] > 0 && known[i] !== IGNORED, cut = (i) => mask[i] > 0;
  if (view === "overlay") return (i) => cut(i) && [several ? colors[mask[i]] : SKY, opacity];
  if (view === "truth") return (i) => pet(i) && [several ? colors[known[i]] : GREEN, opacity];
  if (view === "errors") {
    const strength = Math.max(0.2, opacity);
    return (i) => {
      if (known[i] !== IGNORED && mask[i] !== known[i]) {
        return [mask[i] === 0 ? BLUE : known[i] === 0 ? VERMILION : PURPLE, strength];
      }
      return isOutline(pet, i, width, height) && [WHITE, 1]; // only where right: it hides no mistake
    };
  }
  if (view === "probability") {
    const grays = Array.from({ length: 256 }, (_, level) => [level, level, level]), strength = 0.3 + 0.7 * opacity;
    return (i) => {
      if (isOutline(cut, i, width, height)) return [ORANGE, 1];
      if (!several) return [grays[run.maps[0][i]], strength];
      const most = run.maps.reduce((top, map) => Math.max(top, map[i]), 0) / 255;
      return [colors[mask[i]].map((c) => c * most), strength];
    };
  }
  return (i) => { // cutout: a checkerboard where no pet is
    const light = (((i % width) >> 3) + (Math.floor(i / width) >> 3)) & 1;
    return !cut(i) && [light ? LIGHT : DARK, 1];
  };
}

/** The pixels of a view, `Uint8ClampedArray` (RGBA), as `labkit.painting` paints them. */
export function painted(view, image, run, mask, settings) {
  const out = new Uint8ClampedArray(image.rgba), color = tint(view, image, run, mask, settings);
  const plain = view === "errors" || view === "probability";
  for (let i = 0, p = 0; i < mask.length; i++, p += 4) {
    if (plain) out[p] = out[p + 1] = out[p + 2] = Math.floor((out[p] + out[p + 1] + out[p + 2]) / 3);
    const found = color(i);
    for (let c = 0; found && c < 3; c++) out[p + c] = (1 - found[1]) * out[p + c] + found[1] * found[0][c];
  }
  return out;
}

function drawing(name, attributes, ...children) { // of an svg
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** A small plot in a unit square: returns the svg, and functions from data to its coordinates. */
function plot(label, xLabel, yLabel, [left, right], [low, high]) {
  const x = (value) => 44 + (260 * (value - left)) / (right - left || 1);
  const y = (value) => 142 - (116 * (value - low)) / (high - low || 1);
  const text = (tx, ty, anchor, words) => drawing("text", { x: tx, y: ty, "text-anchor": anchor }, words);
  const tick = (tx, ty, anchor, value) => text(tx, ty, anchor, String(Number(value.toPrecision(3))));
  const note = text(176, 14, "middle", "");
  const svg = drawing("svg", { viewBox: "0 0 320 184", role: "img", "aria-label": label },
    drawing("path", { d: "M44 20V142H308", class: "axis" }), note,
    tick(44, 157, "start", left), tick(308, 157, "end", right), tick(40, 142, "end", low), tick(40, 30, "end", high),
    text(176, 176, "middle", xLabel),
    drawing("text", { transform: "translate(12 82) rotate(-90)", "text-anchor": "middle" }, yLabel));
  return { svg, note, x, y };
}

class Page extends CanvasPage {
  constructor(model, el, cache) {
    super(model, el, cache, { label: "Browser of predictions", sliders: SLIDERS, upDown: "threshold" });
    this.colors = this.facts.classes.map(([, color]) => color);
    this.several = this.colors.length > 2;
    this.message = element("p", { className: "message", role: "status" });
    this.plots = element("div", { className: "plots" });
    this.root.append(this.message, this.plots);
    this.addControls();
    this.drawPlots();
    model.on("change:view", () => this.schedule());
    for (const name of ["items", "order"]) model.on(`change:${name}`, () => this.sort());
    model.on("change:message", () => { this.message.textContent = model.get("message"); });
    this.sort();
    this.received();
  }

  picture(files) {
    return picture(files, this.facts.runs.length);
  }

  addControls() {
    const { columns } = this.facts;
    this.addChoice("view", VIEWS);
    const orders = columns.includes("dice") ? { given: "worst first", best: "best first" } : { given: "as given" };
    const more = Object.fromEntries(columns.filter((c) => c !== "dice").map((c) => [c, c.replaceAll("_", " ")]));
    this.addChoice("order", { ...orders, name: "name", breed: "breed", ...more });
    this.addSteps();
    if (this.model.get("kernel")) this.controls.append(...this.photoControls());
    else for (const name of Object.keys(SLIDERS)) if (name !== "threshold" || !this.several) this.addSlider(name);
  }

  photoControls() {
    const send = async ([file]) => {
      if (!file) return;
      this.set("message", `${file.name} is being predicted …`);
      this.model.send({ photo: file.name }, undefined, [await file.arrayBuffer()]);
    };
    const input = element("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "a photo of your own" });
    input.onchange = () => send(input.files).then(() => { input.value = ""; });
    this.root.ondragover = (event) => event.preventDefault();
    this.root.ondrop = (event) => { event.preventDefault(); send(event.dataTransfer.files); };
    return [input, element("button", { type: "button", onclick: () => input.click() }, "your own photo …"),
      element("button", { type: "button", onclick: () => this.model.send({ save: this.row }) }, "save cut out")];
  }

  set(name, value) {
    if (name === "order") this.model.set("position", 0);
    super.set(name, value);
  }

  sort() { // what has no value comes last
    const items = this.model.get("items"), order = this.model.get("order"), sign = order === "best" ? -1 : 1;
    const key = { best: "dice" }[order] ?? order;
    const value = (row) => items[row][key] ?? items[row].values[key] ?? null;
    const compared = (a, b) => (value(a) === null) - (value(b) === null) ||
      (value(a) < value(b) ? -sign : value(a) > value(b) ? sign : a - b);
    this.rows = items.map((_, row) => row);
    if (order !== "given") this.rows.sort(compared);
    this.open();
  }

  paint() {
    const { model, image, several, colors } = this, view = model.get("view"), threshold = model.get("threshold");
    const masks = image.runs.map((run) => predicted(run, threshold));
    const scores = masks.map((mask) => image.truth && dice(mask, image.truth));
    const listed = view === "all" ? ["truth", "overlay", "probability", "errors"] : [view];
    const views = listed.filter((v) => image.truth || !["truth", "errors"].includes(v));
    if (!views.length) views.push("cutout"); // a photo has no truth
    const panels = masks.flatMap((_, run) => views.map((v) => [v, run])).slice(0, view === "truth" ? 1 : undefined);
    this.describe(scores, threshold);
    this.panels.style.setProperty("--zoom", model.get("zoom"));
    const side = ([0, 30, 24][panels.length] ?? 17) * Math.min(1, image.width / image.height); // few panels are larger
    this.panels.style.setProperty("--base", `${side}rem`);
    this.figures(panels.length).forEach(([canvas, title], k) => {
      const [name, run] = panels[k];
      Object.assign(canvas, { width: image.width, height: image.height });
      const pixels = painted(name, image, image.runs[run], masks[run], { opacity: model.get("opacity"), colors, several });
      canvas.getContext("2d").putImageData(new ImageData(pixels, image.width, image.height), 0, 0);
      title.textContent = [VIEWS[name], name !== "truth" && this.facts.runs[run]].filter(Boolean).join(", ");
      canvas.setAttribute("aria-label", `${title.textContent}: ${this.caption.textContent}`);
    });
    this.drawLegend(views, scores);
    for (const mark of this.marks) mark(threshold);
    this.root.dataset.painted = `${this.row} ${view} ${threshold} ${model.get("opacity")}`;
  }

  describe(scores, threshold) {
    const { name, breed, values } = this.model.get("items")[this.row], { truth, width, height } = this.image;
    const shown = scores.map((score, run) => `${this.facts.runs[run]} ${score ? score.mean.toFixed(3) : ""}`.trim());
    const measured = truth ? `Dice ${shown.join(", ")}` : "no truth is known, cut";
    const cut = this.several ? "" : ` at threshold ${threshold.toFixed(2)}`;
    const table = values.dice === undefined || values.dice === null ? "" : ` · in the table ${values.dice.toFixed(3)}`;
    const place = this.model.get("kernel") ? `${this.rows.indexOf(this.row) + 1} of ${this.rows.length}: ` : ""; // no slider says it
    this.caption.textContent = `${place}${name} (${breed}) · ${measured}${cut}, ${width}×${height} pixels${table}`;
    this.root.dataset.dice = truth ? scores.map((score) => score.mean).join(" ") : "";
  }

  drawLegend(views, scores) {
    const { truth, runs } = this.image, entries = [], has = (...names) => names.some((name) => views.includes(name));
    if (this.several && has("overlay", "truth", "probability")) {
      const present = new Set([...(truth ?? []), ...runs.flatMap((run) => run.classes)]);
      for (const k of [...present].filter((k) => k > 0 && k !== IGNORED).sort((a, b) => a - b)) {
        const [name, color] = this.facts.classes[k], found = scores.map((score) => score?.scores[k]?.toFixed(3) ?? "");
        entries.push([color, `${name} ${found.join(" ")}`]);
      }
    }
    if (!this.several && has("truth")) entries.push([GREEN, "truth"]);
    if (!this.several && has("overlay")) entries.push([SKY, "prediction"]);
    if (has("probability")) entries.push([[0, 0, 0], "probability 0"], [WHITE, "1"], [ORANGE, "where it is cut"]);
    const other = this.several ? [[PURPLE, "another class"]] : [], outline = [WHITE, "true outline, where right"];
    if (has("errors")) entries.push([BLUE, "missed"], [VERMILION, "extra"], ...other, outline);
    const square = (color) => element("i", { style: `background: rgb(${color})` });
    this.legend.replaceChildren(...entries.map(([color, text]) => element("span", {}, square(color), text)));
  }

  drawPlots() {
    const items = this.model.get("items"), { columns, curve, chosen } = this.facts;
    this.marks = []; // functions that move a plot's mark
    this.column = columns.find((name) => !["dice", "iou"].includes(name));
    if (columns.includes("dice") && this.column) this.scatter(items.map(({ values }) => [values[this.column], values.dice]));
    if (curve.length && !this.several) this.curve(curve, chosen);
  }

  scatter(all) {
    const points = all.map(([x, y], row) => [x, y, row]).filter(([x, y]) => x !== null && y !== null);
    const xs = points.map(([x]) => x), range = [Math.min(...xs), Math.max(...xs)], name = this.column.replaceAll("_", " ");
    const { svg, x, y } = plot(`Dice against ${name}; a click opens the image`, name, "Dice", range, [0, 1]);
    const dot = drawing("circle", { r: 5, class: "shown" });
    svg.append(...points.map((p) => drawing("circle", { cx: x(p[0]), cy: y(p[1]), r: 2.5, class: "point" })), dot);
    svg.addEventListener("click", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const distance = (p) => Math.hypot(x(p[0]) - at.x, y(p[1]) - at.y);
      const nearest = points.reduce((a, b) => (distance(b) < distance(a) ? b : a));
      this.set("position", this.rows.indexOf(nearest[2]));
    });
    this.marks.push(() => {
      const point = points.find((p) => p[2] === this.row);
      dot.style.display = point ? "" : "none";
      if (point) [dot.cx.baseVal.value, dot.cy.baseVal.value] = [x(point[0]), y(point[1])];
    });
    this.plots.append(svg);
  }

  curve(points, chosen) {
    const means = points.map(([, mean]) => mean), range = [Math.min(...means), Math.max(...means)];
    const label = "Mean Dice of the validation images by threshold";
    const { svg, note, x, y } = plot(label, "threshold", "validation Dice", [0, 1], range);
    const nearest = (threshold) => points.reduce((a, b) => (Math.abs(b[0] - threshold) < Math.abs(a[0] - threshold) ? b : a));
    const line = drawing("path", { class: "now" }), [, top] = nearest(chosen ?? 0.5);
    svg.append(drawing("path", { d: `M${points.map(([t, mean]) => `${x(t)} ${y(mean)}`).join("L")}`, class: "curve" }), line);
    if (chosen !== null) svg.append(drawing("circle", { cx: x(chosen), cy: y(top), r: 5, class: "shown" }));
    this.marks.push((threshold) => {
      const [t, mean] = nearest(threshold);
      line.setAttribute("d", `M${x(threshold)} 20V142`);
      note.textContent = `mean ${mean.toFixed(4)} at ${t.toFixed(2)}${chosen === null ? "" : `; chosen: ${chosen}`}`;
      svg.setAttribute("aria-label", `${label}: ${note.textContent}`);
    });
    this.plots.append(svg);
  }
}

export default () => widget(Page);
