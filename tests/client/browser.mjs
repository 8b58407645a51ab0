// node browser.mjs CLIENT URL SCENARIO: runs a scenario with the JavaScript client, and prints what it saw as JSON.
const [client, url, scenario] = process.argv.slice(2);
const { Aibind, AibindError } = await import(client);
const aibind = new Aibind({ url, headers: () => ({ "X-Asked-By": "a test" }) });

async function read(reply) {
  const events = [];
  for await (const { event, data } of reply) events.push([event, data]);
  return { id: reply.id, state: reply.state, error: reply.error, text: reply.text, events };
}

const failure = async (promise) => {
  try {
    await promise;
    return null;
  } catch (error) {
    return { ours: error instanceof AibindError, message: error.message, status: error.status };
  }
};

const scenarios = {
  // A connection that is cut again and again.
  async cut() {
    let cuts = 0;
    const asked = await read(aibind.ask({ prompt: "80", sessionId: "s" }, { cut: () => (cuts += 1) }));
    return { ...asked, cuts };
  },

  // A second page attaches to the reply of the first, which leaves it.
  async attach() {
    const first = aibind.ask({ prompt: "60", sessionId: "s" });
    let seen = "";
    for await (const { event, data } of first) {
      if (event === "") seen += data;
      if (seen.length > 20) break;
    }
    const second = await read(aibind.attach("s"));
    const again = await read(aibind.follow(second.id));
    const none = await read(aibind.attach("s"));
    return { seen, state: first.state, second, again, none };
  },

  async stop() {
    const reply = aibind.ask({ prompt: "5000", sessionId: "s" });
    for await (const { event } of reply) {
      if (event === "" && reply.text.length > 10) await aibind.stop(reply.id);
    }
    return { state: reply.state, text: reply.text };
  },

  // The same request twice, as after an answer that was lost.
  async twice() {
    const body = { prompt: "20", sessionId: "s" };
    const replies = [aibind.ask(body, { key: "one" }), aibind.ask(body, { key: "one" })];
    return Promise.all(replies.map(read));
  },

  async sessions() {
    await read(aibind.ask({ prompt: "3", sessionId: "a/b" }));
    const page = await aibind.session("a/b", { limit: 10 });
    const same = await aibind.session("a/b", { limit: 10, tag: page.tag });
    await aibind.rename("a/b", "Named");
    await aibind.select("a/b", page.messages[0].id);
    const unknown = await failure(aibind.select("a/b", "unknown"));
    const listed = await aibind.sessions({ live: true });
    const selected = await aibind.session("a/b");
    await aibind.remove("a/b");
    const left = await aibind.sessions();
    return {
      roles: page.messages.map(({ message }) => message.role),
      same,
      listed: listed.sessions.map(({ id, title, liveStream }) => ({ id, title, liveStream })),
      selected: selected.messages.length,
      unknown: unknown.ours,
      left: left.sessions,
    };
  },

  async refused() {
    const gone = await read(aibind.follow("unknown"));
    return {
      gone,
      bad: await failure(aibind.ask({ prompt: 7 }).ready()),
      iterated: await failure(read(aibind.ask({ prompt: 7 }))),
      session: await failure(aibind.session("unknown")),
      away: await failure(new Aibind({ url: "http://127.0.0.1:9" }).sessions()),
    };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
