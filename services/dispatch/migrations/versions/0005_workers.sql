-- Who works, whom nobody survives, and what was retried. Adding a column with a constant default rewrites no table.

CREATE TABLE dispatch.workers (
    name       text        PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE dispatch.workers IS
    'The dispatchers that live: each says so every second. A preference, never a right: that is a lease.';

CREATE INDEX queue_suspects ON dispatch.queue (due_at) WHERE claims >= 2;
COMMENT ON COLUMN dispatch.queue.claims IS
    'How often it was taken since an attempt of it last ended or it was put off: each time but the last one its dispatcher died.';

ALTER TABLE dispatch.completions
    ADD COLUMN generation    integer     NOT NULL DEFAULT 1,
    ADD COLUMN after_attempt integer     NOT NULL DEFAULT 0,
    ADD COLUMN deadline      timestamptz,
    ADD COLUMN retrying      boolean     NOT NULL DEFAULT false;
COMMENT ON COLUMN dispatch.completions.generation IS 'How often it was dispatched: once, and once more with each retry.';
COMMENT ON COLUMN dispatch.completions.after_attempt IS 'The last attempt of the generations before.';
COMMENT ON COLUMN dispatch.completions.deadline IS 'The deadline of this generation; null in the first, whose deadline is the message''s.';
COMMENT ON COLUMN dispatch.completions.retrying IS 'It was retried and has not ended again.';
CREATE INDEX completions_dead ON dispatch.completions (message_id DESC) WHERE state IN (6, 9);
COMMENT ON INDEX dispatch.completions_dead IS 'The dead letters: FAILED and UNKNOWN.';
