-- Idempotency keys (R9). The unique index decides who was first, in the commit that accepts the message.

CREATE TABLE dispatch.idempotency_keys (
    project_id  text        COLLATE "C" NOT NULL,
    key         text        COLLATE "C" NOT NULL,
    fingerprint bytea       NOT NULL,              -- SHA-256 of the project and the request without its key
    message_id  uuid,                              -- null: the key of a whole bulk request
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (project_id, key)
);
CREATE INDEX idempotency_keys_by_age ON dispatch.idempotency_keys (expires_at);
COMMENT ON TABLE dispatch.idempotency_keys IS
    'Which message a key stands for. A row whose time is over counts as gone, and is swept later.';
