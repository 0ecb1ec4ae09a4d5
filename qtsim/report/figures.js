"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const byPlace = new Map();
  for (const { place, key, figure } of content.figures) {
    if (!byPlace.has(place)) byPlace.set(place, new Map());
    byPlace.get(place).set(key, figure);
  }
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** The figure in the page's own colours and width. */
  function themed(layout) {
    const axes = Object.fromEntries(
      Object.keys(layout).filter((name) => /^[xy]axis/.test(name)).map((name) => [name, { ...layout[name], gridcolor: css("--line"), automargin: true }]));
    return { ...layout, ...axes, font: { color: css("--ink"), size: 12 }, autosize: true, height: undefined, width: undefined };
  }
  function draw(place, key) {
    const figures = byPlace.get(place);
    const figure = figures && (figures.get(key) || figures.values().next().value);
    const target = document.getElementById(place);
    if (!figure || !target) return;
    Plotly.react(target, figure.data, themed(figure.layout), { displaylogo: false, responsive: true });
  }
  const metric = document.getElementById("metric");
  function drawAll() {
    for (const place of byPlace.keys()) draw(place, metric ? metric.value : content.metrics[0]);
  }
  if (metric) metric.addEventListener("change", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
})();
