-- name: partitions
SELECT topic, partition, next_offset, epoch, owner, halted_reason, records, duplicates, rejected
FROM partition_position ORDER BY topic, partition

-- name: workers
-- A worker without a heartbeat for the duration of a lease ($1) is dead.
SELECT w.name, round(extract(epoch FROM clock_timestamp() - w.seen_at), 1)::float8 AS age_seconds,
       w.seen_at <= clock_timestamp() - $1::interval AS dead,
       (SELECT count(*) FROM partition_position p WHERE p.owner = w.name) AS partitions
FROM worker w ORDER BY w.name

-- name: publisher
-- The publisher that leads or led last. Without a heartbeat for $1 it is dead.
SELECT round(extract(epoch FROM clock_timestamp() - seen_at), 1)::float8 AS age_seconds,
       seen_at <= clock_timestamp() - $1::interval AS dead
FROM publisher_leader

-- name: rejects
SELECT topic, reason, count(*) AS n FROM rejected GROUP BY topic, reason ORDER BY n DESC, topic, reason LIMIT 20

-- name: weeks
SELECT week::text, state, held_until::text, held_because, barrier FROM week_close ORDER BY state IN ('published', 'final'), week DESC LIMIT 10

-- name: unsent
SELECT count(*) FROM outbox WHERE sent_at IS NULL

-- name: open_conflicts
SELECT count(*) FROM open_conflict
