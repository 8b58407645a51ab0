// Drives the AI SDK's chat, by commands.
import * as ai7 from "ai";
import * as ai5 from "ai-5";
import * as ai6 from "ai-6";
import { AssistantChatTransport } from "@assistant-ui/ai-sdk";
import { AssistantMessageStream, UIMessageStreamDecoder } from "assistant-stream";
import { AibindChatTransport } from "../../src/aibind/server/transport.js";
import { answerCommands } from "./commands.mjs";

const libraries = { 5: ai5, 6: ai6, 7: ai7 };
const chats = new Map();

class State {
  status = "ready";
  error = undefined;
  messages;

  constructor(messages) {
    this.messages = messages;
  }

  pushMessage = (message) => {
    this.messages = [...this.messages, message];
  };

  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };

  replaceMessage = (index, message) => {
    this.messages = [...this.messages.slice(0, index), this.snapshot(message), ...this.messages.slice(index + 1)];
  };

  snapshot = (value) => structuredClone(value);
}

function describe({ chat, transport, finished, data, headers, pending, chunks, cuts, joins }) {
  const { status, error, messages } = chat;
  const position = transport.position?.(chat.id);
  const shown = error ? `${error.name}: ${error.message}` : null;
  return { status, error: shown, messages, finished, data, headers, pending: [...pending.values()], chunks, cuts, joins, position };
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

// Counts what our transport does, and records the chunks that it gives.
function ourTransport(entry, { tokens = [], ...options }) {
  Object.assign(entry, { chunks: [], cuts: [], joins: 0 });
  const transport = new AibindChatTransport({
    ...options,
    // With tokens, each request has the next one, and then the last.
    headers: () => ({ ...options.headers, ...(tokens.length && { "X-User": tokens.length > 1 ? tokens.shift() : tokens[0] }) }),
    cut: (waitMs) => entry.cuts.push(waitMs),
    joined: () => (entry.joins += 1),
  });
  const recorded = (stream) =>
    stream?.pipeThrough(
      new TransformStream({
        transform: (chunk, controller) => {
          entry.chunks.push(structuredClone(chunk));
          controller.enqueue(chunk);
        },
      }),
    ) ?? null;
  return {
    resumeStreamIsReplay: transport.resumeStreamIsReplay,
    sendMessages: async (asked) => recorded(await transport.sendMessages(asked)),
    reconnectToStream: async (asked) => recorded(await transport.reconnectToStream(asked)),
    position: (chat) => transport.position(chat),
    stop: (chat) => transport.stop(chat),
  };
}

function makeChat({ chat: id, version, messages = [], automatic, outputs, ...options }) {
  const { api, headers, body, answer, status, resumeApi, session, ours } = options;
  const library = libraries[version];
  const entry = { finished: [], data: [], headers: null, running: 0 };
  const pending = session ? chats.get(session).pending : new Map(); // the session storage, which a reload keeps
  const resumable = resumeApi && {
    storage: {
      getStreamId: (thread) => pending.get(thread) ?? null,
      setStreamId: (id, thread) => pending.set(thread, id),
      clear: (thread) => pending.delete(thread),
    },
    resumeApi: (id) => `${resumeApi}/${id}`,
  };
  entry.pending = pending;
  const asked = {
    api,
    headers,
    body,
    fetch: async (...request) => {
      const response = answer === undefined ? await fetch(...request) : new Response(answer, { status });
      entry.headers = Object.fromEntries(response.headers);
      return response;
    },
  };
  const Theirs = resumable ? AssistantChatTransport : library.DefaultChatTransport;
  const transport = ours
    ? ourTransport(entry, { ...asked, ...ours })
    : new Theirs({ ...(resumable && { resumable }), ...asked });
  entry.transport = transport;
  class Chat extends library.AbstractChat {}
  entry.chat = new Chat({
    id,
    transport,
    state: new State(messages),
    onFinish: ({ isAbort, isDisconnect, isError, finishReason }) =>
      entry.finished.push({ isAbort, isDisconnect, isError, finishReason }),
    onData: (part) => entry.data.push(structuredClone(part)),
    onToolCall: ({ toolCall }) => {
      if (outputs?.[toolCall.toolName] !== undefined) {
        // Not awaited: the library waits for this function before it takes what comes next.
        entry.chat.addToolOutput({
          tool: toolCall.toolName,
          toolCallId: toolCall.toolCallId,
          output: outputs[toolCall.toolName],
        });
      }
    },
    sendAutomaticallyWhen:
      automatic === "tools"
        ? library.lastAssistantMessageIsCompleteWithToolCalls
        : automatic === "approvals"
          ? library.lastAssistantMessageIsCompleteWithApprovalResponses
          : undefined,
  });
  return entry;
}

const textOf = (entry) =>
  (entry.chat.messages.at(-1)?.role === "assistant" ? entry.chat.messages.at(-1).parts : [])
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("");

const commands = {
  // Makes a chat under a name, which is its own id unless another is given.
  create: ({ name, ...options }) => {
    chats.set(name, makeChat(options));
  },

  // Calls a method of a chat and waits for it, unless it is only to be begun.
  async call({ name, method, args = [], begin = false }) {
    const entry = chats.get(name);
    const calling = entry.chat[method](...args).finally(() => (entry.running -= 1));
    entry.running += 1;
    if (begin) {
      calling.catch(() => {});
      return null;
    }
    await calling;
    return describe(entry);
  },

  // Stops the reply of a chat for everybody.
  async stopReply({ name }) {
    const { chat, transport } = chats.get(name);
    await transport.stop(chat.id);
  },

  state: ({ name }) => describe(chats.get(name)),

  // Waits until the last answer has so many characters, or no call is under way.
  async waitText({ name, length }) {
    const entry = chats.get(name);
    while (textOf(entry).length < length && entry.running) await pause();
    return describe(entry);
  },

  // Waits until no call is under way, and what was sent automatically is answered.
  async waitIdle({ name }) {
    const entry = chats.get(name);
    do await pause();
    while (entry.running || !["ready", "error"].includes(entry.chat.status));
    return describe(entry);
  },

  // Gives a new chat a whole answer.
  async read({ version, answer, status = 200 }) {
    const entry = makeChat({ chat: "any", version, api: "http://127.0.0.1/", answer, status });
    await entry.chat.sendMessage({ text: "Hi" });
    return describe(entry);
  },

  // Reads what a transport gives without a chat: from a position, or a number of chunks that are then left.
  async readTransport({ api, chat, position, count = Infinity }) {
    const transport = new AibindChatTransport({ api });
    const stream = await transport.reconnectToStream({ chatId: chat, metadata: { position } });
    const chunks = [];
    for await (const chunk of stream ?? []) if (chunks.push(chunk) >= count) break;
    return { chunks, found: stream !== null, position: transport.position(chat) };
  },

  // Gives assistant-ui's own decoder a whole answer, and returns the message that it makes.
  async decode({ answer }) {
    const stream = new Response(answer).body.pipeThrough(new UIMessageStreamDecoder());
    let last = null;
    for await (const message of AssistantMessageStream.fromAssistantStream(stream)) last = message;
    return { parts: last.parts, status: last.status };
  },

  // Checks chunks against the client's own schema, and returns what is wrong with the first that is refused.
  async check({ version, answer }) {
    const library = libraries[version];
    const chunks = library.parseJsonEventStream({
      stream: new Response(answer).body,
      schema: library.uiMessageChunkSchema,
    });
    for await (const chunk of chunks) if (!chunk.success) return String(chunk.error);
    return null;
  },
};

await answerCommands(commands);
