// One pool of connections, and the statements; rows come out in the shape of the schema's types.
// Keys are 64 bits, so the driver hands them over as strings.
import mysql from 'mysql2/promise'

const CONNECTIONS_MAX = 10
const { BENCH_MYSQL_HOST, BENCH_MYSQL_PORT, BENCH_MYSQL_USER, BENCH_CENTRAL } = process.env

const pool = mysql.createPool({
  host: BENCH_MYSQL_HOST,
  port: Number(BENCH_MYSQL_PORT),
  user: BENCH_MYSQL_USER,
  database: BENCH_CENTRAL,
  charset: 'utf8mb4',
  timezone: 'Z',
  connectionLimit: CONNECTIONS_MAX,
  supportBigNumbers: true,
  bigNumberStrings: true
})

let statements = 0
export const sent = () => statements
export const close = () => pool.end()

// Prepared, for a text that is always the same.
async function execute (sql, values) {
  statements++
  return (await pool.execute(sql, values))[0]
}

// Not prepared, for lists of any length.
async function query (sql, values) {
  statements++
  return (await pool.query(sql, values))[0]
}

const hex = key => BigInt(key).toString(16)
const list = value => typeof value === 'string' ? JSON.parse(value) : value

const effectOf = row => ({
  key: row.id, id: `Effect_${hex(row.id)}`, slug: row.slug, name: row.name, tokenCost: Number(row.token_cost), categoryKey: row.category_id
})
const exhibitOf = (row, host) => ({
  id: `GalleryVideo_${hex(row.id)}`,
  title: row.title,
  tags: list(row.tags),
  processedFileUrl: `http://${host}/files/${row.output_key}`,
  publishedAt: row.published_at,
  effectKey: row.effect_id
})

const EFFECT = 'id, slug, name, token_cost, category_id'
const EXHIBIT = 'id, title, tags, output_key, published_at, effect_id'
const NEWEST = 'ORDER BY published_at DESC, id DESC'

export function page (rows, first) {
  const nodes = rows.slice(0, first)
  const last = nodes.at(-1)
  const endCursor = last ? Buffer.from(`${last.publishedAt.toISOString()} ${last.id}`).toString('base64url') : null
  return { nodes, pageInfo: { hasNextPage: rows.length > first, endCursor } }
}

export async function gallery (first, host) {
  const rows = await execute(`SELECT ${EXHIBIT} FROM gallery_videos WHERE listed = 1 ${NEWEST} LIMIT ?`, [String(first + 1)])
  return page(rows.map(row => exhibitOf(row, host)), first)
}

export async function effectBySlug (slug) {
  const rows = await execute(`SELECT ${EFFECT} FROM effects WHERE slug = ? AND archived_at IS NULL`, [slug])
  return rows.length ? effectOf(rows[0]) : null
}

export async function popular (first) {
  const rows = await execute(
    `SELECT ${EFFECT} FROM effects WHERE archived_at IS NULL ORDER BY popularity DESC, id DESC LIMIT ?`, [String(first)]
  )
  return rows.map(effectOf)
}

async function byKeys (sql, keys, shape) {
  const wanted = [...new Set(keys.filter(key => key !== null))]
  if (!wanted.length) return new Map()
  const rows = await query(sql, [wanted])
  return new Map(rows.map(row => [row.id, shape(row)]))
}

export const effects = keys => byKeys(`SELECT ${EFFECT} FROM effects WHERE id IN (?)`, keys, effectOf)
export const categories = keys => byKeys(
  'SELECT id, name FROM categories WHERE id IN (?)', keys, row => ({ id: `Category_${hex(row.id)}`, name: row.name })
)

const grouped = (rows, host) => {
  const groups = new Map()
  for (const row of rows) {
    const group = groups.get(row.effect_id)
    const one = exhibitOf(row, host)
    if (group) group.push(one)
    else groups.set(row.effect_id, [one])
  }
  return groups
}

// The window that a search for "top n per group" leads to.
export async function galleryByWindow (keys, first, host) {
  const rows = await query(
    `SELECT * FROM (SELECT ${EXHIBIT}, ROW_NUMBER() OVER (PARTITION BY effect_id ${NEWEST}) AS place
     FROM gallery_videos WHERE effect_id IN (?) AND listed = 1) AS ranked WHERE place <= ? ORDER BY effect_id, place`,
    [keys, first + 1]
  )
  return grouped(rows, host)
}

// Atrium's statement: an index walk for each parent.
export async function galleryByUnion (keys, first, host) {
  const one = `(SELECT ${EXHIBIT} FROM gallery_videos
    WHERE effect_id = ? AND listed = 1 ${NEWEST} LIMIT ?)`
  const rows = await execute(keys.map(() => one).join(' UNION ALL '), keys.flatMap(key => [key, String(first + 1)]))
  return grouped(rows, host)
}

export async function userName (owner) {
  return (await execute('SELECT name FROM users WHERE id = ?', [owner.user]))[0] ?? null
}

export async function wallet ({ database, tenant }) {
  const [row] = await execute(`SELECT balance, reserved FROM ${database}.token_wallets WHERE tenant_id = ?`, [tenant])
  return { balance: Number(row.balance), reserved: Number(row.reserved) }
}

const MINE = 'WHERE tenant_id = ? AND user_id = ?'

export async function videos (owner, first) {
  const rows = await execute(
    `SELECT id, title, status, created_at, effect_id, output_file_id FROM ${owner.database}.videos
     ${MINE} AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT ?`, [owner.tenant, owner.user, String(first)]
  )
  const prefix = `Video_${Buffer.from(owner.tenant).toString('hex')}_`
  return rows.map(row => ({
    id: prefix + hex(row.id),
    title: row.title,
    status: row.status,
    createdAt: row.created_at,
    effectKey: row.effect_id,
    fileKey: row.output_file_id
  }))
}

export async function videosCounted ({ database, tenant, user }) {
  const [row] = await execute(`SELECT count(*) AS total FROM ${database}.videos ${MINE} AND deleted_at IS NULL`, [tenant, user])
  return Number(row.total)
}

export function files ({ database, tenant, user }, keys) {
  const wanted = [...new Set(keys.filter(key => key !== null))]
  if (!wanted.length) return new Map()
  return query(
    `SELECT id, name, size_bytes, mime_type FROM ${database}.files ${MINE} AND id IN (?)`, [tenant, user, wanted]
  ).then(rows => new Map(rows.map(row => [
    row.id, { name: row.name, sizeBytes: Number(row.size_bytes), mimeType: row.mime_type }
  ])))
}

export function jobs ({ database, tenant, user }, first) {
  return execute(
    `SELECT status, progress FROM ${database}.ai_jobs ${MINE} ORDER BY id DESC LIMIT ?`, [tenant, user, String(first)]
  )
}

// The whole catalog in memory: effects by key, by slug and by popularity, each with its category.
export async function catalog () {
  const rows = await query('SELECT id, name FROM categories', [])
  const shelves = new Map(rows.map(row => [row.id, { id: `Category_${hex(row.id)}`, name: row.name }]))
  const found = await query(`SELECT ${EFFECT} FROM effects WHERE archived_at IS NULL ORDER BY popularity DESC, id DESC`, [])
  const all = found.map(row => ({ ...effectOf(row), category: shelves.get(row.category_id) ?? null }))
  return {
    popular: first => all.slice(0, first),
    byKey: new Map(all.map(effect => [effect.key, effect])),
    bySlug: new Map(all.map(effect => [effect.slug, effect]))
  }
}
