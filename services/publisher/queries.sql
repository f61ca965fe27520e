-- name: time
SELECT clock_timestamp()

-- name: leader
SELECT backend_pid, seen_at < clock_timestamp() - interval '10 seconds' AS stale FROM publisher_leader

-- name: try_lead
SELECT pg_try_advisory_lock(hashtextextended('ddor-publisher/' || current_schema(), 0)) AS leads

-- name: end_session
-- Only in this database: a restored copy of the database may name a session that now belongs to another publisher.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = $1 AND datname = current_database() AND application_name = 'ddor-publisher' AND pid <> pg_backend_pid()

-- name: claim_lead
INSERT INTO publisher_leader (seen_at, backend_pid) VALUES (clock_timestamp(), pg_backend_pid())
ON CONFLICT (singleton) DO UPDATE SET seen_at = EXCLUDED.seen_at, backend_pid = EXCLUDED.backend_pid
RETURNING backend_pid

-- name: heartbeat
UPDATE publisher_leader SET seen_at = clock_timestamp() WHERE backend_pid = $1

-- name: closes
SELECT week, state, barrier, held_until, released_at IS NOT NULL AS released FROM week_close ORDER BY week

-- name: close
SELECT state, held_until, released_by, released_at, release_note FROM week_close WHERE week = $1

-- name: positions
SELECT topic, partition, next_offset, rejected, halted_reason FROM partition_position ORDER BY topic, partition

-- name: set_barrier
INSERT INTO week_close (week, state, barrier) VALUES ($1, 'draining', $2)
ON CONFLICT (week) DO UPDATE SET state = 'draining', barrier = EXCLUDED.barrier WHERE week_close.barrier IS NULL

-- name: request_close
INSERT INTO week_close (week, state) VALUES ($1, 'requested') ON CONFLICT DO NOTHING

-- name: set_state
UPDATE week_close SET state = $2 WHERE week = $1

-- name: hold
UPDATE week_close SET state = 'held', held_until = COALESCE(held_until, $2), held_because = $3 WHERE week = $1

-- name: release
UPDATE week_close SET released_by = $2, released_at = $3, release_note = $4
WHERE week = $1 AND state = 'held' AND released_at IS NULL

-- name: add_transition
INSERT INTO week_transition (week, at, from_state, to_state, by, why) VALUES ($1, $2, $3, $4, $5, $6)

-- name: unequal
-- Invariant: for each (week, jurisdiction, kind), n = facts not withdrawn, and no row with n = 0.
SELECT $1::date AS week, jurisdiction, kind, COALESCE(c.n, 0) AS counted, COALESCE(l.n, 0) AS in_ledger
FROM (SELECT jurisdiction, kind, n FROM weekly_counter WHERE week = $1) AS c
FULL JOIN (SELECT jurisdiction, kind::text AS kind, count(*) AS n FROM ledger_entry
           WHERE week = $1 AND NOT withdrawn GROUP BY jurisdiction, kind) AS l USING (jurisdiction, kind)
WHERE c.n IS DISTINCT FROM l.n

-- name: unequal_weeks
-- Like `unequal`, for all weeks.
SELECT week, jurisdiction, kind, COALESCE(c.n, 0) AS counted, COALESCE(l.n, 0) AS in_ledger
FROM weekly_counter c
FULL JOIN (SELECT week, jurisdiction, kind::text AS kind, count(*) AS n FROM ledger_entry
           WHERE NOT withdrawn GROUP BY week, jurisdiction, kind) AS l USING (week, jurisdiction, kind)
WHERE c.n IS DISTINCT FROM l.n ORDER BY week, jurisdiction, kind

-- name: is_unproven
-- Whether a partition has no proven position yet.
SELECT EXISTS (SELECT topic, partition FROM partition_position EXCEPT SELECT topic, partition FROM proven_position)

