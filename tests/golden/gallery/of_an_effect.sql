SELECT count(*) AS count_1
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id IN (SELECT effects.id
FROM effects
WHERE effects.slug = %s);

SELECT gallery_videos.id, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id IN (SELECT effects.id
FROM effects
WHERE effects.slug = %s) ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s;
