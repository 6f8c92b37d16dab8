// Light and dark: as the system has it, until the reader chooses. Whatever follows colours listens to "restyle".
const remember = (value) => { try { localStorage.setItem("diffeval-theme", value); } catch { /* sandboxed page */ } };
const recall = () => { try { return localStorage.getItem("diffeval-theme"); } catch { return null; } };
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme || (systemDark.matches ? "dark" : "light")) === "dark";
const restyle = () => document.dispatchEvent(new Event("restyle"));
if (["light", "dark"].includes(recall())) root.dataset.theme = recall();
ready(() => {
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    say(`${root.dataset.theme} colours`);
    restyle();
  });
  systemDark.addEventListener("change", restyle);
});
