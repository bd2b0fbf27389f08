"use strict";

// The slider shows the answer of one model after the other, without loading the page again.
(() => {
  const label = document.querySelector(".slider label");
  if (!label) return;
  const range = label.querySelector("input");
  const links = [...document.querySelectorAll(".stops a")];
  const stops = [...document.querySelectorAll(".stop")];
  const neighbours = document.querySelectorAll("a[rel=prev], a[rel=next]");
  const file = location.protocol === "file:"; // of an export: no address may be changed there, so links are followed
  const show = (at) => {
    range.value = at;
    range.setAttribute("aria-valuetext", links[at].textContent);
    links.forEach((link, n) => { if (n === at) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current"); });
    stops.forEach((stop, n) => { stop.hidden = n !== at; });
    if (file) return;
    history.replaceState(null, "", links[at].href);
    for (const link of neighbours) {
      const address = new URL(link.href);
      address.searchParams.set("at", at);
      link.href = address.href;
    }
  };
  label.hidden = false;
  range.addEventListener("input", () => show(Number(range.value)));
  links.forEach((link, n) => link.addEventListener("click", (event) => {
    if (file || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(n);
  }));
})();
