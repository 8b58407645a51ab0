// What went wrong, in words for the person who reads it.
import { el, icon } from "./dom.js";

/** The server's error when the one that was producing a reply is gone. */
export const PRODUCER_LOST = "producer lost";

const KEPT = "What had arrived by then is kept.";
const WORDS = new Map([
  [PRODUCER_LOST, `The server broke off in the middle of this reply. ${KEPT}`],
  ["The server was shut down", `The server was shut down during this reply. ${KEPT}`],
  ["The producer was cut off", `The server was shut down during this reply. ${KEPT}`],
  ["Stream read failed", "The reply could not be read from the database."],
]);

/** Say what an error message of the server means. */
export function inWords(error) {
  const text = WORDS.get(error) ?? error ?? "";
  return text ? (/[.!?…]$/.test(text) ? text : `${text}.`) : "Something went wrong.";
}

const REASONS = { "no stream": "Nothing was asked.", expired: "The answer was not kept.", stopped: "Stopped before the first word." };

/** Say why a question has no answer: the server's reason, and the error of a reply that failed. */
export function reasonInWords(reason, error) {
  return REASONS[reason] ?? inWords(error ?? "The answer failed");
}

/** Make a notice; with `onRetry` it has a button "Try again". */
export function notice(text, onRetry, kind = "error") {
  const element = el("div", { class: `notice ${kind}`, role: "group", "aria-label": "Notice" }, icon("alert"), el("p", {}, text));
  if (onRetry) {
    element.append(el("button", { type: "button", class: "button small", onclick: onRetry }, icon("again"), "Try again"));
  }
  return element;
}
