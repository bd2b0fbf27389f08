"use strict";

// Talk: answers appear as they come. All that models, judges and files say is inserted as text.
(() => {
  const talk = document.querySelector(".talk");
  const address = talk.dataset.address;
  const most = Number(talk.dataset.most);
  const accept = "application/x-ndjson";
  const largest = 20 * 1024 * 1024;
  const [say, words, send, stop, trouble, state, file, picture] =
    ["say", "words", "send", "stop", "trouble", "state", "file", "picture"].map((id) => document.getElementById(id));
  const drop = document.querySelector(".drop");
  const boxes = [...document.querySelectorAll(".models input")];
  const columns = new Map([...document.querySelectorAll("[data-model]")].map((column) => [column.dataset.model, column]));
  const label = (key) => columns.get(key).querySelector("h2").textContent;
  let busy = false;

  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;

  // Put texts into the elements that are named for them; an empty one is hidden.
  const exchange = (texts) => {
    const item = document.getElementById("exchange").content.firstElementChild.cloneNode(true);
    for (const element of item.querySelectorAll("[data-text]")) {
      element.textContent = texts[element.dataset.text] ?? "";
      (element.closest("details") ?? element).hidden = element.textContent === "";
    }
    return item;
  };
  const status = (column, text) => {
    const line = column.querySelector("[data-status]");
    line.textContent = text;
    line.hidden = text === "";
  };
  const show = (key, content) => {
    const column = columns.get(key);
    if (!column) return;
    column.querySelector(".exchanges").replaceChildren(...content.turns.map(exchange));
    for (const name of ["notice", "condition"]) {
      const line = column.querySelector(`:scope > [data-text="${name}"]`);
      line.textContent = content[name];
      line.hidden = content[name] === "";
    }
    column.querySelector(".actions").hidden = content.turns.length === 0;
    status(column, "");
    arrange();
  };
  const arrange = () => {
    const chosen = boxes.filter((box) => box.checked);
    for (const box of boxes) {
      box.disabled = !box.checked && chosen.length >= most;
      const column = columns.get(box.value);
      column.hidden = !box.checked && !column.querySelector(".exchanges > li");
    }
  };
  for (const box of boxes) box.addEventListener("change", arrange);
  arrange();

  const begin = () => {
    busy = true;
    trouble.textContent = "";
    stop.hidden = false;
    if (document.activeElement === send) stop.focus();
    send.hidden = true;
  };
  const end = () => {
    busy = false;
    const back = document.activeElement === stop || document.activeElement === document.body;
    send.hidden = false;
    stop.hidden = true;
    if (back) words.focus();
  };

  // The words of an answer that is coming stand in an exchange of their own, until the whole column is there.
  const coming = (column, user) => {
    const item = exchange({ user });
    item.classList.add("coming");
    item.querySelector('[data-text="answer"]').hidden = false;
    column.querySelector(".exchanges").append(item);
    return item;
  };
  const happened = (event, live, user) => {
    const column = columns.get(event.model);
    if (event.status) {
      status(column, `${event.status} …`);
      state.textContent = `${label(event.model)}: ${event.status}`;
    } else if (event.piece) {
      const follows = innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
      status(column, "");
      if (!live.has(event.model)) live.set(event.model, coming(column, user));
      live.get(event.model).querySelector('[data-text="answer"]').append(event.piece);
      if (follows) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    } else if (event.column) {
      show(event.model, event.column);
      document.getElementById("saved").textContent = event.saved;
      state.textContent = `${label(event.model)} is done`;
    }
  };
  const ask = async (form, submitter) => {
    const fields = new URLSearchParams(new FormData(form, submitter));
    const line = [...fields.getAll("command"), fields.get("words") ?? ""].join(" ").trim();
    const live = new Map();
    const user = line.startsWith("/") ? "" : line;
    begin();
    try {
      const response = await fetch(form.action, { method: "POST", body: fields, headers: { accept } });
      if (!response.ok) {
        trouble.textContent = await response.text();
        return;
      }
      if (form.elements.words) form.elements.words.value = "";
      if (user) for (const key of fields.getAll("model")) live.set(key, coming(columns.get(key), user));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const lines = (rest + part.value).split("\n");
        rest = lines.pop();
        for (const text of lines) happened(JSON.parse(text), live, user);
      }
    } catch (error) {
      trouble.textContent = "The connection has ended. Look whether seelevel view is still running, and load the page again.";
    } finally {
      for (const item of live.values()) item.classList.remove("coming");
      end();
    }
  };
  for (const form of document.querySelectorAll("form[data-say]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!busy) ask(form, event.submitter);
    });
  }
  stop.addEventListener("click", () => fetch(`${address}/stop`, { method: "POST", headers: { accept } }).catch(() => {}));
  words.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (words.value.trim() && !busy) say.requestSubmit();
  });

  // A picture: a file that is dropped, pasted or chosen, or a scene by its name.
  const look = async (path, body) => {
    trouble.textContent = "";
    try {
      const response = await fetch(`${address}/${path}`, { method: "POST", body, headers: { accept } });
      if (!response.ok) {
        trouble.textContent = await response.text();
        return;
      }
      const shown = await response.json();
      picture.hidden = shown.picture === "";
      document.getElementById("no-picture").hidden = !picture.hidden;
      if (picture.hidden) picture.removeAttribute("src");
      else picture.src = shown.picture;
      picture.alt = picture.hidden ? "" : `The picture: ${shown.name}`;
      for (const [key, content] of Object.entries(shown.columns)) show(key, content);
      state.textContent = picture.hidden ? "No picture" : "The picture is there";
    } catch (error) {
      trouble.textContent = "The picture did not arrive. Look whether seelevel view is still running.";
    }
  };
  const take = (given) => {
    if (!given) trouble.textContent = "That is not a file; save the picture, and drop its file.";
    else if (given.size > largest) trouble.textContent = "This picture cannot be used: it has over 20 MB; make it smaller.";
    else if (busy) trouble.textContent = "Answers are still coming; stop them, or wait.";
    else look("picture", given);
  };
  file.addEventListener("change", () => {
    if (file.files.length) take(file.files[0]);
    file.value = "";
  });
  document.getElementById("scene").addEventListener("submit", (event) => {
    event.preventDefault();
    look("scene", new URLSearchParams(new FormData(event.target)));
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    drop.classList.remove("over");
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const text = event.target.matches("input, textarea") && event.clipboardData.types.includes("text/plain");
    if (text || !event.clipboardData.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files[0]);
  });
})();
