SELECT effects.id, effects.name, effects.name_key
FROM effects
WHERE effects.archived_at IS NULL ORDER BY effects.name_key, effects.id
 LIMIT %s;
