-- What the delivery log reads: indexes, and marks that lead to any page (ADR 0025).

-- The same columns in one direction, so that a pair of them can bound a scan, forwards or backwards.
DROP INDEX dispatch.messages_by_project;
CREATE INDEX messages_by_project ON dispatch.messages (project_id, id);
CREATE INDEX messages_by_channel ON dispatch.messages (project_id, channel, id);
CREATE INDEX messages_by_recipient ON dispatch.messages (project_id, recipient, id);

ALTER TABLE dispatch.completions ADD COLUMN project_id text NOT NULL DEFAULT '';
UPDATE dispatch.completions c SET project_id = m.project_id
FROM dispatch.messages m WHERE m.id = c.message_id AND c.state NOT IN (3, 4);
CREATE INDEX completions_rare ON dispatch.completions (project_id, state, message_id) WHERE state NOT IN (3, 4);
COMMENT ON COLUMN dispatch.completions.project_id IS
    'Whose message it is. Empty in rows that an older dispatcher wrote; housekeeping fills it in where the index needs it.';
COMMENT ON INDEX dispatch.completions_rare IS 'What ended neither SENT nor DELIVERED, by project.';

CREATE TABLE dispatch.log_marks (
    project_id text     NOT NULL,
    channel    smallint NOT NULL,                  -- messagepipe.type.v1.Channel; 0: all of them
    ordinal    bigint   NOT NULL,
    message_id uuid     NOT NULL,
    PRIMARY KEY (project_id, channel, ordinal)
);
CREATE INDEX log_marks_by_age ON dispatch.log_marks (message_id);
COMMENT ON TABLE dispatch.log_marks IS
    'Every thousandth message of a project, and of a channel of it, counted from the oldest: a page far back starts at one.';

CREATE TABLE dispatch.log_heads (
    project_id text     NOT NULL,
    channel    smallint NOT NULL,
    ordinal    bigint   NOT NULL,
    message_id uuid     NOT NULL,
    PRIMARY KEY (project_id, channel)
) WITH (fillfactor = 50);
COMMENT ON TABLE dispatch.log_heads IS 'How far the messages are counted. What is newer than a minute is not.';
