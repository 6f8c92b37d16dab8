// One image at its own pixels: Enter or a click opens it; arrows, zoom and the other one of its pair.
ready(() => {
  const dialog = document.getElementById("viewer");
  const part = (name) => dialog.querySelector(`[data-is="${name}"]`);
  const [stage, image, command] = ["stage", "image", "command"].map(part);
  const flicker = dialog.querySelector('[data-act="flicker"]');
  const state = {tiles: [], place: 0, zoom: 0, other: false};
  const largest = 128;

  const partner = (tile) => all(".tile", tile.closest(".pair") || tile).find((one) => one !== tile);
  const fit = () => {
    const room = Math.min((stage.clientWidth - 16) / image.naturalWidth, (stage.clientHeight - 16) / image.naturalHeight);
    return room >= 1 ? Math.floor(room) : room;
  };
  const resize = () => {
    if (!image.naturalWidth) return;
    const times = state.zoom || fit();
    image.style.width = `${image.naturalWidth * times}px`;
    image.style.height = `${image.naturalHeight * times}px`;
    image.classList.toggle("smooth", times < 1);
    part("zoom").textContent = times >= 1 ? `${times}×` : `${Math.round(times * 100)}%`;
  };
  image.addEventListener("load", resize);
  new ResizeObserver(resize).observe(stage);

  const show = () => {
    const first = state.tiles[state.place], second = partner(first);
    const tile = state.other && second ? second : first, shown = tile.querySelector("img");
    const whole = original(tile.dataset.image);
    image.src = whole || thumbnail(tile.dataset.image);
    image.alt = shown.alt;
    const isExact = whole || shown.classList.contains("pixelated");
    const pixels = `${tile.dataset.size} pixels`;
    part("caption").textContent = `${shown.alt} · ${isExact ? pixels : `a thumbnail; the image has ${pixels} and lies with its run`}`;
    part("count").textContent = `${state.place + 1} of ${state.tiles.length}`;
    command.hidden = !tile.dataset.command;
    command.dataset.copy = tile.dataset.command || "";
    flicker.hidden = part("pair").hidden = !second;
    flicker.setAttribute("aria-pressed", String(state.other));
  };
  const other = (value) => { if (state.other !== value && partner(state.tiles[state.place])) { state.other = value; show(); } };
  const move = (by) => {
    state.place = (state.place + by + state.tiles.length) % state.tiles.length;
    state.other = false;
    show();
  };
  const zoom = (by) => { state.zoom = Math.max(1, Math.min(largest, Math.floor(state.zoom || fit()) + by)); resize(); };
  const acts = {
    previous: () => move(-1), next: () => move(1), larger: () => zoom(1), smaller: () => zoom(-1),
    fit: () => { state.zoom = 0; resize(); }, flicker: () => other(!state.other), close: () => dialog.close(),
  };
  const keys = {
    ArrowLeft: acts.previous, ArrowRight: acts.next, "+": acts.larger, "=": acts.larger, "-": acts.smaller,
    0: acts.fit, f: acts.flicker,
  };
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button) acts[button.dataset.act]();
    else if (event.target === dialog && outside(event)) dialog.close();
  });
  const outside = ({clientX, clientY}) => {
    const box = dialog.getBoundingClientRect();
    return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
  };
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const holds = event.key === " " && !event.target.closest("button");
    if (holds) other(true);
    else if (keys[event.key]) keys[event.key]();
    if (holds || keys[event.key]) event.preventDefault();
  });
  dialog.addEventListener("keyup", (event) => { if (event.key === " " && !event.target.closest("button")) other(false); });

  const open = (tile) => {
    Object.assign(state, {tiles: all(".tile", tile.closest(".wall")), zoom: 0, other: false});
    state.place = state.tiles.indexOf(tile);
    dialog.showModal();
    stage.focus();
    show();
  };
  // One stop of the tab key for each wall of images; the arrow keys go on from there.
  for (const wall of all(".wall")) {
    const tiles = all(".tile", wall);
    tiles.forEach((tile, place) => {
      tile.setAttribute("role", "button");
      tile.tabIndex = place ? -1 : 0;
      tile.addEventListener("click", () => open(tile));
      tile.addEventListener("keydown", (event) => {
        const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        if (event.key === "Enter" || event.key === " ") open(tile);
        else if (by && tiles[place + by]) {
          tile.tabIndex = -1;
          tiles[place + by].tabIndex = 0;
          tiles[place + by].focus();
        } else return;
        event.preventDefault();
      });
    });
  }
});
