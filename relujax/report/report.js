"use strict";
(async () => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const figures = read("figures");
  const layers = read("layers");
  const root = document.documentElement;
  const plots = all(".plot[data-figure]");
  const hidden = new Set(); // numbers of runs as strings, and "theory"
  const buttons = [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
  const options = { responsive: true, displayModeBar: false };

  // Colours of axes and text follow the page, so one figure serves light, dark and paper.
  function themed(layout) {
    const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
    const [ink, rule, panel, soft] = ["--ink", "--rule", "--panel", "--soft"].map(colour);
    const themed = {
      ...layout,
      font: { ...layout.font, color: ink },
      modebar: { ...layout.modebar, color: rule, activecolor: soft },
      hoverlabel: { bgcolor: panel, bordercolor: rule, font: { color: ink }, align: "left" },
    };
    for (const key of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      themed[key] = { ...layout[key], gridcolor: rule, linecolor: rule, zerolinecolor: rule, tickcolor: rule };
    }
    return themed;
  }

  // Bands of singular values hide each other: they are drawn for at most two runs.
  function visible(trace) {
    const { run, role } = trace.meta;
    const shown = new Set(layers.lines.map((line) => String(line.run)).filter((run) => !hidden.has(run)));
    return !hidden.has(String(run)) && !(role === "theory" && hidden.has("theory")) && !(role === "fan" && shown.size > 2);
  }

  // Logarithmic axes of one group have one range, that of what is shown.
  function logarithmic(group) {
    const values = {};
    for (const { data, layout } of Object.values(figures).filter((figure) => figure.group === group)) {
      for (const trace of data.filter(visible)) {
        const axis = (trace.yaxis ?? "y").replace("y", "yaxis");
        if (layout[axis]?.type !== "log") continue;
        values[axis] = (values[axis] ?? []).concat(trace.y.filter((y) => y !== null));
      }
    }
    const ranges = {};
    for (const [axis, ys] of Object.entries(values)) {
      if (ys.length === 0) continue;
      const [low, high] = [Math.log10(ys.reduce((a, b) => Math.min(a, b))), Math.log10(ys.reduce((a, b) => Math.max(a, b)))];
      const pad = Math.max(0.06 * (high - low), (1 - (high - low)) / 2, 0.05);
      ranges[axis] = { range: [low - pad, high + pad], ...ticks(low - pad, high + pad) };
    }
    return ranges;
  }

  // About four powers of ten; within two decades, 1 and 3 times each.
  function ticks(low, high) {
    if (high - low > 2.5) return { dtick: Math.max(1, Math.round((high - low) / 4)), exponentformat: "power", tickfont: { size: 10 } };
    const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
    const values = powers.flatMap((power) => [`1e${power}`, `3e${power}`].map(Number));
    return { tickvals: values, ticktext: values.map(String) };
  }

  async function drawOne(plot) {
    const { data, layout, group } = figures[plot.dataset.figure];
    const shown = { ...layout };
    for (const [axis, range] of Object.entries(logarithmic(group))) {
      if (shown[axis]) shown[axis] = { ...shown[axis], ...range };
    }
    await Plotly.react(plot, data.map((trace) => ({ ...trace, visible: visible(trace) })), themed(shown),
      plot.closest("#picture") ? { responsive: true, displaylogo: false, modeBarButtons: buttons } : options);
  }

  // A breath between two figures: the page answers while they are drawn.
  const breath = () => new Promise((resolve) => setTimeout(resolve));

  async function draw() {
    for (const plot of plots.filter((plot) => plot.closest("[hidden]") === null)) {
      await drawOne(plot);
      await breath();
    }
    await showLayer();
  }

  // One layer: histograms of all runs and stages, and their numbers.
  const pick = document.getElementById("pick");
  const most = Math.max(...layers.lines.map((line) => line.rows.length));
  for (let i = 0; i < most; i++) {
    const names = new Set(layers.lines.flatMap((line) => line.rows[i]?.cells[0] ?? []));
    pick.add(new Option(`${i + 1}: ${[...names].slice(0, 3).join(", ")}${names.size > 3 ? ", …" : ""}`, String(i)));
  }
  pick.value = String(layers.first);
  pick.addEventListener("change", showLayer);
  const cell = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

  function histogram(line, x, y, says) {
    return {
      x, y, type: "scatter", mode: "lines+markers", name: line.label, text: x.map(() => line.label), hovertemplate: `%{text}: ${says}<extra></extra>`,
      line: { color: line.colour, width: 2, dash: line.later ? "solid" : "dot", shape: "hvh" },
      marker: { symbol: line.marker, size: 5, maxdisplayed: 12 },
    };
  }

  async function showLayer() {
    const number = Number(pick.value);
    const lines = layers.lines.filter((line) => !hidden.has(String(line.run)) && line.rows[number] !== undefined);
    const share = (counts) => counts.map((n) => n / Math.max(1, counts.reduce((a, b) => a + b, 0)));
    const centres = Array.from({ length: layers.bins }, (_, i) => (i + 0.5) / layers.bins);
    const active = lines.map((line) =>
      histogram(line, centres, share(line.rows[number].active), "%{y:.1%} of the examples have about %{x:.0%} active"));
    const outputs = lines.filter((line) => line.rows[number].outputs !== null).map((line) => {
      const { outputs, edges } = line.rows[number];
      const middles = edges.slice(1).map((edge, i) => (edge + edges[i]) / 2);
      const shares = share(outputs);
      const beyond = (shares[0] + shares[shares.length - 1]) * 100;
      return histogram(line, middles, shares.slice(1, -1), `%{y:.1%} of the outputs are about %{x:.3g}<br>${beyond.toFixed(1)} % lie beyond the edges`);
    });
    const base = figures[plots[0].dataset.figure].layout;
    const layout = (x, y) => ({
      ...base, height: 250, margin: { l: 56, r: 12, t: 12, b: 44 }, annotations: [],
      xaxis: x, yaxis: { tickformat: ".0%", rangemode: "tozero", nticks: 4, title: { text: y } },
    });
    const bare = (layout) => Object.fromEntries(Object.entries(layout).filter(([key]) => !/^[xy]axis\d+$/.test(key)));
    const panels = [
      ["layer-active", active, { range: [0, 1], tickformat: ".0%", title: { text: "active share of the layer" } }, "examples"],
      ["layer-outputs", outputs, { title: { text: "output" }, nticks: 8 }, "outputs"],
    ];
    document.getElementById("with-outputs").hidden = outputs.length === 0;
    for (const [id, data, x, y] of panels) {
      if (data.length > 0) await Plotly.react(id, data, themed(bare(layout(x, y))), options);
    }
    const table = document.getElementById("layer-numbers");
    const heads = document.createElement("tr");
    heads.append(...layers.heads.map((head) => Object.assign(cell("th", head), { scope: "col" })));
    table.tHead.replaceChildren(heads);
    table.tBodies[0].replaceChildren(...lines.map((line) => {
      const row = document.createElement("tr");
      row.append(...[...line.cells, ...line.rows[number].cells].map((text) => cell("td", text)));
      return row;
    }));
  }

  function pickLayer(number) {
    pick.value = String(Math.min(number, most - 1));
    showLayer();
    document.getElementById("layer").scrollIntoView({ behavior: "smooth" });
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.pick");
    if (button !== null) {
      pickLayer(Number(button.dataset.layer));
      pick.focus({ preventScroll: true });
    }
  });

  // The buttons of the legend.
  function toggle(button) {
    const key = button.dataset.toggle;
    if (!hidden.delete(key)) hidden.add(key);
    button.setAttribute("aria-pressed", String(!hidden.has(key)));
    for (const part of all(`[data-run="${key}"]`)) part.hidden = hidden.has(key);
  }
  for (const button of all("[data-toggle]")) {
    button.addEventListener("click", () => {
      toggle(button);
      draw();
    });
  }

  // Tables sort by their heads: numbers before words, what is missing last, in both directions.
  function sort(head) {
    const table = head.closest("table");
    const column = head.cellIndex;
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of all("th[aria-sort]", table)) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = Number.isNaN(Number(x) - Number(y)) ? x.localeCompare(y, undefined, { numeric: true }) : Number(x) - Number(y);
      return descending ? -order : order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }
  for (const head of all("th[aria-sort]")) head.querySelector("button").addEventListener("click", () => sort(head));

  // One field filters all tables of layers.
  const filter = document.getElementById("filter");
  function narrow() {
    const words = filter.value.toLowerCase().split(/\s+/);
    const rows = all("table.layers tbody tr");
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    const left = rows.filter((row) => !row.hidden).length;
    document.getElementById("filtered").textContent = filter.value === "" ? "" : `${left} of ${rows.length} rows`;
  }
  filter.addEventListener("input", narrow);

  // A page that loads itself again shows what was chosen before: runs, order, filter, layer, what was open. A part is
  // known by what it belongs to (section, finding, run) and its number therein, so that one that is added moves no other.
  function keyed(selector) {
    const seen = new Map();
    return all(selector).map((part) => {
      const owner = JSON.stringify([
        part.closest("[id]")?.id, part.closest("article")?.querySelector("h3").textContent, part.closest("[data-run]")?.dataset.run,
      ]);
      const number = seen.get(owner) ?? 0;
      seen.set(owner, number + 1);
      return [`${owner} ${number}`, part];
    });
  }
  function remember() {
    const sorted = keyed("table").map(([key, table]) => {
      const head = table.querySelector('th[aria-sort$="scending"]');
      return [key, head && [head.cellIndex, head.getAttribute("aria-sort")]];
    });
    const open = keyed("details").map(([key, part]) => [key, part.open]);
    return {
      hidden: [...hidden], sorted: Object.fromEntries(sorted), open: Object.fromEntries(open), filter: filter.value, layer: pick.value,
    };
  }
  function recall(chosen) {
    for (const button of all("[data-toggle]")) if (chosen.hidden.includes(button.dataset.toggle)) toggle(button);
    for (const [key, table] of keyed("table")) {
      const [column, order] = chosen.sorted[key] ?? [];
      const head = all("th[aria-sort]", table).find((head) => head.cellIndex === column);
      for (let turn = 0; head && head.getAttribute("aria-sort") !== order && turn < 2; turn++) sort(head);
    }
    for (const [key, part] of keyed("details")) part.open = chosen.open[key] ?? part.open;
    filter.value = chosen.filter;
    narrow();
    if (Number(chosen.layer) < most) pick.value = chosen.layer;
  }

  // What a browser keeps for this page until its tab is closed; nothing where it keeps nothing, or is full.
  function stored(use) {
    try {
      return use(sessionStorage, `relujax ${location.pathname}`);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      return null;
    }
  }
  const chosen = stored((store, key) => store.getItem(key));
  if (chosen !== null) recall(JSON.parse(chosen));
  if (document.querySelector('meta[http-equiv="refresh"]') !== null) {
    window.addEventListener("pagehide", () => stored((store, key) => store.setItem(key, JSON.stringify(remember()))));
  } else {
    stored((store, key) => store.removeItem(key)); // the last page of a run that was watched: it stays
  }

  // On paper: everything open, in the width and the colours of paper.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const part of closed) part.open = true;
    root.dataset.paper = "";
    for (const plot of all(".plot.js-plotly-plot")) {
      Plotly.relayout(plot, { ...themed(plot.layout), width: plot.clientWidth, height: plot.clientHeight, autosize: false });
    }
  });
  window.addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
    delete root.dataset.paper;
    for (const plot of all(".plot.js-plotly-plot")) Plotly.relayout(plot, { width: null, height: plot.clientHeight, autosize: true });
    draw();
  });

  await draw();
  for (const plot of plots.filter((plot) => plot.closest("#picture"))) {
    plot.on("plotly_click", (event) => pickLayer(Math.round(event.points[0].x) - 1));
    // One axis of depth: the others zoom along.
    plot.on("plotly_relayout", (event) => {
      const range = event["xaxis.range[0]"] === undefined ? null : [event["xaxis.range[0]"], event["xaxis.range[1]"]];
      for (const other of plots.filter((other) => other !== plot && other.closest("#picture") && other.layout)) {
        const now = other.layout.xaxis.range;
        if (range !== null && (now[0] !== range[0] || now[1] !== range[1])) Plotly.relayout(other, { "xaxis.range": range });
      }
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  root.dataset.milliseconds = String(Math.round(performance.now()));
  root.dataset.drawn = String(all(".js-plotly-plot").length);
})();
