// Names for what the theme adds to a page and leaves without one.
function nameThem() {
  document.querySelector(".md-search[role=dialog]")?.setAttribute("aria-label", "Search");
  document.querySelectorAll("nav.md-code__nav:not([aria-label])").forEach((nav) => {
    const number = document.querySelectorAll("nav.md-code__nav[aria-label]").length + 1;
    nav.setAttribute("aria-label", `Code block ${number}`);
  });
  document.querySelectorAll(".md-nav--secondary nav[aria-label]").forEach((nav) => {
    nav.removeAttribute("aria-label"); // part of the table of contents, not a landmark beside it
    nav.setAttribute("role", "none");
  });
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((table) => (table.tabIndex = 0));
  document.querySelectorAll("th:empty").forEach((corner) => {
    corner.replaceWith(document.createElement("td"));
  });
}

// Lines break between words: not within an option, before an arrow or inside a name.
function keepWhole() {
  document.querySelectorAll(".md-typeset :not(pre) > code").forEach((code) => {
    const whole = code.textContent.length <= 24 && !code.textContent.includes(", ");
    if (whole) code.style.whiteSpace = "nowrap";
  });
  document.querySelectorAll(".language-bash code, :not(pre) > code").forEach((code) => {
    const option = /(?<=^|[\s>])--?[\w-]+/g;
    code.innerHTML = code.innerHTML.replace(option, '<span class="option">$&</span>');
  });
  document.querySelectorAll(".md-typeset th").forEach((head) => {
    head.innerHTML = head.innerHTML.replace(/ ([↓↑])/, "\u00a0$1");
  });
  document.querySelectorAll(".doc-object-name").forEach((name) => {
    name.innerHTML = name.innerHTML.replace(/[._](?=\w)/g, "$&<wbr>");
  });
}

keepWhole();
nameThem();
new MutationObserver(nameThem).observe(document.body, { childList: true, subtree: true });
