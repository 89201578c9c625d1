// The list of demo tenants: a link to each one's host, and signing in where this host allows it.

import { useState } from "react";
import type { Config, DemoTenant } from "./config";
import { Popover } from "./Popover";
import type { Session } from "./session";
import { inWords, signInAs } from "./signIn";

// With fewer than this there is nothing to search in.
const FILTER_FROM = 8;

interface Props {
  config: Config;
  session: Session;
}

export function DemoTenants({ config, session }: Props) {
  return (
    <Popover label={<>Demo tenants</>} testId="demo-open">
      {(close) => <List config={config} session={session} onSignedIn={close} />}
    </Popover>
  );
}

function List({ config, session, onSignedIn }: Props & { onSignedIn: () => void }) {
  const [wanted, setWanted] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const shown = config.demoTenants.filter(({ slug, email }) => `${slug} ${email ?? ""}`.includes(wanted.trim().toLowerCase()));

  function signIn(tenant: DemoTenant) {
    setProblem(null);
    signInAs(session, tenant).then(onSignedIn, (error: unknown) => setProblem(inWords(error)));
  }

  return (
    <>
      <p className="atrium-panel-note">
        {config.host === "central"
          ? "Open a tenant to see its studio on its own host, or sign in here for your account."
          : "Each tenant has a host of its own. Signing in works on a tenant’s own host."}
      </p>
      {config.demoTenants.length >= FILTER_FROM && (
        <input
          className="atrium-filter"
          data-testid="demo-filter"
          aria-label="Find a demo tenant"
          placeholder="Find a tenant"
          value={wanted}
          onChange={(event) => setWanted(event.target.value)}
        />
      )}
      {problem !== null && <p className="atrium-problem" role="alert">{problem}</p>}
      <ul className="atrium-tenants">
        {shown.map((tenant) => (
          <Row key={tenant.slug} tenant={tenant} config={config} onSignIn={() => signIn(tenant)} />
        ))}
        {shown.length === 0 && <li className="atrium-panel-note">No demo tenant is called that.</li>}
      </ul>
    </>
  );
}

function Row({ tenant, config, onSignIn }: { tenant: DemoTenant; config: Config; onSignIn: () => void }) {
  const here = tenant.slug === config.tenantSlug;
  const mayTry = tenant.password !== null && tenant.email !== null && (here || config.host === "central");
  return (
    <li data-testid={`demo-tenant-${tenant.slug}`}>
      <span className="atrium-tenant-name">
        <b>{tenant.slug}</b>
        <small>{tenant.email}</small>
      </span>
      {mayTry && (
        <button type="button" className="atrium-quiet" data-testid={`sign-in-${tenant.slug}`} onClick={onSignIn}>
          Sign in as
        </button>
      )}
      {here ? (
        <span className="atrium-here">here</span>
      ) : (
        <a className="atrium-button" href={tenant.url} data-testid={`open-${tenant.slug}`}>
          Open
        </a>
      )}
    </li>
  );
}
