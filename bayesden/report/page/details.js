// Words and small tables beside the figures.

const byId = (id) => document.getElementById(id);

/** What a reader who does not see the figure should know of it. */
function summarize(columns, row, core) {
  const at = (name) => columns[name][row];
  const words = [];
  if (at("class") !== null) {
    const others = core.classes
      .filter(([name, p]) => name !== at("class") && p >= 0.005)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 2);
    const also = others.map(([name, p]) => `${name} ${probability(p)}`).join(", ");
    words.push(`Class ${at("class")} with probability ${probability(at("probability"))}${also && ` (${also})`}`);
  }
  if (at("snr") !== null)
    words.push(
      `S/N ${signed(at("snr"), 1)} per pixel from ${at("exposures")} exposure${at("exposures") === 1 ? "" : "s"}`,
    );
  if (at("velocity") !== null) {
    const error = at("velocity_error");
    words.push(
      `velocity ${signed(at("velocity"), 0)}${error === null ? "" : ` ± ${error.toFixed(error < 1 ? 1 : 0)}`} km/s`,
    );
  }
  if (at("support") !== null) words.push(`support p = ${String(at("support")).replace("-", "−")}`);
  words.push(
    at("lines")
      ? `${at("lines")} line${at("lines") === 1 ? "" : "s"} that the model lacks`
      : "no lines that the model lacks",
  );
  return `${words.join("; ")}.`;
}

function badges(flags) {
  return flags.length
    ? flags.map((flag) => make("span", { class: "flag" }, flagWords(flag)))
    : [make("span", { class: "faint" }, "no flags")];
}

function showClasses(core, best) {
  const rows = core.classes.map(([name, p]) =>
    make(
      "li",
      name === best ? { class: "best" } : {},
      make("span", {}, name),
      make("span", { class: "bar", "aria-hidden": "true" }, bar(p)),
      make("span", { class: "number" }, probability(p ?? 0)),
    ),
  );
  byId("classes").replaceChildren(...(rows.length ? rows : [make("li", {}, "The method has no classes.")]));
}

function bar(p) {
  const element = make("i");
  element.style.width = `${100 * p}%`;
  return element;
}

/** A small table; each row a list of texts or elements. */
function smallTable(heads, rows, caption) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  return make(
    "table",
    { class: "small" },
    make("caption", { class: "unseen" }, caption),
    make("thead", {}, head),
    make("tbody", {}, ...body),
  );
}

function showFeatureTable(core, go) {
  if (!core.features.length) {
    byId("missing").replaceChildren(make("p", { class: "faint" }, "None was found."));
    return;
  }
  const rows = core.features.map((f) => {
    const button = make("button", { type: "button", class: "plain", title: "Show it" }, f.wavelength.toFixed(0));
    button.addEventListener("click", () => go(f.wavelength - 60, f.wavelength + 60));
    return [button, f.kind, f.width, f.fwhm, f.sigma, f.p, f.near + (f.terrestrial ? " (the Earth’s)" : "")];
  });
  byId("missing").replaceChildren(
    smallTable(["Å", "kind", "eq. width, Å", "km/s", "σ", "p", "near"], rows, "Lines that the model lacks"),
  );
}

function showExposureTable(core) {
  const text = (value, unit = "") => (value === null ? "–" : `${signed(value, unit ? 1 : 2)}${unit}`);
  const rows = core.exposures.map((e, i) => [
    String(i + 1),
    e.snr === null ? "–" : signed(e.snr, 1),
    text(e.masked, " %"),
    text(e.scatter),
    text(e.outliers, " %"),
  ]);
  const table = smallTable(["no.", "S/N", "masked", "scatter", "|z| > 3"], rows, "Exposures");
  byId("exposures").replaceChildren(rows.length ? table : make("p", { class: "faint" }, "Not in the result."));
}

function showFacts(core, file) {
  const facts = [["result", file], ...core.facts];
  byId("facts").replaceChildren(
    ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
}
