SELECT categories.id, categories.slug
FROM categories
WHERE categories.id IN (%s);

SELECT count(*) AS count_1
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id IN (SELECT categories.id
FROM categories
WHERE categories.slug = %s);

SELECT effects.category_id, effects.id, effects.slug
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id IN (SELECT categories.id
FROM categories
WHERE categories.slug = %s) ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s;
