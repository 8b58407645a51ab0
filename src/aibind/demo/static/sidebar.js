// The list of conversations: beside the page on a desktop, a drawer on a phone.
import { byId, el, iconButton } from "./dom.js";

const DAY_MS = 24 * 60 * 60 * 1000;

/** The title of a conversation that has none. */
export const UNTITLED = "New conversation";

export class Sidebar {
  #place = byId("conversation-list");
  #sidebar = byId("sidebar");
  #scrim = byId("scrim");
  #opener = byId("drawer-open");
  #narrow = matchMedia("(max-width: 820px)");
  #shown = "";
  #latest = [[], null]; // what show() was called with
  #on;

  /** Handlers: open(id), rename(id, title), remove(id, title). */
  constructor(handlers) {
    this.#on = handlers;
    this.#opener.addEventListener("click", () => this.drawer(true));
    byId("drawer-close").addEventListener("click", () => this.drawer(false));
    this.#scrim.addEventListener("click", () => this.drawer(false));
    this.#sidebar.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.isOpen) {
        event.stopPropagation();
        this.drawer(false);
      }
    });
    this.#narrow.addEventListener("change", () => this.drawer(false));
    this.drawer(false);
  }

  get isOpen() {
    return this.#sidebar.classList.contains("open");
  }

  /** Open or close the drawer; where there is room, the list is always there. */
  drawer(open) {
    const shows = open && this.#narrow.matches;
    const wasOpen = this.isOpen;
    this.#sidebar.classList.toggle("open", shows);
    this.#sidebar.inert = this.#narrow.matches && !shows;
    byId("page").inert = shows;
    this.#scrim.hidden = !shows;
    this.#opener.setAttribute("aria-expanded", String(shows));
    if (shows) {
      byId("drawer-close").focus();
    } else if (wasOpen) {
      this.#opener.focus({ preventScroll: true });
    }
  }

  /** Show these conversations, of which `current` is open. */
  show(conversations, current) {
    this.#latest = [conversations, current];
    const state = JSON.stringify([conversations, current, new Date().toDateString()]);
    if (state === this.#shown || this.#place.querySelector("input")) {
      return; // nothing new, or a name is being typed
    }
    this.#shown = state;
    const focused = this.#place.contains(document.activeElement) ? document.activeElement : null;
    const row = focused?.closest("li")?.dataset.id;
    const groups = new Map();
    for (const conversation of conversations) {
      const name = groupOf(conversation.updatedAt);
      groups.set(name, [...(groups.get(name) ?? []), this.#row(conversation, conversation.id === current)]);
    }
    this.#place.replaceChildren(
      ...[...groups].map(([name, rows]) => el("section", {}, el("h2", {}, name), el("ul", {}, ...rows))),
    );
    if (!conversations.length) {
      this.#place.append(el("p", { class: "nothing" }, "What you talk about will be listed here."));
    }
    if (row) {
      this.focus(row, focused.matches("button") ? focused.title : "");
    }
  }

  /** Go to a conversation's entry, or to the button in it of this name; to the button above the list where there is none. */
  focus(id, name = "") {
    const row = id === null ? null : this.#place.querySelector(`li[data-id="${CSS.escape(id)}"]`);
    (row?.querySelector(`button[title="${CSS.escape(name)}"]`) ?? row?.querySelector("a") ?? byId("new-chat")).focus();
  }

  /** Return the conversation that is listed after one, else the one before it, else null. */
  neighbour(id) {
    const ids = [...this.#place.querySelectorAll("li")].map((row) => row.dataset.id);
    const index = ids.indexOf(id);
    return ids[index + 1] ?? ids[index - 1] ?? null;
  }

  #row({ id, title: given, liveStream }, isCurrent) {
    const title = given ?? UNTITLED;
    const link = el("a", { href: `/c/${encodeURIComponent(id)}`, title, "aria-current": isCurrent ? "page" : null }, el("span", { dir: "auto" }, title));
    if (liveStream) {
      link.append(el("span", { class: "pulse", title: "A reply is under way", role: "img", "aria-label": "A reply is under way" }));
    }
    link.addEventListener("click", (event) => {
      if (event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey) {
        event.preventDefault();
        this.#on.open(id);
      }
    });
    const row = el("li", { "data-id": id }, link);
    row.append(
      iconButton("edit", "Rename", () => this.#rename(row, id, title)),
      iconButton("trash", "Delete", () => this.#on.remove(id, title)),
    );
    return row;
  }

  #rename(row, id, title) {
    const input = el("input", { type: "text", dir: "auto", maxlength: "120", "aria-label": "Title of the conversation" });
    input.value = title;
    let settled = false;
    const settle = (name, keepsFocus) => {
      if (settled) {
        return; // taking the field away makes it lose the focus
      }
      settled = true;
      input.remove();
      this.#shown = "";
      if (name && name !== title) {
        this.#on.rename(id, name);
      }
      this.show(...this.#latest);
      if (keepsFocus) {
        this.focus(id);
      }
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) {
        settle(input.value.trim(), true);
      } else if (event.key === "Escape") {
        event.stopPropagation();
        settle("", true);
      }
    });
    input.addEventListener("blur", () => settle(input.value.trim(), false));
    row.replaceChildren(input);
    input.focus();
    input.select();
  }
}

function groupOf(updatedAt) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (updatedAt >= today) {
    return "Today";
  }
  if (updatedAt >= today - DAY_MS) {
    return "Yesterday";
  }
  return updatedAt >= today - 6 * DAY_MS ? "This week" : "Earlier";
}
