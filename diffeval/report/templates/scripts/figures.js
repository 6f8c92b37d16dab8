// Draws each figure when it comes near the window, and again when its width or the theme changes.
const config = {
  responsive: false, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  showSendToCloud: false, plotlyServerURL: ""
};
const figures = new Map();
const drawnAt = new Map();
const isPrinting = () => root.classList.contains("printing");
const drawFigure = (id, forced) => {
  const box = document.getElementById(id);
  const width = forced || box.clientWidth;
  if (!width || typeof Plotly === "undefined") return;
  if (!drawnAt.has(id)) box.replaceChildren();
  box.classList.remove("empty");
  const {data, layout, tall} = dressed(figures.get(id), width, Number(box.dataset.height));
  box.style.setProperty("--height", `${tall}px`);
  drawnAt.set(id, width);
  if (layout.width > width) box.tabIndex = 0; else box.removeAttribute("tabindex");
  Plotly.react(box, data, layout, config);
};
ready(() => {
  const widths = new ResizeObserver((entries) => {
    for (const {target} of entries) {
      if (!isPrinting() && target.clientWidth && Math.abs(target.clientWidth - drawnAt.get(target.id)) > 1) drawFigure(target.id);
    }
  });
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      near.unobserve(entry.target);
      if (!drawnAt.has(entry.target.id)) drawFigure(entry.target.id);
      widths.observe(entry.target);
    }
  }, {rootMargin: "400px"});
  for (const block of all("script[data-plot]")) {
    figures.set(block.dataset.plot, block.textContent);
    near.observe(document.getElementById(block.dataset.plot));
  }
  document.addEventListener("restyle", () => [...drawnAt.keys()].forEach((id) => drawFigure(id)));
});
