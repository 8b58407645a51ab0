// The conversation that is open: what it shows, its turns, and the reply that is being followed.
import { api } from "./api.js";
import { announce, byId, el } from "./dom.js";
import { MarkdownView } from "./markdown/view.js";
import { assistantMessage, Extras, updateMessage, userMessage } from "./messages.js";
import { inWords, notice, reasonInWords } from "./notices.js";
import { Reply } from "./reply.js";
import { turnsOf } from "./turns.js";

export class Conversation {
  #list = byId("messages");
  #shown = new Map(); // elements by the id of their message
  #live = null; // { reply, element, question, growing, extras, stopped }
  #request = 0;
  #paging = null; // the older messages that are on their way
  #failure = null; // an error that left no trace in the conversation
  #on;

  /**
   * Handlers: changed() whatever is shown, turned() a turn began or ended, grown(), cut(ms), joined(), sent() the server
   * has the message, back(prompt, error, id) it does not want it.
   */
  constructor(handlers) {
    this.#on = handlers;
    this.id = null;
    this.view = null; // what the server said last, with all messages that were loaded, and the turns that they are
  }

  get isBusy() {
    return this.#live !== null;
  }

  /** The id of the stream that is being followed. */
  get liveId() {
    return this.#live?.reply.id ?? null;
  }

  get lastQuestion() {
    return this.view?.turns.findLast((turn) => turn.role === "user");
  }

  /** Show nothing, for a new conversation. */
  clear() {
    this.#leave();
    this.id = null;
    this.#on.changed();
  }

  /** Open a conversation. Throws AibindError when it cannot be. */
  async open(id) {
    this.#leave();
    this.id = id;
    await this.refresh();
  }

  /**
   * Ask the server how the conversation is now, and show it. Older messages that were loaded stay, since what is above
   * a message never changes; on another branch they are loaded again as far as the message `through`.
   */
  async refresh(through = null) {
    const { id } = this;
    if (!id) {
      return;
    }
    const request = ++this.#request;
    const isStale = () => request !== this.#request || id !== this.id;
    const page = await api.open(id, { tag: this.view?.tag ?? null });
    if (isStale()) {
      return;
    }
    let view = page === null ? this.view : joined(this.view, page);
    while (through !== null && view.before !== null && !view.messages.some((message) => message.id === through)) {
      view = withOlder(view, await api.open(id, { before: view.before }));
      if (isStale()) {
        return;
      }
    }
    this.#show(view);
  }

