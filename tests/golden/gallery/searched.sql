SELECT gallery_videos.id, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.search_text LIKE %s ESCAPE '!' ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s;
