SELECT effects.id, effects.style_id
FROM effects
WHERE effects.archived_at IS NULL AND effects.style_id IN (SELECT styles.id
FROM styles
WHERE styles.slug = %s) ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s;

SELECT styles.id, styles.name
FROM styles
WHERE styles.id IN (%s);
