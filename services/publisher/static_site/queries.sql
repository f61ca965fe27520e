-- name: revisions
-- Every revision, in the order of writing.
SELECT week, revision, digest, published_at, demonstration FROM report ORDER BY sequence

-- name: geoids
-- The jurisdictions with a row in any revision. Steps from code to code in the primary key: there are many rows of each.
WITH RECURSIVE step AS (
    (SELECT geoid FROM published_figure ORDER BY geoid LIMIT 1)
    UNION ALL
    SELECT (SELECT f.geoid FROM published_figure f WHERE f.geoid > step.geoid ORDER BY f.geoid LIMIT 1)
    FROM step WHERE step.geoid IS NOT NULL
)
SELECT geoid FROM step WHERE geoid IS NOT NULL
