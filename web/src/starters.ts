// The starter operations of central and tenant hosts, in the order in which a newcomer needs them.
// Their text stands in ../starters as .graphql files, so that a test can hold them against the schema.

import catalog from "../starters/central/catalog.graphql";
import effects from "../starters/central/effects.graphql";
import gallery from "../starters/central/gallery.graphql";
import login from "../starters/central/login.graphql";
import prices from "../starters/central/prices.graphql";
import register from "../starters/central/register.graphql";
import viewer from "../starters/central/viewer.graphql";
import claimDaily from "../starters/tenant/claim_daily.graphql";
import createVideo from "../starters/tenant/create_video.graphql";
import dashboard from "../starters/tenant/dashboard.graphql";
import effectsToApply from "../starters/tenant/effects_to_apply.graphql";
import files from "../starters/tenant/files.graphql";
import jobLive from "../starters/tenant/job_live.graphql";
import publish from "../starters/tenant/publish.graphql";
import rewards from "../starters/tenant/rewards.graphql";
import submitJob from "../starters/tenant/submit_job.graphql";
import wallet from "../starters/tenant/wallet.graphql";
import walletLive from "../starters/tenant/wallet_live.graphql";

export interface Starter {
  id: string;
  title: string;
  note: string;
  query: string;
  variables?: Record<string, unknown>;
}

export interface StarterGroup {
  title: string;
  starters: Starter[];
}

const signIn: Starter = {
  id: "login",
  title: "Log in",
  note: "An access token for this host",
  query: login,
  variables: { input: { email: "", password: "", device: { name: "Explorer" } } },
};
const whoAmI: Starter = { id: "viewer", title: "Who am I?", note: "User, tenant and access tokens", query: viewer };

const publicGroup: StarterGroup = {
  title: "Public",
  starters: [
    { id: "catalog", title: "Catalog", note: "Categories and popular effects", query: catalog },
    {
      id: "effects",
      title: "Find effects",
      note: "Search, filter and page",
      query: effects,
      variables: { search: "film", maxTokenCost: 50 },
    },
    { id: "gallery", title: "Gallery", note: "What tenants have published", query: gallery },
    { id: "prices", title: "Prices", note: "Packages and tiers", query: prices },
  ],
};

const centralAccount: StarterGroup = {
  title: "Account",
  starters: [
    {
      id: "register",
      title: "Register",
      note: "A tenant and subdomain of your own",
      query: register,
      variables: { input: { name: "", email: "", password: "", slug: "" } },
    },
    signIn,
    whoAmI,
  ],
};

const studio: StarterGroup = {
  title: "Studio",
  starters: [
    { id: "dashboard", title: "Dashboard", note: "Wallet, videos and jobs", query: dashboard },
    { id: "files", title: "Files", note: "What was uploaded", query: files },
    {
      id: "create-video",
      title: "Make a video",
      note: "From an uploaded file",
      query: createVideo,
      variables: { input: { title: "My video", inputFileId: "", tags: ["first"] } },
    },
    { id: "effects-to-apply", title: "Effects to apply", note: "With their ids", query: effectsToApply },
    {
      id: "submit-job",
      title: "Apply an effect",
      note: "Queues a job and holds its price",
      query: submitJob,
      variables: { input: { videoId: "", effectId: "", idempotencyKey: "first-try" } },
    },
    { id: "job-live", title: "Follow a job", note: "Live, until it ends", query: jobLive, variables: { id: "" } },
    { id: "publish", title: "Publish", note: "Into the public gallery", query: publish, variables: { id: "" } },
  ],
};

const tokens: StarterGroup = {
  title: "Tokens",
  starters: [
    { id: "wallet-live", title: "Follow the wallet", note: "Live balance", query: walletLive },
    { id: "wallet", title: "Ledger", note: "Every change of the balance", query: wallet },
    { id: "rewards", title: "Rewards", note: "Earned and claimed", query: rewards },
    { id: "claim-daily", title: "Claim the daily reward", note: "Once a UTC day", query: claimDaily },
  ],
};

export function startersFor(host: "central" | "tenant"): StarterGroup[] {
  if (host === "central") return [publicGroup, centralAccount];
  return [studio, tokens, { title: "Account", starters: [signIn, whoAmI] }, publicGroup];
}

/** Make a video from the file just uploaded. */
export function videoFrom(fileId: string, fileName: string): Starter {
  const title = fileName.replace(/\.[^.]+$/, "");
  return {
    id: "create-video",
    title: "Make a video",
    note: "",
    query: createVideo,
    variables: { input: { title, inputFileId: fileId, tags: [] } },
  };
}
