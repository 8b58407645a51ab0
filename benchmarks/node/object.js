// A Durable Object that says tokens to its followers and stores each of them: the least that one in JavaScript does.
import { DurableObject } from "cloudflare:workers";

const encoder = new TextEncoder();

export class Chat extends DurableObject {
  controllers = new Set();

  constructor(context, environment) {
    super(context, environment);
    context.storage.sql.exec("CREATE TABLE IF NOT EXISTS chunks (seq INTEGER PRIMARY KEY, data TEXT NOT NULL)");
  }

  fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/begin") {
      this.ctx.waitUntil(this.say(Number(searchParams.get("tokens")), Number(searchParams.get("rate"))));
      return new Response();
    }
    let opened;
    const start = (controller) => {
      opened = controller;
      this.controllers.add(controller);
      controller.enqueue(encoder.encode(": joined\n\n"));
    };
    const cancel = () => this.controllers.delete(opened);
    return new Response(new ReadableStream({ start, cancel }), { headers: { "Content-Type": "text/event-stream" } });
  }

  async say(tokens, rate) {
    const began = Date.now();
    for (let number = 0; number < tokens; number++) {
      const wait = began + (number * 1000) / rate - Date.now();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, wait)));
      const text = `@${Date.now().toFixed(1)} `;
      this.ctx.storage.sql.exec("INSERT INTO chunks (data) VALUES (?)", text);
      this.send(`id: ${number + 1}\ndata: ${text}\n\n`);
    }
    this.send("event: done\ndata: \n\n");
    for (const controller of this.controllers) controller.close();
    this.controllers.clear();
  }

  send(message) {
    const data = encoder.encode(message);
    for (const controller of this.controllers) controller.enqueue(data);
  }
}

export default {
  fetch(request, { CHATS }) {
    return CHATS.getByName(new URL(request.url).searchParams.get("object")).fetch(request);
  },
};
