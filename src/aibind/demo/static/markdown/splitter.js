// Where a text that grows can be cut: between top-level blocks. A block is over when the next one has begun, on a line
// that is complete; no further text changes it, so where the text is cut does not depend on how it arrived.
import { endsOfBlocks } from "./ends.js";
import { closingLine, openingFence } from "./fences.js";
import { isLight, lightLines } from "./heavy.js";
import { MAX_BLOCK_CHARS } from "./limits.js";

const BLANK = /^(?:[ \t]*\n)+/;

/** @typedef {{ kind: "code" | "markdown" | "plain", source: string }} Piece */

export class Splitter {
  #open = "";
  #held = ""; // a carriage return, whose line feed may be on its way
  #scanned = 0; // complete lines of the open text that were looked at
  #fence = undefined; // how the open text begins, when it is code; null when it is not; undefined when that is not known
  #looked = 0; // characters of it that were looked at, as far as they are few enough to look at at once
  #wanted = null; // lines that are too many for that
  #ready = [];

  /** The text of the block that is not over. */
  get open() {
    return this.#open;
  }

  /** How the open block begins when it is code, else null. */
  get openFence() {
    return this.#fence ?? null;
  }

  /** Take some more text. */
  push(text) {
    const more = this.#held + text;
    this.#held = more.endsWith("\r") ? "\r" : "";
    this.#open += more.slice(0, more.length - this.#held.length).replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd");
  }

  /**
   * Return the next block that is over, or null. When `isEnd`, no more text comes: then what is open is over as well.
   * @returns {Piece | null}
   */
  next(isEnd) {
    if (isEnd && this.#held) {
      this.#held = "";
      this.#open += "\n";
    }
    while (!this.#ready.length && !this.#wanted && this.#cut(isEnd)) {
      // blank lines were left out, or blocks were found
    }
    return this.#ready.shift() ?? null;
  }

  /** Take what is over off the beginning of the open text. Returns whether there was anything. */
  #cut(isEnd) {
    if (this.#fence === undefined) {
      this.#open = this.#open.replace(BLANK, "");
      if (!this.#open.includes("\n") && this.#open.length <= MAX_BLOCK_CHARS && !isEnd) {
        return false;
      }
      this.#fence = openingFence(this.#open);
      this.#scanned = this.#fence?.length ?? 0;
    }
    return this.#fence ? this.#cutCode(isEnd) : this.#cutBlocks(isEnd);
  }

  #cutCode(isEnd) {
    const closing = closingLine(this.#open, this.#fence, this.#scanned, isEnd);
    if (!closing && !isEnd) {
      this.#scanned = Math.max(this.#scanned, this.#open.lastIndexOf("\n") + 1);
      return false;
    }
    this.#take("code", closing ? closing[1] : this.#open.length);
    return true;
  }

  #cutBlocks(isEnd) {
    const text = this.#open;
    if (!text) {
      return false;
    }
    const isLarge = text.length > MAX_BLOCK_CHARS;
    const lines = isEnd && !isLarge ? text.length : text.lastIndexOf("\n", MAX_BLOCK_CHARS - 1) + 1;
    if (lines === this.#scanned && !isLarge && !isEnd) {
      return false;
    }
    const light = lines === text.length && isLight(text) ? lines : lightLines(text, lines);
    if (light === lines) {
      return this.#cutAt(endsOfBlocks(text.slice(0, lines)), lines, isEnd, isLarge);
    }
    if (light > this.#looked) {
      this.#looked = light;
      const ends = endsOfBlocks(text.slice(0, light));
      if (ends.length) {
        return this.#cutAt(ends, 0, false, false);
      }
    }
    this.#wanted = { lines: text.slice(0, lines), isEnd, isLarge };
    return false;
  }

  /** Lines that take too long to find blocks in here, or null: what ends in them has to be told by `tell()`. */
  get wanted() {
    return this.#wanted;
  }

  /** Tell where the blocks in the wanted lines end; undefined when nobody can say, and they are no Markdown then. */
  tell(ends) {
    const { lines, isEnd, isLarge } = this.#wanted; // as it was when it was asked: more may have come
    this.#wanted = null;
    if (ends) {
      this.#cutAt(ends, lines.length, isEnd, isLarge);
    } else {
      this.#take("plain", lines.length);
    }
  }

  #cutAt(ends, lines, isEnd, isLarge) {
    const text = this.#open;
    this.#scanned = lines;
    if (isEnd && !isLarge) {
      ends.push(text.length);
    }
    if (ends.length) {
      ends.forEach((end, index) => this.#keep("markdown", text.slice(ends[index - 1] ?? 0, end)));
      this.#drop(ends.at(-1)); // once: to cut a long text for each of thousands of blocks takes seconds
      return true;
    }
    if (isLarge) {
      this.#take("plain", lines || wholeCharacters(text, MAX_BLOCK_CHARS));
      return true;
    }
    return false;
  }

  #take(kind, length) {
    this.#keep(kind, this.#open.slice(0, length));
    this.#drop(length);
  }

  #drop(length) {
    this.#open = this.#open.slice(length);
    this.#fence = undefined;
    this.#scanned = 0;
    this.#looked = 0;
  }

  #keep(kind, text) {
    const source = text.replace(BLANK, "");
    if (/[^ \t\n]/.test(source)) {
      this.#ready.push({ kind: kind === "markdown" && openingFence(source) ? "code" : kind, source });
    }
  }
}

const wholeCharacters = (text, length) => (/[\ud800-\udbff]/.test(text[length - 1]) ? length - 1 : length);
