(SELECT effects.category_id AS at_parent, effects.id
FROM effects
WHERE effects.archived_at IS NULL AND effects.category_id = %s ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s)
UNION ALL … 3 more;

(SELECT gallery_videos.effect_id AS at_parent, gallery_videos.effect_id, gallery_videos.id, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.effect_id = %s ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s)
UNION ALL … 3 more;

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
