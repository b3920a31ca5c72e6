// The browser of maps: an image, the chosen stage's maps, and one of them large. It follows canvas.js, in the same module.

const SMALL = 96, GAP = 8, FRAME = "#e69f00"; // of the sheet of small maps, in its pixels
const SCALES = { own: "each map's own range", shared: "one for all maps" };
const SLIDERS = {
  position: IMAGE_SLIDER,
  stage: ["stage", 0, (page) => page.facts.stages.length - 1, 1, (value, last, page) => page.facts.stages[value].name],
  place: ["map", 1, (page) => page.stage.count, 1, (value, last) => `${value} of ${last}`],
  opacity: ["opacity", 0, 1, 0.05],
};

class Page extends CanvasPage {
  constructor(model, el, cache) {
    super(model, el, cache, { label: "Browser of maps", sliders: SLIDERS, upDown: "place" });
    if (this.facts.limits) this.addChoice("scale", SCALES);
    model.on("change:scale", () => this.schedule());
    this.addSteps();
    if (!model.get("kernel")) for (const name of Object.keys(SLIDERS)) this.addSlider(name);
    this.received();
  }

  get stage() { // {name, shape: [channels, height, width], count: of the maps that are sent}
    return this.facts.stages[this.model.get("stage")];
  }

  async picture(files) {
    const { width, height, data } = await decoded(files.image, "image/jpeg");
    const layers = files.layers.map(async (layer) => ({ ...layer, levels: await gray(layer.maps) }));
    return { width, height, rgba: data, layers: await Promise.all(layers) };
  }

  /** A map as a canvas in colors. Its levels 0 ... 255 stand for its values from its lowest to its highest. */
  colored({ levels, lows, highs }, place) {
    const [, height, width] = this.stage.shape, [low, high] = this.range({ lows, highs }, place);
    const pixels = new Uint8ClampedArray(4 * width * height), { colors } = this.facts;
    const shades = Array.from({ length: 256 }, (_, level) => {
      const value = lows[place] + (level / 255) * (highs[place] - lows[place]);
      return colors[Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low || 1))))];
    });
    for (let i = 0, p = 0; i < width * height; i++) {
      const [red, green, blue] = shades[levels[place * width * height + i]];
      pixels[p++] = red;
      pixels[p++] = green;
      pixels[p++] = blue;
      pixels[p++] = 255;
    }
    return canvasOf(width, height, pixels);
  }

  range({ lows, highs }, place) {
    return this.facts.limits && this.model.get("scale") === "shared" ? this.facts.limits : [lows[place], highs[place]];
  }

  paint() {
    const { model, image, stage } = this, layer = image.layers[model.get("stage")];
    const place = Math.min(model.get("place"), stage.count) - 1, maps = layer.lows.map((_, k) => this.colored(layer, k));
    const [channels, height, width] = stage.shape, [low, high] = [layer.lows[place], layer.highs[place]];
    const values = `from ${low.toFixed(2)} to ${high.toFixed(2)}`, { name } = model.get("items")[this.row];
    this.caption.textContent = `${name} · ${stage.name}, ${height} × ${width}: ${layer.labels[place]}, ${values}`;
    this.panels.style.setProperty("--base", `${18 * Math.min(1, image.width / image.height)}rem`);
    this.panels.style.maxHeight = "none"; // a phone scrolls the page
    this.panels.style.setProperty("--share", "max(31%, 15rem)"); // three in a row, one on a phone
    const [first, sheet, large] = this.figures(3);
    this.draw(first, "image", image.width, image.height, (to) => {
      to.putImageData(new ImageData(image.rgba, image.width, image.height), 0, 0);
    });
    const columns = Math.ceil(Math.sqrt(stage.count)), side = width * Math.max(1, Math.round(SMALL / width));
    const across = side + GAP, down = Math.round((side * image.height) / image.width) + GAP;
    const sides = [across * columns, down * Math.ceil(stage.count / columns)];
    const of = channels > stage.count ? `${stage.count} of ${channels}` : `${channels}`;
    this.draw(sheet, `${of} ${channels === 1 ? "map" : "maps"} of ${stage.name}; a click chooses`, ...sides, (to) => {
      maps.forEach((map, k) => {
        const [x, y] = [(k % columns) * across, Math.floor(k / columns) * down];
        if (k === place) Object.assign(to, { fillStyle: FRAME }).fillRect(x, y, across, down);
        to.drawImage(map, x + GAP / 2, y + GAP / 2, across - GAP, down - GAP);
      });
    });
    sheet[0].onclick = ({ offsetX, offsetY }) => {
      const column = Math.floor((offsetX / sheet[0].clientWidth) * columns);
      const chosen = Math.floor(((offsetY / sheet[0].clientHeight) * sides[1]) / down) * columns + column + 1;
      if (chosen <= stage.count) this.set("place", chosen);
    };
    const enlarged = Math.max(1, Math.ceil(width / image.width));
    this.draw(large, `${layer.labels[place]} over the image`, enlarged * image.width, enlarged * image.height, (to, w, h) => {
      to.drawImage(first[0], 0, 0, w, h);
      to.globalAlpha = model.get("opacity");
      to.drawImage(maps[place], 0, 0, w, h);
    });
    this.drawLegend(this.range(layer, place));
    this.root.dataset.painted = `${this.row} ${stage.name} ${place + 1} ${model.get("opacity")} ${model.get("scale")}`;
  }

  draw([canvas, title], text, width, height, painter) {
    Object.assign(canvas, { width, height });
    const context = Object.assign(canvas.getContext("2d"), { imageSmoothingEnabled: false });
    painter(context, width, height);
    title.textContent = text;
    canvas.setAttribute("aria-label", `${text}: ${this.caption.textContent}`);
  }

  drawLegend([low, high]) {
    const steps = this.facts.colors.filter((_, level) => level % 51 === 0).map((color) => `rgb(${color})`);
    const bar = element("i", { className: "scale", style: `background: linear-gradient(to right, ${steps})` });
    this.legend.replaceChildren(element("span", {}, `${low.toFixed(2)} `, bar, ` ${high.toFixed(2)}`));
  }
}

export default () => widget(Page);
