// Mercurius with graphql-jit as its documentation shows it: resolvers for roots, a batched loader a relation.
// With `--snapshot` the catalog is in memory and nested pages use Atrium's statement: what these two bring alone.
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import { GraphQLScalarType } from 'graphql'
import mercurius from 'mercurius'
import * as db from './database.mjs'
import { schema } from './schema.mjs'

const JIT_AFTER = 1
const owners = new Map(Object.entries(JSON.parse(readFileSync(process.env.BENCH_OWNERS, 'utf8'))))
const snapshot = process.argv.includes('--snapshot') ? await db.catalog() : null

function ownerOf ({ owner }) {
  if (!owner) throw new Error('sign in first')
  return owner
}

const scalars = {
  DateTime: new GraphQLScalarType({ name: 'DateTime', serialize: moment => moment.toISOString() }),
  BigInt: new GraphQLScalarType({ name: 'BigInt', serialize: value => value })
}

const Query = {
  gallery: (_, { first }, { host }) => db.gallery(first, host),
  effect: (_, { slug }) => snapshot ? snapshot.bySlug.get(slug) ?? null : db.effectBySlug(slug),
  effects: async (_, { first }) => ({ nodes: snapshot ? snapshot.popular(first) : await db.popular(first) }),
  viewer: (_, __, context) => db.userName(ownerOf(context)),
  wallet: (_, __, context) => db.wallet(ownerOf(context)),
  videos: async (_, { first }, context) => ({ nodes: await db.videos(ownerOf(context), first) }),
  aiJobs: async (_, { first }, context) => ({ nodes: await db.jobs(ownerOf(context), first) })
}

// A loader sees all its questions of one turn; the arguments of one field are the same for all of them here.
const galleryVideos = how => async (queries, { host }) => {
  const { first } = queries[0].params
  const groups = await how(queries.map(({ obj }) => obj.key), first, host)
  return queries.map(({ obj }) => db.page(groups.get(obj.key) ?? [], first))
}

const outputFile = async (queries, context) => {
  const found = await db.files(ownerOf(context), queries.map(({ obj }) => obj.fileKey))
  return queries.map(({ obj }) => found.get(obj.fileKey) ?? null)
}

const effect = async queries => {
  const found = await db.effects(queries.map(({ obj }) => obj.effectKey))
  return queries.map(({ obj }) => found.get(obj.effectKey) ?? null)
}

const category = async queries => {
  const found = await db.categories(queries.map(({ obj }) => obj.categoryKey))
  return queries.map(({ obj }) => found.get(obj.categoryKey) ?? null)
}

const remembered = ({ effectKey }) => snapshot.byKey.get(effectKey) ?? null
const VideoConnection = { totalCount: (_, __, context) => db.videosCounted(ownerOf(context)) }

const app = Fastify()
app.register(mercurius, {
  schema,
  jit: JIT_AFTER,
  graphiql: false,
  context: request => {
    const { host, authorization } = request.headers
    const owner = owners.get(authorization)
    return { host, owner: owner?.host === host ? owner : undefined }
  },
  resolvers: snapshot
    ? { ...scalars, Query, VideoConnection, GalleryVideo: { effect: remembered }, Video: { effect: remembered } }
    : { ...scalars, Query, VideoConnection },
  loaders: snapshot
    ? { Effect: { galleryVideos: galleryVideos(db.galleryByUnion) }, Video: { outputFile } }
    : {
        GalleryVideo: { effect },
        Effect: { category, galleryVideos: galleryVideos(db.galleryByWindow) },
        Video: { effect, outputFile }
      }
})
app.get('/healthz', async () => ({ status: 'ok' }))
app.get('/metrics', async () => `bench_sql_statements_total ${db.sent()}\n`)

process.once('SIGTERM', async () => {
  await app.close()
  await db.close()
})
await app.listen({ host: '127.0.0.1', port: Number(process.env.BENCH_PORT) })
