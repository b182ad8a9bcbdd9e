// The figures of the chosen spectrum.

const LIGHT_KMS = 299792.458;
const Z_LIMIT = 6.5; // end of the residuals' axes
const GAP_PIXELS = 4; // shorter stretches are not seen
const MINOR_A = 1500; // lines that are not the main ones are named where no more than this is seen
const NAME_PX = 13; // room for the name of a line on end
const EDGES = { wide_low: -1.6448536, wide_high: 1.6448536, narrow_low: -0.6744898, narrow_high: 0.6744898 }; // normal quantiles
const PANELS = ["names", "flux", "each", "stacked", "fraction"];
const INK = {
  // glyph: its property and the page's colour
  exposures: ["line_color", "exposure"],
  mean: ["line_color", "mean"],
  denoised: ["line_color", "denoised"],
  wide: ["fill_color", "denoised"],
  narrow: ["fill_color", "denoised"],
  beyond: ["fill_color", "warning"],
  partial: ["fill_color", "partial"],
  air: ["fill_color", "air"],
  line_names: ["text_color", "text"],
  residuals: ["fill_color", "single"],
  stacked: ["fill_color", "denoised"],
  beyond_each: ["fill_color", "warning"],
  beyond_stacked: ["fill_color", "warning"],
  fraction: ["line_color", "denoised"],
};
const LAYERS = {
  exposures: ["exposures", "beyond"],
  mean: ["mean"],
  denoised: ["denoised"],
  bands: ["wide", "narrow"],
  lines: ["line_names"],
};
for (const panel of PANELS.slice(1)) {
  INK[`gaps_panel_${panel}`] = ["fill_color", "gap"];
  INK[`lines_panel_${panel}`] = INK[`sky_panel_${panel}`] = ["line_color", "line"];
  LAYERS.lines.push(`lines_panel_${panel}`, `sky_panel_${panel}`);
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const finite = (values) => values.filter(Number.isFinite);

/** Two percentiles of the finite values; null where there is none. */
function range(values, low, high) {
  const sorted = Float64Array.from(finite(values)).sort();
  if (!sorted.length) return null;
  const at = (percent) => sorted[Math.round((percent / 100) * (sorted.length - 1))];
  return [at(low), at(high)];
}

/** Axes, grids and frames in the page's colours. */
function paintAxes(figure) {
  const [text, faint, grid] = ["text", "control", "grid"].map(colour);
  if (figure.name !== "panel_names") figure.outline_line_color = faint;
  for (const axis of [...figure.below, ...figure.left]) {
    axis.setv({
      axis_label_text_color: text,
      major_label_text_color: text,
      axis_line_color: faint,
      major_tick_line_color: faint,
      minor_tick_line_color: faint,
    });
  }
  for (const renderer of figure.center)
    if ("grid_line_color" in renderer && renderer.grid_line_color !== null) renderer.grid_line_color = grid;
}

class SpectrumFigures {
  static async create(item, element, index) {
    const views = await Bokeh.embed.embed_item(item, element);
    return new SpectrumFigures([...views][0], index);
  }

  constructor(view, index) {
    Object.assign(this, { view, index, spectrum: null, which: -1, queued: false });
    const found = view.model.document;
    this.model = (name) => found.get_model_by_name(name);
    this.panels = PANELS.map((name) => this.model(`panel_${name}`));
    [this.names, this.flux, this.each] = this.panels;
    this.x = this.model("x");
    this.x.change.connect(() => this.refreshSoon());
    this.paint();
  }

  put(source, data) {
    this.model(`data_${source}`).data = data;
  }

  paint() {
    for (const [name, [property, tone]] of Object.entries(INK)) this.model(name).glyph[property] = colour(tone);
    this.panels.forEach(paintAxes);
    this.model("feature_names").glyph.background_fill_color = colour("page");
    if (!this.spectrum) return;
    this.showFeatures();
    this.showExposures(this.which);
  }

  toggle(layer, visible) {
    for (const name of LAYERS[layer]) this.model(name).visible = visible;
  }

  /** Draws a spectrum, all of it; `single` has its exposures' arrays, or is null. */
  show(core, single) {
    const arrays = Object.fromEntries(Object.entries(core.arrays).map(([name, rows]) => [name, rows[0]]));
    this.spectrum = {
      ...core,
      ...arrays,
      exposures: single?.arrays.exposures ?? [],
      residuals: single?.arrays.residuals ?? [],
    };
    this.shift = 1 + (core.velocity ?? 0) / LIGHT_KMS;
    this.which = -1;
    const { wavelength, flux, mean, stacked, fraction } = this.spectrum;
    const none = new Float64Array(wavelength.length).fill(NaN);
    this.bands = Object.fromEntries(
      Object.entries(EDGES).map(([name, quantile]) => [name, this.edge(name, quantile) ?? none]),
    );
    this.put("core", {
      wavelength,
      flux,
      mean,
      stacked,
      fraction,
      rest: wavelength.map((w) => w / this.shift),
      ...this.bands,
    });
    this.showShades();
    this.flux.left[0].axis_label = core.unit ? `flux, ${core.unit}` : "flux";
    this.each.visible = this.spectrum.residuals.length > 1;
    this.panels[4].visible = true;
    this.showExposures(-1);
    this.keepPlace([wavelength[0], wavelength[wavelength.length - 1]]);
  }

  /** Stays at the wavelengths that are seen, where the spectrum has them; else shows all of it. */
  keepPlace(span) {
    const [before, { start, end }] = [this.span, this.x];
    const zoomed = before && (start > before[0] || end < before[1]) && end > span[0] && start < span[1];
    this.span = span;
    this.x.bounds = span;
    this.go(...(zoomed ? [start, end] : span));
  }

  /** An edge of a band: as the draws have it, or that of a normal density; null if neither is known. */
  edge(name, quantile) {
    const { flux, sigma } = this.spectrum;
    const away = this.spectrum[name] ?? sigma?.map((value) => quantile * value);
    return away ? flux.map((value, i) => value + away[i]) : null;
  }

  /** Stretches without data, and those that some exposures lack. */
  showShades() {
    const { good, wavelength, exposures } = this.spectrum;
    const most = Math.max(0, ...good);
    const none = runs(good, (count) => count === 0).filter(([a, b]) => b - a >= GAP_PIXELS);
    const some = runs(good, (count) => count > 0 && count < most);
    const sides = (stretches) => ({
      left: stretches.map(([a]) => wavelength[a]),
      right: stretches.map(([, b]) => wavelength[Math.min(b, wavelength.length - 1)]),
    });
    this.put("gaps", most ? sides(none) : { left: [], right: [] });
    this.put("partial", sides(some));
    const { air } = this.index;
    this.put("air", { left: air.map(([, first]) => first), right: air.map(([, , last]) => last) });
    this.showFeatures();
  }

  /** Draws one exposure, or with -1 all of them. */
  showExposures(which) {
    const { wavelength, exposures, residuals } = this.spectrum;
    this.which = which;
    const chosen = (rows) => (which < 0 ? rows : rows.slice(which, which + 1));
    const [flux, z] = [chosen(exposures), chosen(residuals)];
    const alone = flux.length === 1;
    this.put("exposures", { x: flux.map(() => wavelength), y: flux });
    const glyph = this.model("exposures").glyph;
    glyph.setv({
      line_color: colour(alone ? "single" : "exposure"),
      line_alpha: alone ? 1 : Math.max(0.35, flux.length ** -0.5),
    });
    const points = { x: [], y: [] };
    for (const row of z)
      row.forEach((value, i) => Math.abs(value) <= Z_LIMIT && points.x.push(wavelength[i]) && points.y.push(value));
    this.put("residuals", points);
    this.put("beyond_each", this.beyond(z, -Z_LIMIT, Z_LIMIT));
    this.put("beyond_stacked", this.beyond([this.spectrum.stacked], -Z_LIMIT, Z_LIMIT));
    this.refreshSoon();
  }

  /** Marks at the edge of a panel for the values beyond its ends. */
  beyond(rows, low, high) {
    const marks = { x: [], y: [], mark: [] };
    for (const row of rows) {
      row.forEach((value, i) => {
        if (value >= low && value <= high) return;
        if (!Number.isFinite(value)) return;
        marks.x.push(this.spectrum.wavelength[i]);
        marks.y.push(value > high ? 0.98 : 0.02);
        marks.mark.push(value > high ? "triangle" : "inverted_triangle");
      });
    }
    return marks;
  }

  go(start, end) {
    const [first, last] = this.span;
    const width = Math.min(Math.max(end - start, (8 * (last - first)) / this.spectrum.wavelength.length), last - first);
    const from = Math.min(Math.max((start + end - width) / 2, first), last - width);
    this.x.setv({ start: from, end: from + width });
    this.refreshSoon();
  }

  goTo(name) {
    this.go(...(name ? this.index.windows[name] : this.span));
  }

  hasWindow(name) {
    const [low, high] = this.index.windows[name];
    return high > this.span[0] && low < this.span[1];
  }

  zoom(factor) {
    const { start, end } = this.x;
    const [middle, half] = [(start + end) / 2, ((end - start) / 2) * factor];
    this.go(middle - half, middle + half);
  }

  pan(share) {
    const { start, end } = this.x;
    this.go(start + share * (end - start), end + share * (end - start));
  }

  refreshSoon() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (this.spectrum) this.refresh();
    });
  }

  /** What depends on the part that is seen: the flux axis, the marks beyond it, the names that have room. */
  refresh() {
    const { wavelength } = this.spectrum;
    const first = Math.max(
      0,
      wavelength.findIndex((w) => w >= this.x.start),
    );
    const past = wavelength.findIndex((w) => w > this.x.end);
    const seen = (row) => row.subarray(first, past < 0 ? row.length : past);
    const [low, high] = this.fluxLimits(seen);
    this.flux.y_range.setv({ start: low, end: high });
    const { exposures } = this.spectrum;
    const size = Math.min(Math.max(2.5 * Math.sqrt(2048 / seen(wavelength).length), 2.5), 4.5);
    for (const name of ["residuals", "stacked"]) this.model(name).glyph.size = { value: size };
    this.put("beyond", this.beyond(this.which < 0 ? exposures : [exposures[this.which]], low, high));
    this.showNames();
  }

  /** Ends of a flux axis that outliers do not stretch, as `View.flux_limits` has them. */
  fluxLimits(seen) {
    const { flux, mean, exposures } = this.spectrum;
    const cut = (row, low, high) => range(seen(row), low, high);
    const core = [
      cut(flux, 0, 100),
      cut(mean, 2, 98),
      cut(this.bands.narrow_low, 1, 99),
      cut(this.bands.narrow_high, 1, 99),
    ].filter(Boolean);
    if (!core.length) return [0, 1];
    let [low, high] = [Math.min(...core.map((pair) => pair[0])), Math.max(...core.map((pair) => pair[1]))];
    const room = 0.3 * (high - low);
    const all = exposures.map((row) => range(seen(row), 1, 99));
    for (const pair of [...all, cut(this.bands.wide_low, 1, 99), cut(this.bands.wide_high, 1, 99)].filter(Boolean)) {
      [low, high] = [Math.min(low, Math.max(pair[0], low - room)), Math.max(high, Math.min(pair[1], high + room))];
    }
    const margin = 0.06 * (high - low) || Math.max(Math.abs(high), 1);
    return [low - margin, high + margin];
  }

  /** Lines at the star's velocity, and the names among them that have room: the main ones first. */
  showNames() {
    const { start, end } = this.x;
    const perPixel = (end - start) / Math.max(this.flux.inner_width ?? 800, 100);
    const stellar = this.index.lines.map(([text, line, main]) => ({ text, x: line * this.shift, main }));
    const sky = this.index.sky.map(([text, x]) => ({ text, x, sky: true }));
    const minor = end - start > MINOR_A ? [] : stellar.filter((l) => !l.main);
    const inside = [...stellar.filter((l) => l.main), ...sky, ...minor].filter(({ x }) => x > start && x < end);
    const named = [];
    for (const line of inside) {
      if (named.every((other) => Math.abs(other.x - line.x) > NAME_PX * perPixel)) named.push(line);
    }
    this.put("names", {
      x: named.map((l) => l.x),
      text: named.map((l) => l.text),
      alpha: named.map((l) => (l.sky ? 0.75 : 1)),
    });
    this.put("lines", { x: inside.filter((l) => !l.sky && (l.main || named.includes(l))).map((l) => l.x) });
    this.put("sky", { x: inside.filter((l) => l.sky).map((l) => l.x) });
    this.placeFeatures(perPixel);
  }

  showFeatures() {
    const { features } = this.spectrum;
    this.tones = features.map((feature) => colour(feature.terrestrial ? "line" : "warning-text"));
    this.put("features", { x: features.map((f) => f.wavelength), color: this.tones });
    this.refreshSoon();
  }

  /** Words for the lines that the model lacks, in rows so that they do not meet. */
  placeFeatures(perPixel) {
    const names = { x: [], y: [], text: [], color: [] };
    const ends = [-Infinity, -Infinity, -Infinity];
    const order = [...this.spectrum.features.keys()].sort(
      (a, b) => this.spectrum.features[a].wavelength - this.spectrum.features[b].wavelength,
    );
    for (const i of order) {
      const { wavelength, kind, sigma } = this.spectrum.features[i];
      if (!(wavelength >= this.x.start && wavelength <= this.x.end)) continue;
      const text = `${wavelength.toFixed(0)} ${kind}, ${sigma} σ`;
      const row = ends.findIndex((end) => wavelength > end);
      if (row < 0) continue;
      ends[row] = wavelength + 6.2 * (text.length + 1) * perPixel;
      names.x.push(ends[row] > this.x.end ? wavelength - (ends[row] - wavelength) : wavelength);
      names.y.push(0.98 - 0.13 * row);
      names.text.push(text);
      names.color.push(this.tones[i]);
    }
    this.put("feature_names", names);
  }
}

/** First and one past the last index of each stretch where a test holds. */
function runs(values, test) {
  const found = [];
  let start = -1;
  for (let i = 0; i <= values.length; i++) {
    const holds = i < values.length && test(values[i]);
    if (holds && start < 0) start = i;
    if (!holds && start >= 0) {
      found.push([start, i]);
      start = -1;
    }
  }
  return found;
}
