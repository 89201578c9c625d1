// The bar: name, which host this is, uploads, demo tenants and the token.

import type { Config } from "./config";
import { DemoTenants } from "./DemoTenants";
import { useWrappedLines } from "./openStarter";
import type { Session } from "./session";
import type { StarterGroup } from "./starters";
import { TokenBox } from "./TokenBox";
import { UploadButton } from "./UploadButton";

interface Props {
  config: Config;
  session: Session;
  groups: StarterGroup[];
}

export function TopBar({ config, session, groups }: Props) {
  useWrappedLines();
  return (
    <header className="atrium-bar">
      <span className="atrium-brand">
        <Arch />
        <b>Atrium</b>
        <span className="atrium-brand-sub">explorer</span>
      </span>
      <span className={`atrium-host atrium-host-${config.host}`} data-testid="host" title={location.host}>
        {config.tenantSlug ?? "central"}
        <small>{config.host === "tenant" ? "tenant host" : "public host"}</small>
      </span>
      <span className="atrium-space" />
      {config.demoTenants.length > 0 && <DemoTenants config={config} session={session} />}
      <UploadButton config={config} session={session} groups={groups} />
      <TokenBox config={config} session={session} />
    </header>
  );
}

function Arch() {
  return (
    <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
      <rect width="32" height="32" rx="8" className="atrium-arch-ground" />
      <path d="M7 25V15a9 9 0 0 1 18 0v10h-4V15a5 5 0 0 0-10 0v10z" fill="#fff" />
      <circle cx="16" cy="22.5" r="2.5" fill="#f2b84b" />
    </svg>
  );
}
