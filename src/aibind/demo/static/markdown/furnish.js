// What rendered text gets in the page: a head with a copy button above code, a place to scroll for what is wide.
import { copyButton, el } from "../dom.js";
import { colours } from "./code.js";
import { CodeWriter } from "./spans.js";

/** Show code in an element that is empty, in colours as far as they are known, in steps. */
export function* fillCode(element, language, code) {
  const [coloured, plain] = colours(code, language);
  const writer = new CodeWriter(element);
  yield* writer.addHtml(coloured);
  yield* writer.add(plain);
}

/** Put a block of code into its box. */
export function codeBox(pre) {
  const copy = copyButton("Copy this code", (button) => button.closest(".code").querySelector("pre").textContent.replace(/\n$/, ""));
  pre.tabIndex = 0; // it scrolls sideways, also by keyboard
  return el("div", { class: "code" }, el("div", { class: "code-head" }, el("span", {}, pre.dataset.language || "text"), copy), pre);
}

/** Furnish what the sanitiser returned, in place and in steps. */
export function* furnishSteps(fragment) {
  for (const [selector, change] of CHANGES) {
    for (const element of fragment.querySelectorAll(selector)) {
      yield* change(element) ?? [1];
    }
  }
}

const CHANGES = [
  ["pre", boxCode],
  ["table", wrapTable],
  ["div.maths", (formula) => formula.setAttribute("tabindex", "0")],
  ["h1, h2, h3, h4, h5, h6", nameHeading],
  ["th", nameHead],
  ["a[href]", nameLink],
  ["input", (box) => box.setAttribute("aria-label", box.checked ? "Done" : "To do")],
];

function* boxCode(pre) {
  const code = pre.firstChild;
  const text = code.textContent;
  code.replaceChildren();
  yield* fillCode(code, pre.dataset.language, text);
  const mark = document.createComment("");
  pre.replaceWith(mark);
  mark.replaceWith(codeBox(pre));
}

function wrapTable(table) {
  const wrap = el("div", { class: "table", tabindex: "0" });
  table.replaceWith(wrap);
  wrap.append(table);
}

// A reply that is cut off, or still grows, may end with "## " or "[](https://…)". Screen readers announce headings, heads
// of columns and links by their words, so those without words are drawn as something else.

const hasWords = (element) => element.textContent.trim() !== "" || element.querySelector("sup") !== null;

/** Draw a heading without words as the marks that it is made of. */
function nameHeading(heading) {
  if (!hasWords(heading)) {
    heading.replaceWith(el("p", {}, "#".repeat(Number(heading.localName[1])), ...heading.childNodes));
  }
}

/** Make the head of a column that has no words a cell like any other. */
function nameHead(head) {
  if (!hasWords(head)) {
    const align = head.getAttribute("align");
    head.replaceWith(el("td", align ? { align } : {}, ...head.childNodes));
  }
}

/** Show the address of a link that has no words. */
function nameLink(link) {
  if (!hasWords(link)) {
    link.append(link.getAttribute("href"));
  }
}
