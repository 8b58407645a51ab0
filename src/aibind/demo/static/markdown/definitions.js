// What one block may say for another: addresses of links ("[label]: https://…") and footnotes. They may come after the
// blocks that refer to them, so each block tells what it looked for, and is rendered again when that has come.

/** The definitions of one text. The first of a label counts. */
export class Definitions {
  #links = new Map();
  #notes = new Map();
  #seeking = new Map(); // labels of links that are not there: the blocks that look for them

  /** No more text comes: a footnote that is not there yet never will be. Until then, all are expected to come. */
  isComplete = false;

  /** What a block has to know of the others, to be read in another thread. */
  get known() {
    return { links: this.#links, notes: new Set(this.#notes.keys()), isComplete: this.isComplete };
  }

  /** Return definitions that know only that. */
  static of({ links, notes, isComplete }) {
    const made = new Definitions();
    made.#links = links;
    made.#notes = notes;
    made.isComplete = isComplete;
    return made;
  }

  /** Make the environment in which markdown-it reads one block. */
  environment() {
    const links = new Map();
    const sought = new Set();
    const notes = new Map();
    return {
      links,
      sought,
      noteRefs: [],
      noteDefinitions: [],
      references: new Proxy({}, {
        get: (_, label) => {
          const found = this.#links.get(label) ?? links.get(label);
          if (!found) {
            sought.add(label);
          }
          return found;
        },
        set: (_, label, value) => Boolean(links.set(label, value)),
      }),
      footnotes: {
        list: [],
        refs: new Proxy({}, {
          get: (_, key) => (this.#expects(key.slice(1)) ? (notes.get(key) ?? -1) : undefined),
          set: (_, key, value) => value < 0 || Boolean(notes.set(key, value)),
        }),
      },
    };
  }

  #expects(label) {
    return !this.isComplete || this.#notes.has(label);
  }

  /** Keep what a block that is over defines. Returns the blocks that have been looking for it. */
  keep(block) {
    const waiting = new Set();
    for (const [label, value] of block.links) {
      if (!this.#links.has(label)) {
        this.#links.set(label, value);
        this.#seeking.get(label)?.forEach((each) => waiting.add(each));
        this.#seeking.delete(label);
      }
    }
    for (const label of block.sought) {
      if (this.#links.has(label)) {
        waiting.add(block); // it came while the block was being rendered
      } else {
        this.#seeking.set(label, (this.#seeking.get(label) ?? new Set()).add(block));
      }
    }
    for (const note of block.notes) {
      if (!this.#notes.has(note.label)) {
        this.#notes.set(note.label, note);
      }
    }
    return waiting;
  }

  /** Take the notes of a block that was rendered again for those that it had. */
  replaceNotes(before, after) {
    before.forEach((note, index) => {
      if (this.#notes.get(note.label) === note) {
        this.#notes.set(note.label, after[index]);
      }
    });
  }

  note(label) {
    return this.#notes.get(label);
  }
}
