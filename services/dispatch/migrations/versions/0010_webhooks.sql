-- Where a project's events are posted to, how far each endpoint has been told, and what it still has to be told.

CREATE TABLE dispatch.webhooks (
    id              uuid        PRIMARY KEY,
    project_id      text        COLLATE "C" NOT NULL,
    url             text        NOT NULL,
    description     text        NOT NULL,
    types           text[]      NOT NULL,              -- empty: all
    enabled         boolean     NOT NULL,
    key_id          text        NOT NULL,              -- the secret, sealed by ConfigService's vault
    secret          bytea       NOT NULL,
    version         integer     NOT NULL,              -- counts the secrets; part of what each is sealed for
    older_key_id    text,                              -- the secret before, which signs too until older_until
    older_secret    bytea,
    older_version   integer,
    older_until     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    failing_since   timestamptz,                       -- null while the last post went well
    last_error      text        NOT NULL DEFAULT '',
    disabled_reason text        NOT NULL DEFAULT '',
    -- Everything of the project's events up to here is in webhook_posts, or was not wanted.
    at_transaction  bigint      NOT NULL,
    at_message      uuid        NOT NULL,
    at_sequence     bigint      NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX webhooks_by_project ON dispatch.webhooks (project_id, created_at, id);

CREATE TABLE dispatch.webhook_posts (
    webhook_id uuid        NOT NULL REFERENCES dispatch.webhooks ON DELETE CASCADE,
    message_id uuid        NOT NULL,
    sequence   bigint      NOT NULL,
    project_id text        NOT NULL,
    due_at     timestamptz NOT NULL DEFAULT now(),     -- when it may be posted; the end of the lease while it is
    tries      integer     NOT NULL DEFAULT 0,         -- grows with every post: who finishes one names it
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (webhook_id, message_id, sequence)
) WITH (fillfactor = 70);
CREATE INDEX webhook_posts_due ON dispatch.webhook_posts (webhook_id, due_at);
COMMENT ON TABLE dispatch.webhook_posts IS
    'Events on their way to an endpoint. Of one message only the first may be posted: the others wait for it.';
