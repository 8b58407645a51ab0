"""What the endpoints tell a model to do, unless the application says it in its own words."""

from __future__ import annotations

__all__ = ["COMPACT", "COMPLETE", "TITLE"]

COMPLETE = "You complete what somebody is writing. Answer with the words that come next, and with nothing else."

TITLE = (
    "You name conversations. Answer with a title of two to six words, in the language of the conversation: no quotes."
)

COMPACT = (
    "You condense conversations. Answer with one paragraph from which a colleague could carry on: who wants what, what"
    " was decided, which facts and preferences were given, what is still open. Leave out small talk."
)
