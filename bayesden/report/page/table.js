// The table of results: sorted, filtered, and only as many rows in the document as are seen.

const ROW = 30; // height, pixels; as in report.css
const SPARE = 12; // rows beyond what is seen
const PRINTED = 1000; // rows on paper
const HEADS = [
  { key: "key", label: "File", words: true },
  { key: "class", label: "Class", words: true },
  { key: "probability", label: "Prob.", title: "Probability of the class", digits: 2 },
  { key: "snr", label: "S/N", title: "Signal-to-noise ratio per pixel, all exposures together", digits: 1 },
  { key: "velocity", label: "Velocity, km/s", digits: 0 },
  { key: "flags", label: "Flags", words: true },
  { key: "exposures", label: "Exp.", title: "Exposures", digits: 0 },
  {
    key: "support",
    label: "Support p",
    title: "Small where the spectrum is unlike what the model knows",
    rising: true,
  },
  { key: "lines", label: "Lines", title: "Lines that the model lacks", digits: 0 },
  { key: "survey", label: "Survey’s class", words: true },
];
const QUANTITIES = {
  snr: "snr",
  v: "velocity",
  velocity: "velocity",
  dv: "velocity_error",
  p: "support",
  prob: "probability",
  exposures: "exposures",
  exp: "exposures",
  lines: "lines",
};
const COMPARISONS = {
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "<=": (a, b) => a <= b,
  ">=": (a, b) => a >= b,
  "=": (a, b) => a === b,
};

