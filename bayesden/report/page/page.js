// The page: what is chosen, keys, links, colours, paper.

let table,
  figures,
  latents,
  drawn,
  chosen = -1;
const index = JSON.parse(byId("index").textContent);
const { columns } = index;

/** Tells those who listen. */
function say(text) {
  byId("said").textContent = text;
}

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Shows a row's spectrum; if another is chosen before it is unpacked, that one. */
async function show(row) {
  chosen = row;
  const place = table.place;
  byId("name").textContent = columns.key[row];
  byId("badges").replaceChildren(...badges(columns.flags[row]));
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === table.order.length - 1;
  const link = `#${encodeURIComponent(columns.key[row])}`;
  byId("link").href = link;
  history.replaceState(null, "", link);
  byId("drawing").hidden = row >= index.drawn;
  if (row >= index.drawn) return showUndrawn(row);
  const [core, single] = [await textOf(`core-${row}`), index.thinned ? null : await textOf(`single-${row}`)];
  const unpacked = [await unpack(core), single ? await unpack(single) : null];
  if (chosen !== row) return;
  draw(row, ...unpacked);
}

function showUndrawn(row) {
  byId("summary").textContent = summarize(columns, row, { classes: [] });
  note(
    `The figure of this spectrum is not on the page, which would be too large (--max-mb). For a page of its own: bayesden report ${columns.file[row]} --out one.html`,
  );
  announce(row);
}

function note(text) {
  byId("note").hidden = !text;
  byId("note").textContent = text;
}

function draw(row, core, single) {
  drawn = { core, className: columns.class[row] };
  figures.show(core, single);
  byId("summary").textContent = summarize(columns, row, core);
  note(
    index.thinned
      ? "Single exposures are not on this page, which would be too large with them (--max-mb); drawn are their mean and their stacked residuals."
      : "",
  );
  byId("velocity").textContent =
    core.velocity === null ? " (not known: at rest)" : ` (${signed(core.velocity, 0)} km/s)`;
  const several = (single?.arrays.exposures.length ?? 0) > 1;
  byId("exposures-label").hidden = !single?.arrays.exposures.length;
  byId("which-label").hidden = !several;
  byId("which").replaceChildren(
    make("option", { value: -1 }, "all"),
    ...Array.from({ length: several ? single.arrays.exposures.length : 0 }, (_, i) =>
      make("option", { value: i }, `exposure ${i + 1}`),
    ),
  );
  for (const button of document.querySelectorAll("#windows [data-window]"))
    button.disabled = Boolean(button.dataset.window) && !figures.hasWindow(button.dataset.window);
  showClasses(core, columns.class[row]);
  showFeatureTable(core, (first, last) => figures.go(first, last));
  showExposureTable(core);
  showFacts(core, columns.file[row]);
  showLatents();
  announce(row);
  document.documentElement.dataset.shown = columns.key[row];
}

function showLatents() {
  const reason = drawn.core.latent_note;
  byId("latent-note").hidden = !reason;
  byId("latent-note").textContent = reason;
  byId("latent-drawing").hidden = Boolean(reason);
  if (!reason) latents?.show(drawn.core.arrays);
}

/** Makes the figures of latents when they come into sight, as they take a while. */
function watchLatents(items) {
  const text = byId("library").textContent;
  if (!text || !items.length) return;
  const watcher = new IntersectionObserver(
    async (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      latents = await LatentFigures.create(items, byId("latents"), await unpack(text));
      latents.near = byId("latent-near").ariaPressed === "true";
      if (drawn) showLatents();
      document.documentElement.dataset.latents = "true";
    },
    { rootMargin: "200px" },
  );
  watcher.observe(byId("latents"));
}

function announce(row) {
  const flags = columns.flags[row].map(flagWords).join(", ") || "no flags";
  say(`${table.place + 1} of ${table.order.length}: ${columns.key[row]}; ${flags}. ${byId("summary").textContent}`);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`Copied ${what}.`);
  flash(what);
}

/** Says for a moment beside the name what was copied. */
function flash(what) {
  const element = make("span", { class: "flash", "aria-hidden": "true" }, `copied ${what}`);
  byId("badges").append(element);
  setTimeout(() => element.remove(), 1500);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  paint();
  try {
    localStorage.setItem("bayesden-report-theme", theme);
  } catch {
    // a browser may refuse to remember anything of a file
  }
}

function paint() {
  byId("theme").setAttribute("aria-pressed", isDark());
  figures?.paint();
  latents?.paint();
}

