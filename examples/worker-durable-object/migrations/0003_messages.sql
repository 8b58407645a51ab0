-- Conversations, a row for each message and one for each session.
--
-- A message never changes, and what changes is the row of the session, so that a turn costs the same in a conversation
-- of any length. A message that is longer than a row may be has several rows, its parts. seq is the order of the
-- messages, and place that of siblings, and next_seq of a session spares a search for the highest. Messages below
-- floor_seq were replaced by a summary, whose column replaces names the message that ended the path before.
--
-- Messages have a rowid, unlike sessions: WITHOUT ROWID a row of more than 1 KB takes a page of its own, and random ids
-- split a page with nearly every insert, which took half as long again. So D1 bills three rows for a message: the
-- row, its key, and one entry of the index that finds alternatives by their parent, in their order.
-- Sessions with an owner are found by the owner, most recently saved first.

CREATE TABLE IF NOT EXISTS "aibind_sessions" (
  session_id TEXT PRIMARY KEY,
  owner TEXT,
  title TEXT,
  active_leaf_id TEXT,
  next_seq INTEGER NOT NULL,
  floor_seq INTEGER NOT NULL DEFAULT 0,
  revision INTEGER NOT NULL,
  unknown TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS "aibind_messages" (
  session_id TEXT NOT NULL,
  id TEXT NOT NULL,
  part INTEGER NOT NULL DEFAULT 0,
  seq INTEGER NOT NULL,
  place INTEGER NOT NULL,
  parent_id TEXT,
  replaces TEXT,
  data TEXT NOT NULL,
  PRIMARY KEY (session_id, id, part)
);

CREATE INDEX IF NOT EXISTS "aibind_messages_by_parent" ON "aibind_messages" (session_id, parent_id, place, seq)
  WHERE part = 0;

CREATE INDEX IF NOT EXISTS "aibind_sessions_by_owner" ON "aibind_sessions" (owner, updated_at, session_id)
  WHERE owner IS NOT NULL;
