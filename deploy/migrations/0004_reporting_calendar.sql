-- Which week each fact was put into was decided by one zone and one first day of the week, for good. The first service
-- that starts writes its own here; whoever has others counts and closes nothing.
CREATE TABLE reporting_calendar (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    zone       text NOT NULL,
    starts_on  text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);
