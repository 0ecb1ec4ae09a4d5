"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const byPlace = new Map();
  for (const { place, key, figure } of content.figures) {
    if (!byPlace.has(place)) byPlace.set(place, new Map());
    byPlace.get(place).set(key, figure);
  }
  /** The place of every cell of a heat map in words: rows of columns. */
  function cellTexts({ rows, columns, copies }) {
    const texts = rows.map((row) => columns.map((column) => `${column}, ${row}`));
    for (const [row, column] of copies) texts[row][column] += "<br>copy of another trial";
    return texts;
  }
  const words = new Map(Object.entries(content.cells || {}).map(([place, cells]) => [place, cellTexts(cells)]));
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
    if (words.has(place)) figure.data[0].customdata = words.get(place);
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
