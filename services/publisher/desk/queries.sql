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

-- name: weeks
SELECT week::text, state, held_until::text, held_because, released_by, barrier FROM week_close
ORDER BY state IN ('published', 'final'), week DESC LIMIT 10

-- name: closes
SELECT week, state FROM week_close

-- name: restatements
-- Requests without an outcome, with the vector of the week's newest revision: the positions must reach it first.
SELECT q.week::text, q.by, q.reason, date_trunc('second', q.requested_at)::text AS requested_at, n.offsets
FROM restatement_request q
LEFT JOIN LATERAL (
    SELECT offsets_now(r.figures -> 'offsets', r.sequence) AS offsets FROM report r WHERE r.week = q.week ORDER BY r.revision DESC LIMIT 1
) AS n ON true
WHERE q.outcome IS NULL ORDER BY q.id LIMIT 20

-- name: failed_verifications
SELECT week::text, date_trunc('second', verified_at)::text AS verified_at, records, is_sample, outcome
FROM verification WHERE outcome <> '' ORDER BY week DESC LIMIT 20

-- name: last_audit
SELECT date_trunc('second', at)::text AS at, by, records, seconds, outcome FROM audit ORDER BY id DESC LIMIT 1

-- name: unsent
SELECT count(*) FROM outbox WHERE sent_at IS NULL

-- name: oldest_unsent
SELECT topic, date_trunc('second', created_at)::text AS created_at,
       greatest(0, round(extract(epoch FROM clock_timestamp() - created_at)))::float8 AS age_seconds
FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1

-- name: unsent_reports
-- Weeks with a revision that is written, but not on report-ready.
SELECT DISTINCT encode(key, 'escape') AS week FROM outbox WHERE sent_at IS NULL AND topic = 'report-ready' ORDER BY 1 LIMIT 20

-- name: actions
SELECT date_trunc('second', at)::text AS at, by, action, subject, detail FROM operator_action ORDER BY id DESC LIMIT 50

-- name: rejects
SELECT topic, reason, count(*) AS n FROM rejected GROUP BY topic, reason ORDER BY n DESC, topic, reason LIMIT 20

-- name: open_conflicts
SELECT count(*) FROM open_conflict

-- name: heard
-- The agencies with a fact or an attestation of these weeks.
SELECT l.week::text AS week, a.name AS agency FROM ledger_entry l JOIN agency a ON a.id = l.agency WHERE l.week = ANY ($1::date[])
UNION
SELECT t.week::text, a.name FROM attestation t JOIN agency a ON a.id = t.agency WHERE t.week = ANY ($1::date[])
