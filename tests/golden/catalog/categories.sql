SELECT categories.id, categories.name, categories.`position`, categories.slug
FROM categories
WHERE categories.archived_at IS NULL ORDER BY categories.`position`, categories.id
 LIMIT %s;
