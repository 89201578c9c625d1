SELECT effects.id, effects.slug
FROM effects
WHERE effects.archived_at IS NULL AND effects.search_text LIKE %s ESCAPE '!' AND effects.search_text LIKE %s ESCAPE '!' AND effects.token_cost <= %s AND effects.is_premium = %s ORDER BY effects.popularity DESC, effects.id DESC
 LIMIT %s;
