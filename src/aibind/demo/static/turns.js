// What a conversation's messages look like as turns: a question, or all messages of an answer as one.

/** Return the text of a message, whose content is a string or a list of parts. */
function textOf({ content }) {
  return Array.isArray(content) ? content.map((part) => part?.text ?? "").join("\n") : String(content ?? "");
}

/** Return the tool calls of a message, and the result that a message of a tool is, as the stream's events have them. */
function toolsOf(message) {
  if (message.role === "tool" && message.approvals) {
    return []; // what the user has answered: the result tells it
  }
  if (message.role === "tool") {
    return [{ event: "tool_result", id: message.tool_call_id, name: message.name, result: parsed(message.content) }];
  }
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls : [];
  return calls.map(({ id, function: called }) => ({ event: "tool_call", id, name: called?.name, args: parsed(called?.arguments) }));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const belongsToAnswer = ({ message }) => message.role === "assistant" || message.role === "tool";

/**
 * Group the messages of a path into turns, oldest first. A turn has the id and the versions of its first message.
 * Messages of the stream `live` that are stored already are left out: the stream brings them again.
 */
export function turnsOf(messages, live) {
  const turns = [];
  let open = null; // the answer that further messages belong to
  for (const stored of messages) {
    const { id, message, metadata } = stored;
    if (live && metadata.streamId === live && message.role !== "user") {
      continue;
    }
    if (!open || !belongsToAnswer(stored)) {
      open = { id, role: message.role === "user" ? "user" : "assistant", alternatives: stored.alternatives, content: "", reasoning: "", tools: [], usage: null };
      turns.push(open);
    }
    const turn = open;
    if (message.role !== "tool") {
      turn.content += textOf(message);
      turn.reasoning += typeof message.reasoning === "string" ? message.reasoning : "";
    }
    turn.tools.push(...toolsOf(message));
    turn.usage = metadata.usage ?? turn.usage;
    turn.stream = metadata.streamId ?? null;
    turn.finish = metadata.finish ?? "done";
    turn.error = metadata.error ?? null;
    open = belongsToAnswer(stored) ? turn : null;
  }
  return turns;
}
