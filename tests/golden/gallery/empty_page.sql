SELECT gallery_videos.id, gallery_videos.published_at
FROM gallery_videos
WHERE gallery_videos.listed = true ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s;
