// What the server tells the page about itself, read from the JSON script tag it fills.
// Nothing is believed to have the right shape: a missing part becomes its harmless default.

export interface DemoTenant {
  slug: string;
  url: string;
  email: string | null;
  password: string | null;
}

export interface Config {
  endpoint: string;
  host: "central" | "tenant";
  tenantSlug: string | null;
  demoTenants: DemoTenant[];
  embedded: boolean;
}

const DEMO_TENANTS_MAX = 200;

export function readConfig(): Config {
  const raw = parsed(document.getElementById("atrium")?.textContent ?? "");
  const tenantSlug = text(raw.tenantSlug);
  return {
    // Same origin alone: the token must never travel to an address written into a page.
    endpoint: sameOriginPath(raw.endpoint) ?? "/graphql",
    host: raw.host === "tenant" && tenantSlug !== null ? "tenant" : "central",
    tenantSlug,
    demoTenants: demoTenants(raw.demoTenants),
    embedded: raw.embedded === true,
  };
}

function demoTenants(value: unknown): DemoTenant[] {
  if (!Array.isArray(value)) return [];
  const tenants: DemoTenant[] = [];
  for (const item of value.slice(0, DEMO_TENANTS_MAX)) {
    const entry = record(item);
    const slug = text(entry.slug);
    const url = webAddress(entry.url);
    if (slug !== null && url !== null) {
      tenants.push({ slug, url, email: text(entry.email), password: text(entry.password) });
    }
  }
  return tenants;
}

/** Only http and https: a `javascript:` address in a link would run in this page. */
function webAddress(value: unknown): string | null {
  const written = text(value);
  if (written === null || !URL.canParse(written)) return null;
  const url = new URL(written);
  return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
}

function sameOriginPath(value: unknown): string | null {
  const path = text(value);
  if (path === null) return null;
  const url = new URL(path, location.origin);
  return url.origin === location.origin ? url.pathname : null;
}

function parsed(json: string): Record<string, unknown> {
  try {
    return record(JSON.parse(json));
  } catch {
    return {};
  }
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
