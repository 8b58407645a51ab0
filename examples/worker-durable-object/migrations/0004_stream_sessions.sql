-- The session of a stream, its owner, and when it was created, in milliseconds since the epoch.
--
-- All are NULL where they are not known, as in the rows of the JavaScript packages: their inserts name the columns, and so
-- keep working.
-- The index is partial, and its column never changes: D1 bills one more row for creating a stream with a session. An
-- append, a renewal, an end and a removal cost what they did, and so does everything about a stream without a session.
-- No index on created_at: listing the streams of a day is rare, and reads small rows.
-- SQLite cannot add a column only where it is missing, so that this file, unlike those before it, is applied once.

ALTER TABLE "aibind_stream_status" ADD COLUMN session_id TEXT;

ALTER TABLE "aibind_stream_status" ADD COLUMN owner TEXT;

ALTER TABLE "aibind_stream_status" ADD COLUMN created_at INTEGER;

CREATE INDEX IF NOT EXISTS "aibind_stream_status_by_session"
  ON "aibind_stream_status" (session_id) WHERE session_id IS NOT NULL;
