"use strict";
(() => {
  const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39",
    "#fde725"].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const touch = matchMedia("(pointer: coarse)").matches;

  const compare = new Intl.Collator("en", { numeric: true }).compare;

  // Plotly is five megabytes: it runs when the first map is about to be seen.
  const plotly = () => {
    if (!window.Plotly) {
      const script = document.createElement("script");
      script.textContent = document.getElementById("_plotly").textContent;
      document.head.append(script);
    }
    return window.Plotly;
  };
  // Every text from the report goes in as text, never as markup, and none goes to Plotly.
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const known = (value) => value !== null && value !== -1;
  const text = (field, row) => {
    const value = field.values[row];
    if (!known(value)) return "unknown";
    return field.kind === "numbers" ? String(value) : field.names[value];
  };
  const viridis = (share) => {
    const place = share * (VIRIDIS.length - 1), low = Math.min(Math.floor(place), VIRIDIS.length - 2);
    const mixed = VIRIDIS[low].map((c, i) => c + (VIRIDIS[low + 1][i] - c) * (place - low));
    return `rgb(${mixed.map(Math.round).join(",")})`;
  };
  const swatch = (look) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "0 0 12 12");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", look.symbol === "circle" ? "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9z"
      : look.symbol === "triangle-up" ? "M6 1l5 9H1z" : "M6 1l5 5-5 5-5-5z");
    path.setAttribute("fill", look.colour);
    svg.append(path);
    return svg;
  };

  class Scatter {
    constructor(figure) {
      this.data = JSON.parse(figure.querySelector(".data").textContent);
      this.hidden = new Set();
      const find = (selector) => figure.querySelector(selector);
      this.parts = {
        canvas: find(".canvas"), tip: find(".tip"), legend: find(".legend"), note: find(".note"),
        map: find(".map select"), colour: find(".colour select"), search: find("input"),
        found: find(".found"),
      };
      const { map, colour, search } = this.parts;
      map.append(...this.data.maps.map(({ name }, i) => new Option(name, i)));
      colour.append(...this.data.fields.map(({ name }, i) => new Option(name, i)));
      colour.value = this.data.colourBy;
      map.closest("label").hidden = this.data.maps.length < 2;
      colour.closest("label").hidden = this.data.fields.length < 2;
      // A browser may bring back an older choice after this script; it tells so by these events.
      map.addEventListener("change", () => this.show());
      colour.addEventListener("change", () => { this.hidden.clear(); this.show(); });
      search.addEventListener("input", () => this.draw());
      this.show();
    }

    get map() { return this.data.maps[this.parts.map.value]; }
    get field() { return this.data.fields[this.parts.colour.value]; }

    /** Class of a row: a listed class, "other", "unknown" or (numbers) "known". */
    group(row) {
      const value = this.field.values[row];
      if (!known(value)) return "unknown";
      if (this.field.kind === "numbers") return "known";
      return value < this.field.listed ? value : "other";
    }

    look(group, row) {
      const { colours, symbols, grey } = this.data;
      if (group === "unknown") return { colour: grey, symbol: "diamond" };
      if (group === "other") return { colour: grey, symbol: "circle" };
      if (group === "known") {
        const [least, most] = this.range;
        const share = most > least ? (this.field.values[row] - least) / (most - least) : 0.5;
        return { colour: viridis(share), symbol: "circle" };
      }
      const shape = Math.floor(group / colours.length) % symbols.length;
      return { colour: colours[group % colours.length], symbol: symbols[shape] };
    }

    show() {
      const { legend, note } = this.parts, { x } = this.map, field = this.field;
      this.rows = this.data.ids.map((_, row) => row).filter((row) => x[row] !== null);
      if (field.kind === "numbers") {
        const values = field.values.filter(known);
        this.range = [Math.min(...values), Math.max(...values)];
      }
      note.textContent = [`${this.rows.length} points`, this.map.note].filter(Boolean).join(" · ");
      const counts = new Map();
      for (const row of this.rows) {
        const group = this.group(row);
        counts.set(group, (counts.get(group) || 0) + 1);
      }
      const listed = field.kind === "numbers" ? [] : [...field.names.slice(0, field.listed).keys()];
      listed.sort((a, b) => compare(field.names[a], field.names[b]));
      const groups = [...listed, "other", "unknown"].filter((group) => counts.has(group));
      legend.replaceChildren(...groups.map((group) => this.entry(group, counts.get(group))));
      if (counts.has("known")) {
        const scale = make("li", undefined, "scale");
        scale.append(make("span", this.range[0]), make("span", undefined, "ramp"),
          make("span", this.range[1]));
        legend.prepend(scale);
      }
      this.draw();
    }

    entry(group, count) {
      const item = make("li"), button = make("button");
      const rest = this.field.kind === "classes" ? this.field.names.length - this.field.listed : 0;
      const name = group === "other" ? `other (${rest})`
        : group === "unknown" ? "unknown" : this.field.names[group];
      button.type = "button";
      button.title = "Click to hide or show; double-click to show only this";
      button.setAttribute("aria-pressed", !this.hidden.has(group));
      button.append(swatch(this.look(group)), make("span", name), make("small", count));
      button.addEventListener("click", () => {
        if (!this.hidden.delete(group)) this.hidden.add(group);
        button.setAttribute("aria-pressed", !this.hidden.has(group));
        this.draw();
      });
      button.addEventListener("dblclick", () => {
        const others = this.rows.map((row) => this.group(row)).filter((other) => other !== group);
        this.hidden = new Set(others);
        this.show();
      });
      item.append(button);
      return item;
    }

    describe(row) {
      return this.data.fields.map((field) => [field.name, text(field, row)]);
    }

    draw() {
      if (!this.visible) return;
      const wanted = this.parts.search.value.trim().toLowerCase();
      const rows = this.rows.filter((row) => !this.hidden.has(this.group(row)));
      const hit = rows.map((row) => !!wanted && this.data.ids[row].toLowerCase().includes(wanted));
      const hits = rows.filter((_, i) => hit[i]);
      this.parts.found.textContent = !wanted ? "" : hits.length !== 1 ? `${hits.length} found`
        : `1 found: ${this.data.ids[hits[0]]}, `
          + this.describe(hits[0]).map(([name, value]) => `${name} ${value}`).join(", ");
      const looks = rows.map((row) => this.look(this.group(row), row));
      const size = rows.length > 3000 ? 4 : 6.5;
      const trace = {
        type: "scatter", mode: "markers", hoverinfo: "none", customdata: rows,
        x: rows.map((row) => this.map.x[row]), y: rows.map((row) => this.map.y[row]),
        marker: {
          color: looks.map((look) => look.colour), symbol: looks.map((look) => look.symbol),
          size: wanted ? hit.map((is) => (is ? 12 : size)) : size,
          opacity: wanted ? hit.map((is) => (is ? 1 : 0.12)) : 0.75,
          line: {
            width: wanted ? hit.map((is) => (is ? 2 : 0)) : 0,
            color: getComputedStyle(this.parts.canvas).color,
          },
        },
      };
      const axis = { visible: false, zeroline: false };
      const layout = {
        xaxis: { ...axis }, yaxis: { ...axis, scaleanchor: "x" }, hovermode: "closest",
        margin: { l: 4, r: 4, t: 4, b: 4 }, showlegend: false, hoverdistance: touch ? 30 : 12,
        paper_bgcolor: "transparent", plot_bgcolor: "transparent",
        dragmode: touch ? false : "zoom", uirevision: this.parts.map.value,
        modebar: { bgcolor: "transparent", color: "#8c8c8c", activecolor: "#0072b2" },
      };
      const config = {
        responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover",
        modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
        toImageButtonOptions: { format: "svg", filename: "map" },
      };
      this.parts.tip.hidden = true;
      const drawn = plotly().react(this.parts.canvas, [trace], layout, config);
      if (!this.listens) {
        this.listens = true;
        drawn.then((canvas) => {
          for (const event of ["plotly_hover", "plotly_click"]) {
            canvas.on(event, ({ points: [point] }) => this.tell(point));
          }
          canvas.on("plotly_unhover", () => { this.parts.tip.hidden = true; });
        });
      }
    }

    tell({ customdata: row, bbox }) {
      const { tip, canvas } = this.parts;
      const list = make("dl");
      for (const [name, value] of this.describe(row)) {
        const pair = make("div");
        pair.append(make("dt", name), make("dd", value));
        list.append(pair);
      }
      tip.replaceChildren(make("strong", this.data.ids[row]), list);
      tip.hidden = false;
      const gap = 12, left = bbox.x1 + gap + tip.offsetWidth <= canvas.clientWidth
        ? bbox.x1 + gap : Math.max(0, bbox.x0 - gap - tip.offsetWidth);
      const top = Math.min(bbox.y0, canvas.clientHeight - tip.offsetHeight);
      tip.style.left = `${left}px`;
      tip.style.top = `${Math.max(0, top)}px`;
    }
  }

  const scatters = new Map();
  for (const figure of document.querySelectorAll("figure.scatter")) {
    scatters.set(figure, new Scatter(figure));
  }
  const see = (figure) => {
    watcher.unobserve(figure);
    scatters.get(figure).visible = true;
    scatters.get(figure).draw();
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) see(target);
  }, { rootMargin: "400px" });
  for (const figure of scatters.keys()) watcher.observe(figure);
  addEventListener("beforeprint", () => { for (const figure of scatters.keys()) see(figure); });
  const redraw = () => { for (const scatter of scatters.values()) scatter.draw(); };
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
