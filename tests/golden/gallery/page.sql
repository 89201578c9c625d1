SELECT categories.id, categories.name
FROM categories
WHERE categories.id IN (%s, %s, %s, %s);

SELECT effects.category_id, effects.id, effects.name, effects.token_cost
FROM effects
WHERE effects.id IN (%s, %s, %s, %s);

SELECT gallery_videos.effect_id, gallery_videos.id, gallery_videos.output_key, gallery_videos.published_at, gallery_videos.tags, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true ORDER BY gallery_videos.published_at DESC, gallery_videos.id DESC
 LIMIT %s;
