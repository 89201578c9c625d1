SELECT categories.id, categories.slug
FROM categories
WHERE categories.archived_at IS NULL ORDER BY categories.`position`, categories.id
 LIMIT %s;

SELECT effects.category_id, count(*) AS count_1
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id IN (%s, %s, %s, %s) GROUP BY effects.category_id;

SELECT of_0.at_parent, of_0.id, of_0.slug
FROM (SELECT effects.category_id AS at_parent, effects.id AS id, effects.slug AS slug
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id = %s ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s) AS of_0
UNION ALL … 3 more;
