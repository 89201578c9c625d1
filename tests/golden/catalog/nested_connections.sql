SELECT effects.id, effects.name
FROM effects
WHERE effects.archived_at IS NULL ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s;

SELECT of_0.at_parent, of_0.id, of_0.output_key, of_0.published_at, of_0.tags, of_0.title
FROM (SELECT gallery_videos.effect_id AS at_parent, gallery_videos.id AS id, gallery_videos.output_key AS output_key, gallery_videos.published_at AS published_at, gallery_videos.tags AS tags, gallery_videos.title AS title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id = %s ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s) AS of_0
UNION ALL … 3 more;
