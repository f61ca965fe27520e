-- name: try_lead
SELECT pg_try_advisory_lock(hashtextextended('ddor-publisher', 0)) AS leads

-- name: closes
SELECT week, state, barrier FROM week_close ORDER BY week

-- name: positions
SELECT topic, partition, next_offset, records, duplicates, rejected, halted_reason FROM partition_position
ORDER BY topic, partition

-- name: store_barrier
INSERT INTO week_close (week, state, barrier, barrier_at) VALUES ($1, 'draining', $2, $3)
ON CONFLICT (week) DO UPDATE SET state = 'draining', barrier = EXCLUDED.barrier, barrier_at = EXCLUDED.barrier_at
WHERE week_close.barrier IS NULL

-- name: request_close
INSERT INTO week_close (week, state, requested_by, requested_at) VALUES ($1, 'requested', $2, $3) ON CONFLICT DO NOTHING

-- name: mark_published
UPDATE week_close SET state = 'published' WHERE week = $1

-- name: unequal
-- Invariant: for each (week, jurisdiction, kind), n = facts not withdrawn, and no row with n = 0.
SELECT jurisdiction, kind, COALESCE(c.n, 0) AS counted, COALESCE(l.n, 0) AS in_ledger
FROM (SELECT jurisdiction, kind, n FROM weekly_counter WHERE week = $1) AS c
FULL JOIN (SELECT jurisdiction, kind::text AS kind, count(*) AS n FROM ledger_entry
           WHERE week = $1 AND NOT withdrawn GROUP BY jurisdiction, kind) AS l USING (jurisdiction, kind)
WHERE c.n IS DISTINCT FROM l.n

-- name: unaccounted
-- Invariant: for each partition, records below the position = ledger + history + duplicates + rejected.
SELECT p.topic, p.partition, p.records, p.duplicates, p.rejected,
       COALESCE(f.n, 0) AS facts, COALESCE(r.n, 0) AS rejects
FROM partition_position p
LEFT JOIN (SELECT 'detainer-' || kind::text AS topic, partition::integer AS partition, count(*) AS n
           FROM (SELECT kind, partition FROM ledger_entry UNION ALL SELECT kind, partition FROM history) AS fact
           GROUP BY kind, partition) AS f USING (topic, partition)
LEFT JOIN (SELECT topic, partition, count(*) AS n FROM rejected GROUP BY topic, partition) AS r USING (topic, partition)
WHERE p.records <> COALESCE(f.n, 0) + p.duplicates + p.rejected OR p.rejected <> COALESCE(r.n, 0)

-- name: counters
SELECT jurisdiction, kind, n FROM weekly_counter WHERE week = $1

-- name: agencies_heard
SELECT a.name AS agency, l.kind::text AS kind, count(*) FILTER (WHERE NOT l.withdrawn) AS n
FROM ledger_entry l JOIN agency a ON a.id = l.agency WHERE l.week = $1 GROUP BY a.name, l.kind

-- name: withdrawn
SELECT count(*) FROM ledger_entry WHERE week = $1 AND withdrawn

-- name: forms
SELECT form, count(*) AS n FROM ledger_entry WHERE week = $1 AND kind = 'issued' AND NOT withdrawn GROUP BY form

-- name: declines
SELECT d.reason, d.citizenship, d.offenses, d.issued_at, d.declined_at, d.recorded_at
FROM ledger_entry l JOIN decline_detail d USING (agency, detainer_id)
WHERE l.week = $1 AND l.kind = 'declined' AND NOT l.withdrawn

-- name: add_input
INSERT INTO input (sha256, name, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: add_report
INSERT INTO report (week, revision, cause, digest, figures_digest, previous_digest, figures, published_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: add_outbox
INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at) VALUES ($1, $2, $3, $4, $5, $6)

-- name: unsent
SELECT id, topic, key, value, headers, timestamp_ms, created_at FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 100

-- name: mark_sent
UPDATE outbox SET sent_at = $2, sent_offset = $3 WHERE id = $1 AND sent_at IS NULL

-- name: outbox_oldest
SELECT min(created_at) FROM outbox WHERE sent_at IS NULL

-- name: reports
SELECT DISTINCT ON (week) week, revision, digest, published_at, figures -> 'totals' AS totals,
       (figures ->> 'demonstration')::boolean AS demonstration
FROM report WHERE published_at <= COALESCE($1::timestamptz, 'infinity') ORDER BY week DESC, revision DESC

-- name: report
SELECT week, revision, digest, figures, published_at FROM report
WHERE week = COALESCE($1::date, (SELECT max(week) FROM report WHERE published_at <= COALESCE($3::timestamptz, 'infinity')))
  AND revision = COALESCE($2::integer, revision) AND published_at <= COALESCE($3::timestamptz, 'infinity')
ORDER BY revision DESC LIMIT 1
