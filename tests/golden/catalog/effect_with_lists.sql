SELECT effect_filters.effect_id AS at_parent, filters.id, filters.slug
FROM effect_filters INNER JOIN filters ON filters.id = effect_filters.filter_id
WHERE filters.archived_at IS NULL AND effect_filters.effect_id IN (%s) ORDER BY effect_filters.effect_id, filters.name_key, filters.id
 LIMIT %s;

SELECT effect_tags.effect_id AS at_parent, tags.id, tags.slug
FROM effect_tags INNER JOIN tags ON tags.id = effect_tags.tag_id
WHERE tags.archived_at IS NULL AND effect_tags.effect_id IN (%s) ORDER BY effect_tags.effect_id, tags.name_key, tags.id
 LIMIT %s;

SELECT effects.id, effects.parameters
FROM effects
WHERE effects.archived_at IS NULL AND effects.slug = %s ORDER BY effects.id
 LIMIT %s;
