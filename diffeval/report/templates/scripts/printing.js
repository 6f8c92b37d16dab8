// On paper everything is there: light colours, all figures, all pictures, all checks open.
const paperWidth = 680;
ready(() => {
  let before = null;
  addEventListener("beforeprint", () => {
    before = {theme: root.dataset.theme, closed: all("details.check:not([open]), details.folded:not([open])")};
    root.classList.add("printing");
    root.dataset.theme = "light";
    before.closed.forEach((one) => { one.open = true; });
    all(".tile > img:not([src])").forEach(attach);
    [...figures.keys()].forEach((id) => drawFigure(id, paperWidth));
  });
  addEventListener("afterprint", () => {
    if (before === null) return;
    if (before.theme) root.dataset.theme = before.theme; else delete root.dataset.theme;
    before.closed.forEach((one) => { one.open = false; });
    root.classList.remove("printing");
    restyle();
    before = null;
  });
});
