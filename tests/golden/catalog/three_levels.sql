SELECT categories.id
FROM categories
WHERE categories.archived_at IS NULL ORDER BY categories.`position`, categories.id
 LIMIT %s;

SELECT categories.id, categories.name
FROM categories
WHERE categories.id IN (%s, %s, %s, %s);

SELECT effects.category_id, effects.id
FROM effects
WHERE effects.id IN (%s, %s, %s, %s);

SELECT of_0.at_parent, of_0.effect_id, of_0.id, of_0.title
FROM (SELECT gallery_videos.effect_id AS at_parent, gallery_videos.effect_id AS effect_id, gallery_videos.id AS id, gallery_videos.title AS title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id = %s ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s) AS of_0
UNION ALL … 3 more;

SELECT of_0.at_parent, of_0.id
FROM (SELECT effects.category_id AS at_parent, effects.id AS id
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id = %s ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s) AS of_0
UNION ALL … 3 more;
