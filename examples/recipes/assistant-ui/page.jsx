import { useChat } from "@ai-sdk/react";
import { useAISDKRuntime } from "@assistant-ui/ai-sdk";
import { AssistantRuntimeProvider, ComposerPrimitive, MessagePrimitive, ThreadPrimitive } from "@assistant-ui/react";
import { createRoot } from "react-dom/client";
import { AibindChatTransport } from "./transport.js";

const id = "my-assistant-ui-chat";
const transport = new AibindChatTransport({ api: "/api/chat" });

const Message = ({ role }) => (
  <MessagePrimitive.Root className={role}>
    <MessagePrimitive.Parts components={{ Text: ({ text }) => <p>{text}</p> }} />
  </MessagePrimitive.Root>
);
const messages = { UserMessage: () => <Message role="user" />, AssistantMessage: () => <Message role="assistant" /> };

function Chat({ stored }) {
  const runtime = useAISDKRuntime(useChat({ id, messages: stored, resume: true, transport }));
  return (
    <AssistantRuntimeProvider runtime={runtime}>
      <ThreadPrimitive.Root>
        <ThreadPrimitive.Viewport>
          <ThreadPrimitive.Messages components={messages} />
        </ThreadPrimitive.Viewport>
        <ComposerPrimitive.Root>
          <ComposerPrimitive.Input aria-label="Message" rows={1} />
          <ThreadPrimitive.If running={false}>
            <ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
          </ThreadPrimitive.If>
          <ThreadPrimitive.If running>
            <ComposerPrimitive.Cancel onClick={() => transport.stop(id)}>Stop</ComposerPrimitive.Cancel>
          </ThreadPrimitive.If>
        </ComposerPrimitive.Root>
      </ThreadPrimitive.Root>
    </AssistantRuntimeProvider>
  );
}

const stored = (await (await fetch(`/api/chat/${id}`)).json()).messages;
createRoot(document.getElementById("root")).render(<Chat stored={stored} />);
