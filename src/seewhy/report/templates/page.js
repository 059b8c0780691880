
"use strict";
(() => {
  const form = document.getElementById("filters");
  const cards = [...document.querySelectorAll("#cards > .card")];
  const output = form.querySelector("output");
  document.documentElement.classList.add("scripted");

  const passes = (answer, wanted) => {
    const verdicts = answer.dataset.reasons;
    return (!wanted.model || answer.dataset.model === wanted.model)
      && (!wanted.correct || answer.dataset.correct === wanted.correct)
      && (!wanted.reasons || (wanted.reasons === "all true" ? verdicts === "true" : verdicts.split(" ").includes(wanted.reasons)));
  };

  const apply = () => {
    const wanted = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const card of cards) {
      const here = !wanted.label || card.dataset.label === wanted.label;
      let any = false;
      for (const answer of card.querySelectorAll(".answer")) {
        answer.hidden = !passes(answer, wanted);
        any ||= !answer.hidden;
      }
      card.hidden = !(here && any);
      shown += !card.hidden;
    }
    output.textContent = shown === cards.length ? `All ${shown} images` : `${shown} of ${cards.length} images`;
  };

  const press = (button, pressed) => {
    for (const other of document.querySelectorAll(".reason[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
    if (button) button.setAttribute("aria-pressed", String(pressed));
  };

  form.hidden = false;
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.reason");
    press(button, button && button.getAttribute("aria-pressed") === "false");
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") press(null); });
  apply();
})();
