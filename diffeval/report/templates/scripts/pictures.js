// Thumbnails are attached as they come near the window; equal pictures lie in the page once.
const webp = "data:image/webp;base64,";
const held = {thumbnails: {}, originals: {}, plain: new Map()};
const thumbnail = (id) => (held.thumbnails[id] ? webp + held.thumbnails[id] : held.plain.get(id));
const original = (id) => (held.originals[id] ? webp + held.originals[id] : null);
const attach = (img) => { img.src = thumbnail(img.parentElement.dataset.image); };
ready(() => {
  Object.assign(held, JSON.parse(document.getElementById("pictures").textContent));
  for (const img of all(".tile > img[src]")) held.plain.set(img.parentElement.dataset.image, img.src);
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      near.unobserve(entry.target);
      attach(entry.target);
    }
  }, {rootMargin: "600px"});
  all(".tile > img:not([src])").forEach((img) => near.observe(img));
});