-- name: unaccounted_since
-- Like `unaccounted`, for the records between the proven positions and the current ones. All rejects are counted: they are
-- few, and deleted after a time. The upper bounds of the offsets are for the index: the offsets of partitions differ.
SELECT p.topic, p.partition, p.records - q.records AS records, p.duplicates - q.duplicates AS duplicates,
       p.rejected - q.rejected AS rejected, f.n AS facts,
       COALESCE(r.n, 0) + COALESCE(g.records, 0) - q.rejected AS rejects
FROM partition_position p JOIN proven_position q USING (topic, partition)
CROSS JOIN LATERAL (
    SELECT (SELECT count(*) FROM ledger_entry WHERE 'detainer-' || kind::text = p.topic AND partition = p.partition
            AND kafka_offset >= q.next_offset AND kafka_offset < p.next_offset)
         + (SELECT count(*) FROM history WHERE 'detainer-' || kind::text = p.topic AND partition = p.partition
            AND kafka_offset >= q.next_offset AND kafka_offset < p.next_offset)
         + (SELECT count(*) FROM attestation WHERE 'week-attested' = p.topic AND partition = p.partition
            AND kafka_offset >= q.next_offset AND kafka_offset < p.next_offset) AS n
) AS f
LEFT JOIN (SELECT topic, partition, count(*) AS n FROM rejected GROUP BY topic, partition) AS r USING (topic, partition)
LEFT JOIN pruned_reject g USING (topic, partition)
WHERE p.records - q.records <> f.n + p.duplicates - q.duplicates + p.rejected - q.rejected
   OR p.rejected <> COALESCE(r.n, 0) + COALESCE(g.records, 0)

-- name: keep_proof
INSERT INTO proven_position (topic, partition, next_offset, records, duplicates, rejected)
SELECT topic, partition, next_offset, records, duplicates, rejected FROM partition_position
ON CONFLICT (topic, partition) DO UPDATE SET
    next_offset = EXCLUDED.next_offset, records = EXCLUDED.records, duplicates = EXCLUDED.duplicates, rejected = EXCLUDED.rejected

-- name: unaccounted
-- Invariant: for each partition, records below the position = ledger + history + duplicates + rejected, and each reject is
-- stored, or was pruned after its retention period. Counts the whole ledger.
SELECT p.topic, p.partition, p.records, p.duplicates, p.rejected,
       COALESCE(f.n, 0) AS facts, COALESCE(r.n, 0) + COALESCE(g.records, 0) AS rejects
FROM partition_position p
LEFT JOIN (SELECT 'detainer-' || kind::text AS topic, partition::integer AS partition, count(*) AS n
           FROM (SELECT kind, partition FROM ledger_entry UNION ALL SELECT kind, partition FROM history) AS fact
           GROUP BY kind, partition
           UNION ALL
           SELECT 'week-attested', partition, count(*) FROM attestation GROUP BY partition) AS f USING (topic, partition)
LEFT JOIN (SELECT topic, partition, count(*) AS n FROM rejected GROUP BY topic, partition) AS r USING (topic, partition)
LEFT JOIN pruned_reject g USING (topic, partition)
WHERE p.records <> COALESCE(f.n, 0) + p.duplicates + p.rejected OR p.rejected <> COALESCE(r.n, 0) + COALESCE(g.records, 0)

-- name: counters
SELECT jurisdiction, kind, n FROM weekly_counter WHERE week = $1

-- name: agencies_heard
SELECT a.name AS agency, l.kind::text AS kind, count(*) FILTER (WHERE NOT l.withdrawn) AS n
FROM ledger_entry l JOIN agency a ON a.id = l.agency WHERE l.week = $1 GROUP BY a.name, l.kind

-- name: attested
SELECT agency, issued, declined FROM attested WHERE week = $1

-- name: withdrawn
SELECT count(*) FROM ledger_entry WHERE week = $1 AND withdrawn

-- name: forms
SELECT form, count(*) AS n FROM ledger_entry WHERE week = $1 AND kind = 'issued' AND NOT withdrawn GROUP BY form

