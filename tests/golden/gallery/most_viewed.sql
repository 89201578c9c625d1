SELECT gallery_videos.duration_seconds, gallery_videos.id, gallery_videos.tenant_id, gallery_videos.thumbnail_key, gallery_videos.view_count
FROM gallery_videos
WHERE gallery_videos.listed = true ORDER BY gallery_videos.view_count DESC, gallery_videos.id DESC
 LIMIT %s;
