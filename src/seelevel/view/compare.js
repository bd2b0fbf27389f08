"use strict";

// The slider shows the answer of one model after the other, without loading the page again.
(() => {
  const label = document.querySelector(".slider label");
  if (!label) return;
  const range = label.querySelector("input");
  const links = [...document.querySelectorAll(".stops a")];
  const stops = [...document.querySelectorAll(".stop")];
  const show = (at) => {
    range.value = at;
    range.setAttribute("aria-valuetext", links[at].textContent);
    links.forEach((link, n) => { if (n === at) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current"); });
    stops.forEach((stop, n) => { stop.hidden = n !== at; });
    history.replaceState(null, "", links[at].href);
  };
  label.hidden = false;
  range.addEventListener("input", () => show(Number(range.value)));
  links.forEach((link, n) => link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(n);
  }));
})();