-- name: declines
-- The kind is compared as text, here and in `unissued`. Otherwise the planner also reads the index of all declines.
SELECT l.jurisdiction, d.reason, d.citizenship, d.offenses, d.issued_at, d.declined_at, d.recorded_at
FROM ledger_entry l JOIN decline_detail d USING (agency, detainer_id)
WHERE l.week = $1 AND l.kind::text = 'declined' AND NOT l.withdrawn

-- name: unissued
SELECT count(*) FROM ledger_entry d
WHERE d.week = $1 AND d.kind::text = 'declined' AND NOT d.withdrawn
  AND NOT EXISTS (SELECT FROM ledger_entry i WHERE i.kind = 'issued' AND i.agency = d.agency AND i.detainer_id = d.detainer_id)

-- name: conflicts
SELECT (
    SELECT count(DISTINCT (l.kind, l.agency, l.detainer_id))
    FROM ledger_entry l JOIN history h USING (kind, agency, detainer_id, version) WHERE l.week = $1
) + (
    SELECT count(DISTINCT s.agency) FROM attested s JOIN attestation t USING (week, version)
    JOIN agency a ON a.id = t.agency AND a.name = s.agency
    WHERE s.week = $1 AND t.fingerprint <> s.fingerprint
)

-- name: declines_before
-- Declines of each agency in the eight weeks before, from the published reports.
SELECT figures -> 'scope' -> 'agencies' AS agencies FROM report r
WHERE week < $1 AND revision = (SELECT max(revision) FROM report n WHERE n.week = r.week)
ORDER BY week DESC LIMIT 8

-- name: changed_identities
-- Identities with a fact of the week above a vector, and all with a displaced fact of the week. A partition that the
-- vector does not name was added later.
SELECT kind::text AS kind, agency, detainer_id FROM ledger_entry l
LEFT JOIN unnest($2::text[], $3::integer[], $4::bigint[]) AS seen (topic, partition, next_offset)
  ON seen.topic = 'detainer-' || l.kind::text AND seen.partition = l.partition
WHERE l.week = $1 AND l.kafka_offset >= COALESCE(seen.next_offset, 0)
UNION
SELECT kind::text, agency, detainer_id FROM history WHERE week = $1

-- name: versions
WITH wanted AS (SELECT * FROM unnest($1::detainer_kind[], $2::smallint[], $3::uuid[]) AS w (kind, agency, detainer_id))
SELECT f.kind::text AS kind, f.agency, f.detainer_id, f.version, f.fingerprint, f.week, f.jurisdiction, f.withdrawn, f.partition,
       f.kafka_offset, r.topic IS NOT NULL AS redriven
FROM (
    SELECT kind, agency, detainer_id, version, fingerprint, week, jurisdiction, withdrawn, partition, kafka_offset
    FROM ledger_entry JOIN wanted USING (kind, agency, detainer_id)
    UNION ALL
    SELECT kind, agency, detainer_id, version, fingerprint, week, jurisdiction, withdrawn, partition, kafka_offset
    FROM history JOIN wanted USING (kind, agency, detainer_id)
) AS f
LEFT JOIN rejected r ON r.redriven_to = 'detainer-' || f.kind::text || '/' || f.partition || '/' || f.kafka_offset
ORDER BY f.kind, f.agency, f.detainer_id

-- name: newest
-- The newest revision of each other week that was first published since $2: these weeks are restated automatically.
SELECT r.week, r.revision, r.figures, offsets_now(r.figures -> 'offsets', r.sequence) AS offsets,
       offsets_now(f.figures -> 'offsets', f.sequence) AS first_offsets
FROM report r
JOIN week_close c ON c.week = r.week AND c.state IN ('closed', 'published')
JOIN report f ON f.week = r.week AND f.revision = 1 AND f.published_at >= $2
WHERE r.week <> $1 AND r.revision = (SELECT max(revision) FROM report n WHERE n.week = r.week)
ORDER BY r.week

