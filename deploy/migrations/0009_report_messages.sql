-- The outbox retains its messages for report-ready permanently. Streams of announcements read them in the order of the topic.
CREATE INDEX outbox_reports ON outbox (sent_offset) WHERE topic = 'report-ready';
