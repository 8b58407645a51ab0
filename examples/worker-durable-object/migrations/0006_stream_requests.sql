-- The request that a stream answers: a mark that tells it from other requests under the same key.
--
-- NULL where it is not known, as in the rows of the JavaScript packages and of requests without a key.
-- No index: the id of such a stream is made from the key, so that the primary key finds it, and creating it costs what
-- it did.

ALTER TABLE "aibind_stream_status" ADD COLUMN request TEXT;