-- name: over
-- Published weeks whose first revision was published before $1. They become final.
SELECT DISTINCT ON (r.week) r.week, r.revision, r.digest
FROM report r
JOIN week_close c ON c.week = r.week AND c.state = 'published'
JOIN report f ON f.week = r.week AND f.revision = 1 AND f.published_at < $1
ORDER BY r.week, r.revision DESC

-- name: newest_of
SELECT r.week, r.revision, r.figures, offsets_now(r.figures -> 'offsets', r.sequence) AS offsets,
       offsets_now(f.figures -> 'offsets', f.sequence) AS first_offsets
FROM report r JOIN report f ON f.week = r.week AND f.revision = 1
WHERE r.week = $1 ORDER BY r.revision DESC LIMIT 1

-- name: tip
SELECT sequence, digest FROM report ORDER BY sequence DESC LIMIT 1

-- name: add_input
INSERT INTO input (sha256, name, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: inputs
SELECT sha256, content FROM input WHERE sha256 = ANY ($1::text[])

-- name: newest_policies
SELECT content FROM policy_registry ORDER BY version DESC LIMIT 1

-- name: add_report
-- The report, and its figures as rows.
WITH added AS (
    INSERT INTO report (week, revision, cause, digest, figures_digest, previous_digest, figures, published_at, sequence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING week, revision, figures
)
INSERT INTO published_figure (week, revision, geoid, issued, declined)
SELECT week, revision, one ->> 'geoid', (one ->> 'issued')::integer, (one ->> 'declined')::integer
FROM added, jsonb_array_elements(figures -> 'jurisdictions') AS one

-- name: add_missing_figures
-- The rows of reports without any: a publisher of an earlier release wrote these reports after the migration.
INSERT INTO published_figure (week, revision, geoid, issued, declined)
SELECT r.week, r.revision, one ->> 'geoid', (one ->> 'issued')::integer, (one ->> 'declined')::integer
FROM report r, jsonb_array_elements(r.figures -> 'jurisdictions') AS one
WHERE NOT EXISTS (SELECT FROM published_figure p WHERE p.week = r.week AND p.revision = r.revision)

-- name: line_lists
SELECT week, revision, mode, sha256, content, cells, withdrawn_by FROM line_list WHERE week = $1 ORDER BY revision

-- name: was_recovered
-- Whether any revision, or one before $2, was recovered from its announcement, which contains no line list.
SELECT EXISTS (SELECT FROM report WHERE week = $1 AND figures ? 'recovered' AND ($2::integer IS NULL OR revision < $2))

-- name: add_line_list
INSERT INTO line_list (week, revision, mode, sha256, content, cells) VALUES ($1, $2, $3, $4, $5, $6)

-- name: withdraw_line_lists
UPDATE line_list SET content = NULL, cells = '[]', withdrawn_at = $2, withdrawn_by = $3, withdrawn_why = $4
WHERE week = $1 AND withdrawn_at IS NULL

-- name: request_restatement
INSERT INTO restatement_request (week, by, reason, requested_at) VALUES ($1, $2, $3, $4) RETURNING id

-- name: restatements
SELECT id, week, by, reason FROM restatement_request WHERE outcome IS NULL ORDER BY id

-- name: finish_restatement
UPDATE restatement_request SET outcome = $2 WHERE id = $1

-- name: add_refusal
INSERT INTO restatement_request (week, by, reason, requested_at, outcome) VALUES ($1, $2, 'scheduled', $3, $4)

-- name: refused
-- Weeks whose last completed restatement could not be proven, unless a later revision exists.
SELECT week, outcome FROM (
    SELECT DISTINCT ON (week) week, requested_at, outcome FROM restatement_request
    WHERE outcome IS NOT NULL ORDER BY week, id DESC
) AS last
WHERE starts_with(outcome, $1)
  AND requested_at >= (SELECT max(published_at) FROM report r WHERE r.week = last.week)
ORDER BY week

-- name: restatement_outcome
SELECT outcome FROM restatement_request WHERE id = $1

-- name: add_outbox
INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at) VALUES ($1, $2, $3, $4, $5, $6)

-- name: unsent
SELECT id, topic, key, value, headers, timestamp_ms FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 500

-- name: unsent_topics
SELECT DISTINCT topic FROM outbox WHERE sent_at IS NULL ORDER BY topic

-- name: unmarked
-- The events of $1 that are not marked as sent.
SELECT id, topic, headers ->> 'id' AS event_id, sha256(value) AS sha256 FROM outbox
WHERE sent_at IS NULL AND headers ->> 'id' = ANY ($1::text[]) ORDER BY id

-- name: last_sent
-- The offset of the last message of a topic that is marked as sent; null if there is none.
SELECT max(sent_offset) FROM outbox WHERE topic = $1

-- name: mark_sent
UPDATE outbox SET sent_at = $3, sent_offset = sent.kafka_offset
FROM unnest($1::bigint[], $2::bigint[]) AS sent (id, kafka_offset) WHERE outbox.id = sent.id AND sent_at IS NULL

-- name: sent_weeks
-- Closed weeks without an unsent message on report-ready.
SELECT c.week FROM week_close c
WHERE c.state = 'closed'
  AND NOT EXISTS (SELECT FROM outbox o WHERE o.sent_at IS NULL AND o.topic = 'report-ready' AND o.key = convert_to(c.week::text, 'UTF8'))

-- name: is_sent
-- Whether the outbox has no unsent report of this week.
SELECT NOT EXISTS (
    SELECT FROM outbox
    WHERE sent_at IS NULL AND topic IN ('report-ready', 'report-latest') AND key = convert_to($1::date::text, 'UTF8')
)

-- name: outbox_oldest
SELECT created_at FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1

-- name: prune_outbox
-- A message is deleted 30 days after it was sent, by PostgreSQL's clock. Never deleted: unsent messages; those for
-- report-ready, which streams of announcements read; and the last message of each topic, from which on the relay looks
-- for sent messages.
DELETE FROM outbox o USING (
    SELECT id FROM outbox WHERE sent_at <= least($1, now()) - interval '30 days' AND topic <> 'report-ready'
    AND id NOT IN (SELECT max(id) FROM outbox WHERE sent_offset IS NOT NULL GROUP BY topic)
    ORDER BY sent_at LIMIT $2
) AS over WHERE o.id = over.id

-- name: announced_ids
-- The ids of the messages for report-ready, sent or not.
SELECT headers ->> 'id' AS event_id FROM outbox WHERE topic = 'report-ready'

-- name: sent_announcements
SELECT id, headers ->> 'id' AS event_id, value FROM outbox
WHERE topic = 'report-ready' AND sent_at IS NOT NULL ORDER BY id

-- name: send_again
UPDATE outbox SET sent_at = NULL, sent_offset = NULL WHERE id = ANY ($1::bigint[])

-- name: send_latest_again
-- Of each week, the newest announced revision, if it is among $1. Notices that a week is final are not on report-latest.
INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at)
SELECT 'report-latest', key, value, headers, timestamp_ms, created_at FROM (
    SELECT DISTINCT ON (key) * FROM outbox
    WHERE topic = 'report-ready' AND convert_from(value, 'UTF8')::jsonb ->> 'type' = 'report-ready'
    ORDER BY key, id DESC
) AS newest WHERE id = ANY ($1::bigint[]) ORDER BY id

