-- Rejects are found by what is asked of them, however many there are: by the breaker what this program failed on, with
-- each batch that has a reject; by the purge what was kept long enough.
CREATE INDEX rejected_internal_error ON rejected (topic, partition, kafka_offset) WHERE reason = 'internal_error';
CREATE INDEX rejected_raw_kept_until ON rejected_raw (kept_until);
