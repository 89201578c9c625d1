// GraphiQL's side pane with the starter operations.

import type { GraphiQLPlugin } from "@graphiql/react";
import { useOpenStarter } from "./openStarter";
import type { StarterGroup } from "./starters";

export function startersPlugin(groups: StarterGroup[]): GraphiQLPlugin {
  return { title: "Starters", icon: Spark, content: () => <Pane groups={groups} /> };
}

function Pane({ groups }: { groups: StarterGroup[] }) {
  const open = useOpenStarter(groups);
  return (
    <section className="atrium-starters" aria-label="Starter operations" data-testid="starters">
      <h2>Start here</h2>
      {groups.map((group) => (
        <div key={group.title}>
          <h3>{group.title}</h3>
          <ul>
            {group.starters.map((starter) => (
              <li key={starter.id}>
                <button type="button" data-testid={`starter-${starter.id}`} onClick={() => open(starter)}>
                  <b>{starter.title}</b>
                  <small>{starter.note}</small>
                </button>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </section>
  );
}

function Spark() {
  return (
    <svg viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinejoin="round" aria-hidden="true">
      <path d="M12 3l2.2 6.3L20.5 12l-6.3 2.7L12 21l-2.2-6.3L3.5 12l6.3-2.7z" />
    </svg>
  );
}
