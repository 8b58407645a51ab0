// Drives AG-UI's HttpAgent, by commands.
import { HttpAgent, runHttpRequest, transformHttpEventStream, verifyEvents } from "@ag-ui/client";
import { answerCommands } from "./commands.mjs";

const agents = new Map();

const commands = {
  create({ name, url, threadId, messages = [] }) {
    agents.set(name, new HttpAgent({ url, threadId, initialMessages: messages }));
  },

  // Adds a message, if one is given, and runs; `leaveAfter` closes the connection after so many characters.
  async run({ name, message, leaveAfter, ...options }) {
    const agent = agents.get(name);
    if (message) agent.addMessage(message);
    const events = [];
    let chars = 0;
    let error = null;
    try {
      await agent.runAgent(options, {
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
