// What an empty conversation shows: what this is, and some things to try.
import { byId, el } from "./dom.js";

const OFFLINE = [
  ["Reload me", "Ask for a long reply, and reload the page in the middle of it.", "/long 900 Tell me about the night train"],
  ["Open a second tab", "Both follow the same reply, live, to the same character.", "/long 600 Tell me about the lighthouse"],
  ["Stop the server", "Kill it in mid-reply and start it again: what had arrived is kept.", "/long 1500 Tell me about the old radio"],
  ["Walk the branches", "Ask for another answer or edit your message, then go back with ‹ ›.", "/short Say something about rivers"],
  ["Be asked", "A tool waits until you allow it, also through a reload or a restart.", "/tools Send a postcard from the night train"],
  ["See it fail", "The model breaks off halfway. Its text stays, and you can try again.", "/fail Tell me about the paper boat"],
];

const ONLINE = [
  ["Reload me", "Ask for a long reply, and reload the page in the middle of it.", "Tell me a long story about a night train, in ten chapters."],
  ["Open a second tab", "Both follow the same reply, live, to the same character.", "Explain how a lighthouse works, in detail, with a table of famous ones."],
  ["Stop the server", "Kill it in mid-reply and start it again: what had arrived is kept.", "Write a long essay on the history of radio."],
  ["Walk the branches", "Ask for another answer or edit your message, then go back with ‹ ›.", "Write a haiku about a river."],
];

/** Fill the welcome; `send(prompt)` is called when an example is picked. */
export function fillWelcome(offline, send) {
  const examples = (offline ? OFFLINE : ONLINE).map(([title, text, prompt]) =>
    el("li", {}, el("button", { type: "button", class: "example", "data-prompt": prompt, onclick: () => send(prompt) }, el("strong", {}, title), el("span", {}, text))),
  );
  const about = offline
    ? "An offline model answers here, without a key or a network; every reply is a stream that is written down as it comes."
    : "Every reply is a stream that is written down as it comes.";
  byId("welcome").replaceChildren(
    el("h2", { id: "welcome-title" }, "A reply that nothing interrupts"),
    el("p", {}, `${about} Reload, lose the connection, open it elsewhere: it goes on where it was.`),
    el("ul", { class: "examples" }, ...examples),
  );
}
