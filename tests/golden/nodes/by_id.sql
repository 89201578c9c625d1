SELECT categories.id, categories.name
FROM categories
WHERE categories.id IN (%s);

SELECT effects.category_id, effects.id, effects.name
FROM effects
WHERE effects.id = %s ORDER BY effects.id
 LIMIT %s;
