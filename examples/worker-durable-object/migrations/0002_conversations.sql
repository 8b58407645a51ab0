-- Conversations, one row each. The JavaScript packages read and write the same columns and types.
--
-- With a rowid, unlike the streams: rows are large, so that look-ups would be two to three times slower WITHOUT ROWID,
-- which would save one billed row only when a conversation is first saved.
-- No index on expires_at: every save changes it, and would be billed one more row. cleanup() reads the whole table
-- instead, outside any transaction, so that no writer waits for it.

CREATE TABLE IF NOT EXISTS "aibind_conversations" (
  session_id TEXT PRIMARY KEY,
  data TEXT NOT NULL,
  expires_at INTEGER NOT NULL
);
