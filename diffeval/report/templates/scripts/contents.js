// Marks in the contents which section is read, opens what a link leads to, and lets boxes that scroll be reached by key.
ready(() => {
  const nav = document.querySelector(".contents"), links = all("a", nav);
  const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
  let asked = false;
  const mark = () => {
    asked = false;
    const line = innerHeight * 0.3, last = scrollY + innerHeight >= root.scrollHeight - 4;
    const read = last ? sections.length - 1 : sections.findLastIndex((one) => one.getBoundingClientRect().top < line);
    if (read < 0) nav.scrollLeft = 0;
    links.forEach((link, place) => {
      if (place !== read) { link.removeAttribute("aria-current"); return; }
      if (link.hasAttribute("aria-current")) return;
      link.setAttribute("aria-current", "true");
      if (nav.scrollWidth > nav.clientWidth) nav.scrollLeft = link.offsetLeft - 40;
    });
  };
  addEventListener("scroll", () => { if (!asked) { asked = true; requestAnimationFrame(mark); } }, {passive: true});
  mark();

  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details")) target.open = true;
  };
  addEventListener("hashchange", openTarget);
  all(".strip a").forEach((link) => link.addEventListener("click", () => setTimeout(openTarget)));
  openTarget();

  const boxes = new ResizeObserver((entries) => {
    for (const {target} of entries) {
      const scrolls = target.scrollWidth > target.clientWidth + 1 || target.scrollHeight > target.clientHeight + 1;
      if (scrolls) target.tabIndex = 0; else target.removeAttribute("tabindex");
    }
  });
  all(".scroll, .wall, pre").forEach((box) => boxes.observe(box));
});
