-- The tables of DispatchService. Hot ones are narrow; the payload lies apart.

CREATE TABLE dispatch.messages (
    id         uuid        PRIMARY KEY,            -- UUIDv7, shard in its last ten bits
    project_id text        NOT NULL,
    channel    smallint    NOT NULL,               -- messagepipe.type.v1.Channel
    recipient  text        NOT NULL,
    spec       bytea       NOT NULL,               -- messagepipe.dispatch.v1.MessageSpec as accepted
    labels     bytea       NOT NULL,               -- a MessageSpec with tags and metadata only: lists need no more
    deadline   timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX messages_by_project ON dispatch.messages (project_id, id DESC);
COMMENT ON TABLE dispatch.messages IS 'What was accepted. Immutable.';

CREATE TABLE dispatch.queue (
    id         uuid        PRIMARY KEY,
    due_at     timestamptz NOT NULL,
    worker     text,
    epoch      integer     NOT NULL,
    claims     integer     NOT NULL DEFAULT 0
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_due ON dispatch.queue (due_at);
COMMENT ON TABLE dispatch.queue IS 'Messages whose dispatch has not ended. A row goes when its message reaches a final state.';
COMMENT ON COLUMN dispatch.queue.due_at IS
    'When it may be claimed: the time of its next attempt while nobody holds it, the end of the lease while worker does.';
COMMENT ON COLUMN dispatch.queue.epoch IS 'Fencing number: grows with every claim; every write names the epoch it was made under.';

CREATE TABLE dispatch.attempts (
    message_id          uuid        NOT NULL,
    number              integer     NOT NULL,
    round               integer     NOT NULL,
    epoch               integer     NOT NULL,
    provider_id         text        NOT NULL,
    kind                text        NOT NULL,
    provider_name       text        NOT NULL,
    chain_version       bigint      NOT NULL,
    started_at          timestamptz NOT NULL DEFAULT now(),
    finished_at         timestamptz,
    outcome             smallint,                  -- messagepipe.dispatch.v1.Attempt.Outcome
    reason              text        NOT NULL DEFAULT '',
    provider_code       text        NOT NULL DEFAULT '',
    provider_text       text        NOT NULL DEFAULT '',
    provider_message_id text        NOT NULL DEFAULT '',
    latency             double precision,          -- seconds
    retry_after         double precision,          -- seconds
    PRIMARY KEY (message_id, number),
    CHECK ((finished_at IS NULL) = (outcome IS NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX attempts_one_open ON dispatch.attempts (message_id) WHERE finished_at IS NULL;
COMMENT ON TABLE dispatch.attempts IS 'Written before the wire. At most one attempt of a message is open.';

CREATE TABLE dispatch.completions (
    message_id         uuid        PRIMARY KEY,
    state              smallint    NOT NULL,       -- messagepipe.dispatch.v1.Message.State
    reason             text        NOT NULL,
    provider_id        text        NOT NULL,
    kind               text        NOT NULL,
    possible_duplicate boolean     NOT NULL,
    completed_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE dispatch.completions IS 'How the dispatch of a message ended: one row each, written when its queue row goes.';

CREATE TABLE dispatch.events (
    message_id     uuid        NOT NULL,
    sequence       bigint      NOT NULL,           -- per message from 1, gap-free: assigned by the holder of the lease
    project_id     text        NOT NULL,
    transaction_id bigint      NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    occurred_at    timestamptz NOT NULL DEFAULT now(),
    payload        bytea       NOT NULL,           -- messagepipe.dispatch.v1.DeliveryEvent without id, sequence and time
    PRIMARY KEY (message_id, sequence)
);
CREATE INDEX events_by_project ON dispatch.events (project_id, transaction_id, message_id, sequence);
COMMENT ON TABLE dispatch.events IS 'What happened: streams, history and (later) webhooks are this one list.';
COMMENT ON COLUMN dispatch.events.transaction_id IS
    'Orders the events of a project: readers stay below pg_snapshot_xmin, because identity values are not commit-ordered.';

CREATE TABLE dispatch.evidence (
    message_id          uuid        NOT NULL,
    number              integer     NOT NULL,
    epoch               integer     NOT NULL,
    outcome             smallint    NOT NULL,
    reason              text        NOT NULL,
    provider_code       text        NOT NULL,
    provider_text       text        NOT NULL,
    provider_message_id text        NOT NULL,
    learned_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX evidence_by_message ON dispatch.evidence (message_id);
COMMENT ON TABLE dispatch.evidence IS 'Results that came after their lease was lost: they change nothing by themselves and are not thrown away.';

CREATE TABLE dispatch.provider_health (
    provider_id    text        NOT NULL,
    scope          text        NOT NULL,           -- '' or 'country:NG' or 'sender:…'
    project_id     text        NOT NULL,
    config_version bigint      NOT NULL,
    block          text        NOT NULL,           -- DENIED or COOLDOWN
    reason         text        NOT NULL,
    detail         text        NOT NULL,
    until          timestamptz,
    marked_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider_id, scope)
);
COMMENT ON TABLE dispatch.provider_health IS 'What attempts taught about providers; shared by every worker.';
