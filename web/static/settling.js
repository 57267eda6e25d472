// Where the browser can, photos travel from their place in the first stage to their last, which is on the next page.
// Runs before anything is drawn: a page hears of the transition that leads to it no later than that.
"use strict";

const settlingStyle = document.querySelector("[data-settling-style]");
const settlingMedia = settlingStyle.media;

function letSettle(settles) {
  settlingStyle.media = settles ? settlingMedia : "not all";
}

function nameTiles() {
  for (const tile of document.querySelectorAll("[data-results] > .tile")) tile.style.viewTransitionName = `photo-${tile.dataset.id}`;
}

function haveSettled() {
  for (const tile of document.querySelectorAll("[data-results] > .tile")) tile.style.viewTransitionName = "";
  letSettle(false);
}

function whateverBecomesOf(transition) {
  for (const part of [transition.ready, transition.updateCallbackDone, transition.finished]) part.catch(() => {});
}

// Not at load: that may come before the page is revealed, and the transition to it would be skipped.
addEventListener("pagereveal", ({ viewTransition }) => {
  if (!viewTransition) return letSettle(false);
  whateverBecomesOf(viewTransition);
  nameTiles();
  viewTransition.finished.then(haveSettled, haveSettled);
});
addEventListener("pageswap", ({ viewTransition }) => { if (viewTransition) whateverBecomesOf(viewTransition); });
