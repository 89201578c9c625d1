SELECT videos.gallery_video_id, videos.id, videos.title
FROM videos
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL AND videos.status = %s AND videos.gallery_video_id IS NOT NULL AND videos.effect_id = %s ORDER BY videos.created_at DESC, videos.id DESC
 LIMIT %s;
