// Drives AG-UI's HttpAgent, by commands.
import { HttpAgent, runHttpRequest, transformHttpEventStream, verifyEvents } from "@ag-ui/client";
import { answerCommands } from "./commands.mjs";

process.on("unhandledRejection", () => {}); // the client's own, of a connection that breaks: one ends Node, and no page

const agents = new Map();

// HttpAgent leaves it to applications how to connect: as docs/ag-ui.md says.
class Agent extends HttpAgent {
  connect(input) {
    return transformHttpEventStream(runHttpRequest(() => fetch(`${this.url}/connect`, this.requestInit(input))));
  }
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

// Runs or connects, and notes what comes; `leaveAfter` closes the connection after so many characters.
async function call(agent, method, options, leaveAfter) {
  const events = [];
  let chars = 0;
  let error = null;
  try {
    await agent[method](options, {
      onEvent({ event }) {
        events.push(event);
        if (event.type === "TEXT_MESSAGE_CONTENT") chars += event.delta.length;
        if (leaveAfter && chars >= leaveAfter) agent.abortRun();
      },
    });
  } catch (failure) {
    error = String(failure);
  }
  return { events, error, messages: agent.messages };
}

const textOf = ({ messages }) =>
  messages
    .slice(messages.findLastIndex((message) => message.role === "user") + 1)
    .filter((message) => message.role === "assistant")
    .map((message) => message.content ?? "")
    .join("");

const commands = {
  create({ name, url, threadId, messages = [] }) {
    agents.set(name, new Agent({ url, threadId, initialMessages: messages }));
  },

  // Adds a message, if one is given, and runs; `begin` does not wait for it.
  async run({ name, message, leaveAfter, begin = false, ...options }) {
    const agent = agents.get(name);
    if (message) agent.addMessage(message);
    const running = call(agent, "runAgent", options, leaveAfter);
    return begin ? null : running;
  },

  async connect({ name, begin = false }) {
    const connecting = call(agents.get(name), "connectAgent", {});
    return begin ? null : connecting;
  },

  // Forgets the messages after one, and gives that another text if there is one.
  cut({ name, id, content }) {
    const agent = agents.get(name);
    const messages = agent.messages.slice(0, agent.messages.findIndex((message) => message.id === id) + 1);
    if (content !== undefined) messages.push({ ...messages.pop(), content });
    agent.setMessages(messages);
  },

  // Waits until the last answer has so many characters, or nothing runs.
  async waitText({ name, length = Infinity }) {
    const agent = agents.get(name);
    while (textOf(agent).length < length && agent.isRunning) await pause();
    return { messages: agent.messages, text: textOf(agent) };
  },

  // Gives a new agent a whole answer; `cut` breaks its connection at the end.
  async answer({ status, headers, body, cut }) {
    const pieces = body.split(/(?<=\n\n)/).map((piece) => new TextEncoder().encode(piece));
    const stream = new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 5)); // what is wrong takes with it what was not read yet
        if (pieces.length) controller.enqueue(pieces.shift());
        else if (cut) controller.error(new TypeError("terminated"));
        else controller.close();
      },
    });
    const messages = [{ id: "u1", role: "user", content: "Q" }];
    const fetch = async () => new Response(stream, { status, headers });
    agents.set("answered", new HttpAgent({ url: "http://127.0.0.1/", threadId: "t", initialMessages: messages, fetch }));
    return commands.run({ name: "answered" });
  },

  // Reads an answer as HttpAgent would, and lets the client verify the order of its events.
  read: ({ url, body }) =>
    new Promise((resolve) => {
      const events = [];
      const request = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
      const answer = transformHttpEventStream(runHttpRequest(() => fetch(url, request)));
      verifyEvents(false)(answer).subscribe({
        next: (event) => events.push(event),
        error: (error) => resolve({ events, error: String(error) }),
        complete: () => resolve({ events, error: null }),
      });
    }),
};

await answerCommands(commands);
