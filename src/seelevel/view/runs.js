"use strict";

// A page about a run at work looks again, while somebody sees it, and takes over the parts that have changed.
(() => {
  const page = document.querySelector("[data-again]");
  if (!page) return;
  const later = () => setTimeout(look, 1000 * Number(page.dataset.again));

  const take = (old, fresh) => {
    if (!fresh || old.innerHTML === fresh.innerHTML) return;
    const open = [...old.querySelectorAll("details")].map((part) => part.open);
    const atEnd = old.scrollTop + old.clientHeight >= old.scrollHeight - 4;
    const focused = [...old.querySelectorAll("a, summary, [tabindex]")].indexOf(document.activeElement);
    old.innerHTML = fresh.innerHTML;
    old.querySelectorAll("details").forEach((part, n) => { part.open = open[n] ?? false; });
    if (atEnd) old.scrollTop = old.scrollHeight;
    if (focused >= 0) old.querySelectorAll("a, summary, [tabindex]")[focused]?.focus({ preventScroll: true });
  };

  const look = async () => {
    if (document.visibilityState === "hidden") {
      document.addEventListener("visibilitychange", look, { once: true });
      return;
    }
    try {
      const answer = await fetch(location.href);
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        document.title = fresh.title;
        for (const old of document.querySelectorAll("[data-live]")) take(old, fresh.getElementById(old.id));
        if (!fresh.querySelector("[data-again]")) {
          location.reload(); // the run has ended: its figures are there now
          return;
        }
      }
    } catch { /* the server is not there at the moment */ }
    later();
  };

  const log = document.querySelector("#lines");
  if (log) log.scrollTop = log.scrollHeight;
  later();
})();
