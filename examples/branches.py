"""A conversation that loses nothing: edits and second answers are branches of a tree.

python examples/branches.py
"""

from __future__ import annotations

from aibind import ChatHistory


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def show(title: str, chat: ChatHistory) -> None:
    print(f"{title}:")
    for node_id, message in zip(chat.node_ids, chat.messages, strict=True):
        version = f" ({chat.alternative_index(node_id) + 1} of {chat.alternative_count(node_id)})"
        print(f"  {message['role']}: {message['content']}{version if chat.has_alternatives(node_id) else ''}")


def main() -> None:
    chat = ChatHistory()
    question = chat.append(user("Name a river."))
    answer = chat.append(assistant("The Rhine."))
    show("What was said", chat)

    chat.regenerate(answer, assistant("The Danube."))
    show("Another answer", chat)

    edited = chat.edit(question, user("Name a mountain."))
    chat.append(assistant("The Eiger."))
    show("Another question", chat)

    chat.prev_alternative(edited)
    show("Back to the first question", chat)

    # Two tabs opened the same conversation, and each continued it.
    one, other = ChatHistory.from_json(chat.to_json()), ChatHistory.from_json(chat.to_json())
    one.append(user("Where does it rise?"))
    other.append(user("How long is it?"))
    taken = one.merge(other)
    print(f"{taken} message taken over from the other tab, {one.size} in all")
    show("The first tab", one)


if __name__ == "__main__":
    main()
