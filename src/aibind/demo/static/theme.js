// Runs before the page is painted, so that it does not flash up in the other colours; therefore not a module.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("aibind-theme");
  } catch {
    // Storage may be forbidden; then the system's choice holds.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
