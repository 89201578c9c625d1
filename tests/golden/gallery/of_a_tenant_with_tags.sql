SELECT gallery_videos.id, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.id IN (SELECT gallery_video_tags.gallery_video_id
FROM gallery_video_tags
WHERE gallery_video_tags.tag_key = %s) AND gallery_videos.tenant_id = %s ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s;
