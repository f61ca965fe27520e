-- How far the last report has proven that every record is accounted for. The next proof begins there.
CREATE TABLE proven_position (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    records     bigint  NOT NULL,
    duplicates  bigint  NOT NULL,
    rejected    bigint  NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE proven_position IS 'the numbers of partition_position at the last proof';

-- Facts by offset. Each partition has offsets of its own, so neighbouring rows have offsets far apart, and one minimum and
-- one maximum for each part of the table would not tell them apart.
CREATE INDEX ledger_entry_offsets ON ledger_entry USING brin (kafka_offset int8_minmax_multi_ops);
CREATE INDEX history_offsets ON history USING brin (kafka_offset int8_minmax_multi_ops);

-- Proofs of the whole ledger.
CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    by      text        NOT NULL,
    records bigint      NOT NULL,
    seconds integer     NOT NULL,
    outcome text        NOT NULL
);
COMMENT ON COLUMN audit.outcome IS 'empty if everything agrees, otherwise the first difference';

-- Last, because it locks the ledger for readers, too.
DROP INDEX ledger_entry_offset;
