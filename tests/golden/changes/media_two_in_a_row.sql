SELECT videos.id, videos.status, videos.title
FROM videos
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL AND videos.id = %s ORDER BY videos.id
 LIMIT %s;
