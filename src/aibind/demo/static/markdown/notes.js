// The footnotes of a text: their numbers, in the order in which the text refers to them, and the list at its end.
import { el } from "../dom.js";
import { MAX_NOTE_BACKS, MAX_NOTE_REFS } from "./limits.js";

export class Notes {
  #container;
  #place = el("section", { class: "notes", "aria-label": "Footnotes" });
  #prefix;
  #shown = "[]";
  #known = new Map(); // elements of the list, by label; they are kept, as a note's content is in them

  /** The list comes last in `container`; `prefix` begins the ids and is this text's alone in the page. */
  constructor(container, prefix) {
    this.#container = container;
    this.#prefix = prefix;
  }

  /**
   * Number the references and show the list.
   * @param {{ refs: string[], nodes: Node[] }[]} blocks in the order of the text
   * @param {(label: string) => { content: DocumentFragment, refs: string[] } | undefined} find
   */
  update(blocks, find) {
    const marks = []; // [label, element], in order
    for (const { refs, nodes } of blocks) {
      if (refs.length && marks.length < MAX_NOTE_REFS) {
        const elements = nodes.flatMap((node) => (node.querySelectorAll ? [...node.querySelectorAll("sup.note-ref > a")] : []));
        refs.forEach((label, index) => marks.push([label, elements[index]]));
      }
    }
    if (!marks.length && !this.#known.size) {
      return;
    }
    const numbers = new Map();
    const counts = new Map();
    for (let at = 0; at < marks.length; at += 1) {
      const [label, element] = marks[at];
      if (!numbers.has(label)) {
        numbers.set(label, numbers.size + 1);
        marks.push(...this.#item(label, find(label)));
      }
      counts.set(label, (counts.get(label) ?? 0) + 1);
      this.#number(element, numbers.get(label), counts.get(label));
    }
    this.#arrange(numbers, counts, find);
  }

  /** The list, when there is one: the text comes before it. */
  get list() {
    return this.#place.parentNode && this.#place;
  }

  /** Return the element in the list that shows a note, if there is one. */
  element(label) {
    return this.#known.get(label)?.item;
  }

  /** Make or renew the element of a note. Returns its own references, as the marks above. */
  #item(label, note) {
    if (!note) {
      return [];
    }
    let known = this.#known.get(label);
    if (!known) {
      known = { item: el("li", { tabindex: "-1" }), note: null };
      this.#known.set(label, known);
    }
    if (known.note !== note) {
      known.note = note;
      known.item.replaceChildren(note.content);
      known.backs = el("span", { class: "note-backs" });
      (known.item.lastElementChild?.matches("p") ? known.item.lastElementChild : known.item).append(" ", known.backs);
    }
    const elements = known.item.querySelectorAll("sup.note-ref > a");
    return note.refs.map((ref, index) => [ref, elements[index]]);
  }

  #number(element, number, count) {
    if (element && element.textContent !== String(number)) {
      element.textContent = number;
      element.setAttribute("aria-label", `Footnote ${number}`);
    }
    if (element) {
      link(element, `${this.#prefix}-note-${number}`);
      element.id = `${this.#prefix}-ref-${number}-${count}`;
    }
  }

  #arrange(numbers, counts, find) {
    const labels = [...numbers.keys()].filter((label) => find(label));
    for (const label of labels) {
      const { item, backs } = this.#known.get(label);
      const number = numbers.get(label);
      item.id = `${this.#prefix}-note-${number}`;
      item.value = number;
      const wanted = Math.min(MAX_NOTE_BACKS, counts.get(label));
      while (backs.childElementCount < wanted) {
        backs.append(el("a", { class: "note-back", "aria-label": "Back to the text" }, "↩"));
      }
      [...backs.children].forEach((back, index) => (index < wanted ? link(back, `${this.#prefix}-ref-${number}-${index + 1}`) : back.remove()));
    }
    const state = JSON.stringify(labels);
    if (state !== this.#shown) {
      this.#shown = state;
      this.#place.replaceChildren(el("ol", {}, ...labels.map((label) => this.#known.get(label).item)));
      this.#place.remove();
      if (labels.length) {
        this.#container.append(this.#place);
      }
    }
  }
}

/** Let a link lead to another place of the text, without a trace in the tab's history. */
function link(element, id) {
  element.setAttribute("href", `#${id}`);
  element.onclick = (event) => {
    event.preventDefault();
    const target = document.getElementById(id);
    target?.scrollIntoView({ block: "center" });
    target?.focus({ preventScroll: true });
  };
}
