-- Receipts, and what they change. Adding a column with a constant default rewrites no table.

ALTER TABLE dispatch.attempts
    ADD COLUMN receipt        text    NOT NULL DEFAULT '',     -- services.adapters.receipts.ReceiptStatus, only forward
    ADD COLUMN route_at_fault boolean NOT NULL DEFAULT false,
    ADD COLUMN receipt_at     timestamptz;
CREATE INDEX attempts_by_reference ON dispatch.attempts (provider_id, provider_message_id) WHERE provider_message_id <> '';
CREATE INDEX evidence_by_reference ON dispatch.evidence (provider_message_id) WHERE provider_message_id <> '';

ALTER TABLE dispatch.completions
    ADD COLUMN duplicates integer NOT NULL DEFAULT 0,
    ADD COLUMN epoch      integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN dispatch.completions.epoch IS
    'The last epoch of the dispatch: a message that goes back into the queue goes on above it, so that old holders stay fenced.';
COMMENT ON COLUMN dispatch.completions.completed_at IS 'When the dispatch ended first; receipts change the state, not this.';
COMMENT ON TABLE dispatch.queue IS
    'Messages that somebody has to look at: their dispatch has not ended, or it has and a receipt is waited for or came.';

CREATE TABLE dispatch.receipt_calls (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id text        NOT NULL,
    body        bytea       NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX receipt_calls_by_age ON dispatch.receipt_calls (received_at);
COMMENT ON TABLE dispatch.receipt_calls IS 'What providers sent, byte for byte, once its signature was found right; kept for 72 hours.';

CREATE TABLE dispatch.receipts (
    id                  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id         text        NOT NULL,
    event_id            text        NOT NULL,          -- the provider's own, else a hash of what it says
    call_id             bigint      NOT NULL,
    status              text        NOT NULL,          -- services.adapters.receipts.ReceiptStatus
    provider_message_id text        NOT NULL,
    our_message_id      uuid,                          -- when it came along
    occurred_at         timestamptz,
    recipient           text        NOT NULL,
    route_at_fault      boolean     NOT NULL,
    provider_status     text        NOT NULL,
    detail              text        NOT NULL,
    received_at         timestamptz NOT NULL DEFAULT now(),
    look_at             timestamptz DEFAULT now(),     -- null once it was matched and took effect
    message_id          uuid,
    number              integer,
    told                boolean     NOT NULL DEFAULT false,
    UNIQUE (provider_id, event_id)
);
CREATE INDEX receipts_to_look_at ON dispatch.receipts (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX receipts_by_message ON dispatch.receipts (message_id) WHERE message_id IS NOT NULL;
COMMENT ON TABLE dispatch.receipts IS
    'What providers told, in our words and theirs. One that fits no attempt is looked at again for 72 hours and then dropped.';
