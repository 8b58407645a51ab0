// Light and dark: as the system says, until the user chooses.
import { byId, icon } from "./dom.js";

const KEY = "aibind-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

function show() {
  byId("theme").replaceChildren(icon(isDark() ? "sun" : "moon"));
  byId("theme").title = isDark() ? "Light colours" : "Dark colours";
}

function toggle() {
  const wanted = isDark() ? "light" : "dark";
  const isSystems = (wanted === "dark") === system.matches;
  if (isSystems) {
    delete document.documentElement.dataset.theme;
  } else {
    document.documentElement.dataset.theme = wanted;
  }
  try {
    if (isSystems) {
      localStorage.removeItem(KEY);
    } else {
      localStorage.setItem(KEY, wanted);
    }
  } catch {
    // Storage may be forbidden; then the choice holds until the page is closed.
  }
  show();
}

/** Make the button work, and follow the system. */
export function watchTheme() {
  byId("theme").addEventListener("click", toggle);
  system.addEventListener("change", show);
  show();
}
