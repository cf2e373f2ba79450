"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const drawn = new Set();

  // ---- figures: a colour is a name as "@accent", put in from the page's style --------------------------------------

  const WORDS = new Set(["text", "ticktext", "customdata", "name", "label", "x", "y", "z", "values", "hovertemplate"]);

  function themed(value, style) {
    // numbers and people's words are left alone
    if (typeof value === "string") return value[0] === "@" ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
    if (Array.isArray(value)) return value.map((each) => themed(each, style));
    if (!value || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, WORDS.has(key) ? each : themed(each, style)]));
  }

  const decades = (axis) => (axis.type === "log" && axis.range ? axis.range[1] - axis.range[0] : 0);

  function layout(own, style, width) {
    const get = (name) => style.getPropertyValue("--" + name).trim();
    const axis = { gridcolor: get("line"), linecolor: get("line"), zeroline: false, ticks: "", tickfont: { color: get("muted"), size: 11 }, automargin: true, exponentformat: "e" };
    const titled = (each) => (each && each.title ? { ...(decades(each) > 2.5 ? { dtick: Math.ceil(decades(each) / 8) } : {}), ...each, title: { ...each.title, font: { size: 12, color: get("muted") }, standoff: 6 } } : each || {});
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: get("text") },
      margin: { l: 54, r: 14, t: 14, b: 40 },
      height: 280,
      hoverlabel: { bgcolor: get("surface"), bordercolor: get("line"), font: { color: get("text"), size: 12 } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 11, color: get("muted") } },
      dragmode: width < 700 ? false : "zoom",
      ...own,
      xaxis: { ...axis, ...titled(own.xaxis) },
      yaxis: { ...axis, ...titled(own.yaxis) },
    };
  }

  function draw(node) {
    const style = getComputedStyle(root);
    const { places, ...plain } = data.figures[node.dataset.figure];
    const figure = themed(plain, style);
    const first = !drawn.has(node);
    drawn.add(node);
    const paper = root.dataset.theme ? { width: node.clientWidth } : {};
    Plotly.react(node, figure.data, { ...layout(figure.layout, style, window.innerWidth), ...paper }, { displayModeBar: false, responsive: true });
    if (first) {
      node.on("plotly_click", (event) => {
        const told = event.points[0].customdata;
        if (told && Number.isInteger(told[0])) pick(node, "trial=" + told[0]);
      });
      node.on("plotly_restyle", () => brush(node));
    }
  }

  const waiting = [...document.querySelectorAll(".plot")];
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
  }, { rootMargin: "400px" });
  waiting.forEach((node) => near.observe(node));

  const later = window.requestIdleCallback || ((work) => setTimeout(work, 30));
  function rest() {
    const node = waiting.find((each) => !drawn.has(each));
    if (node) { draw(node); later(rest); }
  }
  later(rest);

  const again = () => drawn.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("beforeprint", () => { root.dataset.theme = "paper"; waiting.forEach(draw); });
  addEventListener("afterprint", () => { delete root.dataset.theme; again(); });

  // ---- tables of trials --------------------------------------------------------------------------------------------

  const CHUNK = 150;
  const tables = new Map();

  function text(value) {
    if (value === null || value === undefined) return "";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
    const size = Math.abs(value);
    if (size >= 1000 && size < 1e6) return value.toFixed(0);
    const short = Number(value.toPrecision(3));
    return size < 1e-4 ? short.toExponential() : String(short);
  }

  function condition(word, names) {
    // lr<0.01, trial=7, state!=FAIL; any other word is looked for in all cells
    const parts = /^(.+?)(<=|>=|!=|=|<|>)(.*)$/.exec(word);
    const asked = parts && parts[1].toLowerCase();
    const at = parts ? [names.findIndex((name) => name.toLowerCase() === asked), names.findIndex((name) => name.toLowerCase().endsWith("." + asked))].find((index) => index >= 0) : undefined;
    if (at === undefined) {
      const low = word.toLowerCase();
      return (row) => row.some((cell) => text(cell).toLowerCase().includes(low));
    }
    const number = Number(parts[3]);
    if (parts[3] === "" || Number.isNaN(number)) {
      const low = parts[3].toLowerCase();
      return (row) => (text(row[at]).toLowerCase().includes(low)) === (parts[2] !== "!=");
    }
    const tests = { "<": (a) => a < number, ">": (a) => a > number, "<=": (a) => a <= number, ">=": (a) => a >= number, "=": (a) => a === number, "!=": (a) => a !== number };
    return (row) => typeof row[at] === "number" && tests[parts[2]](row[at]);
  }

  class Table {
    constructor(box) {
      Object.assign(this, data.tables[box.dataset.table]); // names, rows, best, text
      this.box = box;
      this.body = box.querySelector("tbody");
      this.heads = [...box.querySelectorAll("th")];
      this.input = box.querySelector("input");
      this.count = box.querySelector(".count");
      this.brushed = {};
      this.sorted = { at: -1, down: false };
      this.heads.forEach((head, at) => {
        const turn = () => this.sort(at);
        head.addEventListener("click", turn);
        head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); turn(); } });
      });
      this.input.addEventListener("input", () => this.show());
      box.querySelectorAll("button[data-filter]").forEach((button) => button.addEventListener("click", () => { this.brushed = {}; this.input.value = button.dataset.filter; this.show(); }));
      const frame = box.querySelector(".rows");
      frame.addEventListener("scroll", () => { if (frame.scrollTop + frame.clientHeight > frame.scrollHeight - 400) this.more(); });
      this.show();
    }

    sort(at) {
      this.sorted = { at, down: this.sorted.at === at ? !this.sorted.down : false };
      this.heads.forEach((head, index) => head.setAttribute("aria-sort", index !== at ? "none" : this.sorted.down ? "descending" : "ascending"));
      this.show();
    }

    show() {
      const tests = this.input.value.trim().split(/\s+/).filter(Boolean).map((word) => condition(word, this.names));
      for (const [name, ranges] of Object.entries(this.brushed)) {
        const at = this.names.indexOf(name);
        if (at >= 0) tests.push((row) => ranges.some((range) => range(row[at])));
      }
      this.found = this.rows.filter((row) => tests.every((test) => test(row)));
      const { at, down } = this.sorted;
      if (at >= 0) {
        const way = down ? -1 : 1;
        const order = (a, b) => {
          const [one, other] = [a[at], b[at]];
          if (one === null || other === null) return (one === null) - (other === null); // what is missing stays last
          const numbers = typeof one === "number" && typeof other === "number";
          return way * (numbers ? one - other : text(one).localeCompare(text(other), undefined, { numeric: true }));
        };
        this.found.sort(order);
      }
      this.count.textContent = this.found.length === this.rows.length ? `${this.rows.length} trials` : `${this.found.length} of ${this.rows.length} trials`;
      this.body.replaceChildren();
      this.shown = 0;
      this.more();
    }

    more() {
      const part = document.createDocumentFragment();
      for (const row of this.found.slice(this.shown, this.shown + CHUNK)) {
        const line = document.createElement("tr");
        const state = text(row[1]);
        line.className = row[0] === this.best ? "best" : state.startsWith("FAIL") ? "failed" : state.endsWith("hidden") ? "hidden" : "";
        row.forEach((cell, at) => {
          const made = document.createElement("td");
          made.textContent = text(cell);
          if (typeof cell === "number" || made.textContent.length > 24) made.title = String(cell);
          if (this.text.includes(at)) made.className = "text";
          line.append(made);
        });
        part.append(line);
      }
      this.shown = Math.min(this.found.length, this.shown + CHUNK);
      this.body.append(part);
    }
  }

  document.querySelectorAll("[data-table]").forEach((box) => tables.set(box.dataset.table, new Table(box)));

  function pick(node, filter) {
    const table = tables.get(node.closest("section.study")?.dataset.study);
    if (!table) return;
    table.brushed = {};
    table.input.value = filter;
    table.show();
  }

  // ---- brushing the parallel coordinates filters the table ---------------------------------------------------------

  function brush(node) {
    const trace = node.data[0];
    const table = tables.get(node.closest("section.study")?.dataset.study);
    if (!trace || trace.type !== "parcoords" || !table) return;
    table.brushed = {};
    trace.dimensions.forEach((dimension, index) => {
      const asked = dimension.constraintrange;
      if (!asked || !asked.length) return;
      const spans = Array.isArray(asked[0]) ? asked : [asked];
      const place = data.figures[node.dataset.figure].places[index];
      table.brushed[place.name] = spans.map(([low, high]) => (cell) => {
        let at = place.choices ? place.choices.indexOf(cell === null ? "null" : String(cell)) : cell;
        if (cell === null && place.missing !== null) at = place.missing;
        else if (place.log) at = Math.log10(cell);
        if (place.ends) at = Math.min(Math.max(at, place.ends[0]), place.ends[1]);
        return at >= low && at <= high;
      });
    });
    table.show();
  }

  document.querySelectorAll(".command button").forEach((button) => {
    button.addEventListener("click", async () => {
      const command = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(command.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(command);
        button.textContent = "selected";
      }
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  });
})();
