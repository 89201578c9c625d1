SELECT filters.id, filters.name
FROM filters
WHERE filters.archived_at IS NULL ORDER BY filters.name_key, filters.id
 LIMIT %s;

SELECT overlays.asset_key, overlays.id, overlays.name
FROM overlays
WHERE overlays.archived_at IS NULL ORDER BY overlays.name_key, overlays.id
 LIMIT %s;

SELECT packages.id, packages.name
FROM packages
WHERE packages.archived_at IS NULL ORDER BY packages.price_cents, packages.id
 LIMIT %s;

SELECT styles.id, styles.name
FROM styles
WHERE styles.archived_at IS NULL ORDER BY styles.name_key, styles.id
 LIMIT %s;

SELECT tags.id, tags.name
FROM tags
WHERE tags.archived_at IS NULL ORDER BY tags.name_key, tags.id
 LIMIT %s;

SELECT tiers.id, tiers.name
FROM tiers
WHERE tiers.archived_at IS NULL ORDER BY tiers.monthly_price_cents, tiers.id
 LIMIT %s;

SELECT watermarks.id, watermarks.name
FROM watermarks
WHERE watermarks.archived_at IS NULL ORDER BY watermarks.name_key, watermarks.id
 LIMIT %s;