-- name: add_sent
INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at, sent_at, sent_offset)
VALUES ($1, $2, $3, $4, $5, $6, now(), $7)

-- name: published
SELECT week, revision, digest FROM report

-- name: report
SELECT week, revision, digest, figures FROM report
WHERE week = COALESCE($1::date, (SELECT max(week) FROM report)) AND revision = COALESCE($2::integer, revision)
ORDER BY revision DESC LIMIT 1

-- name: restore_close
INSERT INTO week_close (week, state, barrier) VALUES ($1, 'published', $2)
ON CONFLICT (week) DO UPDATE SET barrier = COALESCE(week_close.barrier, EXCLUDED.barrier)

-- name: disregarded
SELECT subject, detail ->> 'sha256' AS sha256 FROM operator_action WHERE action = 'disregard'

-- name: final_weeks
SELECT week FROM week_close WHERE state = 'final'

-- name: add_action
INSERT INTO operator_action (by, action, subject, detail) VALUES ($1, $2, $3, $4)

-- name: digest_before
SELECT before.digest FROM report r LEFT JOIN report before ON before.sequence = r.sequence - 1 WHERE r.digest = $1

-- name: try_verify
-- Session-level lock: one publisher at a time.
SELECT pg_try_advisory_lock(hashtextextended('ddor-verification', 0))

