// Puts the page together: the open conversation, the list, the field, and what happens elsewhere.
import { api } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, icon } from "./dom.js";
import { Scroller } from "./scroller.js";
import { Sidebar } from "./sidebar.js";
import { Status } from "./status.js";
import { Sync } from "./sync.js";
import { watchTheme } from "./themes.js";
import { fillWelcome } from "./welcome.js";

for (const [id, name] of [["drawer-open", "menu"], ["drawer-close", "close"], ["new-chat", "plus"], ["to-end", "down"], ["theme", "moon"]]) {
  byId(id).prepend(icon(name));
}

const status = new Status();
const scroller = new Scroller();
let conversations = [];

const conversation = new Conversation({
  changed: () => {
    showState();
    scroller.follow();
  },
  grown: () => scroller.follow(),
  created: (id) => history.pushState(null, "", `/c/${id}`),
  turned: () => sync.tell(),
  cut: () => status.lost("reply"),
  joined: () => status.found("reply"),
  failed: (error) => status.say(error.message, "bad"),
  sent: () => composer.sent(),
  back: (prompt, error) => {
    composer.text ||= prompt;
    status.say(`Not sent: ${error.message}.`, "bad");
  },
});

const composer = new Composer({ send, stop: () => conversation.stop().catch((error) => status.say(error.message, "bad")) });

const sidebar = new Sidebar({
  open: (id) => {
    sidebar.drawer(false);
    history.pushState(null, "", `/c/${encodeURIComponent(id)}`);
    openFromAddress();
  },
  rename: async (id, title) => {
    conversations = conversations.map((entry) => (entry.id === id ? { ...entry, title } : entry));
    showState();
    await api.rename(id, title).catch((error) => status.say(error.message, "bad"));
    sync.tell();
  },
  remove: async (id, title) => {
    if (await confirmRemoval(title)) {
      await api.remove(id).catch((error) => status.say(error.message, "bad"));
      if (id === conversation.id) {
        startNew();
      }
      sync.tell();
    }
  },
});

const sync = new Sync(async () => {
  try {
    ({ conversations } = await api.list());
    const entry = conversations.find(({ id }) => id === conversation.id);
    const known = conversation.view;
    // After a lost connection anything may have changed, and the notice of a reply that broke off is out of date.
    const wasLost = status.found("server");
    if (conversation.id && known && !entry) {
      startNew();
      status.say("This conversation was deleted elsewhere", "bad");
    } else if (wasLost || (entry && (entry.updatedAt !== known?.updatedAt || (entry.live && entry.live !== conversation.liveId)))) {
      await conversation.refresh();
    }
    showState();
  } catch (error) {
    if (error.status === 0) {
      status.lost("server");
    }
    throw error;
  }
});

function send(text) {
  scroller.toEnd();
  conversation.send(text);
  composer.focus();
}

function startNew() {
  sidebar.drawer(false);
  history.pushState(null, "", "/");
  openFromAddress();
  composer.focus();
}

async function openFromAddress() {
  status.forget("reply");
  const match = /^\/c\/([^/]+)$/.exec(location.pathname);
  if (!match) {
    conversation.clear();
    scroller.toStart();
    return;
  }
  scroller.toEnd();
  try {
    await conversation.open(idOf(match[1]));
    scroller.toEnd();
  } catch (error) {
    if (error.status === 404) {
      history.replaceState(null, "", "/");
      conversation.clear();
      status.say(`${error.message}.`, "bad");
    } else {
      status.lost("server"); // the next look that succeeds opens it
    }
  }
}

function idOf(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // an address that was cut in the middle of a character: there is no such conversation
  }
}

function showState() {
  const { id, view, isBusy } = conversation;
  if (view) {
    composer.forget(conversation.lastQuestion?.content);
  }
  const title = conversations.find((entry) => entry.id === id)?.title ?? view?.title ?? "New conversation";
  byId("title").textContent = title;
  document.title = id ? `${title} · aibind` : "aibind demo";
  document.body.classList.toggle("busy", isBusy);
  document.querySelectorAll("[data-idle]").forEach((button) => button.setAttribute("aria-disabled", String(isBusy)));
  byId("welcome").hidden = id !== null || isBusy;
  byId("earlier").hidden = !view?.earlier;
  byId("earlier").textContent = view?.earlier === 1 ? "Show the earlier message" : `Show ${view?.earlier.toLocaleString()} earlier messages`;
  composer.busy = isBusy;
  sidebar.show(conversations, id);
  if (!isBusy) {
    status.forget("reply");
  }
}

function confirmRemoval(title) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = `“${title}” and all its branches will be gone. A reply that is under way is stopped.`;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    byId("confirm-no").onclick = () => dialog.close();
    byId("confirm-yes").onclick = () => dialog.close("yes");
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

byId("new-chat").addEventListener("click", startNew);
document.querySelector(".brand").addEventListener("click", (event) => {
  event.preventDefault();
  startNew();
});
byId("earlier").addEventListener("click", () => conversation.showEarlier().catch((error) => status.say(error.message, "bad")));
window.addEventListener("popstate", openFromAddress);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && conversation.isBusy && !byId("confirm").open) {
    conversation.stop().catch((error) => status.say(error.message, "bad"));
  }
});

watchTheme();
openFromAddress();
composer.focus();
api.about().then(({ model, offline, version }) => {
  byId("model").textContent = model;
  byId("model").title = `Model: ${model}`;
  byId("model").hidden = false;
  byId("version").textContent = `Version ${version}.`;
  fillWelcome(offline, send);
}, () => fillWelcome(true, send));