function restoreTheme() {
  try {
    const theme = localStorage.getItem("bayesden-report-theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch {
    // as above
  }
  byId("theme").setAttribute("aria-pressed", isDark());
  byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
}

/** The row that the address names, or the first. */
function linkedRow() {
  try {
    return Math.max(0, columns.key.indexOf(decodeURIComponent(location.hash.slice(1))));
  } catch {
    return 0;
  }
}

function makeFilters() {
  const counts = new Map();
  for (const name of columns.class) if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
  byId("class").append(...[...counts].map(([name, count]) => make("option", { value: name }, `${name} (${count})`)));
  const flagged = (flag) =>
    columns.flags.filter((flags) =>
      flag === "none" ? !flags.length : flag === "any" ? flags.length : flags.includes(flag),
    ).length;
  const words = { any: "any", none: "none", ...Object.fromEntries(index.flags.map((flag) => [flag, flagWords(flag)])) };
  byId("flag").append(
    ...Object.entries(words).map(([flag, text]) => make("option", { value: flag }, `${text} (${flagged(flag)})`)),
  );
  const apply = () =>
    table.filter({ text: byId("text").value, className: byId("class").value, flag: byId("flag").value });
  for (const id of ["text", "class", "flag"]) byId(id).addEventListener("input", apply);
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    byId("table").focus();
  });
  byId("copy-shown").addEventListener("click", () => {
    const files = [...new Set(table.order.map((row) => columns.file[row]))];
    copy(files.join("\n"), `${files.length} file name${files.length === 1 ? "" : "s"}`);
  });
}

function showCount(count) {
  byId("shown").textContent = count === table.size ? `${count} shown` : `${count} of ${table.size} shown`;
  byId("previous").disabled = table.place <= 0;
  byId("next").disabled = table.place === count - 1;
}

const copyFile = () => copy(columns.file[chosen], "the file’s name");

function makeControls() {
  byId("previous").addEventListener("click", () => table.step(-1));
  byId("next").addEventListener("click", () => table.step(1));
  byId("copy").addEventListener("click", copyFile);
  byId("windows").addEventListener("click", (event) => {
    const { window: name } = event.target.dataset;
    if (name !== undefined) figures.goTo(name);
  });
  byId("in").addEventListener("click", () => figures.zoom(0.5));
  byId("out").addEventListener("click", () => figures.zoom(2));
  byId("layers").addEventListener("change", (event) => {
    if (event.target.dataset.layer) figures.toggle(event.target.dataset.layer, event.target.checked);
  });
  byId("which").addEventListener("change", (event) => figures.showExposures(Number(event.target.value)));
  byId("plots").addEventListener("dblclick", () => figures.goTo(""));
  for (const near of [false, true]) {
    const button = byId(near ? "latent-near" : "latent-all");
    button.addEventListener("click", () => {
      latents?.frame(near);
      byId("latent-near").setAttribute("aria-pressed", near);
      byId("latent-all").setAttribute("aria-pressed", !near);
    });
  }
  byId("latents").addEventListener("dblclick", () => latents?.frame(latents.near));
  byId("help").addEventListener("click", () => byId("keys").showModal());
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("spectrum").focus();
  });
  byId("link").addEventListener("click", (event) => {
    event.preventDefault();
    copy(location.href, "the link");
  });
  addEventListener("hashchange", () => table.pick(linkedRow()));
  addEventListener("keydown", onKey);
}

const KEYS = {
  j: () => table.step(1),
  k: () => table.step(-1),
  "/": () => byId("text").focus(),
  "+": () => figures.zoom(0.5),
  "=": () => figures.zoom(0.5),
  "-": () => figures.zoom(2),
  "[": () => figures.pan(-0.3),
  "]": () => figures.pan(0.3),
  c: copyFile,
  d: () => byId("theme").click(),
  "?": () => byId("keys").showModal(),
};

function onKey(event) {
  const typing = event.target.matches?.("input:not([type=checkbox]), select, textarea");
  if (typing && event.key === "Escape") byId("table").focus();
  if (typing || event.altKey || event.ctrlKey || event.metaKey || byId("keys").open || !byId("shortcuts").checked)
    return;
  const windows = document.querySelectorAll("#windows [data-window]");
  const key =
    KEYS[event.key] ??
    (/^\d$/.test(event.key) && windows[Number(event.key)] ? () => windows[Number(event.key)].click() : null);
  if (!key) return;
  event.preventDefault();
  key();
}

/** Paper is light and of another width, and is printed before figures can be drawn anew: a picture stands in. */
function prepareToPrint() {
  table.draw(true);
  if (!figures?.spectrum) return;
  const picture = byId("printed");
  picture.src = figures.view.export("png", true).canvas.toDataURL();
  picture.alt = byId("summary").textContent;
  picture.classList.toggle("inverted", isDark());
}

async function start() {
  restoreTheme();
  const count = columns.key.length;
  byId("count").textContent = `${count} spectr${count === 1 ? "um" : "a"}`;
  table = new ResultTable(columns, show, showCount);
  table.chosen = linkedRow();
  makeFilters();
  table.reveal();
  showCount(count);
  const items = JSON.parse(byId("figures").textContent);
  figures = await SpectrumFigures.create(items.spectrum, byId("plots"), index);
  makeControls();
  await show(table.chosen);
  watchLatents(items.latents);
  addEventListener("beforeprint", prepareToPrint);
  addEventListener("afterprint", () => table.draw());
  document.documentElement.dataset.ready = "true";
  performance.mark("ready");
}

start();
