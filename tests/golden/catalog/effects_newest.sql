SELECT effects.created_at, effects.id
FROM effects
WHERE effects.archived_at IS NULL ORDER BY effects.created_at DESC, effects.id DESC
 LIMIT %s;
