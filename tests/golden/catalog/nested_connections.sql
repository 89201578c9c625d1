(SELECT gallery_videos.effect_id AS at_parent, gallery_videos.id, gallery_videos.output_key, gallery_videos.published_at, gallery_videos.tags, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id = %s ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s)
UNION ALL … 3 more;

SELECT effects.id, effects.name
FROM effects
WHERE effects.archived_at IS NULL ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s;
