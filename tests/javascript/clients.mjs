// Stand-ins for the controllers of the JavaScript packages: the same requests, and what those make of the answers.
// They keep to the wire; diffs, artifacts, speech and broadcasts are left out.

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const isAbort = (error) => error?.name === "AbortError";
const asError = (thrown) => (thrown instanceof Error ? thrown : new Error(String(thrown)));
const post = (body, signal) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

// Messages are separated by LF LF alone, and only the fields id, event and data exist.
async function* messages(response) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body) {
    text += decoder.decode(bytes, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const message = { id: "", event: "", data: [] };
      let isComment = true;
      for (const line of block.split("\n")) {
        const [, name, value] = /^(id|event|data): ?(.*)$/s.exec(line) ?? [];
        if (!name) continue;
        isComment = false;
        if (name === "data") message.data.push(value);
        else message[name] = value;
      }
      if (!isComment) yield { ...message, data: message.data.join("\n") };
    }
  }
}

class Resuming {
  constructor(options, callbacks) {
    this.options = options;
    this.on = callbacks;
    this.status = "idle";
    if (options.autoResume && typeof document !== "undefined") {
      document.addEventListener("visibilitychange", () => this.look());
    }
  }

  destroy() {}
  reset() {}
  text() {}
  named() {
    return false;
  }
  finish() {}
  async body(prompt, system, model) {
    return { prompt, system, model, sessionId: this.options.sessionId };
  }
  fetch(...args) {
    return (this.options.fetch ?? globalThis.fetch)(...args);
  }

  look() {
    if (document.hidden && this.status === "streaming") {
      this.isHidden = true;
      this.stop();
    } else if (!document.hidden && this.isHidden) {
      this.isHidden = false;
      this.resume();
    }
  }

  setModel(model) {
    this.options.model = model;
  }

  become(status) {
    this.status = status;
    this.on.onStatus(status);
  }

  fail(thrown) {
    this.on.onError(asError(thrown));
    this.become("error");
  }

  send(prompt, more) {
    this.asked = [prompt, more];
    this.aborting?.abort();
    this.reset();
    this.id = null;
    this.last = 0;
    this.isDone = false;
    this.on.onError(null);
    this.on.onLoading(true);
    this.become("streaming");
    this.run(prompt, more, (this.aborting = new AbortController()));
  }

  retry() {
    this.send(...this.asked);
  }

  abort() {
    this.aborting?.abort();
    if (["streaming", "reconnecting"].includes(this.status)) this.become("idle");
  }

  async stop() {
    await this.fetch(`${this.options.endpoint}/stop`, post({ id: this.id }));
    this.aborting?.abort();
    this.on.onLoading(false);
    this.become("stopped");
  }

  async resume() {
    this.on.onLoading(true);
    this.on.onCanResume(false);
    await this.reconnect();
    this.on.onLoading(false);
  }

  async compact(chat) {
    const { sessionId } = this.options;
    const response = await this.fetch(`${this.options.endpoint}/compact`, post({ messages: chat.messages, sessionId }));
    if (!response.ok) throw new Error(`Compact request failed: ${response.status}`);
    const { summary, tokensSaved } = await response.json();
    chat.compact({ role: "system", content: summary });
    return { tokensSaved };
  }

  async run(prompt, more, aborting) {
    const { options } = this;
    try {
      this.model = more?.model ?? (await options.routeModel?.(prompt)) ?? options.model;
      const body = await this.body(prompt, more?.system ?? options.system, this.model);
      const response = await this.fetch(options.endpoint, post(body, aborting.signal));
      if (!response.ok) throw new Error(`Stream request failed: ${response.status}`);
      this.id = response.headers.get("X-Stream-Id");
      this.on.onStreamId(this.id);
      await this.read(response, aborting);
    } catch (error) {
      if (isAbort(error)) return;
      if (this.id && this.status === "streaming") await this.reconnect();
      else this.fail(error);
    } finally {
      if (aborting === this.aborting || !aborting.signal.aborted) this.on.onLoading(false);
    }
  }

