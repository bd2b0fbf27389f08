"use strict";

// Keys: j and k go to the next and the previous ladder or page, 1 to 9 to an answer, d shows differences, / searches.
(() => {
  const writes = (element) => element.matches("input:not([type=range]), select, textarea, [contenteditable]");
  const follow = (rel) => document.querySelector(`a[rel="${rel}"]`)?.click();

  const button = document.querySelector("#differences");
  const toggle = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    for (const answer of document.querySelectorAll(".columns > li")) {
      const differs = answer.querySelector(".differs");
      if (!differs) continue;
      differs.hidden = !on;
      answer.querySelector(".reasons").hidden = on;
    }
  };
  button?.addEventListener("click", toggle);
  if (button) button.hidden = false;

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || writes(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key === "j") follow("next");
    else if (event.key === "k") follow("prev");
    else if (event.key === "d" && button) toggle();
    else if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
    } else if (/^[1-9]$/.test(event.key)) {
      const answer = document.querySelector(`#answer-${event.key}`);
      answer?.focus();
      answer?.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  });

  for (const link of document.querySelectorAll("a.zoom")) {
    link.addEventListener("click", (event) => {
      const small = link.querySelector("img");
      if (small.complete && !small.naturalWidth) return; // the page of the link says why it cannot be shown
      event.preventDefault();
      const dialog = document.createElement("dialog");
      dialog.className = "zoomed";
      const picture = document.createElement("img");
      picture.src = link.href;
      picture.alt = small.alt;
      const close = document.createElement("button"); // a region that scrolls has something to focus
      close.title = "Close";
      close.append(picture);
      dialog.append(close);
      document.body.append(dialog);
      dialog.addEventListener("click", () => dialog.close());
      dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
      dialog.showModal();
    });
  }

  // An answer that is dragged to a level is set to it; without scripts the form of the answer does it.
  const targets = document.querySelector(".targets");
  if (targets) {
    targets.hidden = false;
    let dragged = null;
    for (const answer of document.querySelectorAll(".columns > li:not(.out)")) {
      answer.draggable = true;
      answer.addEventListener("dragstart", (event) => {
        if (event.target !== answer) return;
        dragged = answer;
        answer.classList.add("dragged");
        event.dataTransfer.setData("text/plain", answer.id);
      });
      answer.addEventListener("dragend", () => { answer.classList.remove("dragged"); dragged = null; });
    }
    for (const level of targets.children) {
      level.addEventListener("dragover", (event) => {
        if (!dragged) return;
        event.preventDefault();
        level.classList.add("over");
      });
      level.addEventListener("dragleave", () => level.classList.remove("over"));
      level.addEventListener("drop", (event) => {
        event.preventDefault();
        if (!dragged) return;
        const form = dragged.querySelector("form.change");
        form.elements.level.value = level.dataset.level;
        form.requestSubmit(form.querySelector('button[value="level"]'));
      });
    }
  }

  // A filter that is chosen is used at once; without scripts the button does it.
  for (const select of document.querySelectorAll(".filters select")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  // Its link has only what is chosen.
  document.querySelector(".filters")?.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  });
})();
