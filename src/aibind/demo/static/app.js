// Puts the page together: the open conversation, the list, the field, and what happens elsewhere.
import { AibindError } from "/__aibind__/aibind.js";
import { api } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, icon } from "./dom.js";
import { Scroller } from "./scroller.js";
import { Sidebar, UNTITLED } from "./sidebar.js";
import { Status } from "./status.js";
import { Sync } from "./sync.js";
import { watchTheme } from "./themes.js";
import { fillWelcome } from "./welcome.js";

for (const [id, name] of [["drawer-open", "menu"], ["drawer-close", "close"], ["new-chat", "plus"], ["to-end", "down"], ["theme", "moon"]]) {
  byId(id).prepend(icon(name));
}

const status = new Status();
const scroller = new Scroller(() => composer.focus() || conversation.focusLast());
let conversations = [];

const conversation = new Conversation({
  changed: () => {
    showState();
    scroller.follow();
  },
  grown: () => scroller.follow(),
  created: (id) => {
    composer.created(id);
    history.pushState(null, "", `/c/${id}`);
  },
  turned: () => sync.tell(),
  cut: () => status.lost("reply"),
  joined: () => status.found("reply"),
  failed: (error) => status.say(error.message, "bad"),
  sent: () => composer.sent(),
  back: (prompt, error, id) => {
    composer.back(prompt, id);
    status.say(`Not sent: ${error.message}.`, "bad");
  },
});

const composer = new Composer(
  {
    send,
    stop: () => conversation.stop().catch((error) => status.say(error.message, "bad")),
    wait: () => status.say("A reply is under way. Wait for its end, or stop it, to send your message.", "calm"),
  },
  idInAddress(),
);

const sidebar = new Sidebar({
  open: (id) => {
    sidebar.drawer(false);
    history.pushState(null, "", `/c/${encodeURIComponent(id)}`);
    openFromAddress();
  },
  rename: async (id, title) => {
    conversations = conversations.map((entry) => (entry.id === id ? { ...entry, title } : entry));
    showState(); // the new name is shown at once
    await api.rename(id, title).catch((error) => status.say(error.message, "bad"));
    sync.tell();
  },
  remove: async (id, title) => {
    if (!(await confirmRemoval(title))) {
      sidebar.focus(id, "Delete");
      return;
    }
    const next = sidebar.neighbour(id);
    try {
      await api.remove(id);
    } catch (error) {
      status.say(error.message, "bad");
      sidebar.focus(id, "Delete");
      return;
    }
    conversations = conversations.filter((entry) => entry.id !== id);
    if (id === conversation.id) {
      history.pushState(null, "", "/");
      openFromAddress();
    }
    showState();
    sidebar.focus(next);
    sync.tell();
  },
});

const sync = new Sync(async () => {
  try {
    conversations = await api.list();
    const entry = conversations.find(({ id }) => id === conversation.id);
    const known = conversation.view;
    // After a lost connection anything may have changed, and the notice of a reply that broke off is out of date.
    const wasLost = status.found("server");
    const isElsewhere = conversation.id !== null && known !== null && !entry; // deleted, or too old for the list
    if (isElsewhere || wasLost || (entry && (entry.revision !== known?.revision || (entry.liveStream && entry.liveStream !== conversation.liveId)))) {
      await refreshOrLeave();
    }
    showState();
  } catch (error) {
    if (error.status === 0) {
      status.lost("server");
    } else if (!(error instanceof AibindError)) {
      reportError(error); // a fault of the page, which is no reason to be silent about it
    }
    throw error;
  }
});

async function refreshOrLeave() {
  const { id } = conversation;
  try {
    await conversation.refresh();
  } catch (error) {
    if (error.status !== 404 || id !== conversation.id) {
      throw error;
    }
    if (conversation.view === null) {
      return; // its first message is still on its way
    }
    composer.gone(id);
    startNew();
    status.say("This conversation was deleted elsewhere", "bad");
  }
}

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
  const id = idInAddress();
  composer.open(id);
  if (id === null) {
    conversation.clear();
    scroller.toStart();
    return;
  }
  scroller.toEnd();
  try {
    await conversation.open(id);
    scroller.toEnd();
  } catch (error) {
    if (error.status === 404) {
      history.replaceState(null, "", "/");
      composer.gone(id);
      composer.open(null);
      conversation.clear();
      status.say(`${error.message}.`, "bad");
    } else if (error instanceof AibindError) {
      status.lost("server"); // the next look that succeeds opens it
    } else {
      throw error;
    }
  }
}

/** Return the id of the conversation that the address names, or null. */
function idInAddress() {
  const part = /^\/c\/([^/]+)$/.exec(location.pathname)?.[1] ?? null;
  try {
    return part && decodeURIComponent(part);
  } catch {
    return part; // an address that was cut in the middle of a character: there is no such conversation
  }
}

function showState() {
  const { id, view, isBusy } = conversation;
  if (view) {
    composer.forget(conversation.lastQuestion?.content);
  }
  const title = conversations.find((entry) => entry.id === id)?.title ?? view?.title ?? UNTITLED;
  byId("title").textContent = title;
  byId("title").title = title; // where it is cut off
  document.title = id ? `${title} · aibind` : "aibind demo";
  document.body.classList.toggle("busy", isBusy);
  document.querySelectorAll("[data-idle]").forEach((button) => button.setAttribute("aria-disabled", String(isBusy)));
  byId("welcome").hidden = id !== null || isBusy;
  byId("earlier").hidden = !view?.before;
  composer.busy = isBusy;
  sidebar.show(conversations, id);
  if (!isBusy) {
    status.forget("reply");
    status.unsay("calm");
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
/** Load what is above, and keep what is read where it is. */
async function showEarlier() {
  try {
    await scroller.hold(() => conversation.showEarlier());
  } catch (error) {
    status.say(error.message, "bad");
  }
}

byId("earlier").addEventListener("click", async () => {
  const first = conversation.first;
  await showEarlier();
  first?.focus({ preventScroll: true }); // the button is gone, or far above
});
scroller.whenNearStart(showEarlier);
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
