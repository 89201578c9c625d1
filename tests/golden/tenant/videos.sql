SELECT effects.id, effects.name, effects.slug
FROM effects
WHERE effects.id IN (%s, %s, %s, %s);

SELECT videos.created_at, videos.effect_id, videos.id, videos.input_file_id, videos.status, videos.title, to_0.id AS to_0_id, to_0.mime_type AS to_0_mime_type, to_0.name AS to_0_name, to_0.size_bytes AS to_0_size_bytes
FROM videos LEFT OUTER JOIN files AS to_0 ON to_0.id = videos.input_file_id AND to_0.tenant_id = %s AND to_0.user_id = %s
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL ORDER BY videos.created_at DESC, videos.id DESC
 LIMIT %s;
