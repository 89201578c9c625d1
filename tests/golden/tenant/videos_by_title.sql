SELECT videos.id, videos.title, videos.title_key
FROM videos
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL ORDER BY videos.title_key, videos.id
 LIMIT %s;
