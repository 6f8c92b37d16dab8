// Copies commands. Pages from a disk or in a sandbox may not have the clipboard; then the old way is tried.
const copied = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    let done = false;
    try { done = document.execCommand("copy"); } catch { /* nothing else is left */ }
    area.remove();
    return done;
  }
};
ready(() => document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const label = (button.dataset.label ??= button.textContent);
  const done = await copied(button.dataset.copy);
  button.textContent = done ? "Copied" : "Select it yourself";
  button.focus();
  say(button.textContent);
  setTimeout(() => { button.textContent = label; }, 1800);
}));
