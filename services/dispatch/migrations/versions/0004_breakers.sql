-- One row per provider, and per scope in which it refused to work. What the old table held is learned again by the next
-- message: it is not worth a conversion.

DROP TABLE dispatch.provider_health;
CREATE TABLE dispatch.provider_health (
    provider_id     text             NOT NULL,
    scope           text             NOT NULL,      -- '' or 'country:NG' or 'sender:…'
    project_id      text             NOT NULL,
    channel         smallint         NOT NULL,      -- messagepipe.type.v1.Channel
    kind            text             NOT NULL,
    provider_name   text             NOT NULL,
    config_version  bigint           NOT NULL,      -- what is known of an older one counts for nothing
    block           text             NOT NULL DEFAULT '',  -- DENIED or BREAKER_OPEN; '' while the breaker is closed
    reason          text             NOT NULL DEFAULT '',
    detail          text             NOT NULL DEFAULT '',
    opened_at       timestamptz,
    until           timestamptz,                    -- from when on one message may probe
    wait            double precision NOT NULL DEFAULT 0,   -- seconds; doubles with every probe that fails
    prober          text             NOT NULL DEFAULT '',  -- the message and attempt that probes
    probed_until    timestamptz,                    -- when its right to probe ends
    engaged         boolean          NOT NULL DEFAULT false,
    returned_at     timestamptz,                    -- when it closed last
    failure_seconds bigint[]         NOT NULL DEFAULT '{}',  -- of the last minute, while closed: the second and how many
    failure_counts  integer[]        NOT NULL DEFAULT '{}',
    cools_until     timestamptz,
    cool_reason     text             NOT NULL DEFAULT '',
    cool_detail     text             NOT NULL DEFAULT '',
    revision        bigint           NOT NULL DEFAULT 0,
    touched_at      timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (provider_id, scope)
) WITH (fillfactor = 70);
COMMENT ON TABLE dispatch.provider_health IS
    'Providers that failed lately, and how their breakers stand; shared by every worker. A healthy provider has no row.';

CREATE TABLE dispatch.provider_answers (
    provider_id text        NOT NULL,
    worker      text        NOT NULL,
    accepted    integer     NOT NULL,
    counted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider_id, worker)
) WITH (fillfactor = 70);
COMMENT ON TABLE dispatch.provider_answers IS
    'How many messages each worker saw a provider accept within the minute before counted_at; only of providers that failed lately.';
