// The colours of code, by highlight.js in a worker. Its expressions take a time that may grow with the cube of a line, so
// each piece of code has a limit: what takes longer stays in one colour.
import { MAX_COLOUR_MS, MAX_KNOWN_COLOURS } from "./limits.js";

const WORKER = new URL("./colour-worker.js", import.meta.url).href;
const policy = globalThis.trustedTypes?.createPolicy("aibind", { createScriptURL: () => WORKER });

const known = new Map(); // by language and code: { language, code, html }, html is null where it stays in one colour
const plain = new Set(); // languages without colours
const asked = new Map(); // promises, by language and code
const waiting = []; // jobs that the worker has not begun

let worker = null;
let current = null;
let timer = null;

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
    promise = new Promise((resolve) => waiting.push({ key, code, language, resolve }));
    asked.set(key, promise);
    next();
  }
  return promise;
}

function next() {
  if (current || !waiting.length) {
    return;
  }
  current = waiting.shift();
  if (worker) {
    begin();
  } else {
    start(); // and begin when it is ready: loading takes its time
  }
}

function start() {
  const started = new Worker(policy ? policy.createScriptURL("") : WORKER, { type: "module" });
  worker = started;
  started.onmessage = ({ data }) => (data === "ready" ? begin() : settle(data.html));
  started.onerror = (event) => {
    event.preventDefault();
    fail();
  };
}

function begin() {
  timer = setTimeout(fail, MAX_COLOUR_MS);
  worker.postMessage({ code: current.code, language: current.language });
}

/** Give up the current job, and the worker that is busy with it. */
function fail() {
  worker.terminate();
  worker = null;
  settle(null, true);
}

function settle(html, isSlow = false) {
  clearTimeout(timer);
  const { key, code, language, resolve } = current;
  current = null;
  asked.delete(key);
  if (html === null && !isSlow) {
    plain.add(language);
  } else {
    known.set(key, { language, code, html });
    if (known.size > MAX_KNOWN_COLOURS) {
      known.delete(known.keys().next().value);
    }
  }
  resolve();
  next();
}
