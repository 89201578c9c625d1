SELECT effects.created_at, effects.id, effects.is_premium, effects.token_cost
FROM effects
WHERE effects.archived_at IS NULL ORDER BY effects.token_cost, effects.id
 LIMIT %s;
