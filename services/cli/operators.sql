-- name: partition
SELECT next_offset, halted_reason, halted_offset, owner FROM partition_position WHERE topic = $1 AND partition = $2

-- name: lock_resuming
-- Whoever resumes this partition waits for its turn. Not the row's own lock: while a log is replaced, for minutes, the
-- partition's worker may have to give it up, at its end or at its next start.
SELECT pg_advisory_xact_lock(hashtextextended('ddor-resume/' || $1, 0))

-- name: resume
-- A new epoch: whatever a worker may have decoded of this partition is fenced. Its last record is no longer asked for
-- when the position moves, because the log may be another one.
UPDATE partition_position SET
    halted_reason = NULL, halted_offset = NULL, owner = NULL, epoch = epoch + 1,
    next_offset = COALESCE($3, next_offset), resumed_offset = COALESCE($3, next_offset),
    last_offset = CASE WHEN $3::bigint IS NULL THEN last_offset END,
    last_digest = CASE WHEN $3::bigint IS NULL THEN last_digest END
WHERE topic = $1 AND partition = $2 AND halted_reason IS NOT NULL
RETURNING next_offset

-- name: replace_log
-- Another log takes the place of the one that was read up to $3.
WITH counted AS (
    UPDATE ledger_entry SET kafka_offset = kafka_offset - $3 WHERE 'detainer-' || kind::text = $1 AND partition = $2
), displaced AS (
    UPDATE history SET kafka_offset = kafka_offset - $3 WHERE 'detainer-' || kind::text = $1 AND partition = $2
), attested AS (
    UPDATE attestation SET kafka_offset = kafka_offset - $3 WHERE 'week-attested' = $1 AND partition = $2
), redriven AS (
    UPDATE rejected SET redriven_to = $1 || '/' || $2 || '/' || split_part(redriven_to, '/', 3)::bigint - $3
    WHERE starts_with(redriven_to, $1 || '/' || $2 || '/')
)
INSERT INTO replaced_log (topic, partition, ended_at, after_report)
VALUES ($1::text, $2::integer, $3::bigint, (SELECT COALESCE(max(sequence), 0) FROM report))

-- name: move_places
-- Where the offset is part of the key; by so much that no row comes to lie where another still is.
WITH rejects AS (
    UPDATE rejected SET kafka_offset = kafka_offset + $3::bigint WHERE topic = $1 AND partition = $2
), raw AS (
    UPDATE rejected_raw SET kafka_offset = kafka_offset + $3::bigint WHERE topic = $1 AND partition = $2
)
UPDATE acceptance_rules SET from_offset = from_offset + $3::bigint WHERE topic = $1 AND partition = $2

-- name: replaced_logs
SELECT topic || '/' || partition AS partition, replaced_at FROM replaced_log ORDER BY replaced_at

-- name: held_because
SELECT held_because FROM week_close WHERE week = $1

-- name: add_action
INSERT INTO operator_action (by, action, subject, detail) VALUES ($1, $2, $3, $4)

-- name: facts_of
-- Every fact of one detainer, the ledger's marked.
SELECT f.kind::text AS kind, a.name AS agency, f.version, f.fingerprint, f.week, f.jurisdiction, f.withdrawn,
       'detainer-' || f.kind::text AS topic, f.partition, f.kafka_offset, f.in_ledger
FROM (
    SELECT kind, agency, version, fingerprint, week, jurisdiction, withdrawn, partition, kafka_offset, true AS in_ledger
    FROM ledger_entry WHERE detainer_id = $1 AND kind = ANY (enum_range(NULL::detainer_kind)) AND agency = ANY ($2::smallint[])
    UNION ALL
    SELECT kind, agency, version, fingerprint, week, jurisdiction, withdrawn, partition, kafka_offset, false
    FROM history WHERE detainer_id = $1 AND kind = ANY (enum_range(NULL::detainer_kind)) AND agency = ANY ($2::smallint[])
) AS f JOIN agency a ON a.id = f.agency
ORDER BY kind, agency, version DESC, fingerprint DESC

-- name: attestations
-- Every attestation of an agency's week, the one that stands first.
SELECT t.version, t.fingerprint, t.issued, t.declined, t.partition, t.kafka_offset
FROM attestation t JOIN agency a ON a.id = t.agency WHERE a.name = $1 AND t.week = $2
ORDER BY t.version DESC, t.fingerprint DESC

-- name: agencies
SELECT id FROM agency ORDER BY id

-- name: vectors
SELECT week, revision, offsets_now(figures -> 'offsets', sequence) AS offsets FROM report WHERE week = ANY ($1::date[]) ORDER BY week, revision

-- name: reject
SELECT r.topic, r.partition, r.kafka_offset, r.reason, r.field, r.detail, r.sha256, r.rejected_at, r.redriven_at,
       r.redriven_to, raw.value, raw.kept_until
FROM rejected r LEFT JOIN rejected_raw raw USING (topic, partition, kafka_offset)
WHERE r.topic = $1 AND r.partition = $2 AND r.kafka_offset = $3

-- name: rejects
SELECT topic, partition, kafka_offset, reason, field, detail, rejected_at, redriven_to FROM rejected
WHERE ($1::text IS NULL OR reason = $1) ORDER BY rejected_at DESC, topic, partition, kafka_offset DESC LIMIT $2

-- name: rejects_to_redrive
SELECT topic, partition, kafka_offset FROM rejected
WHERE reason = $1 AND redriven_at IS NULL ORDER BY topic, partition, kafka_offset

-- name: lock_reject
SELECT redriven_to, sha256 FROM rejected WHERE topic = $1 AND partition = $2 AND kafka_offset = $3 FOR UPDATE

-- name: mark_redriven
UPDATE rejected SET redriven_at = now(), redriven_to = $4 WHERE topic = $1 AND partition = $2 AND kafka_offset = $3

-- name: acceptance_rules
SELECT topic, partition, from_offset, version FROM acceptance_rules ORDER BY topic, partition, from_offset

-- name: redriven
SELECT topic, partition, kafka_offset, redriven_to FROM rejected WHERE redriven_to IS NOT NULL

-- name: failed
SELECT topic, partition, kafka_offset FROM rejected WHERE reason = $1

-- name: lock_scratch
SELECT pg_advisory_lock(hashtextextended('ddor-verify/' || $1, 0))

-- name: scratch_schemas
SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE 'ddor\_verify\_%'

-- name: try_scratch
SELECT pg_try_advisory_lock(hashtextextended('ddor-verify/' || $1, 0))

-- name: unlock_scratch
SELECT pg_advisory_unlock(hashtextextended('ddor-verify/' || $1, 0))

-- name: own_all
INSERT INTO partition_position (topic, partition, epoch, owner)
SELECT topic, partition, 1, $1 FROM unnest($2::text[], $3::integer[]) AS known (topic, partition)

-- name: resume_all
UPDATE partition_position SET halted_reason = NULL, resumed_offset = next_offset WHERE halted_reason IS NOT NULL

-- name: knew
-- What the first report of a week knew and what the revision before $2 did, in offsets of the logs that are there now.
SELECT offsets_now(figures -> 'offsets', sequence) AS offsets FROM report
WHERE week = $1 AND revision < $2 AND revision IN (1, $2 - 1) ORDER BY revision
