// The latents of the chosen star among those of the training library.

class LatentFigures {
  static async create(items, element, library) {
    const views = [];
    for (const item of items) {
      const cell = make("div", { class: "latent" });
      element.append(cell);
      views.push([...(await Bokeh.embed.embed_item(item, cell))][0]);
    }
    return new LatentFigures(views, library);
  }

  constructor(views, library) {
    Object.assign(this, { views, library, near: false });
    this.points = library.arrays.latents;
    this.classes = library.classes.flatMap((kind) => Array(kind.count).fill(kind));
    const mark = this.classes.map((kind) => kind.mark);
    const [light, dark] = ["light", "dark"].map((theme) => this.classes.map((kind) => kind[theme]));
    for (const { model } of views) {
      const [i, j] = model.tags;
      this.find(model, "library").data = { x: this.points[i], y: this.points[j], mark, light, dark };
    }
    this.paint();
  }

  find(figure, name) {
    return figure.document.get_model_by_name(name);
  }

  paint() {
    const dark = isDark();
    for (const { model } of this.views) {
      paintAxes(model);
      this.find(model, "library_points").glyph.fill_color = { field: dark ? "dark" : "light" };
      this.find(model, "draw_points").glyph.fill_color = colour("ink");
      this.find(model, "star_point").glyph.setv({ fill_color: colour("ink"), line_color: colour("page") });
    }
    const legend = document.getElementById("latent-legend");
    legend.replaceChildren(
      ...this.library.classes.map((kind) => make("span", {}, swatch(kind, dark), ` ${kind.name}`)),
      make("span", {}, make("i", { class: "swatch star" }), " this star"),
    );
  }

  show(arrays) {
    [this.star] = arrays.latent;
    this.draws = arrays.latent_draws;
    for (const { model } of this.views) {
      const [i, j] = model.tags;
      this.find(model, "star").data = { x: [this.star[i]], y: [this.star[j]] };
      const several = this.draws[0].length > 1;
      this.find(model, "draws").data = several ? { x: this.draws[i], y: this.draws[j] } : { x: [], y: [] };
    }
    this.frame(this.near);
    document.getElementById("latent-text").textContent = this.describe();
  }

  /** All of the library, or what is near the star: as wide as the draws scatter, half a unit at least. */
  frame(near) {
    this.near = near;
    for (const { model } of this.views) {
      model.tags.forEach((which, axis) => {
        const at = this.star[which];
        const spread = Math.max(...this.draws[which].map((value) => Math.abs(value - at)));
        let [low, high] = near
          ? [at - Math.max(0.5, 1.5 * spread), at + Math.max(0.5, 1.5 * spread)]
          : range(this.points[which], 0.2, 99.8);
        if (!near) {
          [low, high] = [Math.min(low, at), Math.max(high, at)];
          [low, high] = [low - 0.05 * (high - low), high + 0.05 * (high - low)];
        }
        model[axis ? "y_range" : "x_range"].setv({ start: low, end: high });
      });
    }
  }

  /** In words: of which classes the library's points nearest to the star are. */
  describe() {
    const distance = this.classes.map((_, n) =>
      this.points.reduce((sum, row, k) => sum + (row[n] - this.star[k]) ** 2, 0),
    );
    const nearest = [...distance.keys()].sort((a, b) => distance[a] - distance[b]).slice(0, 20);
    const counts = new Map();
    for (const n of nearest) counts.set(this.classes[n].name, (counts.get(this.classes[n].name) ?? 0) + 1);
    const words = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${name}`);
    return `Of the ${nearest.length} library spectra nearest to the star that are drawn here: ${words.join(", ")}.`;
  }
}

/** The mark of a class as a small picture. */
function swatch(kind, dark) {
  const shapes = {
    circle: "M7 1a6 6 0 1 0 .01 0z",
    triangle: "M7 1L13 12H1z",
    square: "M2 2H12V12H2z",
    diamond: "M7 0L13 7L7 14L1 7z",
    inverted_triangle: "M1 2H13L7 13z",
  };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of Object.entries({ viewBox: "0 0 14 14", class: "mark", "aria-hidden": "true" }))
    svg.setAttribute(name, value);
  path.setAttribute("d", shapes[kind.mark]);
  path.setAttribute("fill", dark ? kind.dark : kind.light);
  svg.append(path);
  return svg;
}
