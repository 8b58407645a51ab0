import { useChat } from "@ai-sdk/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { AibindChatTransport } from "./transport.js";

const id = "my-react-chat";
const transport = new AibindChatTransport({ api: "/api/chat" });

function Chat({ stored }) {
  const { messages, sendMessage, status, error } = useChat({ id, messages: stored, resume: true, transport });
  const [text, setText] = useState("");
  const send = (event) => {
    event.preventDefault();
    sendMessage({ text });
    setText("");
  };
  return (
    <main>
      {messages.map(({ id, role, parts }) => (
        <p key={id} className={role}>
          {parts.map((part, index) => part.type === "text" && <span key={index}>{part.text}</span>)}
        </p>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={send}>
        <input aria-label="Message" value={text} onChange={(event) => setText(event.target.value)} />
        {status === "ready" || status === "error" ? (
          <button>Send</button>
        ) : (
          <button type="button" onClick={() => transport.stop(id)}>
            Stop
          </button>
        )}
      </form>
    </main>
  );
}

const { messages } = await (await fetch(`/api/chat/${id}`)).json();
createRoot(document.getElementById("root")).render(<Chat stored={messages} />);
