// The sample browser: one image at a time, models side by side. Without it every image is shown.
const cases = [...document.querySelectorAll(".case")];
const [stage, image, live] = ["stage", "image", "live"].map((id) => document.getElementById(id));

function show() {
  cases.forEach((one, index) => { one.hidden = index !== image.selectedIndex; });
  live.textContent = image.selectedOptions[0].text;
}

function turn(step) {
  image.selectedIndex = (image.selectedIndex + step + image.length) % image.length;
  show();
}

function choose({ target }) {
  if (target.type !== "checkbox") return;
  for (const part of stage.querySelectorAll(`[data-part="${CSS.escape(target.value)}"]`)) part.hidden = !target.checked;
}

// whether the arrow keys already do something where they are pressed
function taken(target) {
  const box = target.closest(".scroll, pre");
  return target.matches("select, input:not([type=checkbox])") || (box && box.scrollWidth > box.clientWidth);
}

function arrows(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (taken(event.target)) return;
  event.preventDefault();
  turn(step);
  const { top, bottom } = stage.getBoundingClientRect();
  if (bottom < 0 || top > innerHeight) stage.parentElement.scrollIntoView();
}

if (cases.length) {
  const controls = document.querySelector(".controls");
  controls.hidden = false;
  controls.addEventListener("change", choose);
  controls.addEventListener("submit", (event) => event.preventDefault());
  image.addEventListener("change", show);
  document.getElementById("previous").addEventListener("click", () => turn(-1));
  document.getElementById("next").addEventListener("click", () => turn(1));
  document.getElementById("size").addEventListener("input", ({ target }) => stage.style.setProperty("--tile", `${target.value}px`));
  document.addEventListener("keydown", arrows);
  show();
}
