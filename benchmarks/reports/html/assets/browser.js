// The sample browser: a data set, an image, models side by side. An entry is parsed when it is shown.
const entries = [...document.querySelectorAll("script.browser-image")];
const at = (id) => document.getElementById(id);
const [dataset, image, stage, models, views] = ["dataset", "image", "stage", "models", "views"].map(at);
const hidden = new Set(); // models the reader has switched off, on whatever data set

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const percent = (share) => (share ? `${(100 * share).toFixed(1)} % of the image` : "empty");
const chosen = (box) => [...box.querySelectorAll("input:checked")].map((input) => input.value);
const picture = (src, alt) => element("img", { src, alt, loading: "lazy", decoding: "async" });

function tile(note, ...pictures) {
  return element("figure", { class: "tile" }, element("div", {}, ...pictures), element("figcaption", {}, note));
}

function samples(answers, content, name) {
  return answers.samples.map((src, i) =>
    tile(`${i + 1}${answers.areas[i] ? "" : " · empty"}`,
      picture(content.image, ""), picture(src, `${name} ${i + 1}: ${percent(answers.areas[i])}`)));
}

function maps(answers, name, shown) {
  const titles = { mean: "mean, 0 to 1", sd: "s. d., 0 to ½" };
  const spoken = { mean: "mean probability of the foreground", sd: "standard deviation of the foreground" };
  return Object.keys(titles).filter((view) => shown.includes(view)).map((view) =>
    tile(titles[view], picture(answers[view], `${name}: ${spoken[view]}`)));
}

function scores(answers) {
  const told = Object.entries(answers.scores ?? {}).map(([name, text]) => `${name} ${text}`);
  return element("p", { class: "scores" }, told.join(" · "));
}

function block(name, one, answers, { content, shown, first = [] }) {
  const title = element("h3", { style: `--colour: ${answers.colour}` }, name);
  const parts = [...maps(answers, name, shown), ...first];
  if (shown.includes("samples")) parts.push(...samples(answers, content, one));
  return element("section", { class: "block" }, title, scores(answers), element("div", { class: "tiles" }, ...parts));
}

function show() {
  const entry = entries[image.value];
  const content = JSON.parse(entry.textContent);
  offer(Object.entries(content.models));
  const [shown, rows] = [chosen(views), chosen(models)];
  const first = [tile("image", picture(content.image, `${entry.dataset.title}, nothing drawn on it`))];
  stage.replaceChildren(
    block("annotators", "annotator", content.annotators, { content, shown, first }),
    ...rows.map((row) => block(row, `${row}, sample`, content.models[row], { content, shown })),
  );
  at("live").textContent = `${image.selectedOptions[0].text}: annotators, ${rows.join(", ")}`;
}

function offer(found) {
  models.replaceChildren(models.firstElementChild, ...found.map(([name, answers]) => {
    const box = element("input", { type: "checkbox", value: name });
    box.checked = !hidden.has(name);
    return element("label", { style: `--colour: ${answers.colour}` }, box, " ", element("i"), name);
  }));
}

function open() {
  const inside = [...entries.keys()].filter((i) => entries[i].dataset.dataset === dataset.value);
  image.replaceChildren(...inside.map((i, n) =>
    element("option", { value: i }, `${n + 1} of ${inside.length} · ${entries[i].dataset.title}`)));
  show();
}

function turn(step) {
  image.selectedIndex = (image.selectedIndex + step + image.length) % image.length;
  show();
}

function arrows(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  turn(step);
}

if (entries.length) {
  const names = new Set(entries.map((entry) => entry.dataset.dataset));
  dataset.append(...[...names].map((name) => element("option", {}, name)));
  dataset.addEventListener("change", open);
  image.addEventListener("change", show);
  views.addEventListener("change", show);
  models.addEventListener("change", (event) => {
    hidden[event.target.checked ? "delete" : "add"](event.target.value);
    show();
    [...models.querySelectorAll("input")].find((box) => box.value === event.target.value).focus();
  });
  at("previous").addEventListener("click", () => turn(-1));
  at("next").addEventListener("click", () => turn(1));
  at("size").addEventListener("input", (event) => stage.style.setProperty("--tile", `${event.target.value}px`));
  stage.addEventListener("keydown", arrows);
  open();
}
