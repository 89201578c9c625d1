// The part of the contract that the bench asks for, in the schema language.
export const schema = `
scalar DateTime
scalar BigInt
type PageInfo { hasNextPage: Boolean! endCursor: String }
type Category { id: ID! name: String! }
type Effect {
  id: ID! slug: String! name: String! tokenCost: Int! category: Category
  galleryVideos(first: Int = 20): GalleryVideoConnection!
}
type EffectConnection { nodes: [Effect!]! }
type GalleryVideo {
  id: ID! title: String! tags: [String!]! processedFileUrl: String! publishedAt: DateTime! effect: Effect
}
type GalleryVideoConnection { nodes: [GalleryVideo!]! pageInfo: PageInfo! }
type File { name: String! sizeBytes: BigInt! mimeType: String! }
enum VideoStatus { DRAFT PROCESSING READY FAILED }
type Video { id: ID! title: String! status: VideoStatus! createdAt: DateTime! effect: Effect outputFile: File }
type VideoConnection { nodes: [Video!]! totalCount: Int! }
type TokenWallet { balance: BigInt! reserved: BigInt! }
enum AiJobStatus { QUEUED RUNNING SUCCEEDED FAILED CANCELED }
type AiJob { status: AiJobStatus! progress: Float! }
type AiJobConnection { nodes: [AiJob!]! }
type User { name: String! }
type Query {
  gallery(first: Int = 20): GalleryVideoConnection!
  effect(slug: String!): Effect
  effects(first: Int = 20): EffectConnection!
  viewer: User
  wallet: TokenWallet!
  videos(first: Int = 20): VideoConnection!
  aiJobs(first: Int = 20): AiJobConnection!
}
`
