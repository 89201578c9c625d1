SELECT categories.id, categories.name
FROM categories
WHERE categories.id IN (%s);

SELECT effects.category_id, effects.id, effects.name, effects.token_cost
FROM effects
WHERE effects.archived_at IS NULL AND effects.slug = %s ORDER BY effects.id
 LIMIT %s;
