// How a message looks: its text, its reasoning and tool calls, and what can be done with it.
import { copyButton, el, icon, iconButton } from "./dom.js";
import { showMarkdown } from "./markdown/view.js";
import { inWords, notice, PRODUCER_LOST } from "./notices.js";

const IDLE = { "data-idle": "" }; // the style sheet hides what is of no use while a reply is under way

/** Make the element of a message of the user. */
export function userMessage(text) {
  const element = el("article", { class: "message user", tabindex: "-1", "aria-label": "You" }, el("div", { class: "bubble", dir: "auto" }, text), el("footer", { class: "actions" }));
  element.source = text;
  return element;
}

/** Make the element of a message of the assistant, still empty. */
export function assistantMessage() {
  return el(
    "article",
    { class: "message assistant", tabindex: "-1", "aria-label": "Assistant" },
    el("div", { class: "extras before" }),
    el("div", { class: "text markdown" }),
    el("div", { class: "extras after" }),
    el("footer", { class: "actions" }),
  );
}

/** Bring a turn's element up to date with what the server says of it. */
export function updateMessage(element, turn, actions, isLast) {
  element.dataset.id = turn.id;
  element.source = turn.content;
  if (turn.role !== "user") {
    fillAnswer(element, turn, actions.grown);
  }
  const footer = element.querySelector(".actions");
  const signature = JSON.stringify([turn.id, turn.alternatives, turn.finish, turn.usage, isLast]);
  if (footer.dataset.signature !== signature) {
    footer.dataset.signature = signature;
    fillFooter(footer, element, turn, actions);
  }
  element.querySelector(":scope > .notice")?.remove();
  if (isLast && turn.finish === "error") {
    footer.before(notice(inWords(turn.error ?? PRODUCER_LOST), () => actions.regenerate(turn.id)));
  }
}

function fillAnswer(element, turn, onShown) {
  if (element.markdown?.text !== turn.content) {
    element.markdown?.close();
    element.markdown = showMarkdown(element.querySelector(".text"), turn.content, onShown);
  }
  if (!turn.content.trim() && !turn.tools.length && !element.querySelector(".empty")) {
    element.querySelector(".text").append(el("p", { class: "empty" }, "The answer was empty."));
  }
  if (element.querySelectorAll(".tool-part").length < turn.tools.length) {
    element.querySelectorAll(".extras").forEach((extras) => extras.replaceChildren()); // there are results since
  }
  if (!element.querySelector(".extra") && (turn.reasoning || turn.tools.length)) {
    const shown = new Extras(element);
    if (turn.reasoning) {
      shown.reasoning(turn.reasoning);
    }
    turn.tools.forEach((tool) => shown.tool(tool.event, tool));
    shown.settle();
  }
}

function fillFooter(footer, element, turn, actions) {
  const isUser = turn.role === "user";
  const parts = [];
  const pager = turn.alternatives.length > 1 ? [branches(turn, actions)] : [];
  if (!isUser) {
    parts.push(...pager);
  }
  parts.push(copyButton("Copy this message", () => element.source));
  if (isUser) {
    parts.push(iconButton("edit", "Edit this message", () => editMessage(element, turn, actions), IDLE), ...pager); // at the edge of the bubble
  } else {
    parts.push(iconButton("again", "Another answer", () => actions.regenerate(turn.id), IDLE));
    if (turn.finish === "stopped") {
      parts.push(el("span", { class: "remark" }, "Stopped"));
    }
    if (turn.usage) {
      const { inputTokens, outputTokens } = turn.usage;
      const words = `${inputTokens.toLocaleString()} tokens read, ${outputTokens.toLocaleString()} written`;
      parts.push(el("span", { class: "remark usage", title: words }, `${outputTokens.toLocaleString()} tokens`));
    }
  }
  footer.replaceChildren(...parts);
}

function branches({ id, alternatives }, actions) {
  const index = alternatives.indexOf(id);
  const count = alternatives.length;
  const go = (step) => () => actions.select(alternatives[index + step]);
  return el(
    "span",
    { class: "branches", role: "group", "aria-label": "Versions of this message" },
    iconButton("previous", "The version before", go(-1), { disabled: index === 0, ...IDLE }),
    el("span", { "aria-label": `Version ${index + 1} of ${count}` }, `${index + 1}/${count}`),
    iconButton("next", "The next version", go(1), { disabled: index === count - 1, ...IDLE }),
  );
}

function editMessage(element, turn, actions) {
  const bubble = element.querySelector(".bubble");
  const area = el("textarea", { class: "edit-text", "aria-label": "Edit your message", rows: "1", dir: "auto" });
  area.value = turn.content;
  const close = () => {
    editor.replaceWith(bubble);
    element.classList.remove("editing");
    element.querySelector(".actions button[title^=Edit]")?.focus();
  };
  const submit = () => {
    const text = area.value.trim();
    if (text && actions.isBusy()) {
      actions.refuse();
    } else if (text) {
      close();
      actions.edit(turn.id, text);
    }
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  });
  const editor = el(
    "div",
    { class: "editor" },
    area,
    el("p", { class: "editor-note" }, "The earlier version stays: walk between them with ‹ ›."),
    el("button", { type: "button", class: "button", onclick: close }, "Cancel"),
    el("button", { type: "button", class: "button primary", onclick: submit }, "Send"),
  );
  bubble.replaceWith(editor);
  element.classList.add("editing");
  growWithText(area);
  area.focus();
  editor.scrollIntoView({ block: "nearest" });
  area.setSelectionRange(area.value.length, area.value.length);
}

/** Keep a text area as high as its text. */
export function growWithText(area) {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
  };
  area.addEventListener("input", fit);
  fit();
}

/** Shows what comes beside the text of an answer: reasoning before it, tool calls after it. */
export class Extras {
  #before;
  #after;
  #reasoning = null;
  #tools = new Map();

  constructor(element) {
    this.#before = element.querySelector(".before");
    this.#after = element.querySelector(".after");
  }

  reasoning(text) {
    if (!this.#reasoning) {
      const summary = el("summary", {}, icon("thought"), el("span", {}, "Thinking"));
      this.#reasoning = el("details", { class: "extra reasoning thinking", open: true }, summary, el("div", { class: "reasoning-text" }));
      this.#before.append(this.#reasoning);
    }
    this.#reasoning.lastElementChild.append(text);
  }

  /** The text has begun, or the reply is over: the thoughts have done their work. */
  settle() {
    if (this.#reasoning?.classList.contains("thinking")) {
      this.#reasoning.classList.remove("thinking");
      this.#reasoning.open = false;
      this.#reasoning.querySelector("summary span").textContent = "Thoughts";
    }
  }

  tool(event, { id, name, args, result }) {
    let tool = this.#tools.get(id);
    if (!tool) {
      const summary = el("summary", {}, icon("tool"), el("span", {}, "Tool ", el("code", {}, name ?? "?")));
      tool = el("details", { class: "extra tool" }, summary);
      this.#tools.set(id, tool);
      this.#after.append(tool);
    }
    const [label, value] = event === "tool_call" ? ["Called with", args] : ["Answered", result];
    const shown = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    tool.append(el("div", { class: "tool-part" }, el("span", {}, label), el("pre", { tabindex: "0" }, shown ?? "")));
  }
}
