SELECT count(*) AS count_1
FROM effects
WHERE effects.archived_at IS NULL;
