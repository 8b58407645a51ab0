-- What another process needs to go on with a reply whose producer was lost, and the fence that keeps the lost one out.
--
-- continuation is JSON, written when the stream is created, and NULL for a reply that cannot be gone on with. reference
-- is what the provider of the model knows the answer by. takeovers counts the processes that have claimed the stream.
-- One that knows a smaller number may not write any more.

ALTER TABLE "aibind_stream_status" ADD COLUMN takeovers INTEGER NOT NULL DEFAULT 0;

ALTER TABLE "aibind_stream_status" ADD COLUMN reference TEXT;

ALTER TABLE "aibind_stream_status" ADD COLUMN continuation TEXT;
