-- Analytics: sums of events by hour and by day (ADR 0026).

CREATE TABLE dispatch.rollups (
    project_id  text        NOT NULL,
    span        text        NOT NULL,              -- hour or day
    start       timestamptz NOT NULL,
    channel     smallint    NOT NULL,              -- messagepipe.type.v1.Channel
    provider_id text        NOT NULL,              -- '' where no provider had a part
    kind        text        NOT NULL,
    sent        bigint      NOT NULL DEFAULT 0,
    delivered   bigint      NOT NULL DEFAULT 0,
    failed      bigint      NOT NULL DEFAULT 0,
    bounced     bigint      NOT NULL DEFAULT 0,
    failed_over bigint      NOT NULL DEFAULT 0,
    rescued     bigint      NOT NULL DEFAULT 0,
    latencies   bigint[]    NOT NULL,              -- attempts by the buckets of services.dispatch.rollup
    PRIMARY KEY (project_id, span, start, channel, provider_id, kind)
) WITH (fillfactor = 70);
CREATE INDEX rollups_by_age ON dispatch.rollups (start);
COMMENT ON TABLE dispatch.rollups IS 'What analytics show. Kept for 400 days.';

CREATE TABLE dispatch.rollup_cursors (
    project_id     text        PRIMARY KEY,
    transaction_id bigint      NOT NULL,
    message_id     uuid        NOT NULL,
    sequence       bigint      NOT NULL,
    counted_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE dispatch.rollup_cursors IS
    'The last event of each project that is counted: moved in the transaction that counts, so that none counts twice.';
