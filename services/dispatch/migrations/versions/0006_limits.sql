-- Fair turns between projects, and what providers allow. The columns have constant defaults: a dispatcher of the version
-- before can go on writing rows while this one is rolled out; its rows stand in a line of their own.

ALTER TABLE dispatch.queue
    ADD COLUMN project_id text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN waits_for  text COLLATE "C" NOT NULL DEFAULT '';
UPDATE dispatch.queue q SET project_id = m.project_id FROM dispatch.messages m WHERE m.id = q.id;
CREATE INDEX queue_by_project ON dispatch.queue (project_id, due_at);
CREATE INDEX queue_by_provider ON dispatch.queue (waits_for, id) WHERE waits_for <> '' AND worker IS NULL;
COMMENT ON COLUMN dispatch.queue.project_id IS 'Whose message it is: projects take turns.';
COMMENT ON COLUMN dispatch.queue.waits_for IS
    'The provider that it waits for, because that one is at its limit; due_at is then the latest time to look again.';

CREATE TABLE dispatch.provider_limits (
    provider_id text        PRIMARY KEY,
    project_id  text        NOT NULL,
    free_at     timestamptz NOT NULL,              -- until then every call that ratePerSecond allows is given out
    seen_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE dispatch.provider_limits IS
    'One row per provider with a limit: who gives out calls or slots locks it. Dispatchers take some at a time.';

CREATE TABLE dispatch.provider_slots (
    provider_id text        NOT NULL,
    worker      text        NOT NULL,
    slots       integer     NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (provider_id, worker)
) WITH (fillfactor = 50);
COMMENT ON TABLE dispatch.provider_slots IS
    'How many of a provider''s maxConcurrency calls a dispatcher may have open; what a dead one had expires.';
