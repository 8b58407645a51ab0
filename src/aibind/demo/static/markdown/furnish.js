// What rendered text gets in the page: a head with a copy button above code, a place to scroll for what is wide.
import { copyButton, el } from "../dom.js";

/** Put a block of code into its box. */
export function codeBox(pre) {
  const copy = copyButton("Copy this code", (button) => button.closest(".code").querySelector("pre").textContent.replace(/\n$/, ""));
  pre.tabIndex = 0; // it scrolls sideways, also by keyboard
  return el("div", { class: "code" }, el("div", { class: "code-head" }, el("span", {}, pre.dataset.language || "text"), copy), pre);
}

/** Furnish what the sanitiser returned, in place. */
export function furnish(fragment) {
  for (const pre of fragment.querySelectorAll("pre")) {
    const mark = document.createComment("");
    pre.replaceWith(mark);
    mark.replaceWith(codeBox(pre));
  }
  for (const table of fragment.querySelectorAll("table")) {
    const wrap = el("div", { class: "table", tabindex: "0" });
    table.replaceWith(wrap);
    wrap.append(table);
  }
  for (const formula of fragment.querySelectorAll("div.maths")) {
    formula.tabIndex = 0;
  }
  for (const box of fragment.querySelectorAll("input")) {
    box.setAttribute("aria-label", box.checked ? "Done" : "To do");
  }
  return fragment;
}
