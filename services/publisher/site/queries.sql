-- name: line_list
-- The list of a revision. It may have been made for an earlier revision.
SELECT l.content FROM report r JOIN line_list l ON l.week = r.week AND l.sha256 = r.figures -> 'line_list' ->> 'sha256'
WHERE r.week = $1 AND r.revision = $2 ORDER BY l.content IS NULL DESC LIMIT 1

-- name: reports
-- The newest revision of each week before $2 as published at $1, newest week first, $3 at most. Pending facts are counted only
-- for weeks that are not final: the others are many.
SELECT r.*, c.state,
       CASE WHEN c.state IS DISTINCT FROM 'final' THEN (
           SELECT COALESCE(jsonb_object_agg(kind, n), '{}')
           FROM (SELECT kind, sum(n) AS n FROM weekly_counter w WHERE w.week = r.week GROUP BY kind) AS now
       ) END AS now
FROM (SELECT DISTINCT ON (week) week, revision, digest, published_at, issued, declined, demonstration FROM report
      WHERE published_at <= COALESCE($1::timestamptz, 'infinity') AND week < COALESCE($2::date, 'infinity')
      ORDER BY week DESC, revision DESC LIMIT $3) AS r
LEFT JOIN week_close c ON c.week = r.week ORDER BY r.week DESC

-- name: newest_revisions
SELECT week, revision, cause, digest, published_at, issued, declined, demonstration FROM report ORDER BY sequence DESC LIMIT $1

-- name: document
SELECT figures FROM report WHERE week = $1 AND revision = $2

-- name: shown_revision
-- A revision without its document, and the current state of its week. row_version changes if the row is replaced; `reports` and
-- `final_weeks` change with what the page says of other weeks.
SELECT r.week, r.revision, r.digest, r.xmin::text AS row_version, r.published_at, c.state,
       n.revision AS newest, n.issued, n.declined,
       (SELECT max(sequence) FROM report WHERE published_at <= COALESCE($3::timestamptz, 'infinity')) AS reports,
       (SELECT count(*) FROM week_close o WHERE o.week BETWEEN r.week - 364 AND r.week AND o.state = 'final') AS final_weeks,
       (SELECT max(week) FROM report p WHERE p.week < r.week AND p.published_at <= COALESCE($3::timestamptz, 'infinity')) AS previous_week,
       (SELECT min(week) FROM report p WHERE p.week > r.week AND p.published_at <= COALESCE($3::timestamptz, 'infinity')) AS next_week,
       (SELECT COALESCE(jsonb_object_agg(kind, n), '{}') FROM (SELECT kind, sum(n) AS n FROM weekly_counter w WHERE w.week = r.week GROUP BY kind) AS now) AS now
FROM report r LEFT JOIN week_close c ON c.week = r.week
CROSS JOIN LATERAL (SELECT revision, issued, declined FROM report n WHERE n.week = r.week ORDER BY revision DESC LIMIT 1) AS n
WHERE r.week = COALESCE($1::date, (SELECT max(week) FROM report WHERE published_at <= COALESCE($3::timestamptz, 'infinity')))
  AND r.revision = COALESCE($2::integer, r.revision) AND r.published_at <= COALESCE($3::timestamptz, 'infinity')
ORDER BY r.revision DESC LIMIT 1

-- name: trend
-- The newest totals of each week in the year up to $1, as published at $2, and the totals of its first revision.
SELECT DISTINCT ON (r.week) r.week, r.revision, r.issued, r.declined, f.issued AS first_issued, f.declined AS first_declined, c.state
FROM report r JOIN report f ON f.week = r.week AND f.revision = 1 LEFT JOIN week_close c ON c.week = r.week
WHERE r.week BETWEEN $1::date - 364 AND $1 AND r.published_at <= COALESCE($2::timestamptz, 'infinity')
ORDER BY r.week, r.revision DESC

-- name: places_before
-- The declines of the jurisdictions $3 in the year up to $1, in the newest revision of each week as published at $2.
SELECT n.geoid, n.week, n.declined
FROM (SELECT DISTINCT ON (week) week, revision FROM report
      WHERE week BETWEEN $1::date - 364 AND $1 AND published_at <= COALESCE($2::timestamptz, 'infinity')
      ORDER BY week, revision DESC) AS r
JOIN published_figure n USING (week, revision) WHERE n.geoid = ANY ($3::text[])

-- name: states_before
-- As `places_before`, the sum of the known numbers of each state and its counties, by FIPS code of the state, in the 12
-- weeks up to $1.
SELECT n.code, r.week, n.declined
FROM (SELECT DISTINCT ON (week) week, revision FROM report
      WHERE week BETWEEN $1::date - 77 AND $1 AND published_at <= COALESCE($2::timestamptz, 'infinity')
      ORDER BY week, revision DESC) AS r
CROSS JOIN LATERAL (
    SELECT left(geoid, 2) AS code, sum(declined) AS declined FROM published_figure
    WHERE week = r.week AND revision = r.revision AND length(geoid) IN (2, 5) AND geoid <> 'US' GROUP BY 1
) AS n

-- name: series
-- As `trend`, for jurisdiction $1: the newest $5 weeks from $2 to $3, as published at $4. `reported`: whether the revision has a row of it.
WITH newest AS (
    SELECT DISTINCT ON (r.week) r.week, r.revision FROM report r
    WHERE r.week BETWEEN COALESCE($2::date, '-infinity') AND COALESCE($3::date, 'infinity')
      AND r.published_at <= COALESCE($4::timestamptz, 'infinity')
    ORDER BY r.week DESC, r.revision DESC LIMIT $5
)
SELECT w.week, w.revision, n.geoid IS NOT NULL AS reported, n.issued, n.declined,
       f.issued AS first_issued, f.declined AS first_declined, c.state
