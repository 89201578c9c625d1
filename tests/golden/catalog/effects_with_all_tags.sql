SELECT effect_tags.effect_id AS at_parent, tags.id, tags.slug
FROM effect_tags INNER JOIN tags ON tags.id = effect_tags.tag_id
WHERE tags.archived_at IS NULL AND effect_tags.effect_id IN (%s, %s) ORDER BY effect_tags.effect_id, tags.name_key, tags.id
 LIMIT %s;

SELECT effects.id, effects.slug
FROM effects
WHERE effects.archived_at IS NULL AND effects.id IN (SELECT effect_tags.effect_id
FROM effect_tags INNER JOIN tags ON tags.id = effect_tags.tag_id
WHERE tags.slug = %s) AND effects.id IN (SELECT effect_tags.effect_id
FROM effect_tags INNER JOIN tags ON tags.id = effect_tags.tag_id
WHERE tags.slug = %s) ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s;
