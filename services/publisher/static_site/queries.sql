-- name: revisions
-- Every revision, in the order of writing.
SELECT week, revision, digest, published_at, demonstration FROM report ORDER BY sequence

-- name: geoids
-- The jurisdictions with a row in any revision.
SELECT DISTINCT geoid FROM published_figure ORDER BY geoid