FROM newest w
LEFT JOIN published_figure n ON n.geoid = $1 AND n.week = w.week AND n.revision = w.revision
LEFT JOIN published_figure f ON f.geoid = $1 AND f.week = w.week AND f.revision = 1
LEFT JOIN week_close c ON c.week = w.week
ORDER BY w.week

-- name: sums
-- As `series`, the sums of the known numbers of jurisdictions $1, with the number of their rows and of unknown numbers.
WITH newest AS (
    SELECT DISTINCT ON (r.week) r.week, r.revision FROM report r
    WHERE r.week BETWEEN COALESCE($2::date, '-infinity') AND COALESCE($3::date, 'infinity')
      AND r.published_at <= COALESCE($4::timestamptz, 'infinity')
    ORDER BY r.week DESC, r.revision DESC LIMIT $5
)
SELECT w.week, w.revision, n.jurisdictions, n.issued, n.declined, n.unknown_issued, n.unknown_declined,
       f.issued AS first_issued, f.declined AS first_declined, c.state
FROM newest w
CROSS JOIN LATERAL (
    SELECT count(*) AS jurisdictions, sum(issued) AS issued, sum(declined) AS declined,
           count(*) - count(issued) AS unknown_issued, count(*) - count(declined) AS unknown_declined
    FROM published_figure p WHERE p.week = w.week AND p.revision = w.revision AND p.geoid = ANY ($1::text[])
) AS n
CROSS JOIN LATERAL (
    SELECT sum(issued) AS issued, sum(declined) AS declined
    FROM published_figure p WHERE p.week = w.week AND p.revision = 1 AND p.geoid = ANY ($1::text[])
) AS f
LEFT JOIN week_close c ON c.week = w.week
ORDER BY w.week

-- name: year_of_places
-- Each jurisdiction of $1 with a row in the 52 weeks up to the newest: its row of the newest week, and the sums of the known
-- numbers of these weeks with the number of unknown ones.
WITH newest AS (
    SELECT DISTINCT ON (r.week) r.week, r.revision, r.week = max(r.week) OVER () AS latest FROM report r
    WHERE r.week > (SELECT max(week) FROM report) - 364 ORDER BY r.week, r.revision DESC
)
SELECT p.geoid, bool_or(w.latest) AS reported, max(p.issued) FILTER (WHERE w.latest) AS issued,
       max(p.declined) FILTER (WHERE w.latest) AS declined, sum(p.issued) AS year_issued, sum(p.declined) AS year_declined,
       count(*) - count(p.issued) AS unknown_issued, count(*) - count(p.declined) AS unknown_declined
FROM newest w
CROSS JOIN LATERAL (
    SELECT * FROM published_figure p WHERE p.week = w.week AND p.revision = w.revision AND p.geoid = ANY ($1::text[]) OFFSET 0
) AS p
GROUP BY p.geoid ORDER BY p.geoid

-- name: newest_report
-- What the newest report states about jurisdictions $1 besides their figures. `policies` is null without a registry.
SELECT r.week, r.figures ->> 'week_end' AS week_end, r.figures -> 'notes' AS notes,
       CASE jsonb_typeof(r.figures -> 'policies') WHEN 'array' THEN (
           SELECT COALESCE(jsonb_agg(one), '[]') FROM jsonb_array_elements(r.figures -> 'policies') AS one
           WHERE one ->> 'geoid' = ANY ($1::text[])
       ) END AS policies
FROM report r ORDER BY r.week DESC, r.revision DESC LIMIT 1

-- name: newest_week
SELECT max(week) AS week FROM report WHERE week >= $1

-- name: tip
-- The newest revision of any week. Its digest covers all earlier ones, because each names the digest before it.
SELECT week, sequence, digest, published_at FROM report ORDER BY sequence DESC LIMIT 1

-- name: revisions_until
-- The revisions up to sequence $1 that follow revision $3 of week $2, in order: all of them, or with $4 the newest of each week.
SELECT r.week, r.revision, r.cause, r.digest, r.published_at, r.issued, r.declined, r.demonstration
FROM report r
WHERE r.sequence <= $1 AND (r.week, r.revision) > ($2::date, $3::integer) AND NOT ($4::boolean AND EXISTS (
    SELECT FROM report n WHERE n.week = r.week AND n.revision > r.revision AND n.sequence <= $1))
ORDER BY r.week, r.revision LIMIT $5

-- name: figures_of
-- The figures of a revision, in the order of codes.
SELECT geoid, issued, declined FROM published_figure WHERE week = $1 AND revision = $2 ORDER BY geoid COLLATE "C"

-- name: last_announced
-- The offset of the last sent message on report-ready; null if there is none.
SELECT max(sent_offset) AS last FROM outbox WHERE topic = 'report-ready'

-- name: announced_after
-- The sent messages on report-ready after offset $1, in the order of the topic: one, and those that fit in $2 bytes with it.
SELECT sent_offset, value FROM (
    SELECT sent_offset, value, sum(octet_length(value)) OVER (ORDER BY sent_offset) AS bytes
    FROM (SELECT sent_offset, value FROM outbox WHERE topic = 'report-ready' AND sent_offset > $1 ORDER BY sent_offset LIMIT 100) AS next
) AS sized WHERE bytes <= $2 OR bytes = octet_length(value) ORDER BY sent_offset
