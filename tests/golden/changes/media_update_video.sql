SELECT categories.id, categories.name
FROM categories
WHERE categories.id IN (%s);

SELECT effects.category_id, effects.id, effects.name
FROM effects
WHERE effects.id IN (%s);

SELECT videos.effect_id, videos.id, videos.input_file_id, videos.tags, videos.title, to_0.id AS to_0_id, to_0.mime_type AS to_0_mime_type, to_0.name AS to_0_name
FROM videos LEFT OUTER JOIN files AS to_0 ON to_0.id = videos.input_file_id AND to_0.tenant_id = %s AND to_0.user_id = %s
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL AND videos.id = %s ORDER BY videos.id
 LIMIT %s;
