SELECT categories.id, categories.name, categories.`position`, categories.slug
FROM categories
WHERE categories.id = %s ORDER BY categories.id
 LIMIT %s;

SELECT effects.category_id AS at_parent, effects.id, effects.name
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id = %s ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s;

SELECT effects.category_id, count(*) AS count_1
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id IN (%s) GROUP BY effects.category_id;
