SELECT effects.id, effects.slug
FROM effects
WHERE effects.id IN (%s);

SELECT gallery_videos.effect_id, gallery_videos.id, gallery_videos.published_at, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s;
