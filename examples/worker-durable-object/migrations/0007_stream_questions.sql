-- The question that a stream answers, in the conversation of its session: the answer of a producer that was lost is
-- stored below it, also where the question was asked again and names another stream.
--
-- NULL where it is not known, as in the rows of the JavaScript packages. It is written with the row and never changes.

ALTER TABLE "aibind_stream_status" ADD COLUMN question_id TEXT;
