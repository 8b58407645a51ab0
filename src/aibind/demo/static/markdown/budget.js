// How much is shown at once: all texts of a conversation share the time of one turn of the event loop.
import { marksIn } from "./heavy.js";
import { MAX_LIGHT_MARKS } from "./limits.js";

const SLICE_MS = 12;
const CODE_CHARS = 64; // of code, which take as long as a mark of Markdown
const CODE_BOX_MARKS = 16;

let sliceEnd = 0;
let unarranged = 0; // marks since the last layout

/** Return when rendering has to stop for this turn of the event loop. */
export function endOfSlice() {
  if (!sliceEnd) {
    sliceEnd = performance.now() + SLICE_MS;
    setTimeout(() => {
      sliceEnd = 0;
    });
  }
  return sliceEnd;
}

/** Return how many marks of Markdown take as long as a piece. */
export function weightOf({ kind, source }) {
  return kind === "markdown" ? marksIn(source) : CODE_BOX_MARKS + source.length / CODE_CHARS;
}

/** Have the page laid out after every so many marks: that takes more time than all else. */
export function arrange(container, pieces) {
  unarranged += pieces.reduce((sum, piece) => sum + weightOf(piece), 0);
  if (unarranged > MAX_LIGHT_MARKS) {
    unarranged = 0;
    void container.offsetHeight;
  }
}
