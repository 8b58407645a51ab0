// The colours of code, by highlight.js in a worker. Its expressions take a time that may grow with the cube of a line, so
// each piece of code has a limit: what takes longer stays in one colour.
import { LimitedWorker } from "./limited-worker.js";
import { MAX_COLOUR_MS, MAX_KNOWN_COLOURS } from "./limits.js";

const worker = new LimitedWorker("colour", MAX_COLOUR_MS);

const known = new Map(); // by language and code: { language, code, html }, html is null where it stays in one colour
const plain = new Set(); // languages without colours
const asked = new Map(); // promises, by language and code

const keyOf = (code, language) => `${language}\n${code}`;

/** Return the longest beginning of some code whose colours are known, as { html, length }. */
export function knownColours(code, language) {
  let best = { html: "", length: 0 };
  for (const entry of known.values()) {
    const isLonger = entry.html !== null && entry.language === language && entry.code.length > best.length;
    if (isLonger && code.startsWith(entry.code)) {
      best = { html: entry.html, length: entry.code.length };
    }
  }
  return best;
}

/** Whether some code may get colours that are not known yet. */
export function wantsColours(code, language) {
  if (!code || !language || plain.has(language) || known.has(keyOf(code, language))) {
    return false;
  }
  return ![...known.values()].some((entry) => entry.html === null && entry.language === language && code.startsWith(entry.code));
}

/** Find the colours of some code; the promise is kept when they are known, or will never be. */
export function findColours(code, language) {
  const key = keyOf(code, language);
  let promise = asked.get(key);
  if (!promise) {
    promise = worker.ask({ code, language }).then((answer) => keep(key, code, language, answer));
    asked.set(key, promise);
  }
  return promise;
}

function keep(key, code, language, answer) {
  asked.delete(key);
  if (answer?.html === null) {
    plain.add(language);
    return;
  }
  known.set(key, { language, code, html: answer?.html ?? null });
  if (known.size > MAX_KNOWN_COLOURS) {
    known.delete(known.keys().next().value);
  }
}
