-- What is kept for a time only: messages that were sent, and rejects that neither a report nor a replay needs. How many
-- rejects were deleted stays, by partition, because every record must be accounted for.
CREATE TABLE pruned_reject (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    records   bigint  NOT NULL CHECK (records > 0),
    PRIMARY KEY (topic, partition)
);
CREATE INDEX rejected_prunable ON rejected (rejected_at) WHERE redriven_at IS NULL AND reason <> 'internal_error';
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX outbox_unsent_key ON outbox (topic, key) WHERE sent_at IS NULL;
