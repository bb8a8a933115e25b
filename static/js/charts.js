// Draws each `figure[data-chart]` from the table inside it: one source for the picture, the table view and the text.
//
// The first cell of a row holds `<time datetime>`; a heading's data-series names the column's colour token (allow, deny,
// accent, ...). data-chart is "line" or "stack", data-unit "$" or nothing.
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [1, 3]];

// light-dark() resolves only on a real property, so a token is read through one.
function colour(token) {
  const probe = document.createElement("i");
  probe.className = `c-${token}`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const dollars = (n, places) => n.toLocaleString("en", { style: "currency", currency: "USD", minimumFractionDigits: places, maximumFractionDigits: places });
const money = (n) => dollars(n, n && Math.abs(n) < 0.1 ? 4 : 2);
// On the axis all marks are round: "$5" rather than "$5.00".
const mark = (n) => (Number.isInteger(n) ? dollars(n, 0) : money(n));

function read(figure) {
  const headings = [...figure.querySelectorAll("thead th")].slice(1);
  const rows = [...figure.querySelectorAll("tbody tr")];
  const columns = headings.map((heading, i) => ({
    name: heading.textContent.trim(), token: heading.dataset.series || "accent",
    values: rows.map((row) => { const cell = row.cells[i + 1]; const text = cell.dataset.value ?? cell.textContent; return text === "" ? null : Number(text); }),
  }));
  return { rows, xs: rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000), columns };
}

function stacked(columns) {
  const sums = columns[0].values.map(() => 0);
  // Drawn from the tallest down, so that each later one covers the part below it.
  return columns.map((column) => ({ ...column, drawn: column.values.map((value, i) => (sums[i] += value ?? 0)) })).reverse();
}

const DAY = 86_400;
const isDaily = (xs) => xs.length > 1 && xs[1] - xs[0] >= DAY;

function timeLabel(xs) {
  const style = isDaily(xs) ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const format = new Intl.DateTimeFormat("en-GB", { ...style, timeZone: "UTC" });
  return (_, at) => at.map((second) => format.format(second * 1000));
}

function draw(figure) {
  const plot = figure.querySelector(".plot");
  if (!plot || !plot.clientWidth) return;
  const { rows, xs, columns } = read(figure);
  if (!xs.length) return;
  const show = figure.dataset.unit === "$" ? money : (n) => n.toLocaleString("en");
  const stack = figure.dataset.chart === "stack";
  const drawn = stack ? stacked(columns) : columns.map((column) => ({ ...column, drawn: column.values }));
  const axis = { stroke: colour("ink-3"), font: `11px ${getComputedStyle(document.body).fontFamily}`, grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const bars = stack && window.uPlot.paths.bars({ size: [0.72, 28], align: 0 });
  const series = drawn.map((column, i) => {
    const stroke = colour(column.token);
    if (stack) return { stroke, fill: stroke, width: 0, paths: bars, points: { show: false } };
    return { stroke, width: 2, dash: DASHES[i % DASHES.length], points: { show: xs.length === 1 } };
  });
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  const follow = (chart) => {
    const i = chart.cursor.idx;
    tip.hidden = i == null || chart.cursor.left < 0;
    if (tip.hidden) return;
    const parts = columns.filter((column) => column.values[i] != null).map((column) => (columns.length > 1 ? `${column.name.toLowerCase()} ${show(column.values[i])}` : show(column.values[i])));
    tip.textContent = `${rows[i].cells[0].textContent.trim()}: ${parts.join(", ") || "unknown"}`;
    tip.style.top = "4px";
    tip.style.left = `${Math.min(Math.max(chart.cursor.left + 8, 0), Math.max(chart.over.clientWidth - tip.offsetWidth, 0))}px`;
  };
  plot.replaceChildren();
  const chart = new window.uPlot({
    width: plot.clientWidth, height: plot.clientHeight, tzDate: (second) => window.uPlot.tzDate(new Date(second * 1000), "UTC"), legend: { show: false }, padding: [8, 20, 0, 0],
    cursor: { y: false, points: { size: 7, show: !stack }, drag: { x: false, y: false } },
    scales: { x: { range: (_, low, high) => (stack && xs.length > 1 ? [low - (xs[1] - xs[0]) / 2, high + (xs[1] - xs[0]) / 2] : low === high ? [low - 1, high + 1] : [low, high]) },
      y: { range: (_, low, high) => [0, (high || 1) * 1.06] } },
    axes: [{ ...axis, grid: { show: false }, size: 26, space: 70, values: timeLabel(xs), ...(isDaily(xs) && { incrs: [1, 2, 7, 14, 28].map((days) => days * DAY) }) },
      { ...axis, size: 56, space: 40, values: (_, marks) => marks.map((n) => (figure.dataset.unit === "$" ? mark(n) : Number.isInteger(n) ? show(n) : "")) }],
    series: [{}, ...series], hooks: { setCursor: [follow] },
  }, [xs, ...drawn.map((column) => column.drawn)], plot);
  chart.over.append(tip);
}

const drawAll = () => window.uPlot && document.querySelectorAll("figure[data-chart]").forEach(draw);
let resizing;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(drawAll, 120); });
document.addEventListener("orca:theme", drawAll);
document.addEventListener("htmx:after:swap", drawAll);
drawAll();