  async read(response, aborting) {
    for await (const { id, event, data } of messages(response)) {
      if (aborting.signal.aborted) return;
      if (event === "stream-id") this.id = data;
      else if (event === "usage") {
        this.options.tracker?.record(JSON.parse(data), this.model);
        this.on.onUsage(JSON.parse(data));
      } else if (event === "stopped") this.become("stopped");
      else if (event === "error") this.fail(data);
      else if (event === "done") {
        this.isDone = true;
        try {
          await this.finish();
        } catch (error) {
          this.fail(error);
          return;
        }
        if (this.status === "streaming") this.become("done");
        return;
      } else if (!event || !this.named(event, data)) {
        if (id) this.last = Number.parseInt(id, 10); // of an event that it does not know as well, as of text
        this.text(data);
      }
    }
    if (!this.isDone && this.status === "streaming") await this.reconnect();
  }

  async reconnect() {
    this.become("reconnecting");
    for (const ms of [1000, 2000, 4000]) {
      await sleep(ms);
      if (this.status !== "reconnecting") return;
      try {
        this.aborting = new AbortController();
        const { signal } = this.aborting;
        const response = await this.fetch(`${this.options.endpoint}/resume?id=${this.id}&after=${this.last}`, { signal });
        if (!response.ok) throw new Error(`Resume failed: ${response.status}`);
        this.become("streaming");
        await this.read(response, this.aborting);
        return;
      } catch (error) {
        if (isAbort(error)) return;
      }
    }
    this.on.onCanResume(true);
    this.become("disconnected");
  }
}

export class StreamController extends Resuming {
  reset() {
    this.whole = "";
    this.on.onText("");
  }
  text(data) {
    this.whole += data; // of events that it does not know as well
    this.on.onText(this.whole);
  }
  finish() {
    this.options.onFinish?.(this.whole);
  }
}

export class StructuredStreamController extends Resuming {
  async body(...asked) {
    const { jsonSchema } = this.options.schema["~standard"];
    return { ...(await super.body(...asked)), ...(jsonSchema && { schema: jsonSchema }) };
  }
  reset() {
    this.value = null;
    this.on.onData(null);
    this.on.onPartial(null);
  }
  named(event, data) {
    if (event === "partial") this.on.onPartial(JSON.parse(data));
    else if (event === "data") this.value = JSON.parse(data);
    else return false;
    return true;
  }
  async finish() {
    if (this.value === null) return;
    const { value, issues } = await this.options.schema["~standard"].validate(this.value);
    if (issues) throw new Error(`Validation failed: ${issues.map(({ message }) => message).join(", ")}`);
    this.on.onData(value);
    this.options.onFinish?.(value);
  }
}

export class ChatController {
  constructor(options, callbacks) {
    this.options = options;
    this.on = callbacks;
    this.set([]);
  }

  set(all) {
    this.all = all;
    this.on.onMessages([...all]);
  }

  become(status) {
    this.status = status;
    this.on.onStatus(status);
  }

  optimistic(content, more) {
    const before = this.all;
    const id = () => crypto.randomUUID();
    const question = { id: id(), role: "user", content, attachments: more?.attachments, optimistic: true };
    const answer = { id: id(), role: "assistant", content: "", optimistic: true };
    this.set([...before, question, answer]);
    return { send: () => this.run(answer.id), cancel: () => this.set(before) };
  }

  send(content, more) {
    this.optimistic(content, more).send();
  }

  regenerate() {
    const question = this.all.findLast(({ role }) => role === "user");
    this.edit(question.id, question.content, { attachments: question.attachments });
  }

  edit(id, content, more) {
    this.set(this.all.slice(0, this.all.findIndex((message) => message.id === id)));
    this.send(content, more);
  }

  revert() {
    this.abort();
    const place = this.all.findLastIndex(({ role }) => role === "user");
    const { content } = this.all[place];
    this.become("idle");
    this.set(this.all.slice(0, place));
    return content;
  }

  abort() {
    this.aborting?.abort();
    if (this.status === "streaming") this.become("idle");
  }

  clear() {
    this.abort();
    this.set([]);
  }

  update(id, change) {
    this.set(this.all.map((message) => (message.id === id ? { ...message, ...change(message) } : message)));
  }

