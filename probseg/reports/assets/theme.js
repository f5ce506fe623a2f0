// Light or dark: the reader's system decides until the button is pressed, which is remembered.
const root = document.documentElement;
const button = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");

const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const tell = () => button.setAttribute("aria-pressed", dark());

function remember(theme) {
  try {
    localStorage.setItem("probseg-theme", theme);
  } catch {
    // a browser may keep nothing for files
  }
}

function remembered() {
  try {
    return localStorage.getItem("probseg-theme");
  } catch {
    return null;
  }
}

if (remembered()) root.dataset.theme = remembered();
button.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  remember(root.dataset.theme);
  tell();
});
system.addEventListener("change", tell);
tell();