/** An element with attributes and children; texts are texts, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

const flagWords = (flag) => flag.toLowerCase().replaceAll("_", " ");
const signed = (value, digits) => value.toFixed(digits).replace("-", "−");

class ResultTable {
  /** `columns` are lists by name; `choose(row)` is told of a choice, `changed(count)` of another selection. */
  constructor(columns, choose, changed) {
    Object.assign(this, { columns, choose, changed });
    this.size = columns.key.length;
    this.order = [...columns.key.keys()];
    this.chosen = 0;
    this.sorted = null;
    this.table = document.getElementById("table");
    this.body = document.getElementById("rows");
    this.scroller = document.getElementById("scroller");
    this.texts = columns.key.map((_, row) => this.searchText(row));
    this.makeHeads();
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-row]");
      if (row) this.pick(Number(row.dataset.row));
    });
    this.table.addEventListener("keydown", (event) => this.onKey(event));
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  searchText(row) {
    const { key, file, name, flags, survey } = this.columns;
    const words = [
      key[row],
      file[row],
      name[row],
      this.columns.class[row],
      survey[row],
      ...flags[row],
      ...flags[row].map(flagWords),
    ];
    return words.join("\n").toLowerCase();
  }

  makeHeads() {
    const cells = HEADS.map((head, column) => {
      const button = make("button", { type: "button", title: head.title ?? null, tabindex: "0" }, head.label);
      button.addEventListener("click", () => this.sortBy(head));
      return make(
        "th",
        { scope: "col", class: head.words ? null : "number", "aria-colindex": column + 1, "data-key": head.key },
        button,
      );
    });
    document.getElementById("heads").append(...cells);
  }

  sortBy(head) {
    const again = this.sorted?.key === head.key;
    this.sorted = { key: head.key, rising: again ? !this.sorted.rising : Boolean(head.words || head.rising) };
    for (const cell of document.querySelectorAll("#heads th")) {
      if (cell.dataset.key === head.key)
        cell.setAttribute("aria-sort", this.sorted.rising ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
    this.arrange();
    this.reveal();
    say(`Sorted by ${head.title ?? head.label}, ${this.sorted.rising ? "ascending" : "descending"}.`);
  }

  /** Rows whose texts hold all words and whose numbers meet all conditions, of a class and with a flag. */
  filter({ text, className, flag }) {
    const tests = text
      .toLowerCase()
      .split(/\s+/)
      .filter(Boolean)
      .map((word) => this.test(word));
    const { flags } = this.columns;
    this.order = [...this.columns.key.keys()].filter(
      (row) =>
        (!className || this.columns.class[row] === className) &&
        (!flag ||
          (flag === "none" ? !flags[row].length : flag === "any" ? flags[row].length : flags[row].includes(flag))) &&
        tests.every((test) => test(row)),
    );
    this.arrange();
    this.scroller.scrollTop = 0;
    this.reveal();
    this.changed(this.order.length);
  }

  test(word) {
    const found = /^([a-z]+)(<=|>=|<|>|=)([-+−]?[\d.]+(?:e[-+]?\d+)?)$/.exec(word);
    const column = found && QUANTITIES[found[1]];
    if (!column) return (row) => this.texts[row].includes(word);
    const limit = Number(found[3].replace("−", "-"));
    return (row) => this.columns[column][row] !== null && COMPARISONS[found[2]](this.columns[column][row], limit);
  }

  /** Puts the rows in order: what is not known last, and what is equal as the files were given. */
  arrange() {
    if (this.sorted) {
      const { key, rising } = this.sorted;
      const values = this.columns[key].map((value) => (Array.isArray(value) ? value.join() || null : value));
      const compare = new Intl.Collator("en", { numeric: true }).compare;
      const known = (row) => values[row] !== null && values[row] !== "";
      this.order.sort((a, b) => {
        if (!known(a) || !known(b)) return known(b) - known(a) || a - b;
        const order = typeof values[a] === "string" ? compare(values[a], values[b]) : values[a] - values[b];
        return (rising ? order : -order) || a - b;
      });
    } else {
      this.order.sort((a, b) => a - b);
    }
    this.draw();
  }

  pick(row) {
    this.chosen = row;
    this.reveal();
    this.choose(row);
  }

  /** To the next row, or `by` rows further on; from a row that is filtered out to the first. */
  step(by) {
    if (!this.order.length) return;
    const place = this.order.indexOf(this.chosen);
    const next = place < 0 ? 0 : Math.min(Math.max(place + by, 0), this.order.length - 1);
    if (next !== place) this.pick(this.order[next]);
  }

  get place() {
    return this.order.indexOf(this.chosen);
  }

  onKey(event) {
    if (event.target !== this.table || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.size, End: this.size };
    if (event.key in steps) this.step(steps[event.key]);
    else if (event.key === "Enter") document.getElementById("spectrum").focus();
    else return;
    event.preventDefault();
  }

  /** Scrolls the chosen row into sight. */
  reveal() {
    const top = this.place * ROW;
    const { scrollTop, clientHeight } = this.scroller;
    const room = clientHeight - ROW - 4; // below the heads
    if (this.place >= 0 && top < scrollTop) this.scroller.scrollTop = top;
    else if (this.place >= 0 && top + ROW > scrollTop + room) this.scroller.scrollTop = top + ROW - room;
    this.draw();
  }

  /** Makes the rows that are seen; all of them for paper. */
  draw(printed = false) {
    const { scrollTop, clientHeight } = this.scroller;
    const first = printed ? 0 : Math.max(0, Math.floor(scrollTop / ROW) - SPARE);
    const last = Math.min(this.order.length, printed ? PRINTED : Math.ceil((scrollTop + clientHeight) / ROW) + SPARE);
    const spacer = (count) =>
      make(
        "tr",
        { class: "spacer", "aria-hidden": "true" },
        make("td", { colspan: HEADS.length, style: `height:${count * ROW}px` }),
      );
    const rows = this.order.slice(first, last).map((row, i) => this.makeRow(row, first + i));
    const left = printed ? 0 : this.order.length - last;
    this.body.replaceChildren(...(first ? [spacer(first)] : []), ...rows, ...(left > 0 ? [spacer(left)] : []));
    this.table.setAttribute("aria-rowcount", this.order.length + 1);
    if (document.getElementById(`row-${this.chosen}`))
      this.table.setAttribute("aria-activedescendant", `row-${this.chosen}`);
    else this.table.removeAttribute("aria-activedescendant");
  }

  makeRow(row, place) {
    const cells = HEADS.map((head, column) =>
      make(
        "td",
        { role: "gridcell", "aria-colindex": column + 1, class: head.words ? null : "number" },
        ...this.cell(head, row),
      ),
    );
    cells[0].title = this.columns.file[row];
    const chosen = row === this.chosen;
    return make(
      "tr",
      { id: `row-${row}`, "data-row": row, "aria-rowindex": place + 2, "aria-selected": chosen },
      ...cells,
    );
  }

  cell(head, row) {
    const value = this.columns[head.key][row];
    if (head.key === "flags") return value.map((flag) => make("span", { class: "flag" }, flagWords(flag)));
    if (value === null || value === "") return ["–"];
    if (head.key === "velocity") {
      const error = this.columns.velocity_error[row];
      return [
        signed(value, 0),
        ...(error === null ? [] : [make("span", { class: "error" }, ` ± ${error.toFixed(error < 1 ? 1 : 0)}`)]),
      ];
    }
    if (head.key === "support")
      return [value === 0 ? "0" : value < 0.01 ? value.toExponential(0).replace("-", "−") : value.toFixed(2)];
    return [head.words ? value : head.key === "probability" ? probability(value) : signed(value, head.digits)];
  }
}

/** A probability with two digits, neither 0 nor 1 unless it is. */
function probability(value) {
  if (value > 0 && value < 0.005) return "< 0.01";
  return value < 1 && value >= 0.995 ? "> 0.99" : value.toFixed(2);
}
