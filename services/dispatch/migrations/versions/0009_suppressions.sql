-- Whom a project does not send to any more.

CREATE TABLE dispatch.suppressions (
    id         uuid        NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    project_id text        COLLATE "C" NOT NULL,
    channel    smallint    NOT NULL,               -- messagepipe.type.v1.Channel
    recipient  text        COLLATE "C" NOT NULL,   -- as services.dispatch.suppression.normalised writes it
    reason     text        NOT NULL,               -- services.dispatch.suppression.Cause
    message_id uuid,                               -- what taught it; null: somebody put it there
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, channel, recipient)
);
CREATE INDEX suppressions_by_age ON dispatch.suppressions (project_id, created_at DESC, id DESC);
COMMENT ON TABLE dispatch.suppressions IS
    'Recipients that no attempt may begin for: looked up by the very statement that begins attempts (ledger.py).';
