SELECT effects.id, effects.popularity, effects.slug
FROM effects
WHERE effects.archived_at IS NULL ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s;
