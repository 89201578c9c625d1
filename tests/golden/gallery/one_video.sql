SELECT effects.id, effects.slug
FROM effects
WHERE effects.id IN (%s);

SELECT gallery_videos.effect_id, gallery_videos.id, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.id = %s ORDER BY gallery_videos.id
 LIMIT %s;
