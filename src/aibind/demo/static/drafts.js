// What was written and not sent yet, for each conversation; it survives a reload of the tab.

/** The key of the conversation that has no id yet. */
export const NEW = "new";

const UNSENT = "aibind-unsent";
const keyOf = (conversation) => `aibind-draft:${conversation}`;

export const drafts = {
  read: (conversation) => sessionStorage.getItem(keyOf(conversation)) ?? "",

  write(conversation, text) {
    if (text) {
      sessionStorage.setItem(keyOf(conversation), text);
    } else {
      sessionStorage.removeItem(keyOf(conversation));
    }
  },

  /** Make the draft of one conversation that of another, unless that has one. */
  move(from, to) {
    const text = this.read(from);
    if (text && !this.read(to)) {
      this.write(to, text);
    }
    this.write(from, "");
  },
};

/** What was sent, until the server has it: a reload in between must not lose it. */
export const unsent = {
  write: (conversation, text) => sessionStorage.setItem(UNSENT, JSON.stringify({ began: conversation, conversation, text })),

  clear: () => sessionStorage.removeItem(UNSENT),

  /** The conversation that it began has an id now. */
  move(conversation) {
    const found = JSON.parse(sessionStorage.getItem(UNSENT));
    if (found?.began === NEW) {
      sessionStorage.setItem(UNSENT, JSON.stringify({ ...found, conversation }));
    }
  },

  /**
   * After a reload: make it a draft again. It belongs to the conversation that is open (`here`), or to the one in which
   * it was written. Returns the conversation whose draft it is now, or null.
   */
  restore(here) {
    const found = JSON.parse(sessionStorage.getItem(UNSENT));
    this.clear();
    if (!found) {
      return null;
    }
    const conversation = found.conversation === here ? here : found.began;
    if (drafts.read(conversation)) {
      return null;
    }
    drafts.write(conversation, found.text);
    return conversation;
  },
};