  async run(id) {
    const { system, model, toolset, maxSteps, endpoint, onToolCall } = this.options;
    const aborting = (this.aborting = new AbortController());
    this.on.onLoading(true);
    this.become("streaming");
    const asked = this.all
      .filter((message) => message.id !== id && message.role !== "tool")
      .map(({ role, content, attachments }) => ({ role, content, ...(attachments?.length && { attachments }) }));
    try {
      const response = await fetch(endpoint, post({ messages: asked, system, model, toolset, maxSteps }, aborting.signal));
      if (!response.ok) throw new Error(`Chat request failed: ${response.status}`);
      for await (const { event, data } of messages(response)) {
        if (aborting.signal.aborted || event === "done") break;
        if (event === "error") throw new Error(data);
        if (event === "tool_call") {
          const { name, args } = JSON.parse(data);
          onToolCall?.(name, args);
          const place = this.all.findIndex((message) => message.id === id);
          this.set(this.all.toSpliced(place, 0, { id: crypto.randomUUID(), role: "tool", content: "", toolName: name }));
        } else if (!["usage", "stream-id", "stopped"].includes(event)) {
          this.update(id, ({ content }) => ({ content: content + data })); // of events that it does not know as well
        }
      }
      this.set(this.all.map((message) => ("optimistic" in message ? { ...message, optimistic: false } : message)));
      this.become("done");
      if (this.options.autoTitle) void this.generateTitle();
    } catch (error) {
      if (isAbort(error)) return;
      this.on.onError(asError(error));
      this.become("error");
    } finally {
      this.on.onLoading(false);
    }
  }

  async generateTitle() {
    this.on.onTitleLoading(true);
    const asked = this.all.filter(({ role }) => role !== "tool").map(({ role, content }) => ({ role, content }));
    const body = { messages: asked.slice(0, 6), model: this.options.model };
    this.on.onTitle(await (await fetch(this.options.titleEndpoint, post(body))).text());
    this.on.onTitleLoading(false);
  }
}

export class CompletionController {
  constructor(options, callbacks) {
    this.options = options;
    this.on = callbacks;
    this.suggestion = "";
  }

  update(input) {
    clearTimeout(this.timer);
    if (input.length >= 3) this.timer = setTimeout(() => this.ask(input), this.options.debounce);
  }

  accept() {
    const accepted = this.input + this.suggestion;
    this.on.onSuggestion((this.suggestion = ""));
    return accepted;
  }

  async ask(input) {
    const { endpoint, system, model } = this.options;
    this.input = input;
    this.on.onLoading(true);
    this.on.onError(null);
    try {
      const response = await fetch(endpoint, post({ input, system, model }));
      if (!response.ok) throw new Error(`Completion request failed: ${response.status}`);
      this.on.onSuggestion((this.suggestion = await response.text()));
    } catch (error) {
      this.on.onError(asError(error));
    }
    this.on.onLoading(false);
  }
}

export class RaceController {
  constructor(options, callbacks) {
    this.options = options;
    this.on = callbacks;
  }

  send(prompt) {
    this.winner = null;
    const all = this.options.models.map((model) => ({ model, aborting: new AbortController() }));
    for (const one of all) this.run(prompt, one, all);
  }

  async run(prompt, { model, aborting }, all) {
    const win = () => {
      this.on.onWinner((this.winner = model));
      for (const other of all) if (other.model !== model) other.aborting.abort();
    };
    let text = "";
    try {
      const response = await fetch(this.options.endpoint, post({ prompt, model }, aborting.signal));
      for await (const { event, data } of messages(response)) {
        if (event === "done") break;
        if (event) continue;
        text += data;
        if (!this.winner && this.options.strategy === "first-token") win();
      }
    } catch (error) {
      if (isAbort(error)) return;
      throw error;
    }
    if (!this.winner) win();
    if (this.winner !== model) return;
    this.on.onText(text);
    this.on.onDone(true);
  }
}

export class ChatHistory {
  messages = [];

  append(message) {
    this.messages = [...this.messages, message];
  }

  compact(message) {
    this.messages = [message];
  }
}
