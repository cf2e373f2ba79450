// The page of a study that goes on: looks every few seconds whether there is news, and then loads itself again, where
// the reader was and with what was typed. It leaves alone who is just selecting, dragging or typing.
"use strict";
(() => {
  const EVERY = 5000, QUIET = 4000;
  const key = `sweeper:${location.pathname}`;
  let pulse = null, touched = 0;

  for (const kind of ["pointerdown", "pointermove", "keydown", "wheel"]) {
    addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }

  const inputs = () => [...document.querySelectorAll("input[type=search]")];

  addEventListener("load", () => {
    const before = JSON.parse(sessionStorage.getItem(key) || "null");
    if (!before) return;
    sessionStorage.removeItem(key);
    inputs().forEach((input, at) => {
      if (!before.inputs[at]) return;
      input.value = before.inputs[at];
      input.dispatchEvent(new Event("input"));
    });
    scrollTo(0, before.top);
  });

  function again() {
    sessionStorage.setItem(key, JSON.stringify({ top: scrollY, inputs: inputs().map((input) => input.value) }));
    location.reload();
  }

  async function look() {
    try {
      const answer = await fetch("pulse", { cache: "no-store" });
      const now = await answer.text();
      if (pulse === null) pulse = now;
      if (answer.ok && now !== pulse && !document.hidden && Date.now() - touched > QUIET && !String(getSelection())) again();
      document.title = document.title.replace(/^⏸ /, "");
    } catch {
      if (!document.title.startsWith("⏸ ")) document.title = `⏸ ${document.title}`; // the server has ended
    }
    setTimeout(look, EVERY);
  }

  look();
})();