-- name: unverified
-- The earliest first revision that was not compared with the log, with its vector and that of the report before it.
SELECT r.week, offsets_now(r.figures -> 'offsets', r.sequence) AS ends,
       (SELECT offsets_now(p.figures -> 'offsets', p.sequence) FROM report p WHERE p.sequence < r.sequence
        ORDER BY p.sequence DESC LIMIT 1) AS begins
FROM report r LEFT JOIN verification v ON v.week = r.week
WHERE r.revision = 1 AND v.week IS NULL AND r.figures ->> 'recovered' IS NULL
ORDER BY r.sequence LIMIT 1

-- name: read_by_rules
-- For each range from $3 to $4: the first offset that was read in the partition, and whether a part of the range was read
-- with acceptance rules of another version than $5.
SELECT p.topic, p.partition, min(a.from_offset) AS first,
       bool_or(a.version <> $5 AND a.from_offset < p.ends AND NOT EXISTS (
           SELECT FROM acceptance_rules n WHERE n.topic = a.topic AND n.partition = a.partition
           AND n.from_offset > a.from_offset AND n.from_offset <= p.begins)) AS by_others
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS p (topic, partition, begins, ends)
JOIN acceptance_rules a USING (topic, partition)
GROUP BY p.topic, p.partition

-- name: passed_over
-- Ranges that an operator skipped with `ddor resume --at` after a position was lost.
SELECT subject, (detail ->> 'from')::bigint AS begins, (detail ->> 'at')::bigint AS ends
FROM operator_action WHERE action = 'resume' AND (detail ->> 'at')::bigint > (detail ->> 'from')::bigint

-- name: rejected_between
SELECT kafka_offset, reason FROM rejected
WHERE topic = $1 AND partition = $2 AND kafka_offset >= $3 AND kafka_offset < $4

-- name: facts_of
-- Every fact of these identities; in_ledger marks those of the ledger.
WITH wanted AS (
    SELECT DISTINCT w.kind, a.id AS agency, a.name, w.detainer_id
    FROM unnest($1::detainer_kind[], $2::text[], $3::uuid[]) AS w (kind, agency, detainer_id) JOIN agency a ON a.name = w.agency
)
SELECT kind::text AS kind, name AS agency, detainer_id::text AS detainer_id, version, fingerprint, week, jurisdiction,
       withdrawn, true AS in_ledger
FROM ledger_entry JOIN wanted USING (kind, agency, detainer_id)
UNION ALL
SELECT kind::text, name, detainer_id::text, version, fingerprint, week, jurisdiction, withdrawn, false
FROM history JOIN wanted USING (kind, agency, detainer_id)

-- name: add_verification
INSERT INTO verification (week, records, is_sample, outcome) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: failed_verifications
SELECT count(*) FROM verification WHERE outcome <> ''

-- name: try_audit
-- Session-level lock: one publisher at a time.
SELECT pg_try_advisory_lock(hashtextextended('ddor-audit', 0))

-- name: counted_records
SELECT COALESCE(sum(records), 0)::bigint FROM partition_position

-- name: add_audit
INSERT INTO audit (at, by, records, seconds, outcome) VALUES ($1, $2, $3, $4, $5)

-- name: last_audit
SELECT at, outcome FROM audit ORDER BY id DESC LIMIT 1
