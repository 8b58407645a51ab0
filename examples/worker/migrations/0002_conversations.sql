-- Conversations, one row each. Columns and types are those that the JavaScript packages read and write.
--
-- With a rowid, other than the streams: rows are large, which a table WITHOUT ROWID finds two to three times slower,
-- and it would save one billed row only when a conversation is saved for the first time.
-- No index on expires_at: every save moves it, and would be billed a row more. cleanup() looks through the table
-- outside any transaction instead, so that nobody waits for it.

CREATE TABLE IF NOT EXISTS "aibind_conversations" (
  session_id TEXT PRIMARY KEY,
  data TEXT NOT NULL,
  expires_at INTEGER NOT NULL
);
