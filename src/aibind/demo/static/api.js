// The server, as the page asks it.
import { Aibind, AibindError, newId } from "/__aibind__/aibind.js";

const MAX_LISTED = 200;
const PAGE_MESSAGES = 50;

export const aibind = new Aibind();

export const api = {
  /** Return what the page is told about the server. */
  async about() {
    const response = await fetch("/api/about").catch(() => null);
    if (!response?.ok) {
      throw new AibindError("The server cannot be reached", response?.status ?? 0);
    }
    return response.json();
  },

  /** Return the newest conversations, each with the id of the reply that is under way in it. */
  list: async () => (await aibind.sessions({ limit: MAX_LISTED, live: true })).sessions,

  /** Return an id for a new conversation, which begins to exist with its first message. */
  newId,

  /** Return the last messages of a conversation, or those above the message `before`; see Aibind.session(). */
  open: (id, options = {}) => aibind.session(id, { limit: PAGE_MESSAGES, ...options }),

  rename: (id, title) => aibind.rename(id, title),
  select: (id, activeLeafId) => aibind.select(id, activeLeafId),
  remove: (id) => aibind.remove(id),
  stop: (id) => aibind.stop(id),
};
