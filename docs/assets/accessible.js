// Names for what the theme adds to a page and leaves without one.
function nameThem() {
  document.querySelector(".md-search[role=dialog]")?.setAttribute("aria-label", "Search");
  document.querySelectorAll("nav.md-code__nav:not([aria-label])").forEach((nav) => {
    const number = document.querySelectorAll("nav.md-code__nav[aria-label]").length + 1;
    nav.setAttribute("aria-label", `Code block ${number}`);
  });
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((table) => (table.tabIndex = 0));
  document.querySelectorAll("th:empty").forEach((corner) => {
    corner.replaceWith(document.createElement("td"));
  });
}

nameThem();
new MutationObserver(nameThem).observe(document.body, { childList: true, subtree: true });
