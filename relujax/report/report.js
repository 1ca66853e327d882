"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll(".plot")];

  // Colours of axes and text follow the page, so one figure serves light and dark.
  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const rule = style.getPropertyValue("--rule").trim();
    const panel = style.getPropertyValue("--panel").trim();
    const soft = style.getPropertyValue("--soft").trim();
    const themed = { ...layout, modebar: { ...layout.modebar, color: rule, activecolor: soft }, font: { ...layout.font, color: ink }, hoverlabel: { bgcolor: panel, bordercolor: rule, font: { color: ink } } };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        themed[key] = { ...layout[key], gridcolor: rule, linecolor: rule, zerolinecolor: rule, tickcolor: rule, automargin: true };
      }
    }
    return themed;
  }

  async function draw() {
    for (const plot of plots) {
      const { data, layout } = figures[plot.dataset.figure];
      const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
      await Plotly.react(plot, data, themed(layout), options);
    }
    document.documentElement.dataset.drawn = String(plots.length);
  }

  draw();
  dark.addEventListener("change", draw);
})();
