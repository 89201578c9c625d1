SELECT effects.id
FROM effects
WHERE effects.archived_at IS NULL AND effects.slug = %s ORDER BY effects.id
 LIMIT %s;

SELECT gallery_videos.effect_id AS at_parent, gallery_videos.id, gallery_videos.published_at
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id = %s ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s;

SELECT gallery_videos.effect_id AS at_parent, gallery_videos.id, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id = %s ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s;

SELECT gallery_videos.effect_id, count(*) AS count_1
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id IN (%s) GROUP BY gallery_videos.effect_id;
