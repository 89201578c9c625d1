SELECT effects.id
FROM effects
WHERE effects.archived_at IS NULL AND effects.slug = %s ORDER BY effects.id
 LIMIT %s;
