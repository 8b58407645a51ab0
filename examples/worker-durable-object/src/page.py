"""The page: it lists conversations, asks, and shows a reply as it grows, after a reload and in another tab as well."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Chat</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 }
  body { display: grid; grid-template-columns: 14rem 1fr; height: 100dvh }
  nav { background: #f3f4f6; padding: 1rem; overflow: auto }
  nav a { display: block; padding: .25rem .5rem; border-radius: .25rem; color: inherit; text-decoration: none }
  nav a[aria-current] { background: #d1e7e4 }
  main { display: grid; grid-template-rows: 1fr auto; min-height: 0 }
  #messages { overflow: auto; padding: 1rem 2rem }
  #messages p { white-space: pre-wrap; max-width: 44rem; margin: 0 0 1rem }
  #messages .user { background: #e6f2f0; padding: .5rem 1rem; border-radius: .5rem; width: fit-content }
  #messages .note { color: #a33 }
  form { display: flex; gap: .5rem; padding: 1rem 2rem; border-top: 1px solid #ddd }
  input { flex: 1; font: inherit; padding: .5rem }
  button { font: inherit; padding: .5rem 1rem }
  @media (max-width: 40rem) {
    body { grid-template-columns: 1fr; grid-template-rows: auto 1fr }
    nav { max-height: 8rem }
  }
</style>
<nav><a href="#" id="new">New conversation</a><div id="list"></div></nav>
<main>
  <div id="messages" aria-live="polite"></div>
  <form>
    <input name="prompt" aria-label="Message" placeholder="Say something" autocomplete="off">
    <button>Send</button><button type="button" id="stop" hidden>Stop</button>
  </form>
</main>
<script type="module">
  import { Aibind, newId } from "/__aibind__/aibind.js";

  const aibind = new Aibind();
  const place = (id) => document.getElementById(id);
  let sessionId, live;

  function say(role, text) {
    const line = document.createElement("p");
    line.className = role;
    line.textContent = text;
    place("messages").append(line);
    line.scrollIntoView();
    return line;
  }

  async function list() {
    const { sessions } = await aibind.sessions();
    place("list").replaceChildren(...sessions.map(({ id, title }) => {
      const link = document.createElement("a");
      link.href = `#${encodeURIComponent(id)}`;
      link.textContent = title ?? id;
      if (id === sessionId) link.setAttribute("aria-current", "page");
      return link;
    }));
  }

  async function show(reply) {
    live = reply;
    let line;
    for await (const { event, data } of reply) {
      line ??= say("assistant", "");
      place("stop").hidden = false;
      if (event === "") line.textContent += data;
      line.scrollIntoView();
    }
    if (live !== reply) return;
    live = undefined;
    place("stop").hidden = true;
    if (reply.error) say("note", reply.error);
  }

  async function open() {
    live?.close();
    sessionId = decodeURIComponent(location.hash.slice(1)) || newId();
    const opened = sessionId;
    place("messages").replaceChildren();
    if (location.hash.length > 1) {
      try {
        const { messages, error } = await aibind.session(opened);
        if (opened !== sessionId) return;
        for (const { message } of messages) say(message.role, message.content);
        if (error) say("note", error);
      } catch (failure) {
        if (failure.status !== 404) say("note", failure.message);
      }
      show(aibind.attach(opened)); // a reply that is under way, after a reload or in another tab
    }
    list();
  }

  document.querySelector("form").addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    const input = submitted.target.prompt;
    if (!input.value.trim() || live?.state === "live") return;
    const prompt = input.value;
    input.value = "";
    history.replaceState(null, "", `#${encodeURIComponent(sessionId)}`);
    say("user", prompt);
    const shown = show(aibind.ask({ prompt, sessionId }));
    await live.ready().catch(() => {});
    list();
    await shown;
  });
  place("stop").addEventListener("click", () => live?.stop());
  addEventListener("hashchange", open);
  open();
</script>
"""
