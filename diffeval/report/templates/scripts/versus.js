// Two images of one seed on top of each other: a slider between them, or one after the other.
const perSwap = 500;
ready(() => all(".versus").forEach((box) => {
  const pairs = all(".pair", box), duel = box.querySelector(".duel");
  if (!duel) return;
  const [below, above, caption] = ["below", "above", "caption"].map((name) => duel.querySelector(`[data-is="${name}"]`));
  const range = duel.querySelector("input"), edge = duel.querySelector(".edge");
  const flicker = duel.querySelector('[data-act="flicker"]');
  const state = {place: 0, timer: 0, first: true};

  const source = (tile) => original(tile.dataset.image) || thumbnail(tile.dataset.image);
  const size = () => {
    const room = Math.min(320, box.clientWidth - 24), own = Math.max(below.naturalWidth, 1);
    const width = own * (own <= room ? Math.floor(room / own) : room / own);
    for (const image of [below, above]) {
      image.style.width = `${width}px`;
      image.style.height = `${(width * below.naturalHeight) / own}px`;
    }
  };
  below.addEventListener("load", size);
  const cut = () => {
    const share = flicker.getAttribute("aria-pressed") === "true" ? (state.first ? 100 : 0) : Number(range.value);
    above.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    edge.style.left = `calc(10px + (100% - 20px) * ${share / 100})`;
    edge.hidden = share === 0 || share === 100;
  };
  const show = () => {
    pairs.forEach((pair, place) => pair.classList.toggle("shown", place === state.place));
    const [first, second] = all(".tile", pairs[state.place]);
    above.src = source(first);
    below.src = source(second);
    above.alt = first.querySelector("img").alt;
    below.alt = second.querySelector("img").alt;
    caption.textContent = `Pair ${state.place + 1} of ${pairs.length}: ${above.alt === below.alt ? above.alt : `${above.alt} | ${below.alt}`}`;
    cut();
  };
  const stop = () => {
    clearInterval(state.timer);
    state.timer = 0;
    flicker.setAttribute("aria-pressed", "false");
    cut();
  };
  const swap = () => { state.first = !state.first; cut(); };
  flicker.addEventListener("click", () => {
    const on = flicker.getAttribute("aria-pressed") === "true";
    // Without motion each press swaps once, and there is no clock.
    if (calm()) { flicker.setAttribute("aria-pressed", "true"); swap(); } else if (on) stop(); else {
      flicker.setAttribute("aria-pressed", "true");
      state.timer = setInterval(swap, perSwap);
      swap();
    }
  });
  range.addEventListener("input", stop);
  duel.addEventListener("click", (event) => {
    const by = {previous: -1, next: 1}[event.target.dataset.act];
    if (by) { state.place = (state.place + by + pairs.length) % pairs.length; show(); }
  });
  show();
}));
