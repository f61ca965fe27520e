-- When the log of a partition is gone and another takes its place, what was counted from the old one stays. Its offsets
-- are moved below 0, in their order, so that no place stands for two records: -1 is the last of the log before.
CREATE TABLE replaced_log (
    topic        text        NOT NULL,
    partition    integer     NOT NULL,
    ended_at     bigint      NOT NULL,
    after_report bigint      NOT NULL,
    replaced_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, after_report, replaced_at)
);
COMMENT ON COLUMN replaced_log.ended_at IS 'the position in the old log: by as much its offsets were moved';
COMMENT ON COLUMN replaced_log.after_report IS 'the sequence of the last report that was made from the old log';

-- The vector of a report in today's offsets: what it had counted is below it, and nothing else.
CREATE FUNCTION offsets_now(offsets jsonb, sequence bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT COALESCE(jsonb_object_agg(topic.key, (
        SELECT jsonb_object_agg(partition.key, partition.value::bigint - COALESCE((
            SELECT sum(ended_at) FROM replaced_log r
            WHERE r.topic = topic.key AND r.partition = partition.key::integer AND r.after_report >= offsets_now.sequence), 0))
        FROM jsonb_each_text(topic.value) AS partition
    )), '{}') FROM jsonb_each(offsets) AS topic
$$;
