// A page with useChat: it opens the stored conversation of the chat that its address names, and goes on with its reply.
// With the address of our transport, it uses that, over the endpoints at `api`.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const query = Object.fromEntries(new URLSearchParams(location.search));
const id = query.chat;
const ours = query.transport && new (await import(query.transport)).AibindChatTransport({ api: query.api });

function Part({ part, allow }) {
  if (part.type === "text") return <span>{part.text}</span>;
  if (part.type !== "dynamic-tool") return null;
  return (
    <em>
      {part.toolName}: {part.state}
      {part.state === "approval-requested" && <button onClick={() => allow(part.approval.id)}>Allow</button>}
    </em>
  );
}

function Chat({ stored }) {
  const [text, setText] = useState("");
  const { messages, sendMessage, regenerate, stop, status, error, addToolApprovalResponse } = useChat({
    id,
    messages: stored,
    resume: true,
    transport:
      ours ??
      new DefaultChatTransport({
        api: "/api/chat",
        prepareSendMessagesRequest: ({ id, messages, trigger, messageId, body }) => ({
          body: { ...body, id, messages: messages.slice(-1), trigger, messageId },
        }),
      }),
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  });
  const stopReply = () => ours?.stop(id) ?? fetch(`/api/chat/${id}/stop`, { method: "POST" }).then(stop);
  const allow = (approval) => addToolApprovalResponse({ id: approval, approved: true });
  const send = (event) => {
    event.preventDefault();
    sendMessage({ text });
    setText("");
  };
  return (
    <main data-status={status}>
      {messages.map((message) => (
        <p key={message.id} className={message.role}>
          {message.parts.map((part, index) => (
            <Part key={index} part={part} allow={allow} />
          ))}
        </p>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={send}>
        <input aria-label="Message" value={text} onChange={(event) => setText(event.target.value)} />
        <button>Send</button>
      </form>
      <button onClick={stopReply}>Stop</button>
      <button onClick={() => regenerate()}>Again</button>
      <button onClick={() => sendMessage({ text, messageId: messages.findLast(({ role }) => role === "user").id })}>
        Edit
      </button>
    </main>
  );
}

const stored = (await (await fetch(`/api/chat/${id}`)).json()).messages;
createRoot(document.getElementById("root")).render(<Chat stored={stored} />);
