// The conversation that is open: what it shows, its turns, and the reply that is being followed.
import { api } from "./api.js";
import { announce, byId, el } from "./dom.js";
import { MarkdownView } from "./markdown/view.js";
import { assistantMessage, Extras, updateMessage, userMessage } from "./messages.js";
import { inWords, notice } from "./notices.js";
import { Reply } from "./reply.js";

export class Conversation {
  #list = byId("messages");
  #shown = new Map(); // elements by the id of their message
  #live = null; // { reply, element, question, growing, extras, stopped }
  #request = 0;
  #limit = 0;
  #failure = null; // an error that left no trace in the conversation
  #on;

  /**
   * Handlers: changed() whatever is shown, turned() a turn began or ended, grown(), cut(ms), joined(), sent() the server
   * has the message, back(prompt, error, id) it does not want it.
   */
  constructor(handlers) {
    this.#on = handlers;
    this.id = null;
    this.view = null;
  }

  get isBusy() {
    return this.#live !== null;
  }

  /** The id of the stream that is being followed. */
  get liveId() {
    return this.#live?.reply.id ?? null;
  }

  get lastQuestion() {
    return this.view?.messages.findLast((message) => message.role === "user");
  }

  /** Show nothing, for a new conversation. */
  clear() {
    this.#leave();
    this.id = null;
    this.#on.changed();
  }

  /** Open a conversation. Throws ApiError when it cannot be. */
  async open(id) {
    this.#leave();
    this.id = id;
    await this.refresh();
  }

  /** Ask the server how the conversation is now, and show it. */
  async refresh() {
    const { id } = this;
    if (!id) {
      return;
    }
    const request = ++this.#request;
    const view = await api.open(id, this.#limit);
    if (request === this.#request && id === this.id) {
      this.#show(view);
    }
  }

  async showEarlier() {
    this.#limit = (this.view?.messages.length ?? 0) + 400;
    await this.refresh();
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
    if (this.view?.messages.find((message) => message.id === id)?.role !== "user") {
      this.#cutFrom(id);
    }
    await this.#turn({ regenerate: id }, null, "");
  }

  async select(id, step) {
    if (this.isBusy) {
      return;
    }
    this.#show(await api.select(this.id, id, step));
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
        ({ id } = await api.create());
        if (this.#live === live) {
          this.id = id;
          this.#on.created(id);
        }
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
    this.#limit = 0;
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
    this.view = view;
    if (this.#live && view.live !== this.#live.reply.id) {
      // What we follow is over for the server: its end is on its way to us, unless another tab has begun a new turn.
      if (!view.live) {
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
      select: (id, step) => this.select(id, step).catch((error) => this.#on.failed(error)),
    };
    // The last ones first: they are in sight, and a long text is shown bit by bit.
    const elements = view.messages.toReversed().map((message, index) => this.#element(message, actions, index === 0)).reverse();
    this.#shown = new Map(view.messages.map((message, index) => [message.id, elements[index]]));
    if (this.#live) {
      elements.push(this.#live.element);
    }
    this.#arrange(elements);
    if (view.live && !this.#live) {
      this.#begin(null).follow(view.live);
    } else if (!this.isBusy) {
      this.#showFailure(view);
    }
    this.#on.changed();
  }

  /** Find the element of a message, or the one that stood for it while it had no id, or make one. */
  #element(message, actions, isLast) {
    const stream = message.metadata.streamId;
    const adopted = () => stream && this.#list.querySelector(`.${message.role}[data-stream="${CSS.escape(stream)}"]:not([data-id])`);
    let element = this.#shown.get(message.id) ?? adopted();
    if (!element && message.role === "user" && this.#live?.question && isLast) {
      element = this.#live.question;
    }
    element ??= message.role === "user" ? userMessage(message.content) : assistantMessage();
    if (stream) {
      element.dataset.stream = stream;
    }
    updateMessage(element, message, actions, isLast);
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
    const last = view.messages.at(-1);
    const told = this.#failure && view.messages.some((message) => message.role !== "user" && message.metadata.streamId === this.#failure.stream);
    const text = view.unanswered ? inWords(view.unanswered) : this.#failure && !told ? this.#failure.text : "";
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
