// How every figure looks: colours and fonts of the page, room for labels, and panels in as many columns as there is room for.
const onDark = {"#0072b2": "#56aee6", "#d55e00": "#f5883c", "#009e73": "#2fc79a", "#cc79a7": "#e59cc5"};
const triple = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const recoloured = (text) => {
  for (const [from, to] of Object.entries(onDark)) {
    text = text.replaceAll(from, to).replaceAll(from.toUpperCase(), to);
    text = text.replace(new RegExp(`rgba\\(${triple(from).join(", ?")},`, "g"), `rgba(${triple(to).join(",")},`);
  }
  return text;
};
const panelsOf = (layout) => Object.keys(layout)
  .filter((key) => /^xaxis\d*$/.test(key) && layout[key].domain && (layout[`y${key.slice(1)}`] || {}).domain)
  .map((key) => ({x: layout[key], y: layout[`y${key.slice(1)}`]}));

// Panels of one size side by side are set in fewer columns where they would become too narrow to read.
const reflow = (layout, width, height) => {
  const panels = panelsOf(layout);
  const starts = [...new Set(panels.map((one) => one.x.domain[0].toFixed(4)))];
  const sizes = new Set(panels.map((one) => (one.x.domain[1] - one.x.domain[0]).toFixed(3)));
  if (panels.length < 2 || starts.length < 2 || sizes.size > 1) return height;
  const columns = Math.max(1, Math.min(starts.length, Math.floor(width / (isPrinting() ? 215 : 250))));
  const before = Math.ceil(panels.length / starts.length), rows = Math.ceil(panels.length / columns);
  // Pixels: margins of the figure, what lies between two rows of panels, and between two columns.
  const around = 66, between = 84, gap = Math.min(0.12, 62 / width);
  const each = (height - around - (before - 1) * between) / before;
  const tall = around + rows * each + (rows - 1) * between, inner = tall - around;
  panels.forEach((one, place) => {
    const row = Math.floor(place / columns), column = place % columns;
    const old = [one.x.domain[0], one.y.domain[1]];
    const share = (1 + gap) / columns;
    one.x.domain = [column * share, Math.min(1, (column + 1) * share - gap)];
    const top = 1 - (row * (each + between)) / inner;
    one.y.domain = [Math.max(0, top - each / inner), top];
    for (const note of layout.annotations || []) {
      if (note.moved || note.xref !== "paper" || Math.abs(note.x - old[0]) > 1e-6 || Math.abs(note.y - old[1]) > 1e-6) continue;
      Object.assign(note, {x: one.x.domain[0], y: one.y.domain[1], moved: true});
      if (width / columns < 235) note.font = {...note.font, size: 10.5};
    }
  });
  for (const note of layout.annotations || []) delete note.moved;
  return tall;
};

const legendNames = (data) => data.filter((trace) => trace.name && trace.showlegend !== false);
const legendRows = (data, width) => {
  const names = legendNames(data).map((trace) => trace.name.length * 6.8 + 52);
  return names.length < 2 ? 1 : Math.ceil(names.reduce((sum, one) => sum + Math.min(one, width), 0) / Math.max(width - 60, 200));
};

// Where words stand in the right margin, a narrow window would leave nothing in between: the box scrolls instead.
const wordy = 620;

const dressed = (text, room, height) => {
  const {data, layout} = JSON.parse(isDark() ? recoloured(text) : text);
  const width = (layout.margin || {}).r > 60 ? Math.max(room, wordy) : room;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const ink = colour("--ink"), muted = colour("--muted"), line = colour("--line"), firm = colour("--firm");
  const family = getComputedStyle(document.body).fontFamily;
  let tall = reflow(layout, width, height);
  for (const key of Object.keys(layout).filter((one) => /^[xy]axis\d*$/.test(one))) {
    const axis = layout[key], title = typeof axis.title === "string" ? {text: axis.title} : axis.title;
    layout[key] = {
      automargin: true, gridcolor: line, linecolor: firm, zerolinecolor: firm, zerolinewidth: 1, ...axis,
      tickfont: {size: 12, color: muted, ...axis.tickfont},
      ...(title ? {title: {standoff: 10, ...title, font: {size: 13, color: ink, ...title.font}}} : {}),
    };
  }
  for (const trace of data) {
    if (/text/.test(trace.mode || "")) trace.cliponaxis = false;
    if (trace.type === "heatmap") {
      const bar = trace.colorbar || {}, title = typeof bar.title === "string" ? {text: bar.title} : bar.title;
      trace.colorbar = {
        thickness: 12, outlinewidth: 0, xpad: 6, ...bar, tickfont: {size: 12, color: muted},
        ...(title ? {title: {...title, font: {size: 12, color: ink}}} : {}),
      };
    }
  }
  const rows = layout.showlegend === false ? 1 : legendRows(data, width);
  // Titles of panels stand between their legend and them.
  const lifted = layout.showlegend === true && panelsOf(layout).length > 1 && (layout.annotations || []).length ? 24 : 0;
  tall += (rows - 1) * 20 + lifted;
  const margin = layout.margin || {};
  Object.assign(layout, {
    width, height: tall, autosize: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family, color: ink, size: 12.5, ...layout.font},
    margin: {...margin, l: Math.min(margin.l ?? 50, 50), r: Math.max(margin.r ?? 0, 18), t: (layout.annotations || []).length || (layout.showlegend !== false && legendNames(data).length > 1) ? Math.max(margin.t ?? 0, 26) + lifted : 12, b: Math.min(margin.b ?? 40, 40)},
    legend: {...layout.legend, orientation: "h", x: 0, xanchor: "left", y: 1.01 + lifted / Math.max(tall - 66 - lifted, 100), yanchor: "bottom", font: {size: 12.5, color: ink}, bgcolor: "rgba(0,0,0,0)"},
    hoverlabel: {namelength: -1, align: "left", bgcolor: colour("--panel"), bordercolor: firm, font: {family, color: ink, size: 12.5}},
    modebar: {bgcolor: "rgba(0,0,0,0)", color: muted, activecolor: colour("--accent")},
    colorway: layout.colorway || (isDark() ? Object.values(onDark) : Object.keys(onDark)),
    dragmode: width < 560 ? false : layout.dragmode || "zoom",
  });
  return {data, layout, tall};
};
