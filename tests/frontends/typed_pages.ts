// Pages that use the modules, with and without mistakes, for TypeScript to check.
import { useChat } from "@ai-sdk/react";
import type { ChatTransport, UIMessage } from "ai";
import { Aibind, AibindError, type State } from "../../src/aibind/server/aibind.js";
import { AibindChatTransport, ChatTransportError, type Position } from "../../src/aibind/server/transport.js";

type Message = UIMessage<{ usage?: { inputTokens: number; outputTokens: number } }>;

export const transport: ChatTransport<Message> = new AibindChatTransport<Message>({
  api: "/api/chat",
  headers: async () => ({ Authorization: "Bearer token" }),
  cut: (waitMs) => waitMs.toFixed(),
});
export const chat = useChat<Message>({ id: "me", resume: true, transport });
export const position: Position | null = new AibindChatTransport().position("me");
export const status: number = new ChatTransportError("No", 403).status;

// @ts-expect-error: an address is a string
new AibindChatTransport({ api: 1 });
// @ts-expect-error: there is no such option
new AibindChatTransport({ url: "/api/chat" });

const aibind = new Aibind({ headers: () => ({ Authorization: "Bearer token" }) });
const reply = aibind.ask({ prompt: "Hello", sessionId: "me" }, { key: "one", joined: () => {} });
for await (const { event, data } of reply) if (event === "") data.trim();
export const state: State = await reply.listen((message) => message.id.length);
export const ids: string[] = (await aibind.sessions({ live: true })).sessions.map((session) => session.id);
export const wait: number = new AibindError("No", 429).waitMs;
// @ts-expect-error: approvals are an object
aibind.approve("me", true);
// @ts-expect-error: a state that there is not
export const unknown: boolean = reply.state === "ended";
