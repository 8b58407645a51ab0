-- Files that messages refer to, each kept once, by the SHA-256 of its bytes.
--
-- A file that is longer than a row may be has several rows, its parts. Part 0 is written last, and size is that of the
-- whole file. With a rowid, as for messages: rows are large, so that look-ups WITHOUT ROWID would be slower.
--
-- A row of message_files says that a message refers to a file, and in pending_at when that began, as long as the message
-- is not stored. A file is deleted with the last of these rows. They are found by their file when it may be the last.
-- No index on pending_at: cleanup() reads the whole table, whose rows are small.

CREATE TABLE IF NOT EXISTS "aibind_files" (
  sha256 TEXT NOT NULL,
  part INTEGER NOT NULL,
  size INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (sha256, part)
);

CREATE TABLE IF NOT EXISTS "aibind_message_files" (
  session_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  mime_type TEXT NOT NULL,
  name TEXT,
  pending_at INTEGER,
  PRIMARY KEY (session_id, message_id, sha256)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS "aibind_message_files_by_sha256" ON "aibind_message_files" (sha256, session_id);
