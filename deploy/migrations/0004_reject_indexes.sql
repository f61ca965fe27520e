-- What this program failed on, found among however many rejects of other reasons: the breaker asks with each batch that has one.
CREATE INDEX rejected_internal_error ON rejected (topic, partition, kafka_offset) WHERE reason = 'internal_error';
