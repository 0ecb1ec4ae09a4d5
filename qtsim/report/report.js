"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const trades = content.trades;
  const count = trades.id.length;
  const quote = content.head.quote;
  const byId = (id) => document.getElementById(id);
  const REASON_COLOURS = {
    tp1: "#5cb85c", tp2: "#2e9e5b", tp3: "#1c8f5e", tp4: "#177a6b", tp5: "#136a75", trail: "#2f7ed8", ratchet: "#e0a100", breakeven: "#16a3a3",
    stop: "#d9534f", hard_stop: "#c2407a", backup_stop: "#c2407a", liquidation: "#8e44ad", loss_guard: "#b0413e",
    margin_emergency: "#b0413e", stale: "#8a6d3b", crash: "#8a6d3b", regime: "#c77dba", replan: "#a06cc0", signal: "#7b8794",
    reverse: "#5d6d7e", governor: "#34495e", end_of_data: "#9aa5b1",
  };
  const STORY_WORDS = { entry: "Entry", plan: "Plan", leg: "Target", move: "Stop moves", funding: "Funding", exit: "Exit", result: "Result" };
  const LONG = "#26a269", SHORT = "#d64541";
  const LABELS = { hard_stop: "hard stop", backup_stop: "backup stop", loss_guard: "loss guard", margin_emergency: "margin emergency", end_of_data: "end of data", tp1: "TP1", tp2: "TP2", tp3: "TP3", tp4: "TP4", tp5: "TP5" };
  const label = (reason) => LABELS[reason] || reason;
  const colourOf = (reason) => REASON_COLOURS[reason] || "#7b8794";

  // Small tools ------------------------------------------------------------------------------------------------------

  /** An element with a class and text; text is never read as HTML. */
  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined && text !== null) made.textContent = text;
    return made;
  }
  /** A figure and its unit stay on one line. */
  const together = (text) => text.replace(/ (%|R|pp|h|days|×)(?![\w])/g, "\u00a0$1");
  const put = (parent, ...children) => { parent.append(...children); return parent; };
  const fixed = (value, digits) => value === null || value === undefined ? "–" : value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const signed = (value, digits) => {
    if (value === null || value === undefined) return "–";
    const rounded = Number(value.toFixed(digits)) || 0;  // no -0.0
    return (rounded > 0 ? "+" : "") + fixed(rounded, digits);
  };
  const tone = (value) => value > 0 ? "good" : value < 0 ? "bad" : "plain";
  const price = (value, symbol) => fixed(value, content.price_decimals[symbol]);
  const counted = (number, one) => `${fixed(number, 0)} ${one}${number === 1 ? "" : "s"}`;
  const moment = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
  const exactMoment = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
  const ms = (seconds) => seconds * 1000;
  /** Plotly reads a little HTML in labels; nothing of ours is meant as HTML. */
  const inert = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  function duration(seconds) {
    if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
    if (seconds < 172800) return `${fixed(seconds / 3600, 1)} h`;
    return `${fixed(seconds / 86400, 1)} days`;
  }

  // Charts take their colours from the page, and again when the page turns dark or light -------------------------------

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const drawn = new Map();
  function chart(id, build) {
    const make = () => {
      const { traces, layout, config } = build();
      return Plotly.react(id, traces, themed(layout), { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], ...config });
    };
    drawn.set(id, make);
    make();
    return byId(id);
  }
  function themed(layout) {
    const axis = { gridcolor: css("--line"), linecolor: css("--line"), zerolinecolor: css("--line"), tickfont: { color: css("--muted") }, title: { font: { color: css("--muted") } } };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 62, r: 16, t: 12, b: 36 },
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink") },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") }, align: "left" },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, showlegend: false,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--line"), activecolor: css("--accent") },
    };
    const merged = { ...base, ...layout };
    for (const name of Object.keys(merged)) {
      if (/^[xy]axis\d*$/.test(name)) merged[name] = { ...axis, ...merged[name], title: { ...axis.title, ...merged[name].title } };
    }
    return merged;
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((make) => make()));
  const nothing = (id, text) => { byId(id).className = "empty"; byId(id).textContent = text; };

  // Overview ---------------------------------------------------------------------------------------------------------

  function overview() {
    const head = content.head;
    byId("kicker").textContent = `qtsim ${head.version}${head.run_id ? ` · run ${head.run_id}` : ""}${head.params ? ` · ${head.params}` : ""}`;
    byId("title").textContent = `${head.title}, ${head.timeframe}`;
    byId("assumption-line").textContent = `${head.line.split(" · ").slice(2).join(" · ")} · ${head.assumptions}`;
    for (const text of head.shutdowns) put(byId("banners"), element("p", "banner bad", together(text)));
    for (const text of head.warnings) put(byId("banners"), element("p", "banner warn", text));
    for (const text of head.headlines) put(byId("banners"), element("p", "sub", text));
    byId("verdict").className = `verdict ${content.verdict.tone}`;
    byId("verdict").textContent = content.verdict.text.charAt(0).toUpperCase() + content.verdict.text.slice(1) + ".";
    for (const tile of content.tiles) {
      put(byId("tiles"), put(element("div", "tile"), element("div", "name", tile.name), element("div", `value ${tile.tone}`, tile.value), element("div", "note", together(tile.note))));
    }
    money();
    flow();
    optimism();
    const notes = element("dl", "notes");
    for (const [name, text] of content.notes) put(notes, element("dt", "", name), element("dd", "", together(text)));
    put(byId("notes"), notes);
    byId("screen").textContent = content.screen;
    byId("footer").textContent = `Written by qtsim ${head.version}${head.started_at ? ` for the run started ${head.started_at}` : ""}. All times are UTC; bars are named by their open. This file needs no network.`;
  }

  /** A waterfall: each bar begins where the one above it ended. */
  function money() {
    const { terms, net, decimals } = content.money;
    const ends = [0];
    for (const [, amount] of terms) ends.push(ends[ends.length - 1] + amount);
    const low = Math.min(...ends, 0), high = Math.max(...ends, 0), span = high - low || 1;
    const at = (value) => `${100 * (value - low) / span}%`;
    const line = (name, from, to, amount, total) => {
      const bar = element("i", tone(amount));
      bar.style.left = at(Math.min(from, to));
      bar.style.width = `${100 * Math.abs(to - from) / span}%`;
      const zero = element("b");
      zero.style.left = at(0);
      const track = put(element("div", "track"), zero);
      if (amount !== 0) put(track, bar);
      return put(element("div", `row bars${total ? " total" : ""}`), element("div", "", name), track, element("div", `amount ${tone(amount)}`, amount === 0 ? "0" : signed(amount, decimals)));
    };
    terms.forEach(([name, amount], i) => put(byId("money"), line(name, ends[i], ends[i + 1], amount, false)));
    put(byId("money"), line(`net, ${quote}`, 0, net, net, true));
  }

  const GATE_COLOURS = {
    "before the gates": "#9aa5b1", confidence: "#8a6d3b", orchestrator: "#7a6fb0", balancer: "#3f8f9b", governor: "#c46a1b", leverage: "#5d6d7e", plan: "#4f7a5b",
    sizing: "#5d6d7e", "risk guard": "#a8455d", exchange: "#6b6b6b",
  };
  const LINE = 18;  // height of a label

  /** Signals, what stopped them, entries, exits: one picture, drawn for the width there is. */
  function flow() {
    const picture = element("div");
    put(byId("flow"), picture);
    let drawnAt = 0;
    const draw = () => {
      const width = Math.max(picture.clientWidth, 320);
      if (width === drawnAt) return;
      drawnAt = width;
      picture.replaceChildren(content.flow.signals ? flowPicture(width) : element("p", "empty", "The strategy gave no entry signal."));
    };
    draw();
    new ResizeObserver(draw).observe(picture);
    if (content.size) put(byId("flow"), element("p", "detail", content.size));
    if (content.exits.legs) put(byId("flow"), element("p", "detail", content.exits.legs));
    for (const row of content.open) put(byId("flow"), element("p", "detail", `still open: ${row.join(", ")}`));
  }

  function flowPicture(width) {
    const { signals, stopped, entries, exits, open } = content.flow;
    const scale = 300 / signals, thick = (count) => Math.max(scale * count, 1.5), share = (number) => `${fixed(100 * number / signals, 1)} %`;
    const ends = [...exits.map(([reason, number]) => ({ name: label(reason), count: number, colour: colourOf(reason) })), ...(open ? [{ name: "still open", count: open, colour: "#7b8794" }] : [])];
    const pitch = (count) => Math.max(thick(count) + 4, LINE);
    const narrow = width < 700, bar = 14, top = 24, middle = Math.round(width * 0.27), longest = Math.max(0, ...ends.map((end) => `${end.name} ${fixed(end.count, 0)}  ${fixed(100 * end.count / entries, 1)} % of the entries`.length)), right = width - (narrow ? 140 : Math.max(230, 28 + 6.8 * longest));
    const endsHeight = ends.reduce((sum, end) => sum + pitch(end.count), 0);
    const parts = [], targets = [];
    targets.push({ y: top, count: entries, colour: "var(--accent)" });
    let y = top + Math.max(endsHeight, thick(entries)) + 22;
    for (const group of stopped) {
      parts.push(svgText(middle, y, `${group.name} ${fixed(group.count, 0)}`, "strong"));
      y += 8;
      for (const [rule, number] of group.rows) {
        const height = pitch(number), at = y + (height - thick(number)) / 2;
        targets.push({ y: at, count: number, colour: GATE_COLOURS[group.name] || "#7b8794" });
        parts.push(svgText(middle + bar + 6, y + height / 2 + 4, label(rule) + " ", "", fixed(number, 0), narrow ? "" : `  ${share(number)} of the signals`));
        y += height;
      }
      y += LINE + 2;
    }
    const height = Math.max(y - LINE + 4, top + 306);
    const links = [], nodes = [];
    let from = top;
    nodes.push(svgBar(0, from, bar, 300, "var(--muted)"));
    parts.push(svgText(0, top - 8, `${counted(signals, "signal")}`, "strong"));
    for (const target of targets) {
      const own = scale * target.count;
      if (!target.count) continue;
      links.push(svgLink(bar, from, own, middle, target.y, thick(target.count), target.colour));
      nodes.push(svgBar(middle, target.y, bar, thick(target.count), target.colour));
      from += own;
    }
    parts.push(svgText(middle, top - 8, `${fixed(entries, 0)} ${entries === 1 ? "entry" : "entries"}`, "strong", "", `  ${share(entries)}`));
    let leaves = top, reaches = top;
    const unit = thick(entries) / Math.max(entries, 1);
    for (const end of ends) {
      const place = reaches + (pitch(end.count) - thick(end.count)) / 2;
      links.push(svgLink(middle + bar, leaves, unit * end.count, right, place, thick(end.count), end.colour));
      nodes.push(svgBar(right, place, bar, thick(end.count), end.colour));
      parts.push(svgText(right + bar + 6, reaches + pitch(end.count) / 2 + 4, `${end.name} `, "", fixed(end.count, 0), narrow ? "" : `  ${fixed(100 * end.count / entries, 1)} % of the entries`));
      leaves += unit * end.count;
      reaches += pitch(end.count);
    }
    const made = svg("svg", { viewBox: `0 0 ${width} ${Math.ceil(height)}`, class: "flow", role: "img", "aria-label": `${signals} signals, ${entries} entries` });
    return put(made, ...links, ...nodes, ...parts);
  }

  function svg(tag, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }
  const svgBar = (x, y, width, height, colour) => svg("rect", { x, y, width, height, rx: 1.5, style: `fill: ${colour}` });
  /** A ribbon from one bar to another, each end as thick as its bar has room for it. */
  function svgLink(x0, y0, thick0, x1, y1, thick1, colour) {
    const bend = (x0 + x1) / 2;
    return svg("path", { d: `M${x0},${y0}C${bend},${y0} ${bend},${y1} ${x1},${y1}L${x1},${y1 + thick1}C${bend},${y1 + thick1} ${bend},${y0 + thick0} ${x0},${y0 + thick0}Z`, style: `fill: ${colour}; opacity: 0.32` });
  }
  /** A label: plain words, a strong figure, soft words. */
  function svgText(x, y, words, className, figure, soft) {
    const made = svg("text", { x, y, class: className || "", "xml:space": "preserve" });
    made.textContent = words;
    for (const [text, kind] of [[figure, "strong"], [soft, "soft"]]) {
      if (!text) continue;
      const part = svg("tspan", { class: kind });
      part.textContent = text;
      put(made, part);
    }
    return made;
  }

  function optimism() {
    const rows = content.optimism.rows;
    if (!rows.length) { byId("optimism-card").remove(); return; }
    const largest = Math.max(...rows.map((row) => Math.abs(row.points)), 1e-9);
    for (const row of rows) {
      const bar = element("i", tone(row.points));
      bar.style.left = "0";
      bar.style.width = `${100 * Math.abs(row.points) / largest}%`;
      put(byId("optimism"), put(element("div", "row bars"), element("div", "", row.name), put(element("div", "track"), bar), element("div", "amount", `${signed(row.points, 2)} pp`)));
    }
    put(byId("optimism"), element("p", "detail", `Total Return would change by so many percentage points if the assumption were lifted; it is ${signed(content.optimism.base, 2)} % with all of them.`));
    const told = content.optimism.text.split(": ").slice(1).join(": ");
    if (told) put(byId("optimism"), element("p", "detail", told.charAt(0).toUpperCase() + told.slice(1) + "."));
  }

  // Account ----------------------------------------------------------------------------------------------------------

  const DECISION_COLOURS = { EMERGENCY_SHUTDOWN: "#c4342d", PAUSE_1H: "#d98a1f", DEFENSIVE_EXIT: "#8e5bb5", NO_NEW_TRADES: "#4f7fa8" };
  const LANE_NAMES = { EMERGENCY_SHUTDOWN: "SHUTDOWN", DEFENSIVE_EXIT: "DEFENSIVE", NO_NEW_TRADES: "NO NEW" };
  const laneName = (decision) => LANE_NAMES[decision] || decision;

  /** One decision over time: a bar while it was in force, and a tick where it fired, which is seen from any distance. */
  function lane(decision) {
    const bars = content.governor.bars[decision], colour = DECISION_COLOURS[decision] || css("--muted"), y = bars.map(() => laneName(decision));
    const times = (fired) => fired > 1 ? `, fired ${fired} times` : "";
    return [
      { type: "bar", orientation: "h", xaxis: "x", yaxis: "y3", base: bars.map(([begin]) => ms(begin)), x: bars.map(([begin, end]) => ms(end - begin)), y, width: 0.72, marker: { color: colour, opacity: 0.75 }, hoverinfo: "skip", showlegend: false },
      { type: "scatter", mode: "markers", xaxis: "x", yaxis: "y3", x: bars.map(([begin]) => ms(begin)), y, marker: { symbol: "line-ns-open", size: 14, color: colour, line: { width: 1.4, color: colour } }, text: bars.map(([begin, end, fired]) => `${duration(end - begin)}${times(fired)}`), hovertemplate: `%{text}<extra>${decision}</extra>`, showlegend: false },
    ];
  }

  function margin() {
    const { t, used, max, exit, distance, rows, nearest, liquidations } = content.margin;
    if (t.length < 2) { nothing("chart-margin", "There is no account to draw."); return; }
    const words = [`At most ${fixed(max, 2)} % of the equity was bound as margin, entries inside bars included.`];
    if (nearest !== null) words.push(liquidations ? `${counted(liquidations, "position")} ended in a liquidation.` : `The mark price came no nearer to a liquidation price than ${fixed(nearest, 2)} % of itself.`);
    byId("margin-note").textContent = words.join(" ");
    const near = exit.length > 0;
    byId("chart-margin").style.height = near ? "400px" : "240px";
    const made = chart("chart-margin", () => ({
      traces: [
        { x: t.map(ms), y: used, type: "scatter", mode: "lines", name: "margin in use", line: { color: css("--accent"), width: 1, shape: "hv" }, fill: "tozeroy", fillcolor: "rgba(43,108,176,0.16)", hovertemplate: "%{y:.2f} % of equity<extra>%{x|%Y-%m-%d %H:%M}</extra>" },
        ...(near ? [{ x: exit.map(ms), y: distance, yaxis: "y2", type: "scatter", mode: "markers", customdata: rows, marker: { size: 5, opacity: 0.75, color: rows.map((row) => row < count && trades.pnl[row] > 0 ? LONG : SHORT) }, hovertemplate: "nearest %{y:.2f} %<extra>trade that ended %{x|%Y-%m-%d %H:%M}</extra>" }] : []),
      ],
      layout: {
        hovermode: "closest", margin: { l: 74, r: 16, t: 12, b: 36 }, xaxis: { type: "date", anchor: near ? "y2" : "y", range: [ms(t[0]), ms(t[t.length - 1])] },
        yaxis: { domain: near ? [0.53, 1] : [0, 1], title: { text: "margin, %" }, rangemode: "tozero" },
        ...(near ? { yaxis2: { domain: [0, 0.45], title: { text: "to liquidation, %" }, rangemode: "tozero" } } : {}),
      },
      config: { displayModeBar: false },
    }));
    made.on("plotly_click", openFrom);
  }

  // Governor, symbols, regimes ---------------------------------------------------------------------------------------

  /** A table of figures; `texts` are the columns that hold words. */
  function numbers(id, head, rows, texts, totalAt) {
    const kind = (i) => texts.includes(i) ? "text" : "";
    put(byId(id), put(element("tr"), ...head.map((text, i) => element("th", kind(i), text))));
    rows.forEach((row, n) => put(byId(id), put(element("tr", n === totalAt ? "total" : ""), ...row.map((cell, i) => Array.isArray(cell) ? element("td", `${kind(i)} ${cell[1]}`, cell[0]) : element("td", kind(i), cell)))));
  }

  function governor() {
    const { on, text, head, states, shutdowns, event_head, events, n_events } = content.governor;
    byId("governor-text").textContent = together(text.charAt(0).toUpperCase() + text.slice(1) + ".");
    if (!on) { byId("governor-card").remove(); return; }
    put(byId("shutdowns"), ...shutdowns.map((line) => element("li", "", together(line))));
    byId("shutdowns").hidden = !shutdowns.length;
    numbers("states", head, states, [0], states.length - 1);
    if (!n_events) { byId("events-box").remove(); return; }
    byId("events-title").textContent = n_events > events.length ? `The latest ${fixed(events.length, 0)} of ${fixed(n_events, 0)} events` : counted(n_events, "event");
    numbers("events", event_head, events, [0, 1, 2]);
  }

  function breakdown() {
    const last = (rows) => rows.length > 1 ? rows.length - 1 : -1;
    const money = (value) => [signed(value, 2), tone(value)];
    const per = (value) => value === null ? "–" : `${fixed(value, 1)} %`;
    const symbols = content.symbols.rows, judged = content.symbols.judged;
    numbers("symbols", ["Symbol", "Signals", "Trades", "Wins", "Win rate", `Result, ${quote}`, "Mean R", "Streak", ...(judged ? ["Denied: off", "Denied: blacklisted", "At the end"] : [])],
      symbols.map((row) => [row.symbol, fixed(row.signals, 0), fixed(row.trades, 0), fixed(row.wins, 0), per(row.win_rate), money(row.pnl), signed(row.r, 2), String(row.streak),
        ...(judged ? [fixed(row.disabled, 0), fixed(row.blacklisted, 0), [row.state, "wide"]] : [])]), [0, 10], last(symbols));
    byId("costs-title").textContent = `What trading each symbol cost, ${quote}`;
    numbers("costs", ["Symbol", "Traded value", "Fees", "Slippage", "Funding", "Liquidation fees", "Liquidations", "Cost"],
      content.costs.map((row) => [row.symbol, fixed(row.turnover, 0), fixed(row.fees, 2), fixed(row.slippage, 2), money(row.funding), fixed(row.liquidation, 2), String(row.liquidations), fixed(row.cost, 2)]), [0], last(content.costs));
    const { rows, columns, cells } = content.regimes;
    if (!rows.length) { byId("regimes-card").remove(); return; }
    const inner = cells.slice(0, -1).flatMap((line) => line.slice(0, -1)).map((one) => Math.abs(one.pnl || 0)), bound = Math.max(...inner, 0.01);
    const cell = (one, total) => {
      const made = element("td", total ? "total" : "", one.trades ? signed(one.pnl, 1) : "");
      if (!one.trades) return made;
      if (one.pnl) made.classList.add(one.pnl > 0 ? "up" : "down");
      made.style.setProperty("--share", `${Math.round(60 * Math.min(Math.abs(one.pnl) / bound, 1) * (total ? 0.4 : 1))}%`);
      return put(made, element("span", "", `${fixed(one.trades, 0)}, ${fixed(one.win_rate, 0)} %`), element("span", "", one.r === null ? "" : `${signed(one.r, 2)} R`));
    };
    put(byId("regimes"), put(element("tr"), element("th"), ...columns.map((name) => element("th", "", name))));
    cells.forEach((line, i) => put(byId("regimes"), put(element("tr"), element("th", "", rows[i]), ...line.map((one, j) => cell(one, i === rows.length - 1 || j === columns.length - 1)))));
  }

  /** Bars to the left of zero: without the part the run would have returned less, or its drawdown been deeper. */
  function ablation() {
    const { asked, bars, low, high, lead, same, left_out, head, rows } = content.ablation;
    if (!asked) { byId("ablation").remove(); byId("ablation-link").remove(); return; }
    byId("ablation-lead").textContent = lead;
    const span = high - low || 1, at = (value) => `${100 * (value - low) / span}%`;
    const track = (value) => {
      const zero = element("b"), bar = element("i", tone(value));
      zero.style.left = at(0);
      bar.style.left = at(Math.min(value, 0));
      bar.style.width = `${100 * Math.abs(value) / span}%`;
      return put(element("div", "track"), ...(value ? [bar] : []), zero);
    };
    const figure = (value) => element("div", `amount ${tone(value)}`, signed(value, 2));
    if (bars.length) put(byId("ablation-bars"), put(element("div", "row parts head"), element("div", "", "without"), element("div", "axis", "Total Return"), element("div", "axis", "Max Drawdown")));
    for (const [name, total, drawdown] of bars) put(byId("ablation-bars"), put(element("div", "row parts"), element("div", "", name), track(total), figure(total), track(drawdown), figure(drawdown)));
    byId("ablation-same").textContent = same;
    byId("ablation-left-out").textContent = left_out;
    const change = (value) => value === null ? "" : [signed(value, 2), tone(value)];
    numbers("ablation-table", head, rows.map(([name, group, total, gain, drawdown, deeper, trades, denied, stays]) =>
      [name, group, `${signed(total, 2)} %`, change(gain), `${signed(drawdown, 2)} %`, change(deeper), fixed(trades, 0), fixed(denied, 0), [stays, "wide"]]), [0, 1, 8]);
  }

  function equity() {
    const { t, name, equity: values, drawdown, start } = content.equity;
    if (t.length < 2) { nothing("chart-equity", "There is no equity to draw."); return; }
    const hold = content.hold.equity;
    const reach = Math.max(...values.map((value) => Math.abs(value - start)));
    const holdReach = hold.length ? Math.max(...hold.map((value) => Math.abs(value - start))) : 0;
    const flattens = reach > 0 && holdReach > 6 * reach;
    const lanes = Object.keys(content.governor.bars).reverse();  // the gravest on top
    const room = lanes.length ? 26 * lanes.length + 14 : 0, whole = 520 + room, below = room / whole;
    byId("lanes-lead").hidden = !lanes.length;
    byId("chart-equity").style.height = `${whole}px`;
    const shut = (content.governor.bars.EMERGENCY_SHUTDOWN || []).slice(0, 50);
    chart("chart-equity", () => ({
      traces: [
        ...lanes.flatMap(lane),
        { x: t.map(ms), y: values, type: "scatter", mode: "lines", name, line: { color: css("--accent"), width: 1.6 }, hovertemplate: `%{y:,.2f} ${inert(quote)}<extra>${name}</extra>` },
        { x: content.hold.t.map(ms), y: hold, type: "scatter", mode: "lines", name: flattens ? "buy and hold (click to show: it would flatten the rest)" : "buy and hold, 1x, no costs", visible: flattens ? "legendonly" : true, line: { color: css("--muted"), width: 1.2, dash: "dot" }, hovertemplate: "%{y:,.2f}<extra>buy and hold</extra>" },
        { x: t.map(ms), y: drawdown, type: "scatter", mode: "lines", name: "drawdown", xaxis: "x", yaxis: "y2", showlegend: false, fill: "tozeroy", line: { color: css("--bad"), width: 1 }, fillcolor: "rgba(214,69,65,0.18)", hovertemplate: "%{y:.2f} %<extra>drawdown</extra>" },
      ],
      layout: {
        showlegend: true, hovermode: "x unified", margin: { l: 74, r: 16, t: 34, b: 36 },
        xaxis: { type: "date", anchor: room ? "y3" : "y2", range: [ms(t[0]), ms(t[t.length - 1])] }, barmode: "overlay",
        ...(room ? { yaxis3: { domain: [0, below - 0.02], type: "category", categoryorder: "array", categoryarray: lanes.map(laneName), tickfont: { size: 10, color: css("--muted") }, fixedrange: true } } : {}),
        yaxis: { domain: [below + 0.33 * (1 - below), 1], title: { text: `equity, ${inert(quote)}` }, tickformat: ",.6~g" },
        yaxis2: { domain: [below, below + 0.27 * (1 - below)], title: { text: "drawdown, %" } },
        shapes: [...shut.map(([begin]) => ({ type: "line", x0: ms(begin), x1: ms(begin), yref: "paper", y0: 0, y1: 1, line: { color: DECISION_COLOURS.EMERGENCY_SHUTDOWN, width: 1, dash: "dot" } })), { type: "line", xref: "paper", x0: 0, x1: 1, y0: start, y1: start, line: { color: css("--muted"), width: 1, dash: "dash" } }],
      },
    }));
  }

  function transfers() {
    if (!content.transfers.length) { byId("transfers-card").remove(); return; }
    byId("transfers-card").hidden = false;
    numbers("transfers", ["Time", "What", `Amount, ${quote}`, "Wallet after it"], content.transfers, [0, 1]);
  }

  /** Returns by month: a year is a row where there is room for twelve columns, else a column. */
  function months() {
    const { years, rows, totals } = content.months;
    if (!years.length) { byId("months-card").remove(); return; }
    const names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Year"];
    const bound = Math.max(...rows.flat().filter((value) => value !== null).map(Math.abs), 0.01);
    const cells = rows.map((row, i) => [...row, totals[i]]);
    const cell = (value, total) => {
      const made = element("td", total ? "total" : "", value === null ? "" : signed(value, 1));
      if (value !== null) made.style.setProperty("--share", `${Math.round(60 * Math.min(Math.abs(value) / bound, 1))}%`);
      if (value) made.classList.add(value > 0 ? "up" : "down");
      return made;
    };
    const line = (name, values, totalAt) => put(element("tr"), element("th", "", name), ...values.map((value, i) => cell(value, totalAt(i))));
    const head = (texts) => put(element("tr"), element("th"), ...texts.map((text) => element("th", "", text)));
    const narrow = window.matchMedia("(max-width: 760px)");
    const draw = () => byId("months").replaceChildren(...(narrow.matches
      ? [head(years), ...names.map((name, month) => line(name, cells.map((row) => row[month]), () => month === 12))]
      : [head(names), ...cells.map((row, i) => line(years[i], row, (month) => month === 12))]));
    narrow.addEventListener("change", draw);
    draw();
  }

  // Market -----------------------------------------------------------------------------------------------------------

  const symbolNames = Object.keys(content.overview);
  const symbolOf = (row) => trades.texts.symbol[trades.symbol[row]];
  const reasonOf = (row) => trades.texts.exit_reason[trades.reason[row]];
  /** Result of a trade, with its R where it planned a stop. */
  const outcome = (row) => `${signed(trades.pnl[row], 2)} ${quote}${trades.r[row] === null ? "" : `, ${signed(trades.r[row], 2)} R`}`;
  const candles = {};
  for (const [symbol, kept] of Object.entries(content.candles)) {
    let step = 0;
    candles[symbol] = { ...kept, t: kept.i.map((delta) => kept.t0 + (step += delta) * content.head.timeframe_s) };
  }

  /** First index whose time is not before `time`. */
  function lowerBound(times, time) {
    let low = 0, high = times.length;
    while (low < high) { const mid = (low + high) >> 1; if (times[mid] < time) low = mid + 1; else high = mid; }
    return low;
  }

  /** Candles drawn over the time they cover, from open to open + step. */
  const candleTrace = (bars, step) => ({
    type: "candlestick", x: bars.t.map(ms), open: bars.o, high: bars.h, low: bars.l, close: bars.c, name: "price", showlegend: false,
    xperiod: ms(step), xperiod0: bars.t.length ? ms(bars.t[0]) : 0, xperiodalignment: "middle", xhoverformat: "%Y-%m-%d %H:%M",
    increasing: { line: { color: "#7fae96", width: 1 }, fillcolor: "#7fae96" }, decreasing: { line: { color: "#c58f8c", width: 1 }, fillcolor: "#c58f8c" },
  });
  const FINE = 1200;

  /** The candles of a stretch of time: the run's own where they are few enough and in the file, else the overview's. */
  function candlesBetween(symbol, from, to) {
    const wide = { ...content.overview[symbol], step: content.overview[symbol].seconds };
    wide.timeframe = wide.step === content.head.timeframe_s ? content.head.timeframe : `${wide.timeframe} candles`;
    const kept = candles[symbol], step = content.head.timeframe_s;
    if (!kept || wide.step === step) return wide;
    if ((to - from) / step > FINE) return joinedCandles(symbol, from, to) || wide;
    const a = Math.max(lowerBound(kept.t, from) - 1, 0), b = lowerBound(kept.t, to) + 1;
    const expected = (Math.min(to, content.head.end) - Math.max(from, content.head.start)) / step;
    if (!content.whole && b - a < 0.8 * expected) return wide;  // only the bars around trades are here
    return { t: kept.t.slice(a, b), o: kept.o.slice(a, b), h: kept.h.slice(a, b), l: kept.l.slice(a, b), c: kept.c.slice(a, b), timeframe: content.head.timeframe, step };
  }

  /** The run's own candles of a stretch, several to one, so that at most `FINE` are drawn; null where they are not in the file. */
  function joinedCandles(symbol, from, to) {
    const kept = candles[symbol], own = content.head.timeframe_s;
    if (!kept || !content.whole) return null;
    const several = [2, 3, 4, 6, 8, 12, 24].find((n) => (to - from) / (n * own) <= FINE && 86400 % (n * own) === 0);
    if (!several || several * own >= content.overview[symbol].seconds) return null;
    const step = several * own, bars = { t: [], o: [], h: [], l: [], c: [], step, timeframe: `${step % 3600 ? `${step / 60}m` : `${step / 3600}h`} candles` };
    for (let i = Math.max(lowerBound(kept.t, from) - several, 0), last = lowerBound(kept.t, to); i < last; i += 1) {
      const start = Math.floor(kept.t[i] / step) * step, place = bars.t.length - 1;
      if (place < 0 || bars.t[place] !== start) {
        bars.t.push(start); bars.o.push(kept.o[i]); bars.h.push(kept.h[i]); bars.l.push(kept.l[i]); bars.c.push(kept.c[i]);
      } else {
        bars.h[place] = Math.max(bars.h[place], kept.h[i]); bars.l[place] = Math.min(bars.l[place], kept.l[i]); bars.c[place] = kept.c[i];
      }
    }
    return bars;
  }

  let view = null;  // the stretch of time that the market chart shows, in seconds

  function market(symbol) {
    const all = content.overview[symbol];
    const own = [...Array(count).keys()].filter((row) => symbolOf(row) === symbol);
    const ends = all.t.length ? [all.t[0], all.t[all.t.length - 1] + all.seconds] : [content.head.start, content.head.end];
    view = [...ends];
    const zooms = { "market-all": () => ends, "market-late": () => around(own.slice(-40)), "market-chosen": () => around([chosen]) };
    const around = (rows) => {
      if (!rows.length) return ends;
      const from = Math.min(...rows.map((row) => trades.entry[row])), to = Math.max(...rows.map((row) => trades.exit[row]));
      const air = Math.max(0.04 * (to - from), 24 * content.head.timeframe_s);
      return [from - air, to + air];
    };
    for (const [id, zoom] of Object.entries(zooms)) {
      byId(id).onclick = () => {
        if (id === "market-chosen" && symbolOf(chosen) !== symbol) {
          byId("symbol").value = symbolOf(chosen);
          market(symbolOf(chosen));
          byId(id).onclick();
          return;
        }
        view = zoom();
        drawMarket(symbol, own);
      };
    }
    if (own.length > 150) view = zooms["market-late"]();  // all at once would be a cloud of marks
    drawMarket(symbol, own);
  }

  function drawMarket(symbol, own) {
    const [from, to] = view;
    const bars = candlesBetween(symbol, from, to);
    byId("market-note").textContent = bars.timeframe === content.head.timeframe ? `every bar, ${bars.timeframe}` : `${bars.timeframe}; ${content.whole ? `zoom in for the run's own ${content.head.timeframe} bars` : `the inspector shows the run's own ${content.head.timeframe} bars`}`;
    const crowd = own.filter((row) => trades.exit[row] >= from && trades.entry[row] <= to).length;
    const size = crowd <= 60 ? 11 : crowd <= 200 ? 8 : 6;
    const marks = (name, rows, x, y, marker) => ({
      type: "scatter", mode: "markers", name, x: rows.map((row) => ms(trades[x][row])), y: rows.map((row) => trades[y][row]), customdata: rows, marker,
      text: rows.map((row) => `trade ${trades.id[row]}, ${trades.side[row] > 0 ? "long" : "short"}<br>${[inert(outcome(row)), label(reasonOf(row))].join(", ")}`),
      hovertemplate: "%{text}<extra></extra>",
    });
    const entries = (side, name, shape, colour) => marks(name, own.filter((row) => trades.side[row] === side), "entry", "entry_price", { symbol: shape, size, color: colour, line: { color: css("--card"), width: crowd <= 200 ? 1 : 0.5 } });
    const reasons = [...new Set(own.map(reasonOf))].sort();
    const inView = bars.t.map((time, i) => [time, i]).filter(([time]) => time + bars.step > from && time < to).map(([, i]) => i);
    const low = Math.min(...inView.map((i) => bars.l[i])), high = Math.max(...inView.map((i) => bars.h[i])), pad = 0.05 * (high - low || 1);
    const made = chart("chart-market", () => ({
      traces: [
        candleTrace(bars, bars.step),
        ...legMarks(symbol, 0.6 * size),
        ...reasons.map((reason) => marks(`exit: ${label(reason)}`, own.filter((row) => reasonOf(row) === reason), "exit", "last_price", { symbol: /^tp/.test(reason) ? "diamond" : "x", size: 0.65 * size, color: colourOf(reason) })),
        entries(1, "long entry", "triangle-up", LONG), entries(-1, "short entry", "triangle-down", SHORT),
      ],
      layout: {
        showlegend: true, hovermode: "closest", dragmode: "pan", margin: { l: 74, r: 16, t: 50, b: 36 },
        xaxis: { type: "date", range: [ms(from), ms(to)], rangeslider: { visible: false } }, yaxis: { title: { text: "price" }, tickformat: ",.6~g", range: inView.length ? [low - pad, high + pad] : undefined },
      },
      config: { scrollZoom: true },
    }));
    made.removeAllListeners("plotly_click");
    made.on("plotly_click", openFrom);
    made.removeAllListeners("plotly_relayout");
    let waiting = 0;
    made.on("plotly_relayout", (change) => {
      const range = made.layout.xaxis.range.map((edge) => typeof edge === "number" ? edge / 1000 : Date.parse(`${String(edge).replace(" ", "T")}Z`) / 1000);
      const moved = Object.keys(change).some((key) => key.startsWith("xaxis"));
      if (!moved || !range.every(Number.isFinite)) return;
      clearTimeout(waiting);
      waiting = setTimeout(() => { view = range; drawMarket(symbol, own); }, 250);
    });
  }

  /** Partial exits that the inspected trades had, by leg. */
  function legMarks(symbol, size) {
    const legs = new Map();
    for (const [key, one] of Object.entries(content.inspect)) {
      const row = Number(key);
      if (symbolOf(row) !== symbol) continue;
      one.fills.slice(1, -1).forEach(([time, at, qty, reason]) => {
        if (!legs.has(reason)) legs.set(reason, { x: [], y: [], rows: [], text: [] });
        const leg = legs.get(reason);
        leg.x.push(ms(time)); leg.y.push(at); leg.rows.push(row); leg.text.push(`trade ${trades.id[row]}: ${label(reason)} closed ${qty}`);
      });
    }
    return [...legs.keys()].sort().map((reason) => {
      const leg = legs.get(reason);
      return { type: "scatter", mode: "markers", name: `leg: ${label(reason)}`, x: leg.x, y: leg.y, customdata: leg.rows, text: leg.text, hovertemplate: "%{text}<extra></extra>", marker: { symbol: "diamond", size, color: colourOf(reason) } };
    });
  }

  function openFrom(event) {
    const row = event.points.map((point) => point.customdata).find((value) => value !== undefined);
    if (row !== undefined) choose(row, true);
  }

  // Inspector --------------------------------------------------------------------------------------------------------

  let order = [...Array(count).keys()];
  let chosen = -1;

  function choose(row, scroll) {
    chosen = row;
    byId("trade-title").textContent = `Trade ${trades.id[row]} · ${symbolOf(row)} ${trades.side[row] > 0 ? "long" : "short"} · ${outcome(row)} · ended by ${label(reasonOf(row))}`;
    byId("pick").value = "";  // whoever picked a superlative sets it again
    byId("trade-title").className = tone(trades.pnl[row]);
    const place = order.indexOf(row);
    byId("previous").disabled = place <= 0;
    byId("next").disabled = place < 0 || place >= order.length - 1;
    facts(row);
    story(row);
    tradeChart(row);
    for (const line of document.querySelectorAll("#trades tbody tr")) line.classList.toggle("chosen", Number(line.dataset.row) === row);
    if (scroll) byId("inspector").scrollIntoView();
  }

  function facts(row) {
    const cells = [
      ["entered", moment(trades.entry[row])], ["left", moment(trades.exit[row])], ["held", duration(trades.exit[row] - trades.entry[row])],
      ["entry price", price(trades.entry_price[row], symbolOf(row))], ["mean exit price", price(trades.exit_price[row], symbolOf(row))], ["quantity", String(trades.qty[row])],
      ["worth at entry", `${fixed(trades.notional[row], 0)} ${quote}`], ["leverage", `${trades.leverage[row]}x`], ["fees and slippage", `${fixed(trades.costs[row], 2)} ${quote}`],
      ["funding", `${signed(trades.funding[row], 2)} ${quote}`],
      ["return on its value", `${signed(trades.ret[row], 2)} %`], ["best moment", `${signed(trades.mfe[row], 2)} %`], ["worst moment", `${signed(trades.mae[row], 2)} %`],
    ];
    byId("trade-facts").replaceChildren(...cells.map(([name, value]) => put(element("div", ""), element("span", "", name), document.createTextNode(value))));
  }

  function story(row) {
    const one = content.inspect[row];
    if (!one) { byId("story").replaceChildren(element("li", "muted", "This trade's picture is not in the file: to keep it small, the trades with the largest results are shown. The run folder has all of them.")); return; }
    const dots = { entry: trades.side[row] > 0 ? LONG : SHORT, plan: css("--muted"), leg: "#2e9e5b", move: "#e0a100", funding: css("--muted"), exit: colourOf(reasonOf(row)), result: css("--ink") };
    byId("story").replaceChildren(...one.story.map(([time, kind, text]) => {
      const line = put(element("li", kind), put(element("span", "when"), element("span", "what", STORY_WORDS[kind]), document.createTextNode(` · ${exactMoment(time)}`)), document.createTextNode(together(text)));
      line.style.setProperty("--dot", dots[kind]);
      return line;
    }));
  }

  function tradeChart(row) {
    const one = content.inspect[row], kept = candles[symbolOf(row)];
    if (!one || !kept) { Plotly.purge("chart-trade"); drawn.delete("chart-trade"); byId("chart-trade").replaceChildren(element("div", "empty", "No candles for this trade in this file.")); return; }
    const step = content.head.timeframe_s;
    const lived = Math.max(trades.exit[row] - trades.entry[row], step);
    const before = Math.max(12 * step, Math.min(24 * step, lived / 2)), after = Math.max(8 * step, Math.min(16 * step, lived / 4));
    const from = lowerBound(kept.t, trades.entry[row] - 24 * step), to = lowerBound(kept.t, trades.exit[row] + 16 * step);
    const part = (values) => values.slice(from, to);
    const bars = { t: part(kept.t), o: part(kept.o), h: part(kept.h), l: part(kept.l), c: part(kept.c) };
    const entryTime = one.fills[0][0], endTime = trades.exit[row];
    const side = trades.side[row];
    const shown = { from: entryTime - before, to: endTime + after };
    const inView = bars.t.map((time, i) => [time, i]).filter(([time]) => time >= shown.from && time <= shown.to).map(([, i]) => i);
    const levels = [...one.stop.map(([, at]) => at), ...one.targets.map(([, at]) => at), ...one.fills.map(([, at]) => at)].filter((at) => at !== null);
    const during = inView.filter((i) => bars.t[i] + step > entryTime && bars.t[i] < endTime);
    let low = Math.min(...during.map((i) => bars.l[i]), ...levels), high = Math.max(...during.map((i) => bars.h[i]), ...levels);
    const air = 0.5 * (high - low);  // what went before and after may widen the picture, not flatten the trade
    low = Math.max(low - air, Math.min(low, ...inView.map((i) => bars.l[i])));
    high = Math.min(high + air, Math.max(high, ...inView.map((i) => bars.h[i])));
    const within = (at) => at !== null && at > low - 0.6 * (high - low) && at < high + 0.6 * (high - low);
    if (within(one.hard)) { low = Math.min(low, one.hard); high = Math.max(high, one.hard); }
    const pad = 0.05 * (high - low || 1);
    const flat = (at, until, colour, dash, name) => ({ type: "scatter", mode: "lines", x: [ms(entryTime), ms(until)], y: [at, at], line: { color: colour, width: 1.4, dash }, name, hovertemplate: `${name}: %{y}<extra></extra>` });
    const notes = [];
    const note = (at, text, colour) => notes.push({ at, text, colour });
    note(trades.entry_price[row], "entry", css("--ink"));
    const traces = [
      candleTrace(bars, step),
      flat(trades.entry_price[row], endTime, css("--ink"), "solid", "entry"),
      ...one.targets.map(([name, at, until, hit]) => { note(at, `${label(name)}${hit ? " ✓" : ""}`, colourOf(name)); return flat(at, until, colourOf(name), hit ? "solid" : "dash", label(name)); }),
    ];
    if (within(one.hard)) { note(one.hard, "hard stop", colourOf("hard_stop")); traces.push(flat(one.hard, endTime, colourOf("hard_stop"), "dot", "hard stop")); }
    if (within(one.liq)) { note(one.liq, "liquidation", colourOf("liquidation")); traces.push(flat(one.liq, endTime, colourOf("liquidation"), "dot", "liquidation")); }
    if (one.stop.length) {
      note(one.stop[one.stop.length - 1][1], "stop", "#d9534f");
      traces.push({ type: "scatter", mode: "lines", x: one.stop.map(([time]) => ms(time)), y: one.stop.map(([, at]) => at), line: { shape: "hv", color: "#d9534f", width: 2.2 }, name: "stop", hovertemplate: "stop: %{y}<extra></extra>" });
    }
    const mark = (fill, marker, text) => ({ type: "scatter", mode: "markers", x: [ms(fill[0])], y: [fill[1]], marker: { size: 13, line: { color: css("--card"), width: 1.5 }, ...marker }, name: text, hovertemplate: `${text}<br>%{y}, quantity ${fill[2]}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>` });
    one.fills.forEach((fill, i) => {
      if (i === 0) traces.push(mark(fill, { symbol: side > 0 ? "triangle-up" : "triangle-down", color: side > 0 ? LONG : SHORT, size: 15 }, side > 0 ? "long entry" : "short entry"));
      else traces.push(mark(fill, { symbol: /^tp/.test(fill[3]) ? "diamond" : "x", color: colourOf(fill[3]) }, `${label(fill[3])}, ${signed(fill[4], 2)} ${inert(quote)}`));
    });
    spread(notes, (high - low + 2 * pad) * 0.042);
    chart("chart-trade", () => ({
      traces,
      layout: {
        hovermode: "closest", dragmode: "pan", margin: { l: 74, r: 112, t: 12, b: 36 },
        xaxis: { type: "date", range: [ms(shown.from), ms(shown.to)], rangeslider: { visible: false }, tickangle: 0, nticks: byId("chart-trade").clientWidth < 600 ? 4 : 0 }, yaxis: { range: [low - pad, high + pad], tickformat: ",.7~g" },
        annotations: notes.map(({ at, text, colour, y }) => ({ xref: "paper", x: 1, xanchor: "left", yref: "y", y, text: `${text} ${price(at, symbolOf(row))}`, showarrow: false, font: { color: colour, size: 11 }, xshift: 4 })),
      },
      config: { scrollZoom: true },
    }));
  }

  /** Labels at their levels, pushed apart where they would overlap. */
  function spread(notes, gap) {
    notes.sort((a, b) => a.at - b.at);
    notes.forEach((one) => { one.y = one.at; });
    for (let pass = 0; pass < 60; pass += 1) {
      for (let i = 1; i < notes.length; i += 1) {
        const overlap = gap - (notes[i].y - notes[i - 1].y);
        if (overlap > 0) { notes[i].y += overlap / 2; notes[i - 1].y -= overlap / 2; }
      }
    }
  }

  function go(by) {
    const place = order.indexOf(chosen) + by;
    if (place >= 0 && place < order.length) choose(order[place], false);
  }

  function inspector() {
    if (!count) { byId("inspector").remove(); byId("list").remove(); return; }
    const picks = [["", "a trade…"], ["best", "largest profit"], ["worst", "largest loss"], ["longest", "held longest"], ["legs", "most targets hit"], ["giveback", "gave back most"]];
    for (const [value, text] of picks) { const option = element("option", "", text); option.value = value; put(byId("pick"), option); }
    const rows = Object.keys(content.inspect).map(Number);
    const top = (score) => rows.reduce((best, row) => score(row) > score(best) ? row : best, rows[0]);
    const finders = { best: () => top((row) => trades.pnl[row]), worst: () => top((row) => -trades.pnl[row]), longest: () => top((row) => trades.exit[row] - trades.entry[row]), legs: () => top((row) => trades.legs[row] * 1e6 + trades.pnl[row]), giveback: () => top((row) => trades.mfe[row] - trades.ret[row]) };
    byId("pick").addEventListener("change", (event) => { 
      const wanted = event.target.value;
      if (!wanted || !rows.length) return;
      choose(finders[wanted](), false);
      event.target.value = wanted;
    });
    byId("previous").addEventListener("click", () => go(-1));
    byId("next").addEventListener("click", () => go(1));
    let over = false;
    byId("inspector").addEventListener("pointerenter", () => { over = true; });
    byId("inspector").addEventListener("pointerleave", () => { over = false; });
    document.addEventListener("keydown", (event) => {
      if (!over || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") { event.preventDefault(); go(event.key === "ArrowLeft" ? -1 : 1); }
    });
    choose(rows.length ? finders.legs() : 0, false);
  }

  // Trade list -------------------------------------------------------------------------------------------------------

  const COLUMNS = ([
    ["#", "id", (row) => String(trades.id[row])], ["Symbol", "symbol", symbolOf, "text"], ["Side", "side", (row) => trades.side[row] > 0 ? "long" : "short", "text"],
    ["Entered", "entry", (row) => moment(trades.entry[row]), "text"], ["Left", "exit", (row) => moment(trades.exit[row]), "text"], ["Entry", "entry_price", (row) => price(trades.entry_price[row], symbolOf(row))],
    ["Mean exit", "exit_price", (row) => price(trades.exit_price[row], symbolOf(row))], ["Quantity", "qty", (row) => String(trades.qty[row])], ["Result", "pnl", (row) => signed(trades.pnl[row], 2)],
    ["Return %", "ret", (row) => signed(trades.ret[row], 2)], ["R", "r", (row) => signed(trades.r[row], 2)], ["Fees + slippage", "costs", (row) => fixed(trades.costs[row], 2)], ["Funding", "funding", (row) => signed(trades.funding[row], 2)],
    ["MAE %", "mae", (row) => fixed(trades.mae[row], 2)], ["MFE %", "mfe", (row) => fixed(trades.mfe[row], 2)], ["Legs", "legs", (row) => String(trades.legs[row])],
    ["Exit", "reason", (row) => label(reasonOf(row)), "text"], ["Tag", "tag", (row) => trades.texts.tag[trades.tag[row]], "text tag"],
  ]).filter(([, key]) => !(["symbol", "tag"].includes(key) && trades.texts[key].length < 2));
  const PAGE = 200;
  let sortBy = "entry", ascending = true, visible = PAGE;

  function list() {
    if (!count) return;
    const line = element("tr");
    for (const [title, key, , className] of COLUMNS) {
      const button = element("button", "", title);
      const cell = put(element("th", className), button);
      cell.dataset.key = key;
      cell.addEventListener("click", () => { ascending = sortBy === key ? !ascending : true; sortBy = key; refresh(); });
      put(line, cell);
    }
    put(document.querySelector("#trades thead"), line);
    const options = (id, texts, words) => {
      const all = element("option", "", "all");
      all.value = "";
      put(byId(id), all, ...texts.map((text, i) => { const option = element("option", "", words(text)); option.value = String(i); return option; }));
    };
    options("f-symbol", trades.texts.symbol, (text) => text);
    options("f-reason", trades.texts.exit_reason, label);
    for (const id of ["f-symbol", "f-side", "f-reason", "f-result", "f-tag"]) byId(id).addEventListener("input", () => { visible = PAGE; refresh(); });
    byId("more").addEventListener("click", () => { visible += 5 * PAGE; refresh(); });
    refresh();
  }

  function refresh() {
    const symbol = byId("f-symbol").value, side = byId("f-side").value, reason = byId("f-reason").value, result = byId("f-result").value, tag = byId("f-tag").value.toLowerCase();
    const values = trades[sortBy];
    order = [...Array(count).keys()].filter((row) => (symbol === "" || trades.symbol[row] === Number(symbol)) && (side === "" || trades.side[row] === Number(side)) && (reason === "" || trades.reason[row] === Number(reason))
      && (result === "" || (result === "win") === (trades.pnl[row] > 0)) && (tag === "" || trades.texts.tag[trades.tag[row]].toLowerCase().includes(tag)));
    const low = -Infinity;
    order.sort((a, b) => ((values[a] ?? low) - (values[b] ?? low) || a - b) * (ascending ? 1 : -1));
    for (const cell of document.querySelectorAll("#trades th")) {
      const here = cell.dataset.key === sortBy;
      cell.setAttribute("aria-sort", here ? (ascending ? "ascending" : "descending") : "none");
      const title = COLUMNS.find(([, key]) => key === cell.dataset.key)[0];
      cell.firstChild.textContent = here ? `${title} ${ascending ? "▲" : "▼"}` : title;
    }
    const sum = order.reduce((total, row) => total + trades.pnl[row], 0);
    byId("list-count").textContent = `${fixed(order.length, 0)} of ${counted(trades.n_all, "trade")}, together ${signed(sum, 2)} ${quote}${trades.n_all > count ? `; the file holds the first ${fixed(count, 0)}` : ""}`;
    byId("more").hidden = order.length <= visible;
    byId("previous").disabled = order.indexOf(chosen) <= 0;
    byId("next").disabled = order.indexOf(chosen) >= order.length - 1;
    document.querySelector("#trades tbody").replaceChildren(...order.slice(0, visible).map((row) => {
      const line = element("tr", row === chosen ? "chosen" : "");
      line.dataset.row = row;
      for (const [, key, text, className] of COLUMNS) {
        const cell = element("td", `${className || ""} ${["pnl", "ret", "r"].includes(key) ? tone(trades.pnl[row]) : ""}`);
        if (key === "reason") { const swatch = element("span", "swatch"); swatch.style.background = colourOf(reasonOf(row)); put(cell, swatch); }
        put(cell, document.createTextNode(text(row)));
        if (key === "tag") cell.title = text(row);
        put(line, cell);
      }
      line.addEventListener("click", () => choose(row, true));
      return line;
    }));
  }

  // Patterns ---------------------------------------------------------------------------------------------------------

  function patterns() {
    if (!count) { byId("patterns").remove(); return; }
    const exits = content.exits.rows;
    const at = exits.map((row) => label(row.reason));
    chart("chart-exits", () => ({
      traces: [
        { type: "bar", orientation: "h", y: at, x: exits.map((row) => row.count), marker: { color: exits.map((row) => colourOf(row.reason)) }, text: exits.map((row) => ` ${counted(row.count, "trade")}, ${signed(row.pnl, 0)} ${inert(quote)}`), textposition: "outside", cliponaxis: false, customdata: exits.map((row) => [row.wins, row.mean]), hovertemplate: `%{y}: %{x} in all, %{customdata[0]} with a profit, mean %{customdata[1]:+,.2f} ${inert(quote)}<extra></extra>` },
      ],
      layout: { margin: { l: 110, r: 190, t: 8, b: 36 }, yaxis: { autorange: "reversed", showgrid: false, type: "category" }, xaxis: { title: { text: "trades" }, rangemode: "tozero" }, bargap: 0.35 },
      config: { displayModeBar: false },
    }));
    const known = [...Array(count).keys()].filter((row) => trades.r[row] !== null);
    if (!known.length) nothing("chart-r", "No trade had a planned stop, so there is no R.");
    else chart("chart-r", () => {
      const bound = (value) => Math.max(-4, Math.min(value, 8));
      const part = (rows, colour, name) => ({ type: "histogram", x: rows.map((row) => bound(trades.r[row])), xbins: { start: -4, end: 8.25, size: 0.25 }, marker: { color: colour }, name, hovertemplate: "%{x} R: %{y} trades<extra></extra>" });
      const mean = known.reduce((total, row) => total + trades.r[row], 0) / known.length;
      const outside = known.filter((row) => trades.r[row] < -4 || trades.r[row] > 8).length;
      const reach = known.map((row) => bound(trades.r[row]));
      return {
        traces: [part(known.filter((row) => trades.pnl[row] <= 0), "#d9746f", "loss"), part(known.filter((row) => trades.pnl[row] > 0), "#5fb386", "profit")],
        layout: {
          barmode: "stack", bargap: 0.06, xaxis: { title: { text: outside ? `R (${outside} beyond the ends are counted at the ends)` : "R" }, range: [Math.min(...reach, -1.5) - 0.3, Math.max(...reach, 1.5) + 0.5] }, yaxis: { title: { text: "trades" } },
          shapes: [{ type: "line", yref: "paper", y0: 0, y1: 1, x0: mean, x1: mean, line: { color: css("--ink"), width: 1.5, dash: "dot" } }],
          annotations: [{ x: mean, yref: "paper", y: 1, yanchor: "top", xanchor: "left", xshift: 4, text: `mean ${signed(mean, 2)} R`, showarrow: false }],
        },
        config: { displayModeBar: false },
      };
    });
    const all = [...Array(count).keys()];
    const scatter = (id, x, y, layout) => {
      const group = (rows, colour, name) => ({ type: "scatter", mode: "markers", name, x: rows.map(x), y: rows.map(y), customdata: rows, marker: { color: colour, size: 6, opacity: 0.7 }, text: rows.map((row) => `trade ${trades.id[row]}, ${label(reasonOf(row))}, ${signed(trades.pnl[row], 2)} ${inert(quote)}`), hovertemplate: "%{text}<br>%{x:.2f} %, %{y:.2f} %<extra></extra>" });
      const made = chart(id, () => ({ traces: [group(all.filter((row) => trades.pnl[row] > 0), LONG, "profit"), group(all.filter((row) => trades.pnl[row] <= 0), SHORT, "loss")], layout: { showlegend: true, hovermode: "closest", margin: { l: 62, r: 16, t: 30, b: 40 }, ...layout }, config: { displayModeBar: false } }));
      made.on("plotly_click", openFrom);
    };
    const best = Math.max(...trades.mfe, 0.1), worst = Math.min(...trades.ret, 0);
    scatter("chart-excursion", (row) => -trades.mae[row], (row) => trades.mfe[row], { xaxis: { title: { text: "worst moment (MAE), % against entry" }, rangemode: "tozero" }, yaxis: { title: { text: "best moment (MFE), %" }, rangemode: "tozero" } });
    scatter("chart-giveback", (row) => trades.mfe[row], (row) => trades.ret[row], { xaxis: { title: { text: "best moment (MFE), %" }, rangemode: "tozero" }, yaxis: { title: { text: "return after costs, %" } }, shapes: [{ type: "line", x0: 0, y0: 0, x1: best, y1: best, line: { color: css("--muted"), width: 1, dash: "dot" } }, { type: "line", x0: 0, x1: best, y0: 0, y1: 0, line: { color: css("--line"), width: 1 } }], yaxis2: { range: [worst, best] } });
  }

  // Figures and assumptions ------------------------------------------------------------------------------------------

  function rowsInto(table, rows, classes, head) {
    if (head) put(table, put(element("tr"), ...head.map((text) => element("th", "", text))));
    for (const row of rows) {
      put(table, put(element("tr"), ...row.map((text, i) => {
        const cell = element("td", (classes || [])[i] || "", text);
        if (head) cell.dataset.head = head[i];
        return cell;
      })));
    }
  }

  function figures() {
    for (const group of content.metrics) {
      const table = element("table", "plain");
      rowsInto(table, group.rows, ["", "figure", "meaning"]);
      put(byId("metrics"), put(element("div", "card"), element("h3", "", group.name), table));
    }
    rowsInto(byId("assumption-table"), content.assumptions, ["", ""]);
    rowsInto(byId("data-table"), content.data.rows, ["whole", "source", "", "whole", "quality"], content.data.head);
    rowsInto(byId("identity"), content.data.identity, []);
    const showSettings = () => {
      const text = byId("find-setting").value.toLowerCase(), changed = byId("only-changed").checked;
      byId("settings").replaceChildren();
      rowsInto(byId("settings"), content.settings.filter((row) => (!changed || row[3]) && row[0].toLowerCase().includes(text)).map((row) => row.slice(0, 3)), [], ["Setting", "Value", "From"]);
    };
    byId("find-setting").addEventListener("input", showSettings);
    byId("only-changed").addEventListener("change", showSettings);
    showSettings();
  }

  // In the order in which they are read, each in a turn of its own so that the page is there at once -------------------

  overview();
  figures();
  const turns = [equity, transfers, governor, breakdown, ablation, margin, list, inspector, () => {
    if (!symbolNames.length) { byId("market").remove(); return; }
    for (const name of symbolNames) { const option = element("option", "", name); option.value = name; put(byId("symbol"), option); }
    byId("symbol").addEventListener("change", (event) => market(event.target.value));
    market(symbolNames[0]);
  }, months, patterns];
  const turn = () => {
    const next = turns.shift();
    if (!next) { document.body.dataset.ready = "1"; return; }
    next();
    setTimeout(turn, 0);
  };
  setTimeout(turn, 0);
  if (!count) {
    for (const id of ["inspector", "list", "patterns"]) document.querySelector(`nav a[href="#${id}"]`).remove();
    for (const id of ["market-late", "market-chosen"]) byId(id).hidden = true;
  }
})();
