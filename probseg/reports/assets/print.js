// Paper cannot be unfolded: what is folded opens for the print, and closes after it. Pictures of
// hidden images are read once the page stands, as no print waits for them.
let folded = [];
addEventListener("load", () => setTimeout(() => {
  for (const one of document.images) one.loading = "eager";
}));
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of folded) one.open = false;
});
