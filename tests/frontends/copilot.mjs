// Drives CopilotKit's core, which its pages are made of, by commands.
import { CopilotKitCore } from "@copilotkit/core";
import { answerCommands } from "./commands.mjs";

globalThis.window = globalThis; // without one, it takes itself to be rendering on a server and connects to nothing

for (const name of ["log", "info", "warn", "debug"]) console[name] = console.error; // stdout has the answers
process.on("unhandledRejection", console.error); // one ends Node, and no page

const pages = new Map();

function describe({ agent, errors, interrupts, done }) {
  return { messages: agent.messages, state: agent.state, running: agent.isRunning, errors, interrupts, done };
}

const textOf = ({ agent }) =>
  agent.messages
    .slice(agent.messages.findLastIndex((message) => message.role === "user") + 1)
    .filter((message) => message.role === "assistant")
    .map((message) => message.content ?? "")
    .join("");

const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

const commands = {
  // Opens a page: it asks which agents there are, and takes one. `tools` are run here, each with a fixed result.
  async create({ name, url, runUrl = url, threadId, agentId = "default", transport, headers, tools = [], context = [], properties }) {
    const core = new CopilotKitCore({ runtimeUrl: url, runtimeTransport: transport, headers, properties });
    const page = { core, errors: [], interrupts: [], done: 0 };
    core.subscribe({ onError: ({ error, code }) => page.errors.push(`${code}: ${error.message}`) });
    for (const { result, parameters, ...tool } of tools) {
      core.addTool({ ...tool, parameters: { toJSONSchema: () => parameters }, handler: async () => result });
    }
    for (const entry of context) core.addContext(entry);
    while (core.runtimeConnectionStatus === "connecting") await pause();
    page.agent = core.getAgent(agentId);
    if (!page.agent) return { status: core.runtimeConnectionStatus, errors: page.errors };
    page.agent.threadId = threadId;
    page.agent.fetch = (address, options) => fetch(`${address}`.replace(url, runUrl), options);
    page.agent.subscribe({
      onRunFinishedEvent: ({ outcome, interrupts }) => {
        page.done += 1;
        page.interrupts = outcome === "interrupt" ? interrupts : [];
      },
    });
    pages.set(name, page);
    return { status: core.runtimeConnectionStatus, agents: Object.keys(core.agents), version: core.runtimeVersion };
  },

  // Sends a message, if one is given, and waits for the run and what follows from the page's tools.
  async run({ name, message, resume, begin = false }) {
    const page = pages.get(name);
    if (message) page.agent.addMessage(message);
    const running = page.core.runAgent({ agent: page.agent, resume });
    if (begin) return void running.catch(() => {});
    await running;
    return describe(page);
  },

  async connect({ name, begin = false }) {
    const page = pages.get(name);
    const connecting = page.core.connectAgent({ agent: page.agent });
    if (begin) return void connecting.catch(() => {});
    await connecting;
    return describe(page);
  },

  stop({ name }) {
    const page = pages.get(name);
    page.core.stopAgent({ agent: page.agent });
  },

  // Waits until the last answer has so many characters, or nothing runs.
  async waitText({ name, length }) {
    const page = pages.get(name);
    while (textOf(page).length < length && page.agent.isRunning) await pause();
    return { ...describe(page), text: textOf(page) };
  },

  async waitIdle({ name }) {
    const page = pages.get(name);
    do await pause();
    while (page.agent.isRunning);
    return { ...describe(page), text: textOf(page) };
  },
};

await answerCommands(commands);
