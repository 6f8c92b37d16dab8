"use strict";
// Draws each figure when it comes near the window, in the colours of the page, and again when the theme changes.
const config = {responsive: true, displaylogo: false, displayModeBar: "hover", showSendToCloud: false, plotlyServerURL: ""};
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const themed = (layout) => {
  const axis = {gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line")};
  const result = {...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: colour("--ink"), size: 13}};
  for (const key of Object.keys(layout)) if (/^[xy]axis/.test(key)) result[key] = {...layout[key], ...axis};
  return result;
};
const figures = new Map();
for (const block of document.querySelectorAll("script[data-plot]")) figures.set(block.dataset.plot, JSON.parse(block.textContent));
const draw = (id) => Plotly.react(id, figures.get(id).data, themed(figures.get(id).layout), config);
const drawn = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    drawn.add(entry.target.id);
    watcher.unobserve(entry.target);
    draw(entry.target.id);
  }
}, {rootMargin: "400px"});
for (const id of figures.keys()) watcher.observe(document.getElementById(id));
const remember = (value) => { try { localStorage.setItem("diffeval-theme", value); } catch { /* sandboxed page */ } };
const recall = () => { try { return localStorage.getItem("diffeval-theme"); } catch { return null; } };
const show = (theme) => { document.documentElement.dataset.theme = theme; drawn.forEach(draw); };
if (recall()) show(recall());
document.getElementById("theme").addEventListener("click", () => {
  const current = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = current === "dark" ? "light" : "dark";
  show(next);
  remember(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
