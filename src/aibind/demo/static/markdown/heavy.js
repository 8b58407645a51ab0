// What is light enough to be read and shown at once, and what is not. Reading Markdown may take a time that grows with the
// square of the marks in it: many marks are read in a worker, and what comes of it is put into the page in steps.
import { MAX_LIGHT_CHARS, MAX_LIGHT_CODE_CHARS, MAX_LIGHT_CODE_LINES, MAX_LIGHT_MARKS, MAX_PARSE_MS } from "./limits.js";
import { LimitedWorker } from "./limited-worker.js";

const MARKS = /[^\p{L}\p{N}\p{M} ,;'"]/gu;
const STEP_MS = 12;
const STEP_WORK = 40;

const worker = new LimitedWorker("parse", MAX_PARSE_MS);

/** Count the characters that may mean something in Markdown: no text makes more elements than it has of these. */
export const marksIn = (text) => text.match(MARKS)?.length ?? 0;

/** Whether a text can be read at once. */
export const isLight = (text) => text.length <= MAX_LIGHT_CHARS && marksIn(text) <= MAX_LIGHT_MARKS;

/** Whether code can be shown at once. */
export const isLightCode = (code) => code.length <= MAX_LIGHT_CODE_CHARS && code.split("\n").length <= MAX_LIGHT_CODE_LINES;

/** Return how much of a text, in whole lines, can be read at once; 0 where not even a line can. */
export function lightLines(text, length) {
  let end = 0;
  let marks = 0;
  for (let next; end < length && end < MAX_LIGHT_CHARS; end = next) {
    next = text.indexOf("\n", end) + 1;
    marks += next && next <= length ? marksIn(text.slice(end, Math.min(next, end + MAX_LIGHT_CHARS))) : Infinity;
    if (marks > MAX_LIGHT_MARKS || next > MAX_LIGHT_CHARS) {
      break;
    }
  }
  return end;
}

/** Find where the blocks of some lines end, in the worker; undefined where that takes too long. */
export async function findEnds(text) {
  return (await worker.ask({ kind: "ends", text }))?.ends;
}

/** Read a block in the worker. Returns its HTML and what it defines; undefined where that takes too long or is too much. */
export function findHtml(source, known) {
  return worker.ask({ kind: "html", source, known });
}

/**
 * Do work that is written as a generator, and let the page do other things after each few milliseconds of it. The
 * generator yields how much it has done; `settle()` is called after each forty of that. Returns undefined when `isOver()`.
 */
export async function inSteps(steps, isOver, settle = () => {}) {
  let until = performance.now() + STEP_MS;
  for (let work = 0; ; ) {
    const { done, value } = steps.next();
    if (done) {
      return value;
    }
    work += value;
    if (work >= STEP_WORK) {
      work = 0;
      settle();
    }
    if (performance.now() > until) {
      await new Promise((resolve) => setTimeout(resolve));
      if (isOver()) {
        return undefined;
      }
      until = performance.now() + STEP_MS;
    }
  }
}

/** Do such work at once. */
export function atOnce(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) {
      return value;
    }
  }
}