  /** Show the messages above the first one, if there are any. Returns whether there were. */
  async showEarlier() {
    const { id, view } = this;
    if (!id || !view?.before || this.#paging?.before === view.before) {
      return false;
    }
    const paging = (this.#paging = { before: view.before });
    try {
      const page = await api.open(id, { before: view.before });
      if (id !== this.id || this.view?.before !== view.before) {
        return false; // another conversation or branch was opened meanwhile
      }
      this.#show(withOlder(this.view, page));
      return true;
    } finally {
      if (this.#paging === paging) {
        this.#paging = null;
      }
    }
  }

  /** The element of the first message that is shown. */
  get first() {
    return this.#list.querySelector(".message");
  }

  /** Go to the last message. */
  focusLast() {
    [...this.#list.querySelectorAll(".message")].at(-1)?.focus({ preventScroll: true });
  }

  // --- turns ---

  async send(text) {
    if (this.isBusy) {
      return;
    }
    const question = userMessage(text);
    this.#list.append(question);
    await this.#turn({ prompt: text }, question, text);
  }

  async edit(id, text) {
    if (this.isBusy) {
      return;
    }
    this.#cutFrom(id);
    const question = userMessage(text);
    this.#list.append(question);
    await this.#turn({ prompt: text, edit: id }, question, text);
  }

  async regenerate(id) {
    if (this.isBusy) {
      return;
    }
    if (this.view?.turns.find((turn) => turn.id === id)?.role !== "user") {
      this.#cutFrom(id);
    }
    await this.#turn({ regenerate: id }, null, "");
  }

  /** Go to another version of a message. */
  async select(id) {
    if (this.isBusy) {
      return;
    }
    await api.select(this.id, id);
    await this.refresh(id);
    this.#on.turned();
  }

  /** Stop the reply; one that the server has not begun yet is stopped as soon as it has. */
  async stop() {
    const live = this.#live;
    if (!live) {
      return;
    }
    announce("Stopping");
    if (live.reply.id) {
      await api.stop(live.reply.id);
    } else {
      live.stopped = true;
    }
  }

  async #turn(body, question, prompt) {
    this.#failure = null;
    this.#list.querySelectorAll(".notice").forEach((element) => element.remove());
    const before = this.lastQuestion?.id;
    const reply = this.#begin(question);
    const live = this.#live;
    let { id } = this;
    try {
      if (!id) {
        id = api.newId();
        this.id = id;
        this.#on.created(id);
      }
      announce("The assistant is answering");
      await reply.ask({ ...body, sessionId: id });
      this.#on.sent();
      this.#on.turned();
      if (live.stopped) {
        await api.stop(reply.id).catch((error) => this.#on.failed(error));
      }
    } catch (error) {
      if (this.#live !== live) {
        this.#on.back(prompt, error, id); // another conversation was opened meanwhile
        return;
      }
      question?.remove();
      this.#endLive().remove();
      await this.refresh().catch(() => {});
      if (!prompt || this.lastQuestion?.id === before) {
        this.#on.back(prompt, error, id); // else it has arrived, and only the answer to that was lost
      }
    }
  }

  // --- the reply that is being followed ---

  #begin(question) {
    const element = assistantMessage();
    element.classList.add("live");
    element.setAttribute("aria-busy", "true");
    this.#list.append(element);
    const extras = new Extras(element);
    const growing = new MarkdownView(element.querySelector(".text"), () => this.#on.grown());
    element.markdown = growing;
    const reply = new Reply({
      event: (name, data) => {
        if (name === "") {
          extras.settle();
          growing.append(data);
        } else if (name === "reasoning") {
          extras.reasoning(data);
        } else if (name === "tool_call" || name === "tool_result") {
          extras.settle();
          extras.tool(name, JSON.parse(data));
        }
        this.#on.grown();
      },
      end: (state, error) => this.#finish(reply, state, error),
      cut: (ms) => this.#on.cut(ms),
      joined: () => this.#on.joined(),
    });
    this.#live = { reply, element, question, growing, extras, stopped: false };
    this.#on.changed();
    return reply;
  }

  async #finish(reply, state, error) {
    if (this.#live?.reply !== reply) {
      return;
    }
    const { question } = this.#live;
    const element = this.#endLive();
    element.classList.remove("live");
    element.dataset.stream = reply.id;
    if (question) {
      question.dataset.stream = reply.id;
    }
    announce({ done: "The answer is complete", stopped: "Stopped" }[state] ?? inWords(error));
    this.#failure = state === "error" ? { stream: reply.id, text: inWords(error) } : null;
    this.#on.turned();
    try {
      await this.refresh();
    } catch {
      if (this.#failure && element.isConnected) {
        element.append(notice(this.#failure.text)); // the server is away: this must do until it is back
      }
    }
  }

  #endLive() {
    const { element, growing, extras } = this.#live;
    this.#live = null;
    growing.end();
    extras.settle();
    element.removeAttribute("aria-busy");
    this.#on.changed();
    return element;
  }

  /** Turn to something else. The reply goes on without us. */
  #leave() {
    this.#request += 1;
    this.#paging = null;
    this.#failure = null;
    this.view = null;
    if (this.#live) {
      this.#live.reply.close();
      this.#live.growing.close();
      this.#live = null;
    }
    this.#shown.forEach((element) => element.markdown?.close());
    this.#shown.clear();
    this.#list.replaceChildren();
  }

  // --- showing ---

  #show(view) {
    if (this.#live?.reply.id === null) {
      return; // the server has not seen our turn yet
    }
    this.view = { ...view, turns: turnsOf(view.messages, view.liveStream) };
    ({ view } = this);
    if (this.#live && view.liveStream !== this.#live.reply.id) {
      // What we follow is over for the server: its end is on its way to us, unless another tab has begun a new turn.
      if (!view.liveStream) {
        return;
      }
      this.#live.reply.close();
      this.#endLive().remove();
    }
    const actions = {
      isBusy: () => this.isBusy,
      grown: () => this.#on.grown(),
      refuse: () => this.#on.failed(new Error("Stop the reply first, or wait until it is there.")),
      regenerate: (id) => this.regenerate(id),
      edit: (id, text) => this.edit(id, text),
      select: (id) => this.select(id).catch((error) => this.#on.failed(error)),
    };
    // The last ones first: they are in sight, and a long text is shown bit by bit.
    const elements = view.turns.toReversed().map((turn, index) => this.#element(turn, actions, index === 0)).reverse();
    this.#shown = new Map(view.turns.map((turn, index) => [turn.id, elements[index]]));
    if (this.#live) {
      elements.push(this.#live.element);
    }
    this.#arrange(elements);
    if (view.liveStream && !this.#live) {
      this.#begin(null).follow(view.liveStream);
    } else if (!this.isBusy) {
      this.#showFailure(view);
    }
    this.#on.changed();
  }

  /** Find the element of a turn, or the one that stood for it while it had no id, or make one. */
  #element(turn, actions, isLast) {
    const adopted = () => turn.stream && this.#list.querySelector(`.${turn.role}[data-stream="${CSS.escape(turn.stream)}"]:not([data-id])`);
    let element = this.#shown.get(turn.id) ?? adopted();
    if (!element && turn.role === "user" && this.#live?.question && isLast) {
      element = this.#live.question;
    }
    element ??= turn.role === "user" ? userMessage(turn.content) : assistantMessage();
    if (turn.stream) {
      element.dataset.stream = turn.stream;
    }
    updateMessage(element, turn, actions, isLast);
    return element;
  }

  /** Put the elements in order, and touch only what is out of place: a selection or a focus stays. */
  #arrange(elements) {
    const wanted = new Set(elements);
    [...this.#list.children].filter((child) => !wanted.has(child)).forEach((child) => child.remove());
    elements.forEach((element, index) => {
      if (this.#list.children[index] !== element) {
        this.#list.insertBefore(element, this.#list.children[index] ?? null);
      }
    });
  }

  #showFailure(view) {
    const last = view.turns.at(-1);
    const told = this.#failure && view.turns.some((turn) => turn.role !== "user" && turn.stream === this.#failure.stream);
    const text = view.unanswered ? reasonInWords(view.unanswered, view.error) : this.#failure && !told ? this.#failure.text : "";
    if (text && last) {
      const kind = view.unanswered === "stopped" ? "calm" : "error";
      this.#list.append(el("div", { class: "message" }, notice(text, () => this.regenerate(last.id), kind)));
    }
  }

  #cutFrom(id) {
    const element = this.#shown.get(id);
    while (element?.nextSibling) {
      element.nextSibling.remove();
    }
    element?.remove();
  }
}

/** Return a page with the messages above it that an earlier view has, if they are on the same path. */
function joined(earlier, page) {
  const index = earlier?.messages.findIndex(({ id }) => id === page.messages[0]?.id) ?? -1;
  return index < 0 ? page : { ...page, messages: [...earlier.messages.slice(0, index), ...page.messages], before: earlier.before };
}

function withOlder(view, page) {
  return { ...view, messages: [...page.messages, ...view.messages], before: page.before };
}
