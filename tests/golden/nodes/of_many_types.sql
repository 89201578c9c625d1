SELECT effects.id, effects.slug
FROM effects
WHERE effects.id IN (%s, %s) ORDER BY effects.id
 LIMIT %s;

SELECT videos.id, videos.title
FROM videos
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL AND videos.id IN (%s, %s) ORDER BY videos.id
 LIMIT %s;
