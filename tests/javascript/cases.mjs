// What pages do with the clients of the JavaScript packages, against a server of ours: `node cases.mjs CLIENTS URL PLAIN`.
// CLIENTS is a module with the controllers, URL and PLAIN are a resumable server and one that is not.
import { pathToFileURL } from "node:url";

const [, , path, url, plain] = process.argv;
const clients = await import(pathToFileURL(path).href);
const at = (endpoint, base = url) => `${base}/__aibind__/${endpoint}`;

// Seconds of back-off become hundredths.
const { setTimeout: wait } = globalThis;
globalThis.setTimeout = (run, ms, ...more) => wait(run, ms >= 1000 ? ms / 100 : ms, ...more);
const LIMIT_MS = 20_000;

const cases = [];
const test = (name, run) => cases.push({ name, run });

function equal(actual, expected, what = "value") {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`${what} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
  }
}

// A controller with what its callbacks were last given, and promises of what they are to be given.
function watch(Controller, options) {
  const seen = { calls: {} };
  const waiting = [];
  const callbacks = new Proxy({}, {
    get: (_, name) => (value, more) => {
      seen[name] = value;
      (seen.calls[name] ??= []).push(value);
      if (more !== undefined) seen.more = more;
      for (const check of [...waiting]) check();
    },
  });
  const until = (condition, what) =>
    new Promise((resolve, reject) => {
      const timer = wait(() => reject(new Error(`${what} did not come: ${JSON.stringify(seen)}`)), LIMIT_MS);
      const check = () => {
        if (!condition(seen)) return;
        clearTimeout(timer);
        waiting.splice(waiting.indexOf(check), 1);
        resolve(seen);
      };
      waiting.push(check);
      check();
    });
  const client = new Controller(options, callbacks);
  return { client, seen, until, ended: () => until(({ onStatus, onLoading }) => ENDS.has(onStatus) && onLoading === false, "the end") };
}
const ENDS = new Set(["done", "stopped", "error", "disconnected"]);

// A fetch whose nth response breaks off after some characters, at any place the first time, and else between messages.
function cutting(...places) {
  return async (address, init) => {
    const response = await fetch(address, init);
    const place = places.shift();
    if (place === undefined || !response.body) return response;
    const reader = response.body.getReader();
    const first = !String(address).includes("/resume");
    let text = "";
    const decoder = new TextDecoder();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      if (text.length > place + 2000) break;
    }
    await reader.cancel();
    text = text.slice(0, place);
    const kept = new TextEncoder().encode(first ? text : text.slice(0, text.lastIndexOf("\n\n") + 2));
    const body = new ReadableStream({
      start: (to) => to.enqueue(kept),
      pull: (to) => (first ? to.error(new TypeError("terminated")) : to.close()),
    }, { highWaterMark: 0 });
    return new Response(body, { status: response.status, headers: response.headers });
  };
}

// --- StreamController

const stream = (options = {}) => watch(clients.StreamController, { endpoint: at("stream"), model: "text", ...options });

async function answer(options, prompt = "hi", more) {
  const { client, ended, seen } = stream(options);
  client.send(prompt, more);
  await ended();
  return { ...seen, client };
}

for (const [kind, base] of [["resumable", url], ["plain", plain]]) {
  test(`stream: a ${kind} reply`, async () => {
    let finished;
    const { onText, onStatus, onUsage } = await answer({ endpoint: at("stream", base), onFinish: (text) => (finished = text) });
    equal([onText, onStatus, finished], ["Hello world", "done", "Hello world"]);
    equal(onUsage, { inputTokens: 12, outputTokens: 5 });
  });
  test(`stream: ${kind} text without other events`, async () => {
    const { onText, onStatus } = await answer({ endpoint: at("stream", base), model: "events" });
    equal([onText, onStatus], ["One two", "done"]);
  });
  test(`stream: a ${kind} reply that fails`, async () => {
    const { onText, onStatus, onError, calls } = await answer({ endpoint: at("stream", base), model: "fail" });
    equal([onText, onStatus, calls.onError.at(-1)?.message], ["par", "error", "no quota"]);
  });
}
test("stream: any text", async () => equal((await answer({ model: "long" })).onText, LONG));
test("stream: an unknown model", async () => {
  const { onStatus, onError } = await answer({ model: "nobody" });
  equal([onStatus, onError.message], ["error", "Stream request failed: 400"]);
});
test("stream: system and model of one request", async () => {
  const { onText } = await answer({ system: "a" }, "hi", { system: "Be brief.", model: "seen" });
  equal(JSON.parse(onText), { messages: [{ role: "user", content: "hi" }], system: "Be brief." });
});
test("stream: a model that the client chooses", async () => {
  equal((await answer({ routeModel: async () => "long" })).onText, LONG);
});
test("stream: setModel", async () => {
  const { client, ended, seen } = stream();
  client.setModel("long");
  client.send("hi");
  await ended();
  equal(seen.onText, LONG);
});
test("stream: retry", async () => {
  const { client, ended, seen, until } = stream({ model: "fail" });
  client.send("hi");
  await ended();
  client.setModel("text");
  client.retry();
  await until(({ onStatus }) => onStatus === "done", "the other answer");
  equal(seen.onText, "Hello world");
});
test("stream: usage is recorded", async () => {
  const recorded = [];
  await answer({ tracker: { record: (usage, model) => recorded.push([usage, model]) } });
  equal(recorded, [[{ inputTokens: 12, outputTokens: 5 }, "text"]]);
});
for (const places of [[0], [95], [150], [700], [120, 300], [200, 90, 500], [1500, 0, 1000, 10]]) {
  test(`stream: a connection that breaks after ${places}`, async () => {
    const { onText, onStatus, calls } = await answer({ model: "long", fetch: cutting(...places) });
    equal([onText, onStatus], [LONG, "done"]);
    equal(calls.onStatus.includes("reconnecting"), true, "a second connection");
  });
}
for (const places of [[200], [250, 120], [300, 0, 90]]) {
  test(`stream: other events do not come back after ${places}`, async () => {
    equal((await answer({ model: "events", fetch: cutting(...places) })).onText, "One two");
  });
}
test("stream: a stream that is gone is an error at once", async () => {
  const cut = cutting(300);
  const lost = async (address, init) => cut(String(address).replace(/id=[^&]*/, "id=gone"), init);
  const { onStatus, calls } = await answer({ model: "long", fetch: lost });
  equal([onStatus, calls.onError.at(-1)?.message], ["error", 'Stream "gone" does not exist or has expired']);
  equal(calls.onStatus.filter((status) => status === "reconnecting").length, 1, "attempts");
});
test("stream: stop", async () => {
  const { client, until, seen } = stream({ model: "slow" });
  client.send("hi");
  await until(({ onText }) => onText?.length > 20, "text");
  await client.stop();
  equal([seen.onStatus, seen.onLoading], ["stopped", false]);
  const rest = await (await fetch(`${at("stream")}/resume?id=${seen.onStreamId}&after=0`)).text();
  equal(rest.endsWith("event: stopped\ndata: \n\nevent: done\nid: 9007199254740991\ndata: \n\n"), true, "stopped at the server");
});
test("stream: a stop by another tab", async () => {
  const { client, until, seen, ended } = stream({ model: "slow" });
  client.send("hi");
  await until(({ onText }) => onText?.length > 20, "text");
  await fetch(`${at("stream")}/stop`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id: seen.onStreamId }),
  });
  await ended();
  equal(seen.onStatus, "stopped");
});
test("stream: abort leaves the reply to itself", async () => {
  const { client, until, seen } = stream({ model: "slow" });
  client.send("hi");
  await until(({ onText }) => onText?.length > 20, "text");
  client.abort();
  equal(seen.onStatus, "idle");
  const whole = await (await fetch(`${at("stream")}/resume?id=${seen.onStreamId}&after=0`)).text();
  equal(whole.includes("event: stopped"), false, "a stop");
});
test("stream: another question after an abort", async () => {
  const { client, until } = stream({ model: "slow" });
  client.send("hi");
  await until(({ onText }) => onText?.length > 20, "text");
  client.abort();
  await new Promise((wake) => wait(wake, 50)); // without it the client may take the abort for a lost connection
  client.setModel("text");
  client.send("hi");
  await until(({ onText, onStatus }) => onText === "Hello world" && onStatus === "done", "the other answer");
});
test("stream: resume after the server was out of reach", async () => {
  let isDown = false;
  const cut = cutting(300);
  const { client, ended, until, seen } = stream({
    model: "long",
    fetch: (address, init) => (isDown ? Promise.reject(new TypeError("fetch failed")) : cut(address, init)),
  });
  client.send("hi");
  await until(({ onText }) => onText?.length > 0, "text");
  isDown = true;
  await ended();
  equal([seen.onStatus, seen.onCanResume], ["disconnected", true]);
  isDown = false;
  await client.resume();
  await until(({ onStatus }) => onStatus === "done", "the end");
  equal(seen.onText, LONG);
});
test("stream: a hidden tab", async () => {
  const listeners = {};
  globalThis.document = { hidden: false, addEventListener: (name, run) => (listeners[name] = run), removeEventListener: () => {} };
  try {
    const { client, until, seen, ended } = stream({ model: "slow", autoResume: true });
    client.send("hi");
    await until(({ onText }) => onText?.length > 20, "text");
    document.hidden = true;
    listeners.visibilitychange();
    await until(({ onStatus }) => onStatus === "stopped", "a stop");
    document.hidden = false;
    listeners.visibilitychange();
    await until(({ onStatus, calls }) => calls.onStatus.includes("reconnecting") && onStatus === "stopped", "the end");
    await ended();
    const ids = seen.onText.trim().split(" ").map(Number);
    equal(ids, [...ids.keys()], "numbers");
    client.destroy();
  } finally {
    delete globalThis.document;
  }
});
test("stream: turns of a session", async () => {
  const sessionId = crypto.randomUUID();
  await answer({ sessionId }, "one");
  const { onText } = await answer({ sessionId, model: "seen" }, "two");
  equal(JSON.parse(onText).messages.map(({ role, content }) => [role, content]), [
    ["user", "one"], ["assistant", "Hello world"], ["user", "two"],
  ]);
  const exported = await (await fetch(at(`sessions/${sessionId}/export`))).text();
  if (clients.ChatHistory.fromJSON) {
    const chat = clients.ChatHistory.fromJSON(exported);
    equal(chat.messages.map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
    equal(chat.toJSON(), exported, "the same JSON");
  }
});
for (const [name, Controller, endpoint] of [["stream", "StreamController", "stream"], ["structured", "StructuredStreamController", "structured"]]) {
  test(`${name}: compact`, async () => {
    const sessionId = crypto.randomUUID();
    await answer({ sessionId }, "one");
    const chat = new clients.ChatHistory();
    chat.append({ role: "user", content: "one" });
    chat.append({ role: "assistant", content: "Hello world" });
    const { client } = watch(clients[Controller], { endpoint: at(endpoint), sessionId, schema: OPEN });
    equal(await client.compact(chat), { tokensSaved: 7 });
    equal(chat.messages, [{ role: "system", content: "Hello world" }]);
    const { onText } = await answer({ sessionId, model: "seen" }, "two");
    equal(JSON.parse(onText).messages.map(({ content }) => content), ["Hello world", "two"]);
  });
}

// --- ChatController

function chat(options = {}) {
  return watch(clients.ChatController, { endpoint: at("chat"), titleEndpoint: at("title"), model: "text", ...options });
}
const shown = ({ onMessages }) => onMessages.map(({ role, content }) => [role, content]);

for (const [kind, base] of [["resumable", url], ["plain", plain]]) {
  test(`chat: turns with a ${kind} server`, async () => {
    const { client, seen, ended } = chat({ endpoint: at("chat", base) });
    client.send("one");
    await ended();
    equal(shown(seen), [["user", "one"], ["assistant", "Hello world"]]);
    equal(seen.onMessages.map(({ optimistic }) => optimistic), [false, false], "optimistic");
  });
  test(`chat: ${kind} text without other events`, async () => {
    const called = [];
    const { client, seen, ended } = chat({ endpoint: at("chat", base), model: "events", onToolCall: (...call) => called.push(call) });
    client.send("one");
    await ended();
    equal(shown(seen), [["user", "one"], ["tool", ""], ["assistant", "One two"]]);
    equal(called, [["look", {}]], "calls");
  });
  test(`chat: a ${kind} reply that fails`, async () => {
    const { client, seen, ended } = chat({ endpoint: at("chat", base), model: "fail" });
    client.send("one");
    await ended();
    equal([seen.onStatus, seen.onError.message], ["error", "no quota"]);
  });
}
test("chat: tools", async () => {
  const called = [];
  const { client, seen, ended } = chat({ model: "tools", toolset: "time", maxSteps: 3, onToolCall: (...call) => called.push(call) });
  client.send("when?");
  await ended();
  equal(shown(seen), [["user", "when?"], ["tool", ""], ["assistant", "It is noon."]]);
  equal(called, [["clock", { zone: "here" }]], "calls");
});
test("chat: what the model is sent", async () => {
  const { client, seen, ended, until } = chat({ system: "Be brief." });
  client.send("one");
  await ended();
  client.send("again", { attachments: [] });
  await until(({ onMessages, onStatus }) => onMessages.length === 4 && onStatus === "done", "the second answer");
  equal(shown(seen).length, 4);
});
for (const [name, attachment, part] of [
  ["data", { mimeType: "image/png", data: "iVBORw0KGgo=" }, { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } }],
  ["url", { mimeType: "image/png", url: "https://example.com/a.png" }, { type: "image_url", image_url: { url: "https://example.com/a.png" } }],
]) {
  test(`chat: attachments as ${name}, in each turn`, async () => {
    const { client, seen, ended, until } = chat({ model: "seen" });
    client.send("one", { attachments: [attachment] });
    await ended();
    client.send("two");
    await until(({ onMessages, onStatus }) => onMessages.length === 4 && onStatus === "done", "the second answer");
    const question = { role: "user", content: [{ type: "text", text: "one" }, part] };
    equal(JSON.parse(seen.onMessages[1].content).messages, [question]);
    const { messages } = JSON.parse(seen.onMessages[3].content);
    equal([messages[0], messages[2]], [question, { role: "user", content: "two" }]);
  });
}
test("chat: regenerate keeps attachments", async () => {
  const { client, seen, ended, until } = chat({ model: "seen" });
  client.send("one", { attachments: [{ mimeType: "text/plain", data: "aGk=" }] });
  await ended();
  const first = seen.onMessages[1];
  client.regenerate();
  await until(({ onMessages, onStatus }) => onMessages[1] && onMessages[1].id !== first.id && onStatus === "done", "another answer");
  equal(seen.onMessages[1].content, first.content);
});
test("chat: edit", async () => {
  const { client, seen, ended, until } = chat({ model: "seen" });
  client.send("one");
  await ended();
  client.edit(seen.onMessages[0].id, "two");
  await until(({ onMessages, onStatus }) => onMessages.at(-1)?.content && onMessages[0].content === "two" && onStatus === "done", "an answer");
  equal(JSON.parse(seen.onMessages[1].content).messages, [{ role: "user", content: "two" }]);
});
test("chat: revert", async () => {
  const { client, seen, until } = chat({ model: "slow" });
  client.send("one");
  await until(({ onMessages }) => onMessages?.[1]?.content, "text");
  equal(client.revert(), "one");
  equal([seen.onMessages, seen.onStatus], [[], "idle"]);
});
test("chat: abort and clear", async () => {
  const { client, seen, until } = chat({ model: "slow" });
  client.send("one");
  await until(({ onMessages }) => onMessages?.[1]?.content, "text");
  client.abort();
  equal(seen.onStatus, "idle");
  client.clear();
  equal(seen.onMessages, []);
});
test("chat: optimistic, sent", async () => {
  const { client, seen, ended } = chat();
  const staged = client.optimistic("one");
  equal(shown(seen), [["user", "one"], ["assistant", ""]]);
  staged.send();
  await ended();
  equal(shown(seen), [["user", "one"], ["assistant", "Hello world"]]);
});
test("chat: optimistic, cancelled", async () => {
  const { client, seen } = chat();
  client.optimistic("one").cancel();
  equal(seen.onMessages, []);
});
test("chat: a title", async () => {
  const { client, seen, ended, until } = chat({ autoTitle: true });
  client.send("one");
  await ended();
  await until(({ onTitle, onTitleLoading }) => onTitle && onTitleLoading === false, "a title");
  equal(seen.onTitle, "Hello world");
});

// --- StructuredStreamController

const JSON_SCHEMA = { type: "object", properties: { name: { type: "string" }, n: { type: "number" } } };
const schema = (jsonSchema, check = () => true) => ({
  "~standard": {
    version: 1, vendor: "tests", jsonSchema,
    validate: (value) => (check(value) ? { value } : { issues: [{ message: "it is wrong" }] }),
  },
});
const OPEN = schema(undefined);
const structured = (options = {}) =>
  watch(clients.StructuredStreamController, { endpoint: at("structured"), model: "json", schema: schema(JSON_SCHEMA), ...options });

for (const [kind, base] of [["resumable", url], ["plain", plain]]) {
  test(`structured: a ${kind} object`, async () => {
    let finished;
    const { client, seen, ended } = structured({ endpoint: at("structured", base), onFinish: (data) => (finished = data) });
    client.send("hi");
    await ended();
    equal([seen.onStatus, seen.onData, finished], ["done", { name: "a", n: 1 }, { name: "a", n: 1 }]);
    equal(seen.calls.onPartial.at(-1), { name: "a", n: 1 }, "the last partial");
    equal(seen.onUsage, { inputTokens: 12, outputTokens: 5 });
  });
}
test("structured: the schema reaches the model", async () => {
  const { client, seen, ended } = structured({ model: "schema" });
  client.send("hi");
  await ended();
  equal(seen.onData, { schema: JSON_SCHEMA });
});
for (const [name, sent] of [["none", undefined], ["one that arrives as {}", { input: () => 0, output: () => 0 }]]) {
  test(`structured: ${name} for a schema`, async () => {
    const { client, seen, ended } = structured({ schema: schema(sent) });
    client.send("hi");
    await ended();
    equal([seen.onStatus, seen.onData], ["done", { name: "a", n: 1 }]);
  });
}
test("structured: an object that the page refuses", async () => {
  const { client, seen, ended } = structured({ schema: schema(JSON_SCHEMA, () => false) });
  client.send("hi");
  await ended();
  equal([seen.onStatus, seen.calls.onError.at(-1).message], ["error", "Validation failed: it is wrong"]);
});
test("structured: what is not JSON", async () => {
  const { client, seen, ended } = structured({ model: "text" });
  client.send("hi");
  await ended();
  equal([seen.onStatus, seen.calls.onError.at(-1).message], ["error", "The model's answer is not valid JSON"]);
});
for (const places of [[0], [180], [250, 100]]) {
  test(`structured: a connection that breaks after ${places}`, async () => {
    const { client, seen, ended } = structured({ fetch: cutting(...places) });
    client.send("hi");
    await ended();
    equal([seen.onStatus, seen.onData], ["done", { name: "a", n: 1 }]);
  });
}
test("structured: stop", async () => {
  const { client, seen, until } = structured({ model: "slow-json" });
  client.send("hi");
  await until(({ onPartial }) => onPartial?.words?.length > 3, "a partial");
  await client.stop();
  equal(seen.onStatus, "stopped");
  const rest = await (await fetch(`${at("structured")}/resume?id=${seen.onStreamId}&after=0`)).text();
  equal(rest.includes("event: stopped\n"), true, "stopped at the server");
});

// --- CompletionController, RaceController

const completion = (options = {}) => watch(clients.CompletionController, { endpoint: at("complete"), debounce: 1, model: "text", ...options });

test("complete: a suggestion, accepted", async () => {
  const { client, seen, until } = completion();
  client.update("Well, ");
  await until(({ onSuggestion, onLoading }) => onSuggestion && onLoading === false, "a suggestion");
  equal([seen.onSuggestion, client.accept(), seen.onSuggestion], ["Hello world", "Well, Hello world", ""]);
});
test("complete: too short", async () => {
  const { client, seen } = completion();
  client.update("We");
  await new Promise((wake) => wait(wake, 30));
  equal(seen.onLoading, undefined);
});
test("complete: a model that fails", async () => {
  const { client, seen, until } = completion({ model: "fail" });
  client.update("Well, ");
  await until(({ calls }) => calls.onError?.at(-1), "an error");
  equal(seen.onError.message, "Completion request failed: 502");
});
for (const [strategy, base] of [["complete", url], ["first-token", url], ["complete", plain]]) {
  test(`race: ${strategy}${base === plain ? ", plain" : ""}`, async () => {
    const race = watch(clients.RaceController, { endpoint: at("stream", base), models: ["slow", "events"], strategy });
    race.client.send("hi");
    await race.until(({ onDone, onWinner }) => onDone && onWinner, "a winner");
    if (race.seen.onWinner === "events") equal(race.seen.onText, "One two");
  });
}

const LONG = (await (await fetch(`${url}/long`)).json()).text;
const results = await Promise.all(cases.map(async ({ name, run }) => {
  const late = new Promise((_, reject) => wait(() => reject(new Error("it takes too long")), LIMIT_MS + 5_000).unref());
  try {
    await Promise.race([run(), late]);
    return { name, error: null };
  } catch (error) {
    return { name, error: String(error) };
  }
}));
console.log(JSON.stringify(results));
process.exit(0);
