-- Streams. The JavaScript packages read and write the same columns and types. Tables created by their SQL are left as
-- they are.
--
-- WITHOUT ROWID: a row and its key are one entry, so that D1 bills one row for an insert and not two.
-- No index on expires_at: each renewal of a lease would be billed one more row, while cleanup() is rare, the rows it
-- reads are small and short-lived, and a row read costs a thousandth of a row written.

CREATE TABLE IF NOT EXISTS "aibind_stream_chunks" (
  id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (id, seq)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS "aibind_stream_status" (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL DEFAULT 'active',
  error TEXT,
  total_chunks INTEGER NOT NULL DEFAULT 0,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
