(SELECT effects.category_id AS at_parent, effects.id, effects.slug
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id = %s ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s)
UNION ALL … 3 more;

SELECT categories.id, categories.slug
FROM categories
WHERE categories.archived_at IS NULL ORDER BY categories.`position`, categories.id
 LIMIT %s;

SELECT effects.category_id, count(*) AS count_1
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id IN (%s, %s, %s, %s) GROUP BY effects.category_id;
